"""What is beyond LSP: the status, pauses, what clients tell of suggestions (docs/protocol.md).

Invariant: no model and no stream; nothing is waited for but messages.
Threads: the event loop; the completer's worker.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from editor import CURSOR, URI, Json
from fake_editor import PATIENT, FakeEditor
from test_lsp_session import LoadingEngine

from slm_lsp.engine.fake import FakeEngine
from slm_lsp.registry.specs import DEFAULT_MODEL
from slm_lsp.types import EngineState

STATUS = "slm-lsp/status"
WANTED = {"experimental": {"slmLspStatus": True}}
INVALID_PARAMS = -32602


async def command(editor: FakeEditor, name: str, *arguments: Any) -> Any:
    params = {"command": f"slm-lsp.{name}", "arguments": list(arguments)}
    return await editor.call("workspace/executeCommand", params)


# --- status ---


async def test_the_status_follows_the_session() -> None:
    async with FakeEditor(LoadingEngine(), capabilities=WANTED) as editor:
        await editor.start()
        assert (await command(editor, "status"))["state"] == "loading"
        editor.on_progress("download the model", 0.25)
        told = await editor.take(STATUS)
        assert (told["state"], told["message"], told["percentage"]) == (
            *("loading", "download the model", 25),
        )
        editor.engine.become_ready()
        editor.on_state(EngineState.READY)
        told = await editor.take(STATUS)
        assert (told["state"], told["model"], told["message"]) == ("ready", "fake", "")
        assert (told["percentage"], told["last_ms"], told["last_reject"]) == (None, None, "")
        position = await editor.open(f"x = {CURSOR}\n")
        editor.engine.enqueue("1")
        await editor.inline(position)
        told = await editor.take(STATUS)
        assert told["last_ms"] > 0
        assert told["last_reject"] == ""
        editor.engine.enqueue("")
        await editor.change({"text": "y = "})
        await editor.inline({"line": 0, "character": 4})
        told = await editor.take(STATUS)
        assert told["last_reject"] == "empty"
        assert told == await command(editor, "status")


async def test_a_failure_says_why() -> None:
    async with FakeEditor(LoadingEngine(), capabilities=WANTED) as editor:
        await editor.start()
        editor.engine.fail("there is no such file")
        editor.on_state(EngineState.FAILED)
        told = await editor.take(STATUS)
        assert (told["state"], told["message"]) == ("failed", "there is no such file")
        await editor.take("window/showMessage")


@pytest.mark.parametrize("capabilities", [{}, {"experimental": {}}, {"experimental": [1]}])
async def test_who_did_not_ask_is_told_nothing(capabilities: Json) -> None:
    async with FakeEditor(capabilities=capabilities) as editor:
        await editor.start()
        await command(editor, "pause")
        assert (await command(editor, "status"))["state"] == "paused"
        # Drained at the end: a status would be left.


async def test_what_is_the_same_is_not_told_again() -> None:
    async with FakeEditor(capabilities=WANTED) as editor:
        await editor.start()
        while (await editor.take(STATUS))["state"] != "ready":
            pass
        await command(editor, "resume")
        await command(editor, "resume")


# --- pauses ---


async def test_a_pause_ends_all_work_until_resumed() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        position = await editor.open(f"x = {CURSOR}\n")
        status = await command(editor, "pause")
        assert (status["state"], status["paused_until_s"]) == ("paused", None)
        editor.engine.enqueue("1")
        assert await editor.inline(position) == []
        assert editor.engine.requests == []
        why = await command(editor, "why", URI)
        assert (why["reject"], "paused" in why["sentence"]) == ("paused", True)
        assert (await command(editor, "resume"))["state"] == "ready"
        assert len(await editor.inline(position)) == 1


async def test_a_pause_for_a_time_ends_by_itself() -> None:
    async with FakeEditor(capabilities=WANTED) as editor:
        await editor.start()
        while (await editor.take(STATUS))["state"] != "ready":
            pass
        status = await command(editor, "pause", 0.0005)
        assert status["paused_until_s"] > 0
        states = [(await editor.take(STATUS))["state"] for _ in range(2)]
        assert states == ["paused", "ready"]
        assert not editor.server.completer or not editor.server.completer.paused


async def test_a_pause_before_anything_is_opened_counts() -> None:
    async with FakeEditor() as editor:
        await editor.call("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
        await command(editor, "pause")
        position = await editor.open(f"x = {CURSOR}\n")
        assert await editor.inline(position) == []


@pytest.mark.parametrize("minutes", [0, -1, True, "5", [5]])
async def test_minutes_that_are_none_are_refused(minutes: Any) -> None:
    async with FakeEditor() as editor:
        await editor.start()
        params = {"command": "slm-lsp.pause", "arguments": [minutes]}
        error = await editor.error(await editor.request("workspace/executeCommand", params))
        assert error["code"] == INVALID_PARAMS
        assert "minutes" in error["message"]
        assert (await command(editor, "status"))["state"] == "ready"


# --- what clients tell ---


async def test_events_are_counted() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        position = await editor.open(f"x = {CURSOR}\n")
        editor.engine.enqueue("1 + 1")
        [item] = await editor.inline(position)
        assert item["command"]["command"] == "slm-lsp.accepted"
        told = {"item": item}
        await editor.notify("textDocument/didShowCompletion", told)
        await editor.notify(
            "textDocument/didPartiallyAcceptCompletion", {**told, "acceptedLength": 2}
        )
        await editor.notify("slm-lsp/didRejectCompletion", told)
        await editor.notify("slm-lsp/didRejectCompletion", None)
        assert await editor.call("workspace/executeCommand", item["command"]) is None
        counters = await command(editor, "stats")
        names = ("n_shown", "n_partly_accepted", "n_rejected", "n_accepted")
        assert [counters[name] for name in names] == [1, 1, 2, 1]


async def test_each_item_has_an_id_of_its_own() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        ids = []
        for text in ("1", "2"):
            position = await editor.open(f"x{text} = {CURSOR}\n", f"file:///{text}.py")
            editor.engine.enqueue(text)
            items = await editor.inline(position, f"file:///{text}.py")
            ids += [item["command"]["arguments"][0] for item in items]
        assert len(set(ids)) == len(ids) == 2


# --- models ---


async def test_models_are_listed_with_the_one_in_use() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        models = await command(editor, "models")
        [used] = [each for each in models if each["in_use"]]
        assert used["name"] == DEFAULT_MODEL
        assert {each["name"] for each in used["quantizations"]} >= {"Q8_0", "Q4_0"}
        assert len(models) > 10
        assert in_use(models) == [(DEFAULT_MODEL, used["quantizations"][0]["name"])]


async def test_the_quantization_in_use_is_told() -> None:
    async with FakeEditor(config=replace(PATIENT, quantization="Q4_0")) as editor:
        await editor.start()
        # Others have a quantization of that name, too.
        assert in_use(await command(editor, "models")) == [(DEFAULT_MODEL, "Q4_0")]


def in_use(models: list[Json]) -> list[tuple[str, str]]:
    return [
        (model["name"], each["name"])
        for model in models
        for each in model["quantizations"]
        if each["in_use"]
    ]


async def test_a_file_in_use_is_listed() -> None:
    async with FakeEditor(config=replace(PATIENT, model="/there/is.gguf")) as editor:
        await editor.start()
        [used] = [each for each in await command(editor, "models") if each["in_use"]]
        assert (used["name"], used["quantizations"]) == ("/there/is.gguf", [])


async def test_a_session_goes_on_with_another_model() -> None:
    first, second = FakeEngine(), LoadingEngine()
    async with FakeEditor(first, capabilities=WANTED) as editor:
        await editor.start()
        position = await editor.open(f"x = {CURSOR}\n")
        first.enqueue("1 + 1")
        assert len(await editor.inline(position)) == 1
        before = editor.on_state
        editor.engine, editor.started_with = second, None  # a session may have this one, too
        status = await command(editor, "use", DEFAULT_MODEL, "Q4_0")
        assert (status["state"], status["model"]) == ("loading", "")
        config = editor.started_with
        assert config is not None
        assert (config.model, config.quantization) == (DEFAULT_MODEL, "Q4_0")
        # What the one before said is not said of this one, nor what its end is.
        assert await editor.inline(position) == []
        before(EngineState.FAILED)
        second.become_ready()
        editor.on_state(EngineState.READY)
        second.enqueue("2 + 2")
        [item] = await editor.inline(position)
        assert item["insertText"] == "2 + 2"
        assert first.closed
        assert len(first.requests) == len(second.requests) == 1
        status, seen = await command(editor, "status"), []
        while editor._inbox:  # all that was told before that answer
            seen.append(await editor.take(STATUS))
        assert seen[-1] == status
        assert {each["state"] for each in seen} == {"loading", "ready"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no-such-model"], "no-such-model"),
        ([DEFAULT_MODEL, "Q1_X"], "Q1_X"),
        (["/no/such/file.gguf"], "/no/such/file.gguf"),
        ([7], "model"),
        ([DEFAULT_MODEL, 7], "quantization"),
    ],
)
async def test_a_wrong_choice_keeps_the_model(arguments: list[Any], says: str) -> None:
    async with FakeEditor() as editor:
        await editor.start()
        params = {"command": "slm-lsp.use", "arguments": arguments}
        error = await editor.error(await editor.request("workspace/executeCommand", params))
        assert error["code"] == INVALID_PARAMS
        assert says in error["message"]
        await editor.still_answers()
