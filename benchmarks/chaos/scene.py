"""A user of their own for faults: folders, a model file, servers, and what is left of all that.

Owns: the folder that `program` is told of, the processes, and the check that nothing is left over.

Invariant: when a scene is left no process of it runs, whatever became of it; only its own are ever
signalled. Whoever leaves it without an error has seen every request answered exactly once.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

import psutil

from benchmarks.chaos import program
from benchmarks.latency import processes
from benchmarks.latency.client import Json, LspClient, RequestFailed, ServerEnded
from benchmarks.latency.home import CACHE_VARIABLE, Home
from benchmarks.latency.ours import editor

PATIENCE_S = 30.0
POLL_S = 0.005
# As a user types: some attempts a second, none of them waits for the one before.
ASK_EVERY_S = 0.02
BUDGET_MS = 1500.0
SETTINGS = {
    **{"automatic_budget_ms": BUDGET_MS, "invoked_budget_ms": BUDGET_MS},
    # Only what the model writes counts, and every place is new.
    **{"lexical": "off", "reuse": "off", "confidence_gate": "off", "syntax_gate": "off"},
}
Disk = Callable[[Path], AbstractContextManager[None]]
INLINE = "textDocument/inlineCompletion"
INVOKED = 1
N_LINES = 20


async def until(true: Callable[[], bool], what: str = "it") -> None:
    """Wait until it is so."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise TimeoutError(f"{what} did not come about in {PATIENCE_S:.0f} s") from None


def ended(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has taken its status yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Watched(LspClient):
    """A client that keeps what the user is shown, and counts answers to nothing."""

    def __init__(self, command: list[str], env: Mapping[str, str]) -> None:
        super().__init__(command, env)
        self.shown: list[str] = []
        self.n_stray = 0

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    def _receive(self, message: Json) -> None:
        if message.get("method") == "window/showMessage":
            self.shown.append(message["params"]["message"])
        elif "method" not in message and message.get("id") not in self._waiting:
            self.n_stray += 1
        super()._receive(message)


class Session:
    """One editor and its server."""

    def __init__(self, scene: Scene, number: int) -> None:
        self.client = Watched(scene.command("serve"), scene.env)
        self._scene = scene
        self._uri = f"file:///chaos/{number}/a.py"
        self._n_texts = 0

    async def start(self) -> None:
        """Initialize, and open a document."""
        await self.client.start(editor({**SETTINGS, "model": str(self._scene.model)}))
        item = {"uri": self._uri, "languageId": "python", "version": 0, "text": ""}
        self.client.notify("textDocument/didOpen", {"textDocument": item})

    def ask(self) -> asyncio.Future[Any]:
        """Ask at a place that is new."""
        self._n_texts += 1
        lines = "".join(f"name_{self._n_texts}_{n} = {n}\n" for n in range(N_LINES))
        params = {
            "textDocument": {"uri": self._uri, "version": self._n_texts},
            "contentChanges": [{"text": lines + program.SOURCE}],
        }
        self.client.notify("textDocument/didChange", params)
        place = {"line": N_LINES, "character": len(program.SOURCE)}
        asked = {
            "textDocument": {"uri": self._uri},
            "position": place,
            "context": {"triggerKind": INVOKED},
        }
        return self.client.request(INLINE, asked)[1]

    async def good(self, patience_s: float = PATIENCE_S) -> float:
        """Ask until the model's text comes; how many milliseconds that takes."""
        began_s = time.monotonic()
        async with asyncio.timeout(patience_s):
            while not is_good(await self.ask()):  # noqa: ASYNC110
                await asyncio.sleep(ASK_EVERY_S)
        return (time.monotonic() - began_s) * 1e3

    async def stats(self) -> Json:
        """See `slm-lsp.stats`."""
        params = {"command": "slm-lsp.stats", "arguments": []}
        return dict(await self.client.call("workspace/executeCommand", params))

    async def end(self) -> None:
        """Shut the server down, and look whether it did as it should."""
        await self.client.stop()
        assert self.client.process.returncode == 0, self.client.process.returncode
        self.check()

    def check(self) -> None:
        """Every request has had exactly one answer."""
        assert not self.client.n_waiting, f"{self.client.n_waiting} requests without an answer"
        assert not self.client.n_stray, f"{self.client.n_stray} answers to no request"

    async def kill(self) -> None:
        """End it, whatever state it is in."""
        with contextlib.suppress(AttributeError, AssertionError):
            if self.client.process.returncode is None:
                self.client.process.kill()
            await self.client.stop()


def is_good(result: Any) -> bool:
    """Whether an answer holds what the model writes."""
    items = (result or {}).get("items", [])
    return any(program.SAYS in item["insertText"] for item in items)


class Scene:
    """See the module. `async with` it."""

    def __init__(
        self,
        variables: Mapping[str, str] | None = None,
        disk: Disk | None = None,
    ) -> None:
        """All files are on the `disk` that is made of the folder, if any is."""
        self._home = Home()
        self._disk = contextlib.ExitStack()
        if disk is not None:
            self._disk.enter_context(disk(self._home.folder))
        self.folder = self._home.folder
        self.model = self.folder / "model.gguf"
        self.env = {
            **self._home.env(),
            CACHE_VARIABLE: str(self.folder / "models"),
            program.VARIABLE: str(self.folder),
            "SLM_LSP_KEEP_READY": "off",
            "PYTHONPATH": program.ROOT,
            **(variables or {}),
        }
        self._sessions: list[Session] = []
        program.write_model(self.model)

    def command(self, *arguments: str) -> list[str]:
        """What runs the program."""
        return [sys.executable, "-P", program.__file__, *arguments]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: object, _: object) -> None:
        try:
            if error is None:
                await self._close()
        finally:
            for session in self._sessions:
                await session.kill()
            self._disk.close()
            self._home.close()

    async def _close(self) -> None:
        """End all in order, and look whether anything is left."""
        for session in self._sessions:
            await session.end()
        self._sessions.clear()
        for process in self.daemons():
            process.terminate()
        await until(lambda: not processes.find([self._home.mark]), "the end of all processes")
        left = [path.name for path in self._home.sockets.glob("*.sock")]
        assert not left, f"sockets that are left: {left}"
        halves = [path for path in self.folder.rglob("*.part") if path.is_file()]
        assert not halves, f"files that are left half-written: {halves}"

    async def session(self) -> Session:
        """A server whose model is ready."""
        session = await self.begun()
        await session.good()
        return session

    async def begun(self) -> Session:
        """A server that is told to begin."""
        session = Session(self, len(self._sessions))
        self._sessions.append(session)
        await session.start()
        return session

    def forget(self, session: Session) -> None:
        """It has ended, as was to be."""
        self._sessions.remove(session)

    # --- the daemon ---

    def daemons(self) -> list[psutil.Process]:
        """Those that run."""
        found = []
        for each in processes.find([self._home.mark]):
            with contextlib.suppress(psutil.Error):
                if "daemon" in each.cmdline() and each.status() != psutil.STATUS_ZOMBIE:
                    found.append(each)
        return found

    def daemon(self) -> int:
        """The one that loaded last."""
        return self.starts()[-1]

    def starts(self) -> list[int]:
        """The ids of all that began to load."""
        path = self.folder / "starts"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def socket(self) -> Path:
        [path] = self._home.sockets.glob("*.sock")
        return path

    # --- faults ---

    @contextlib.contextmanager
    def held(self, stage: str) -> Iterator[None]:
        """Within it the daemon waits when it comes to this stage."""
        (self.folder / "held").unlink(missing_ok=True)
        half = self.folder / "hold.half"
        half.write_text(stage)
        half.replace(self.folder / "hold")
        try:
            yield
        finally:
            (self.folder / "hold").unlink(missing_ok=True)

    async def holding(self) -> int:
        """Wait until it waits; its id."""
        path = self.folder / "held"
        await until(path.exists, "the stage")
        return int(path.read_text())

    def jump(self, seconds: int) -> None:
        """Let the wall clock be wrong."""
        half = self.folder / "jump.half"
        half.write_text(str(seconds))
        half.replace(self.folder / "jump")


@contextlib.asynccontextmanager
async def answered(future: asyncio.Future[Any]) -> AsyncIterator[None]:
    """What was asked before the fault is answered once it is over, with text or without."""
    yield
    with contextlib.suppress(RequestFailed, ServerEnded):
        await asyncio.wait_for(future, PATIENCE_S)


def send(pid: int, number: int) -> None:
    """Signal a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
