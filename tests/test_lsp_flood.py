"""Many requests at once, most of them cancelled at once, in process and over real pipes.

Every request is answered exactly once; of all that was cancelled, the engine takes at most
the one native step that was under way.

The decoder's first step waits for the test, so the counts are exact:

    editor   1st request ........... cancelled, 949 more cancelled at once, 50 others .. open
    engine   .... step 1 of the 1st (waiting) ............................. | stop | the 50

Threads: the event loop, the completer's worker, the engine's; over pipes, a process.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

from editor import Editor, Json
from fake_editor import FakeEditor, OnProgress, OnState
from pipe_editor import PipeEditor
from serve_fake import N_LARGE_CHARS, SAYS, SOURCE, script

from slm_lsp.config import Config
from slm_lsp.engine.base import Decoder
from slm_lsp.engine.fake import FakeDecoder
from slm_lsp.engine.scheduler import Scheduler
from slm_lsp.types import EngineState

N_REQUESTS, N_CANCELLED = 1000, 950
N_TYPED = 200
CANCELLED = -32800
PATIENCE_S = 60.0
SERVE_FAKE = str(Path(__file__).parent / "serve_fake.py")


class GatedScheduler:
    """Makes a threaded Scheduler whose decoder's first step waits for the test."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.waiting = threading.Event()
        self.ready = threading.Event()

    def __call__(self, config: Config, on_state: OnState, on_progress: OnProgress) -> Scheduler:
        def told(state: EngineState) -> None:
            on_state(state)
            self.ready.set()

        scheduler = Scheduler(self.load, on_state=told)
        scheduler.start()
        return scheduler

    def load(self) -> Decoder:
        decoder = FakeDecoder(script)
        decoder.on_step = self.step
        return decoder

    def step(self) -> None:
        self.waiting.set()
        assert self.gate.wait(PATIENCE_S)


async def stats(editor: Editor) -> Json:
    answer: Json = await editor.call("workspace/executeCommand", {"command": "slm-lsp.stats"})
    return answer


async def check_engine_is_done(editor: Editor) -> None:
    """The engine is idle, and wasted one step on all that was cancelled."""
    while (counters := (await stats(editor))["engine"])["n_queued"]:
        pass
    assert counters["n_cancelled_steps"] == 1
    assert counters["n_failed"] == counters["n_expired"] == 0
    assert counters["n_finished"] + counters["n_cancelled"] == counters["n_requests"]


async def flood(editor: Editor, first_step: Callable[[], Awaitable[object]]) -> list[Json]:
    """Send the requests, and the cancellations, while the engine waits in its first step.

    What is cancelled is typing in one document; the others are 50 more documents.
    """
    uris = [f"file:///project/{i}.py" for i in range(1 + N_REQUESTS - N_CANCELLED)]
    positions = [await editor.open(SOURCE, uri) for uri in uris]
    documents = [max(0, i + 1 - N_CANCELLED) for i in range(N_REQUESTS)]
    messages = [editor.inline_message(positions[i], uris[i]) for i in documents]
    for i, message in enumerate(messages):
        await editor.send(message)
        if i == 0:
            await first_step()
        if i < N_CANCELLED:
            await editor.notify("$/cancelRequest", {"id": message["id"]})
    return messages


async def check_answers(editor: Editor, messages: list[Json]) -> None:
    """950 errors, 50 texts."""
    answers = [await editor.response(message["id"]) for message in messages]
    codes = [answer["error"]["code"] for answer in answers[:N_CANCELLED]]
    assert codes == [CANCELLED] * N_CANCELLED
    texts = [item["insertText"] for a in answers[N_CANCELLED:] for item in a["result"]["items"]]
    assert texts == [SAYS] * (N_REQUESTS - N_CANCELLED)
    assert (await stats(editor))["n_requests"] == N_REQUESTS
    await check_engine_is_done(editor)


async def test_a_flood_in_process() -> None:
    engine = GatedScheduler()
    async with FakeEditor(engine) as editor:
        await editor.start()
        await asyncio.to_thread(engine.ready.wait, PATIENCE_S)
        messages = await flood(editor, lambda: asyncio.to_thread(engine.waiting.wait, PATIENCE_S))
        engine.gate.set()
        await check_answers(editor, messages)


async def test_the_latest_request_of_a_document_wins() -> None:
    engine = GatedScheduler()
    async with FakeEditor(engine) as editor:
        await editor.start()
        await asyncio.to_thread(engine.ready.wait, PATIENCE_S)
        position = await editor.open(SOURCE)
        messages = [editor.inline_message(position) for _ in range(N_TYPED)]
        await editor.send(messages[0])
        await asyncio.to_thread(engine.waiting.wait, PATIENCE_S)
        for message in messages[1:]:
            await editor.send(message)
        # All but the last are answered before the engine's first step has ended.
        for message in messages[:-1]:
            assert (await editor.result(message["id"]))["items"] == []
        engine.gate.set()
        [item] = (await editor.result(messages[-1]["id"]))["items"]
        assert item["insertText"] == SAYS
        await check_engine_is_done(editor)
        assert editor.trace.rejects == {"superseded": N_TYPED - 1}


# --- over pipes ---


async def wait_until(editor: PipeEditor, state: str) -> None:
    """Ask until the server's engine is in this state."""
    while (await stats(editor)).get("state") != state:
        pass


async def command(editor: PipeEditor, name: str) -> object:
    answer: object = await editor.call("workspace/executeCommand", {"command": name})
    return answer


async def test_a_flood_over_pipes() -> None:
    async with PipeEditor([SERVE_FAKE]) as editor:
        await editor.start()
        await wait_until(editor, "ready")

        async def first_step() -> None:
            while not await command(editor, "test.state"):
                pass

        messages = await flood(editor, first_step)
        await command(editor, "test.open")
        await check_answers(editor, messages)


async def test_stdout_is_protocol_only() -> None:
    """Whatever prints in the server's process, and however Python buffers."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    async with PipeEditor([SERVE_FAKE, "noisy"], env=env) as editor:
        await editor.start()
        await wait_until(editor, "ready")
        await command(editor, "test.open")
        position = await editor.open(SOURCE)
        large = [
            editor.message("workspace/executeCommand", {"command": "test.large"}) for _ in range(20)
        ]
        small = [editor.inline_message(position) for _ in range(20)]
        for pair in zip(large, small, strict=True):
            for message in pair:
                await editor.send(message)
        for message in large:
            assert await editor.result(message["id"]) == "x" * N_LARGE_CHARS
        for message in small:
            await editor.result(message["id"])
        [item] = await editor.inline(position)
        assert item["insertText"] == SAYS
    for noise in ("a print\n", "not flushed", "native code", "a child"):
        assert noise in editor.stderr
