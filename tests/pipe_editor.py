"""PipeEditor: an editor of a server in a process of its own, over its stdin and stdout.

Invariant: whatever on the server's stdout is not a whole message of the protocol is a fault.
When it is left without an error, the server has been shut down, has exited as it should, and
the editor is drained.

Threads: the test's event loop.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from editor import PATIENCE_S, Editor, Json

HEADERS = (b"Content-Length: ", b"Content-Type: ")


class PipeEditor(Editor):
    """See the module. `stderr` holds what the server wrote there, once it has ended."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        capabilities: Json | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Python is started with `arguments`."""
        super().__init__(capabilities)
        self.stderr = ""
        self.expected_exit = 0
        self._arguments = arguments
        self._env = env
        self._process: Process
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *self._arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=self._env
        )
        self._tasks = [asyncio.create_task(task) for task in (self._read(), self._read_stderr())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            if error is None and self._process.returncode is None:
                await self.shutdown()
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if error is not None:
                sys.stderr.write(self.stderr)
        self.check_drained()

    async def shutdown(self) -> None:
        """Shut the server down; nothing may be left on its stdout."""
        assert await self.call("shutdown") is None
        await self.notify("exit")
        await self.ended()

    async def ended(self) -> None:
        """Wait until the server has ended by itself, as the test expects."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*self._tasks)
            assert await self._process.wait() == self.expected_exit, self.stderr

    def hang_up(self) -> None:
        """Close the server's stdin."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    async def send(self, message: Any) -> None:
        self.reply(message)
        assert self._process.stdin is not None
        await self._process.stdin.drain()

    def reply(self, message: Json) -> None:
        body = json.dumps(message).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        n_bytes = 0
        while line := await stdout.readline():
            if line == b"\r\n":
                self.receive(json.loads(await stdout.readexactly(n_bytes)))
            else:
                assert line.startswith(HEADERS), f"not protocol: {line!r}"
                if line.startswith(HEADERS[0]):
                    n_bytes = int(line.removeprefix(HEADERS[0]))

    async def _read_stderr(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        while line := await stderr.readline():
            self.stderr += line.decode("utf-8", "replace")
