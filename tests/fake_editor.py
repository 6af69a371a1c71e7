"""FakeEditor: an editor of an SlmServer in the same process, without streams.

Invariant: messages take the way that pygls' reader and writer give them. When it is left
without an error, the server has been shut down and the editor is drained.

Threads: the test's event loop.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from editor import CURSOR, PATIENCE_S, Editor, Json
from pygls.protocol import default_converter

from slm_lsp import model_choice
from slm_lsp.completion.policy import PLAIN, Policy
from slm_lsp.config import Config
from slm_lsp.deadline import SYSTEM_CLOCK, Clock
from slm_lsp.engine.base import Engine
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.lsp.server import SlmServer
from slm_lsp.trace import Span, Trace
from slm_lsp.types import EngineState, Generation, GenerationRequest
from slm_lsp.workspace.source import WorkspaceSource

# So that nothing which is asserted depends on the machine's speed.
PATIENT = Config(automatic_budget_ms=60_000.0, invoked_budget_ms=60_000.0)

# Made once: making it and what it compiles takes longer than most tests.
one_converter = functools.cache(default_converter)

OnState = Callable[[EngineState], None]
OnProgress = Callable[[str, float | None], None]
MakeEngine = Callable[[Config, OnState, OnProgress], Engine]


class GatedEngine(FakeEngine):
    """Works on a request until the test opens the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()

    async def generate(self, request: GenerationRequest) -> Generation:
        self.requests.append(request)
        self.asked.set()
        await self.gate.wait()
        self.requests.remove(request)  # the base class takes it from here
        return await super().generate(request)


class ListTrace(Trace):
    """A Trace that also keeps its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Json] = []

    def write(self, span: Span) -> None:
        self.lines.append(span.line())
        super().write(span)


class Stream:
    """The server's writer: hands whole messages on, having checked their header."""

    def __init__(self, receive: Callable[[Json], None]) -> None:
        self._receive = receive
        self.closed = False
        # pygls swallows what a writer raises, so it is kept until the end.
        self.faults: list[Exception] = []

    def write(self, message: bytes) -> None:
        header, _, body = message.partition(b"\r\n\r\n")
        try:
            assert f"Content-Length: {len(body)}" in header.decode().split("\r\n")
            self._receive(json.loads(body))
        except Exception as fault:
            self.faults.append(fault)

    def close(self) -> None:
        self.closed = True


class FakeEditor(Editor):
    """See the module. Use it in an `async with` block, and `start` it first."""

    def __init__(
        self,
        engine: Engine | MakeEngine | None = None,
        config: Config | None = None,
        *,
        capabilities: Json | None = None,
        problems: list[str] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        policy: Policy = PLAIN,
        sessions_folder: Path | None = None,
        notes_folder: Path | None = None,
        make_workspace: Callable[[Config], WorkspaceSource] | None = None,
    ) -> None:
        super().__init__(capabilities)
        self.engine: Any = engine if engine is not None else FakeEngine()
        self.trace = ListTrace()
        self.exit_code: int | None = None
        self.started_with: Config | None = None
        self.on_state: OnState
        self.on_progress: OnProgress
        self.stream = Stream(self.receive)
        self.server = SlmServer(
            config or PATIENT,
            self._make_engine,
            self.trace,
            problems or [],
            clock,
            one_converter,
            policy,
            None if sessions_folder is None else lambda: sessions_folder,
            None if notes_folder is None else lambda: notes_folder,
            make_workspace,
            lambda: model_choice,
        )
        self.server.protocol.set_writer(self.stream)

    def _make_engine(self, config: Config, on_state: OnState, on_progress: OnProgress) -> Engine:
        assert self.started_with is None, "a session has one engine"
        self.started_with, self.on_state, self.on_progress = config, on_state, on_progress
        if callable(self.engine):
            self.engine = self.engine(config, on_state, on_progress)
        engine: Engine = self.engine
        if engine.state is EngineState.READY:
            on_state(EngineState.READY)
        return engine

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None and self.exit_code is None:
            await self.shutdown()
        assert await asyncio.to_thread(self.server.close, PATIENCE_S)
        if error is None:
            assert not self.stream.faults
            self.check_drained()

    # --- messages ---

    def feed(self, message: Any) -> None:
        """Do with one message what pygls' reader does with one."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        protocol = self.server.protocol
        try:
            protocol.handle_message(json.loads(body, object_hook=protocol.structure_message))
        except SystemExit as exit_:
            self.exit_code = int(exit_.code or 0)
        except Exception as error:
            self.server.report_server_error(error, type(error))

    async def send(self, message: Any) -> None:
        """Feed one message; as on a pipe, what it started runs before the next is read."""
        self.feed(message)
        await asyncio.sleep(0)

    def reply(self, message: Json) -> None:
        asyncio.get_running_loop().call_soon(self.feed, message)

    async def shutdown(self) -> None:
        assert await self.call("shutdown") is None
        await self.notify("exit")
        assert self.exit_code == 0

    async def still_answers(self) -> None:
        """Check by a document of its own that the server completes as ever."""
        assert isinstance(self.engine, FakeEngine)
        uri = "file:///project/still.py"
        position = await self.open(f"value = {CURSOR}\n", uri)
        self.engine.enqueue("1 + 1")
        [item] = await self.inline(position, uri)
        assert self.accept_inline(item, uri) == "value = 1 + 1\n"
        await self.close(uri)
