"""A server that does as a test says, over real sockets on the loopback, and an engine that asks it.

Invariant: a scene's server and engine have ended when it is left, and no task is left behind. The
engine's deadline passes when the test says so, not by a clock.
Threads: the test's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from slm_lsp.deadline import CancelToken, Deadline, FakeClock
from slm_lsp.engine.server import ServerEngine
from slm_lsp.engine.server_look import Known
from slm_lsp.engine.server_settings import ServerSettings
from slm_lsp.prompt import fim
from slm_lsp.types import (
    EngineState,
    FimTemplate,
    GenerationRequest,
    Priority,
    Prompt,
    Special,
    StopRule,
    Text,
)

PATIENCE_S = 20.0
BUDGET_MS = 250.0
QWEN = fim.FAMILIES[0]
Json = dict[str, Any]

SSE = "text/event-stream"
ANYTHING = StopRule()


@dataclass
class Asked:
    """One request as it came, and the connection it came over."""

    method: str
    path: str
    headers: dict[str, str]
    body: Json
    connection: int
    writer: asyncio.StreamWriter
    # Set once the client has hung up.
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, status: str = "200 OK", kind: str = SSE, extra: str = "") -> None:
        """The head of an answer that comes in chunks."""
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}"
        self.writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())

    def chunk(self, content: str | bytes) -> None:
        raw = content.encode() if isinstance(content, str) else content
        self.writer.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")

    def text(self, text: str, **more: Any) -> None:
        """A piece of a completion, as OpenAI's API has it."""
        self.event({"choices": [{"index": 0, "text": text, **more}]})

    def event(self, said: Json) -> None:
        self.chunk(f"data: {json.dumps(said)}\n\n")

    def end(self, reason: str = "stop", **more: Any) -> None:
        """The server's own end of the text."""
        self.text("", finish_reason=reason, **more)
        self.chunk("data: [DONE]\n\n")
        self.writer.write(b"0\r\n\r\n")

    def whole(
        self, status: str, body: Any, extra: str = "", kind: str = "application/json"
    ) -> None:
        """A whole answer."""
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}"
        self.writer.write(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)

    def hang_up(self) -> None:
        self.writer.close()


Answer = Callable[[Asked], Awaitable[None]]


def says(*texts: str, reason: str = "stop") -> Answer:
    """An answer of these pieces."""

    async def answer(asked: Asked) -> None:
        asked.begin()
        for text in texts:
            asked.text(text)
        asked.end(reason)

    return answer


def stalls(*texts: str) -> Answer:
    """Some text, and then nothing."""

    async def answer(asked: Asked) -> None:
        if texts:
            asked.begin()
        for text in texts:
            asked.text(text)
        await asyncio.Event().wait()

    return answer


def breaks(act: Callable[[Asked], None]) -> Answer:
    async def answer(asked: Asked) -> None:
        act(asked)

    return answer


class ScriptedServer:
    """Answers completions by `answers`, in their order, the last one on and on; and other paths by
    `pages`."""

    def __init__(self, *answers: Answer, pages: dict[str, Any] | None = None) -> None:
        self.answers = list(answers)
        self.pages: dict[str, Any] = {"/v1/models": {"data": [{"id": "qwen2.5-coder-1.5b"}]}}
        self.pages.update(pages or {})
        # What was asked beside the pages; and all of it.
        self.asked: list[Asked] = []
        self.all: list[Asked] = []
        self.arrived: asyncio.Queue[Asked] = asyncio.Queue()
        self.n_connections = 0
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def next(self) -> Asked:
        return await asyncio.wait_for(self.arrived.get(), PATIENCE_S)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer, self.n_connections))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        try:
            begun = b""
            while not writer.is_closing():
                asked = await _read(reader, writer, connection, begun)
                if asked is None:
                    break
                self.all.append(asked)
                begun = await self._answer(asked, reader)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer(self, asked: Asked, reader: asyncio.StreamReader) -> bytes:
        """Answer; what was read of the next request."""
        page = asked.path
        if page in self.pages:
            body = self.pages[page]
            status, body = body if isinstance(body, tuple) else ("200 OK", body)
            asked.whole(status, body(asked) if callable(body) else body)
            return b""
        if asked.method == "GET":
            asked.whole("404 Not Found", {"detail": "Not Found"})
            return b""
        self.asked.append(asked)
        self.arrived.put_nowait(asked)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        working = asyncio.ensure_future(answer(asked))
        # The client sends nothing while it waits: what comes is the next request, or its end.
        more = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({working, more}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                asked.hung_up.set()
                return b""
            working.result()
            return more.result() if more.done() else b""
        finally:
            for each in (working, more):
                each.cancel()
            await asyncio.gather(working, more, return_exceptions=True)


async def _read(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int, begun: bytes
) -> Asked | None:
    try:
        head = (begun + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    raw = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, json.loads(raw) if raw else {}, connection, writer)


@dataclass
class Scene:
    """A server and an engine, and the moment at which every deadline passes."""

    server: ScriptedServer
    engine: ServerEngine
    clock: FakeClock
    states: list[EngineState]
    deadline: asyncio.Event

    def request(
        self,
        text: str = "x",
        session: str = "s",
        priority: Priority = Priority.INTERACTIVE,
        stop: StopRule = ANYTHING,
        **more: Any,
    ) -> GenerationRequest:
        """A request that starts now."""
        segments = (
            Special("<|fim_prefix|>"),
            Text(text),
            Special("<|fim_suffix|>"),
            Special("<|fim_middle|>"),
        )
        return GenerationRequest(
            session,
            Prompt(segments, stop, ("<|endoftext|>",), **more),
            Deadline.after(BUDGET_MS, self.clock),
            CancelToken(),
            priority,
        )

    def pass_deadline(self) -> None:
        self.clock.advance(BUDGET_MS)
        self.deadline.set()

    def new_deadline(self) -> None:
        self.deadline.clear()


@contextlib.asynccontextmanager
async def scene(
    *answers: Answer,
    api: str = "openai",
    template: FimTemplate | None = QWEN,
    pages: dict[str, Any] | None = None,
    start: bool = True,
    **settings: Any,
) -> AsyncIterator[Scene]:
    """A scene whose engine has found out about its server, if it is to `start`."""
    before = asyncio.all_tasks()
    server = ScriptedServer(*answers or [says("y")], pages=pages)
    await server.start()
    clock, deadline, settled = FakeClock(), asyncio.Event(), asyncio.Event()
    states: list[EngineState] = []

    def on_state(state: EngineState) -> None:
        states.append(state)
        settled.set()

    async def passed(_: Deadline) -> None:
        await deadline.wait()

    engine = ServerEngine(
        ServerSettings(url=server.url, api=api, template=template, **settings),
        Known((*fim.sentinels(QWEN), "<|endoftext|>", "<eot>"), choose=fim.choose_template),
        on_state,
        clock=clock,
        until=passed,
    )
    try:
        if start:
            engine.start()
            await asyncio.wait_for(settled.wait(), PATIENCE_S)
        yield Scene(server, engine, clock, states, deadline)
    finally:
        engine.close()
        await asyncio.wait_for(engine.closed(), PATIENCE_S)
        await server.stop()
    left = asyncio.all_tasks() - before
    assert not left, left


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until something holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def text_of(scene_: Scene, expected: str) -> None:
    """Wait until the engine has taken so much of the answer that is under way."""
    await until(lambda: [f.answer.text for f in scene_.engine._flights.values()] == [expected])
