"""A session from initialize to exit: the model's life, settings, cancelling, deadlines, ending.

Invariant: no model, no stream and no time: engines are scripted and gated by the test, and
the clock is fake where one matters.
Threads: the event loop; the completer's worker.
"""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from editor import CURSOR, URI, Json
from fake_editor import PATIENT, FakeEditor, GatedEngine

from slm_lsp.completion.completer import RESERVE_MS
from slm_lsp.completion.policy import PLAIN
from slm_lsp.config import Config
from slm_lsp.deadline import FakeClock
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.lsp import server
from slm_lsp.types import EngineState, FimTemplate, ModelInfo, Priority, Text

INVALID_REQUEST, NOT_INITIALIZED, CANCELLED = -32600, -32002, -32800


# --- the model's life ---


class LoadingEngine(FakeEngine):
    """Not ready until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.state = EngineState.LOADING
        self._ready_info, self.info = self.info, None

    def become_ready(self) -> None:
        self.state, self.info = EngineState.READY, self._ready_info

    def fail(self, why: str) -> None:
        self.state, self.failure = EngineState.FAILED, why


async def test_initialize_touches_no_engine() -> None:
    async with FakeEditor() as editor:
        await editor.call("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
        assert editor.started_with is None
        await editor.notify("initialized", {})
        assert editor.started_with == PATIENT


async def test_requests_before_the_model_is_ready_are_empty() -> None:
    async with FakeEditor(LoadingEngine()) as editor:
        await editor.start()
        position = await editor.open("x = <CURSOR>\n")
        assert await editor.inline(position) == []
        assert await editor.popup(position) == []
        editor.engine.become_ready()
        editor.on_state(EngineState.READY)
        editor.engine.enqueue("1")
        assert len(await editor.inline(position)) == 1
        assert [line["reject"] for line in editor.trace.lines] == ["loading", "loading", None]


PROGRESS = {"window": {"workDoneProgress": True}}


async def test_progress_while_the_model_loads() -> None:
    async with FakeEditor(LoadingEngine(), capabilities=PROGRESS) as editor:
        await editor.start()
        begun = await editor.take("$/progress")
        assert begun["value"]["kind"] == "begin"
        editor.on_progress("fetch the model", 0.426)
        editor.on_progress("load the model", None)
        reports = [await editor.take("$/progress") for _ in range(2)]
        assert [(r["value"]["kind"], r["value"]["message"]) for r in reports] == [
            ("report", "fetch the model"),
            ("report", "load the model"),
        ]
        assert [r["value"].get("percentage") for r in reports] == [42, None]
        editor.on_state(EngineState.READY)
        ended = await editor.take("$/progress")
        assert ended["value"]["kind"] == "end"
        assert len({p["token"] for p in (begun, *reports, ended)}) == 1
        editor.on_progress("too late", 1.0)


async def test_no_progress_without_the_clients_capability() -> None:
    declared: list[Json] = [{}, {"window": {}}, {"window": {"workDoneProgress": False}}]
    for capabilities in declared:
        async with FakeEditor(LoadingEngine(), capabilities=capabilities) as editor:
            await editor.start()
            editor.on_progress("load the model", 0.5)
            editor.on_state(EngineState.READY)


async def test_a_refused_progress_is_none() -> None:
    editor = FakeEditor(LoadingEngine(), capabilities=PROGRESS)
    editor.refuses_progress = True
    async with editor:
        await editor.start()
        await editor.call("workspace/executeCommand", {"command": "slm-lsp.stats"})
        editor.on_progress("load the model", 0.5)
        editor.on_state(EngineState.READY)


async def test_a_model_faster_than_the_client_needs_no_progress() -> None:
    async with FakeEditor(FakeEngine(), capabilities=PROGRESS) as editor:
        await editor.start()
        await editor.still_answers()


async def test_a_begun_progress_ends_with_the_session() -> None:
    async with FakeEditor(LoadingEngine(), capabilities=PROGRESS) as editor:
        await editor.start()
        assert (await editor.take("$/progress"))["value"]["kind"] == "begin"
        await editor.shutdown()
        assert (await editor.take("$/progress"))["value"]["kind"] == "end"


async def test_a_failed_load_is_said_once() -> None:
    async with FakeEditor(LoadingEngine(), capabilities=PROGRESS) as editor:
        await editor.start()
        position = await editor.open("x = <CURSOR>\n")
        await editor.take("$/progress")
        editor.engine.fail("/models/a.gguf is broken: obtain it again")
        editor.on_state(EngineState.FAILED)
        assert (await editor.take("$/progress"))["value"]["kind"] == "end"
        shown = await editor.take("window/showMessage")
        assert shown["type"] == 1
        assert "/models/a.gguf is broken: obtain it again" in shown["message"]
        for _ in range(2):
            assert await editor.inline(position) == []
        assert editor.trace.lines[-1]["reject"] == "engine_failed"
        assert "a.gguf" in editor.trace.lines[-1]["detail"]


CHAT = ModelInfo("talker", 4096, metadata={"tokenizer.chat_template": "{{ messages }}"})


async def test_a_model_made_for_chat_is_said_once() -> None:
    async with FakeEditor(FakeEngine(CHAT)) as editor:
        await editor.start()
        shown = await editor.take("window/showMessage")
        assert shown["type"] == 2
        assert shown["message"].startswith("slm-lsp: talker: it has a chat template and no fill-in")
        assert "`slm-lsp models list`" in shown["message"]
        position = await editor.open("x = <CURSOR>\n")
        editor.engine.enqueue("1")
        assert len(await editor.inline(position)) == 1
        editor.on_state(EngineState.READY)
        # Drained at the end: a second message would be left.


@pytest.mark.parametrize(
    "changed",
    [
        {"metadata": {}},
        {"specials": frozenset({"<fim_prefix>", "<fim_suffix>", "<fim_middle>"})},
        # A registry entry says how it is prompted.
        {"template": FimTemplate("prefix-only", ("{prefix}",))},
    ],
)
async def test_nothing_is_said_of_a_model_that_can_go_on_with_code(changed: Any) -> None:
    async with FakeEditor(FakeEngine(replace(CHAT, **changed))) as editor:
        await editor.start()
        await editor.still_answers()


async def test_what_is_broken_while_something_answers_is_said_once_with_what_to_do() -> None:
    config = replace(PATIENT, server_url="http://127.0.0.1:1", server_key_variable="MY_KEY")
    async with FakeEditor(FakeEngine(), config) as editor:
        await editor.start()
        await editor.still_answers()
        for said in ("the key is missing or wrong; id 1", "the key is missing or wrong; id 2"):
            editor.engine.failure = f"server 127.0.0.1 answered 401: {said}"
            await editor.still_answers()
        shown = await editor.take("window/showMessage")
        assert shown["type"] == 2
        assert (
            "server 127.0.0.1 answered 401: the key is missing or wrong; id 1" in shown["message"]
        )
        assert "What to do: put the key into the environment variable MY_KEY" in shown["message"]
        assert shown["message"].endswith("Meanwhile the model on this machine answers")
        # Something else is.
        editor.engine.failure = "server 127.0.0.1 has no model 'a', but b: set server_model"
        await editor.still_answers()
        assert (
            "What to do: change that setting"
            in ((await editor.take("window/showMessage"))["message"])
        )


async def test_that_nothing_is_completed_is_said_whenever_it_comes_to_that() -> None:
    config = replace(PATIENT, server_url="http://127.0.0.1:1", server_fallback="off")
    async with FakeEditor(LoadingEngine(), config) as editor:
        await editor.start()
        position = await editor.open("x = <CURSOR>\n")
        for _ in range(2):
            editor.engine.fail("server 127.0.0.1 cannot be reached: refused")
            editor.on_state(EngineState.FAILED)
            shown = await editor.take("window/showMessage")
            assert shown["type"] == 1
            assert shown["message"].startswith("slm-lsp: no completions. server 127.0.0.1 cannot")
            assert "What to do: see that it runs and that server_url is right" in shown["message"]
            assert "Meanwhile" not in shown["message"]
            assert await editor.inline(position) == []
            editor.engine.failure = None
            editor.engine.become_ready()
            editor.on_state(EngineState.READY)
            editor.engine.enqueue("1")
            assert len(await editor.inline(position)) == 1


# --- settings ---


async def test_initialization_options_are_settings() -> None:
    async with FakeEditor() as editor:
        await editor.start(initializationOptions={"invoked_budget_ms": 3000, "model": "m.gguf"})
        assert editor.started_with == replace(PATIENT, invoked_budget_ms=3000.0, model="m.gguf")


async def test_a_trace_may_be_asked_for_by_the_client(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    async with FakeEditor() as editor:
        await editor.start(initializationOptions={"trace": str(path)})
        await editor.still_answers()
    [line] = path.read_text().splitlines()
    assert json.loads(line)["n_chars"] == len("1 + 1")
    assert editor.trace.lines == []


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"automatic_budget_ms": "soon", "threads": 2}, ["automatic_budget_ms"]),
        ({"threads": -1, "treads": 1, "max_line_tokens": True}, ["threads", "treads", "max_line"]),
        ({"method": "no/such"}, ["'method'"]),
        (["threads"], ["must be a table"]),
        ("threads", ["must be a table"]),
    ],
)
async def test_wrong_options_are_said_and_the_rest_is_taken(options: Any, names: list[str]) -> None:
    async with FakeEditor(problems=["config.toml: wrong"]) as editor:
        await editor.start(initializationOptions=options)
        for name in ["config.toml: wrong", *names]:
            shown = await editor.take("window/showMessage")
            assert shown["type"] == 2
            assert name in shown["message"]
        good = replace(PATIENT, threads=2 if "automatic_budget_ms" in options else 0)
        assert editor.started_with == good
        await editor.still_answers()


# --- cancelling ---


async def cancel(editor: FakeEditor, msg_id: Any) -> None:
    await editor.notify("$/cancelRequest", {"id": msg_id})


async def test_cancelling_reaches_the_engine() -> None:
    async with FakeEditor(GatedEngine()) as editor:
        await editor.start()
        message = editor.inline_message(await editor.open(f"x = {CURSOR}\n"))
        await editor.send(message)
        await editor.engine.asked.wait()
        assert not editor.engine.requests[0].cancel.cancelled
        for _ in range(2):
            await cancel(editor, message["id"])
        assert (await editor.error(message["id"]))["code"] == CANCELLED
        assert editor.engine.requests[0].cancel.cancelled
        assert [line["reject"] for line in editor.trace.lines] == ["cancelled"]


async def test_cancelled_at_once() -> None:
    async with FakeEditor(GatedEngine()) as editor:
        await editor.start()
        message = editor.inline_message(await editor.open(f"x = {CURSOR}\n"))
        await editor.send(message)
        await cancel(editor, message["id"])
        assert (await editor.error(message["id"]))["code"] == CANCELLED
        assert [line["reject"] for line in editor.trace.lines] == ["cancelled"]


async def test_cancelling_what_is_answered_or_unknown_does_nothing() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        message = editor.inline_message(await editor.open(f"x = {CURSOR}\n"))
        editor.engine.enqueue("1")
        await editor.send(message)
        await editor.result(message["id"])
        for msg_id in (message["id"], 77, "77"):
            await cancel(editor, msg_id)
        await editor.still_answers()


# --- deadlines ---


@pytest.mark.parametrize("method", ["invoked", "automatic", "popup"])
async def test_the_deadline_counts_from_receipt(method: str) -> None:
    clock = FakeClock(1000.0)
    config = Config(invoked_budget_ms=1500.0, automatic_budget_ms=250.0)
    async with FakeEditor(config=config, clock=clock) as editor:
        await editor.start()
        position = await editor.open(f"x = {CURSOR}\n")
        message = editor.inline_message(position, invoked=method == "invoked")
        if method == "popup":
            message["method"] = "textDocument/completion"
            del message["params"]["context"]
        # The time between receipt and the handler's first step is the user's time, too.
        editor.feed(message)
        clock.advance(40.0)
        await editor.result(message["id"])
        [request] = editor.engine.requests
        budget_ms, trigger = (1500.0, "invoked") if method == "invoked" else (250.0, "automatic")
        assert request.deadline.remaining_ms() == budget_ms - 40.0 - RESERVE_MS
        assert editor.trace.lines[-1]["trigger"] == trigger


# --- beginning and ending ---


async def test_before_initialize() -> None:
    async with FakeEditor() as editor:
        await editor.open("x = ")
        for method in ("textDocument/completion", "shutdown", "no/such"):
            error = await editor.error(await editor.request(method))
            assert error["code"] == NOT_INITIALIZED
        await editor.start()
        assert len(editor.server.protocol.documents) == 0


async def test_initialize_comes_once() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        params: Json = {"processId": None, "rootUri": None, "capabilities": {}}
        error = await editor.error(await editor.request("initialize", params))
        assert error["code"] == INVALID_REQUEST
        await editor.still_answers()


async def test_after_shutdown() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        position = await editor.open("x = ")
        assert await editor.call("shutdown") is None
        for method in ("shutdown", "initialize", "no/such"):
            error = await editor.error(await editor.request(method))
            assert error["code"] == INVALID_REQUEST
        message = editor.inline_message(position)
        await editor.send(message)
        assert (await editor.error(message["id"]))["code"] == INVALID_REQUEST
        await editor.open("y = ")
        await editor.close()
        await editor.notify("exit")
        assert editor.exit_code == 0
        assert editor.stream.closed
    assert editor.engine.closed


async def test_exit_without_shutdown_is_a_failure() -> None:
    for initialized in (True, False):
        async with FakeEditor() as editor:
            if initialized:
                await editor.start()
            await editor.notify("exit")
            assert editor.exit_code == 1


class StuckEngine(GatedEngine):
    """Within a native step that does not end before the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def close(self) -> None:
        assert self.release.wait(30)
        super().close()


async def test_shutdown_waits_neither_for_the_engine_nor_for_requests() -> None:
    async with FakeEditor(StuckEngine()) as editor:
        await editor.start()
        message = editor.inline_message(await editor.open(f"x = {CURSOR}\n"))
        await editor.send(message)
        await editor.engine.asked.wait()
        await editor.shutdown()
        assert (await editor.error(message["id"]))["code"] == CANCELLED
        assert [line["reject"] for line in editor.trace.lines] == ["cancelled"]
        editor.engine.release.set()


async def test_stats_count_requests_and_reasons() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        position = await editor.open(f"x = {CURSOR}\n")
        for says in ("1", "", ""):
            editor.engine.enqueue(says)
            await editor.inline(position)
        stats = await editor.call("workspace/executeCommand", {"command": "slm-lsp.stats"})
        assert (stats["n_requests"], stats["rejects"], stats["state"]) == (3, {"empty": 2}, "ready")
        assert stats["engine"]["n_requests"] == 3


async def test_stats_tell_origins_and_latencies_and_what_the_client_counts() -> None:
    async with FakeEditor(policy=replace(PLAIN, reuse=True)) as editor:
        await editor.start()
        position = await editor.open(f"x = {CURSOR}\n")
        editor.engine.enqueue("1")
        for _ in range(3):
            await editor.inline(position)
        await editor.notify("slm-lsp/didShowCompletion", {})
        await editor.notify("slm-lsp/didShowCompletion", {})
        await editor.notify("slm-lsp/didAcceptCompletion", {})
        stats = await editor.call("workspace/executeCommand", {"command": "slm-lsp.stats"})
        assert stats["origins"] == {"model": 1, "reused": 2}
        assert (stats["n_shown"], stats["n_accepted"], stats["n_latencies"]) == (2, 1, 3)
        latency_ms = stats["latency_ms"]
        assert 0 <= latency_ms["p50"] <= latency_ms["p95"] <= latency_ms["p99"]


async def test_a_change_that_nobody_asks_about_is_read_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "IDLE_S", 0.0)
    engine = GatedEngine()
    async with FakeEditor(engine, policy=replace(PLAIN, warm_ahead=True)) as editor:
        await editor.start()
        await editor.open(f"x = 1\n{CURSOR}\n")
        await engine.asked.wait()
        assert editor.server.completer is not None
        flight = editor.server.completer._flights.background(URI)
        assert flight is not None
        engine.gate.set()
        await flight.landed.wait()
        engine.gate.clear()
        engine.asked.clear()
        at = {"line": 1, "character": 0}
        await editor.change({"range": {"start": at, "end": at}, "text": "yy"})
        await engine.asked.wait()
        prompt = engine.requests[-1].prompt
        assert (engine.requests[-1].priority, prompt.max_tokens) == (Priority.WARMUP, 0)
        texts = [each.text for each in prompt.segments if isinstance(each, Text)]
        assert "".join(texts) + prompt.heal == "x = 1\nyy"


async def test_a_request_or_a_close_ends_the_wait_for_idleness() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        position = await editor.open(f"x = {CURSOR}\n")
        typed = {"range": {"start": position, "end": position}, "text": "y"}
        for _ in range(2):
            await editor.change(typed)
            assert len(editor.server._idle) == 1
        await editor.inline(position)
        assert editor.server._idle == {}
        await editor.change(typed)
        await editor.close()
        assert editor.server._idle == {}
