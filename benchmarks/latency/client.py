"""A client of the Language Server Protocol over a process's stdin and stdout.

Owns: the server's process, framing, request ids, and when each response came.

Invariant: every request's future ends: with the response, or with `ServerEnded`. Requests of
the server's are answered with null, as an editor without the feature does.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from typing import IO, Any

END_PATIENCE_S = 10.0

Json = dict[str, Any]


class ServerEnded(Exception):
    """The server is gone; what was asked will not be answered."""


class RequestFailed(Exception):
    """The server answered a request with an error."""


class LspClient:
    """See the module."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        stderr: int | IO[bytes] = DEVNULL,
    ) -> None:
        self.capabilities: Json = {}
        self.encoding = "utf-16"
        self._command = command
        self._env, self._stderr = env, stderr
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._n_sent = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self, params: Mapping[str, Any]) -> Json:
        """Start the server and initialize it; returns its answer."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, stderr=self._stderr, env=self._env
        )
        self._reader = asyncio.create_task(self._read())
        result: Json = await self.call("initialize", params)
        self.capabilities = result["capabilities"]
        self.encoding = self.capabilities.get("positionEncoding", "utf-16")
        self.notify("initialized", {})
        return result

    def notify(self, method: str, params: Any) -> None:
        """Send a notification."""
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    def request(self, method: str, params: Any) -> tuple[int, asyncio.Future[Any]]:
        """Send a request; returns its id and the future of its result."""
        self._n_sent += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[self._n_sent] = future
        message = {"jsonrpc": "2.0", "id": self._n_sent, "method": method, "params": params}
        try:
            self._send(message)
        except ServerEnded as error:
            future.set_exception(error)
        return self._n_sent, future

    async def call(self, method: str, params: Any) -> Any:
        """Send a request and wait for its result; raises RequestFailed or ServerEnded."""
        return await self.request(method, params)[1]

    def cancel(self, request_id: int) -> None:
        """Tell the server that a request's answer is not wanted any more."""
        self.notify("$/cancelRequest", {"id": request_id})

    async def stop(self) -> None:
        """Shut the server down; it is killed if it does not end."""
        process = self._process
        if process is None:
            return
        try:
            async with asyncio.timeout(END_PATIENCE_S):
                await self.call("shutdown", None)
                self.notify("exit", None)
                await process.wait()
        except (TimeoutError, ServerEnded, RequestFailed):
            if process.returncode is None:
                process.kill()
                await process.wait()
        finally:
            if self._reader is not None:
                self._reader.cancel()
                await asyncio.gather(self._reader, return_exceptions=True)

    def _send(self, message: Json) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        if self._process.returncode is not None or self._process.stdin.is_closing():
            raise ServerEnded(f"the server has ended: {self._process.returncode}")
        body = json.dumps(message).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    async def _read(self) -> None:
        assert self._process is not None
        stdout = self._process.stdout
        assert stdout is not None
        n_bytes = 0
        try:
            while line := await stdout.readline():
                if line == b"\r\n":
                    self._receive(json.loads(await stdout.readexactly(n_bytes)))
                elif line.lower().startswith(b"content-length:"):
                    n_bytes = int(line.split(b":")[1])
        except asyncio.IncompleteReadError:
            pass
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ServerEnded("the server has ended"))
                    future.exception()  # looked at, even where nobody waits for it
            self._waiting.clear()

    def _receive(self, message: Json) -> None:
        if "method" in message:
            if "id" in message:
                self._send({"jsonrpc": "2.0", "id": message["id"], "result": None})
            return
        future = self._waiting.pop(message["id"], None)
        if future is None or future.done():
            return
        if "error" in message:
            future.set_exception(RequestFailed(message["error"].get("message", "")))
            future.exception()
        else:
            future.set_result(message.get("result"))


def position(text: str, offset: int, encoding: str) -> Json:
    """The protocol's position of an offset in a text whose lines end at line feeds."""
    start = text.rfind("\n", 0, offset) + 1
    before = text[start:offset]
    if encoding == "utf-8":
        character = len(before.encode())
    elif encoding == "utf-16":
        character = len(before.encode("utf-16-le")) // 2
    else:
        character = len(before)
    return {"line": text.count("\n", 0, offset), "character": character}


def offset_of(text: str, place: Mapping[str, int], encoding: str) -> int:
    """The offset of a protocol's position; the inverse of `position`."""
    start = 0
    for _ in range(place["line"]):
        start = text.index("\n", start) + 1
    end = text.find("\n", start)
    line = text[start:] if end < 0 else text[start:end]
    if encoding == "utf-32":
        return start + place["character"]
    codec, width = ("utf-8", 1) if encoding == "utf-8" else ("utf-16-le", 2)
    return start + len(line.encode(codec)[: place["character"] * width].decode(codec))
