"""A llama.cpp server with `/infill`: one that runs already, or one from the wheel `xllamacpp`.

Owns: its process and the HTTP requests to it.

Invariant: the server listens on the loopback only and ends with this process. A request that
fails raises `InfillError` with what the server said, as nothing measured after it would mean
anything.

Threads: the event loop; each request waits on a thread of asyncio's pool.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.latency import processes

REQUEST_TIMEOUT_S = 120.0
START_PATIENCE_S = 180.0
END_PATIENCE_S = 10.0
CHILD = Path(__file__).with_name("infill_child.py")

Json = dict[str, Any]


class InfillError(RuntimeError):
    """There is no server, or it refuses; the message says what to do."""


@dataclass(frozen=True, slots=True)
class InfillSettings:
    """The model, and what the server is started with. `python` has the wheel `xllamacpp`."""

    model: Path
    n_threads: int
    n_threads_batch: int
    n_ctx: int = 8192
    python: str = sys.executable


class InfillServer:
    """See the module. With `url`, a server that runs already is used and left running."""

    def __init__(self, settings: InfillSettings | None = None, url: str = "") -> None:
        if settings is None and not url:
            raise InfillError("a peer needs LLAMA_SERVER_URL or a model for the wheel xllamacpp")
        self.url = url
        self.system = ""
        self._settings = settings
        self._mark = processes.new_mark()
        self._process: subprocess.Popen[str] | None = None

    def marks(self) -> Sequence[str]:
        if self._process is not None:
            return (self._mark,)
        return tuple(f"pid:{pid}" for pid in _listening_on(urlsplit(self.url).port or 80))

    async def start(self, infills: bool = True) -> None:
        """Start the server, if it is not there, and see that it infills, if it is to."""
        if not self.url:
            await asyncio.to_thread(self._start)
        if not infills:
            return
        answer = await self.post(
            {"input_prefix": "x =", "input_suffix": "\n", "prompt": "", "n_predict": 1}
        )
        if "content" not in answer:
            raise InfillError(f"{self.url}/infill does not complete: {answer}")

    async def stop(self) -> None:
        """End the server that `start` started."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.to_thread(process.wait, END_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    async def post(self, body: Json) -> Json:
        """One request to `/infill`; raises InfillError where it is refused."""
        return await asyncio.to_thread(self._post, body)

    def _post(self, body: Json) -> Json:
        at = urlsplit(self.url)
        # A connection a request, as `curl` makes it.
        connection = http.client.HTTPConnection(
            at.hostname or "127.0.0.1", at.port or 80, timeout=REQUEST_TIMEOUT_S
        )
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"{at.path.rstrip('/')}/infill", json.dumps(body), headers)
            response = connection.getresponse()
            raw = response.read()
        except OSError as error:
            raise InfillError(f"{self.url}: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise InfillError(f"{self.url}/infill: {response.status} {raw[:300]!r}")
        answer: Json = json.loads(raw)
        return answer

    def _start(self) -> None:
        settings = self._settings
        assert settings is not None
        numbers = (settings.n_threads, settings.n_threads_batch, settings.n_ctx)
        self._process = subprocess.Popen(
            [settings.python, str(CHILD), str(settings.model), *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, processes.MARK: self._mark},
            text=True,
        )
        assert self._process.stdout is not None
        started = time.monotonic()
        # Native code may write to stdout as well; the child's own line is marked.
        for line in self._process.stdout:
            if line.startswith("ready "):
                said = json.loads(line.removeprefix("ready "))
                self.url, self.system = said["url"], said["system"]
                return
            if time.monotonic() - started > START_PATIENCE_S:
                break
        raise InfillError(
            "no peer: set LLAMA_SERVER_URL to a llama.cpp server, or give --peer-python an "
            f"interpreter that has the wheel xllamacpp ({settings.python} did not start one)"
        )


def _listening_on(port: int) -> list[int]:
    """The processes that listen on a port of this machine."""
    try:
        found = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return []
    return [
        each.pid
        for each in found
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid
    ]
