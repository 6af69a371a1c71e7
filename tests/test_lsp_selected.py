"""Ghost text beside a popup goes on from the item that is selected there.

Invariant: items begin with the selected text and carry its range, in the client's units; the model
is shown the document as it would be, and what cannot be used of the item changes nothing.
Threads: the event loop; the completer's worker.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from editor import CURSOR, URI, Json, to_position
from fake_editor import FakeEditor, GatedEngine

from slm_lsp.completion.policy import PLAIN
from slm_lsp.types import Finish, Generation, GenerationRequest, Text

SOURCE = "😀 = '😀'; x = «aver<CURSOR>»\ny = 2\n"


def read(source: str) -> tuple[str, int, int, int]:
    """A fixture's text, its cursor, and the range between « and »."""
    text = source.replace("«", "").replace("»", "").replace(CURSOR, "")
    start = source.replace(CURSOR, "").index("«")
    end = source.replace(CURSOR, "").replace("«", "").index("»")
    return text, source.replace("«", "").replace("»", "").index(CURSOR), start, end


async def opened(editor: FakeEditor, source: str, selected: str) -> tuple[Json, Json]:
    """Open a fixture; where its cursor is, and the popup's item."""
    text, at, start, end = read(source)
    await editor.open(text)
    ends = [to_position(text, offset, editor.encoding) for offset in (start, end)]
    info = {"range": dict(zip(("start", "end"), ends, strict=True)), "text": selected}
    return to_position(text, at, editor.encoding), info


def shown_to(request: GenerationRequest) -> str:
    prompt = request.prompt
    return "".join(each.text for each in prompt.segments if isinstance(each, Text)) + prompt.heal


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
async def test_items_go_on_from_the_selected_one(encoding: str) -> None:
    async with FakeEditor(capabilities={"general": {"positionEncodings": [encoding]}}) as editor:
        await editor.start()
        position, info = await opened(editor, SOURCE, "average_of")
        editor.engine.enqueue("(numbers)")
        [item] = await editor.inline(position, selectedCompletionInfo=info)
        assert item["insertText"] == "average_of(numbers)"
        assert item["range"] == info["range"]
        accepted = "😀 = '😀'; x = average_of(numbers)\ny = 2\n"
        assert editor.accept_inline(item) == accepted
        [request] = editor.engine.requests
        assert "x = average_of" in shown_to(request)
        # The document itself is as it was.
        assert editor.server.protocol.documents.get(URI).text == editor.texts[URI]


@pytest.mark.parametrize(
    ("source", "selected", "says", "accepted"),
    [
        ("x = «<CURSOR>»", "name", "()", "x = name()"),
        ("x = «na<CURSOR>me»", "number", " + 1", "x = number + 1"),
        ("a\r\nx = «na<CURSOR>»\r\n", "name", " + 1", "a\r\nx = name + 1\r\n"),
        ("x = «na<CURSOR>»", "😀", " + 1", "x = 😀 + 1"),
    ],
)
async def test_ranges_around_the_cursor(
    source: str, selected: str, says: str, accepted: str
) -> None:
    async with FakeEditor() as editor:
        await editor.start()
        position, info = await opened(editor, source, selected)
        editor.engine.enqueue(says)
        [item] = await editor.inline(position, selectedCompletionInfo=info)
        assert item["insertText"].startswith(selected)
        assert item["range"] == info["range"]
        assert editor.accept_inline(item) == accepted


async def test_alternatives_go_on_from_it_too() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        position, info = await opened(editor, "x = «na<CURSOR>»\n", "name")
        editor.engine.enqueue(" + 1")
        editor.engine.others = [Generation(each, Finish.EOS) for each in (" - 2", " * 3")]
        items = await editor.inline(position, selectedCompletionInfo=info)
        assert [each["insertText"] for each in items] == ["name + 1", "name - 2", "name * 3"]
        assert all(each["range"] == info["range"] for each in items)


async def test_once_accepted_its_text_is_known() -> None:
    async with FakeEditor(policy=replace(PLAIN, reuse=True)) as editor:
        await editor.start()
        position, info = await opened(editor, "x = «na<CURSOR>»\n", "name")
        editor.engine.enqueue(" + 1")
        await editor.inline(position, invoked=False, selectedCompletionInfo=info)
        await editor.change({"range": info["range"], "text": "name"})
        [item] = await editor.inline({"line": 0, "character": 8}, invoked=False)
        assert item["insertText"] == " + 1"
        assert len(editor.engine.requests) == 1


@pytest.mark.parametrize(
    ("typed", "accepted"),
    [("name", "x = name + 1\n"), ("name +", "x = name + 1\n"), ("nap", None)],
)
async def test_what_happens_meanwhile(typed: str, accepted: str | None) -> None:
    """The item is accepted, or something else typed, before there is an answer."""
    engine = GatedEngine()
    async with FakeEditor(engine) as editor:
        await editor.start()
        position, info = await opened(editor, "x = «na<CURSOR>»\n", "name")
        engine.enqueue(" + 1")
        message = editor.inline_message(position, invoked=False, selectedCompletionInfo=info)
        await editor.send(message)
        await engine.asked.wait()
        await editor.change({"range": info["range"], "text": typed})
        engine.gate.set()
        items = (await editor.result(message["id"]))["items"]
        assert [editor.accept_inline(each) for each in items] == ([accepted] if accepted else [])


def moved(info: Json, **ends: tuple[int, int]) -> Json:
    """An item with other ends of its range."""
    there = {
        name: {"line": line, "character": character} for name, (line, character) in ends.items()
    }
    return {**info, "range": info["range"] | there}


AT_CURSOR = {"line": 0, "character": 6}
INFO = {"range": {"start": {"line": 0, "character": 4}, "end": AT_CURSOR}, "text": "name"}


@pytest.mark.parametrize(
    "info",
    [
        moved(INFO, start=(0, 0), end=(0, 2)),
        moved(INFO, start=(0, 7), end=(0, 8)),
        moved(INFO, end=(0, 99)),
        moved(INFO, end=(1, 1)),
        moved(INFO, start=(0, 6), end=(0, 4)),
        moved(INFO, start=(9, 0), end=(9, 4)),
        {**INFO, "text": ""},
        {**INFO, "text": "n" * 1_000_000},
        {**INFO, "text": 5},
        {"range": INFO["range"]},
        {"text": "name"},
        {**INFO, "range": None},
        {**INFO, "range": {"start": AT_CURSOR}},
        moved(INFO, start=(-1, 0)),
        moved(INFO, end=(0, 2**31)),
        {**INFO, "range": {"start": {"line": "0", "character": 4}, "end": AT_CURSOR}},
        {**INFO, "range": [0, 1]},
        "name",
        [],
        None,
    ],
)
async def test_what_cannot_be_used_changes_nothing(info: Any) -> None:
    """Stale: of a document as it was. Malformed: of no document."""
    async with FakeEditor() as editor:
        await editor.start()
        await editor.open("x = na\ny = 2\n")
        editor.engine.enqueue("me")
        [item] = await editor.inline(AT_CURSOR, selectedCompletionInfo=info)
        assert item["insertText"] == "me"
        assert item["range"] == {"start": AT_CURSOR, "end": AT_CURSOR}
        await editor.still_answers()


async def test_lone_surrogates_of_an_item() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        position, info = await opened(editor, "x = '«<CURSOR>»\n", "\ud83d")
        editor.engine.enqueue("'")
        for item in await editor.inline(position, selectedCompletionInfo=info):
            assert item["range"] == info["range"]
        await editor.still_answers()


async def test_what_is_supposed_is_no_news_of_the_document() -> None:
    """What the user has not typed counts neither as typed nor as a word of the open files."""
    async with FakeEditor() as editor:
        await editor.start()
        position, info = await opened(editor, "x = «na<CURSOR>»\n", "name_of_no_file")
        editor.engine.enqueue(" + 1")
        await editor.inline(position, invoked=False, selectedCompletionInfo=info)
        completer = editor.server.completer
        assert completer is not None
        # Followed on the worker, behind whatever was handed to it before.
        await completer._preparer._worker.begin(int)
        assert "name_of_no_file" not in completer._preparer.index.words


async def test_what_is_supposed_is_not_what_the_user_took() -> None:
    """A suggestion that the selected item says, too, is not taken by that."""
    async with FakeEditor(policy=replace(PLAIN, confidence_gate=True)) as editor:
        await editor.start()
        position, info = await opened(editor, "x = «<CURSOR>»\n", "name + 1")
        for says in ("name + 1", " + 2", " + 3"):
            n_tokens = len(says.split())
            ends = (*range(1, n_tokens), len(says))
            sure = Generation(says, Finish.EOS, logprobs=(-0.01,) * n_tokens, ends=ends)
            editor.engine.enqueue(sure)
        assert await editor.inline(position, invoked=False)
        assert await editor.inline(position, invoked=False, selectedCompletionInfo=info)
        completer = editor.server.completer
        assert completer is not None
        assert completer.gate is not None
        assert not completer.gate.has_new
        await editor.change({"range": info["range"], "text": "name + 1"})
        await editor.inline({"line": 0, "character": 12}, invoked=False)
        assert completer.gate.has_new
