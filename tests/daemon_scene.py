"""Daemons for tests: one in this process, or one in a process of its own, and their clients.

Invariant: a scene's processes have ended when it is left, killed by their ids if need be.
Threads: the test's event loop; `GateEngine` is used on it alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.engine.base import Engine
from slm_lsp.engine.daemon import Daemon
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.engine.launch import Launcher, connect
from slm_lsp.engine.remote import DaemonEngine
from slm_lsp.engine.rendezvous import Peer, PeerOf, Place, peer_of
from slm_lsp.types import (
    EngineState,
    Generation,
    GenerationRequest,
    Priority,
    Prompt,
    Text,
)

ROOT = Path(__file__).resolve().parents[1]
FAKE = Path(__file__).with_name("daemon_fake.py")
# So that nothing which is asserted depends on the machine's speed.
PATIENCE_S = 20.0
PATIENT_MS = 20_000.0
KEY = "k"


def asked(
    text: str = "x",
    session: str = "s",
    budget_ms: float = PATIENT_MS,
    priority: Priority = Priority.INTERACTIVE,
) -> GenerationRequest:
    """A request that starts now."""
    return GenerationRequest(
        session, Prompt((Text(text),)), Deadline.after(budget_ms), CancelToken(), priority
    )


class GateEngine(FakeEngine):
    """Notes what it is asked, and answers once the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.arrived: asyncio.Queue[GenerationRequest] = asyncio.Queue()

    async def generate(self, request: GenerationRequest) -> Generation:
        self.arrived.put_nowait(request)
        await self.gate.wait()
        return await super().generate(request)

    async def next(self) -> GenerationRequest:
        return await asyncio.wait_for(self.arrived.get(), PATIENCE_S)


def stranger(sock: socket.socket) -> Peer:
    """A credential reader to which everybody is another user."""
    return Peer(os.getpid(), os.getuid() + 1)


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """A private directory whose name is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="slm-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextlib.asynccontextmanager
async def served(
    place: Place, engine: Engine, idle_s: float = 3600.0, reader: PeerOf = peer_of
) -> AsyncIterator[Daemon]:
    """A daemon in this process; `finished` is its task."""
    daemon = Daemon(KEY, idle_s, reader)
    task = asyncio.create_task(daemon.serve(place.listen(), engine))
    try:
        yield daemon
    finally:
        daemon.stop("the test is over")
        await asyncio.wait_for(task, PATIENCE_S)


class Client(DaemonEngine):
    """A DaemonEngine that can be waited for. Leave it to close it."""

    def __init__(
        self,
        place: Place,
        mode: str = "ready",
        key: str = KEY,
        idle_s: float = 3600.0,
        reader: PeerOf = peer_of,
    ) -> None:
        fake = [str(FAKE), str(place.directory), place.name, key, str(idle_s), mode]
        boot = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv.pop(0); "
        argv = [sys.executable, "-c", boot + "runpy.run_path(sys.argv[0], None, '__main__')", *fake]
        self.log = place.directory / "log"
        self.states: asyncio.Queue[EngineState] = asyncio.Queue()
        self.progress: list[str] = []
        super().__init__(
            Launcher(place, argv, self.log, reader),
            lambda: key,
            self.states.put_nowait,
            lambda text, done: self.progress.append(f"{text} {done}"),
        )

    async def next_state(self) -> EngineState:
        return await asyncio.wait_for(self.states.get(), PATIENCE_S)

    async def ready(self) -> Client:
        assert await self.next_state() is EngineState.READY, self.failure
        return self

    async def __aenter__(self) -> Client:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        assert self._task is not None
        await asyncio.wait({self._task}, timeout=PATIENCE_S)


def starts(place: Place) -> list[int]:
    """The ids of the processes that got as far as loading."""
    path = place.directory / "starts"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def end_all(place: Place) -> None:
    """Kill what still runs there and wait for it."""
    for pid in starts(place):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


async def until_gone(place: Place) -> None:
    """Wait until nobody listens there."""
    async with asyncio.timeout(PATIENCE_S):
        while (found := connect(place)) is not None:
            found[0].close()
            await asyncio.sleep(0.01)
