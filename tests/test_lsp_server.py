"""The server as an editor sees it: answers, documents, progress, cancelling, ending.

Invariant: no model, no stream and no time: engines are scripted and the clock is fake where
one matters.
Threads: the event loop; the completer's worker.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from editor import CURSOR, URI, Json, edited, to_offset, to_position
from fake_editor import FakeEditor

from slm_lsp.types import Finish, Generation, Text

ENCODINGS = ("utf-8", "utf-16", "utf-32")
INVALID_REQUEST, NOT_INITIALIZED, CANCELLED = -32600, -32002, -32800


def offering(*encodings: str) -> Json:
    return {"general": {"positionEncodings": list(encodings)}}


def put(position: Json, text: str, end: Json | None = None) -> Json:
    """One incremental change."""
    return {"range": {"start": position, "end": end or position}, "text": text}


# --- answers ---


async def check(
    source: str, says: str, expect: str, encoding: str = "utf-16", popup: list[str] | None = None
) -> None:
    """Accepting the ghost text gives `expect`; accepting each item of the popup, `popup`."""
    async with FakeEditor(capabilities=offering(encoding)) as editor:
        result = await editor.start()
        assert result["capabilities"]["positionEncoding"] == encoding
        position = await editor.open(source)
        for _ in range(2):
            editor.engine.enqueue(says)
        [item] = await editor.inline(position)
        assert editor.accept_inline(item) == expect
        items = await editor.popup(position)
        assert [editor.accept(item) for item in items] == (popup or [expect])
        for item in items:
            assert item["label"].strip(), "an item without a label cannot be seen"
            assert item["textEdit"]["range"]["end"] == position
            # Clients compare it with what stands between the range's start and the cursor.
            replaced = edited(editor.texts[URI], item["textEdit"]["range"], "\0", encoding)
            n_typed = len(editor.texts[URI]) + 1 - len(replaced)
            assert item["filterText"].startswith(item["textEdit"]["newText"].strip()[:n_typed])


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_answers_in_the_clients_units(encoding: str) -> None:
    await check("x = '😀é' + <CURSOR>\n", "ys", "x = '😀é' + ys\n", encoding)
    await check("# 漢字\n'𝒳', 名<CURSOR>", "前 = 1", "# 漢字\n'𝒳', 名前 = 1", encoding)


async def test_popup_has_the_first_line_and_the_block() -> None:
    await check(
        "for x in y:\n    <CURSOR>\n",
        "print(x)\n    log(x)",
        "for x in y:\n    print(x)\n    log(x)\n",
        popup=["for x in y:\n    print(x)\n", "for x in y:\n    print(x)\n    log(x)\n"],
    )


async def test_popup_of_a_block_that_starts_on_the_next_line() -> None:
    await check(
        "def f(x):<CURSOR>\n",
        "\n    y = x\n    return y",
        "def f(x):\n    y = x\n    return y\n",
        popup=["def f(x):\n    y = x\n", "def f(x):\n    y = x\n    return y\n"],
    )


async def test_popup_items_say_what_they_are() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        position = await editor.open("if a:\n    <CURSOR>\n")
        # Typed meanwhile, so that the items have a word before them.
        editor.engine.before_answer = lambda: editor.feed(
            editor.change_message(put(position, "pri"))
        )
        editor.engine.enqueue("print(1)\n    stop()")
        line, block = await editor.popup(position)
        assert (line["label"], block["label"]) == ("print(1)", "print(1) …")
        assert (line["filterText"], block["filterText"]) == ("print(1)", "print(1)\n    stop()")
        assert (line.get("documentation"), block["documentation"]) == (None, "print(1)\n    stop()")
        assert line["sortText"] < block["sortText"]
        # PlainText, AsIs: a `$` is no snippet and nobody indents again.
        assert all((i["insertTextFormat"], i["insertTextMode"]) == (1, 1) for i in (line, block))
        assert editor.accept(line) == "if a:\n    print(1)\n"
        assert editor.accept(block) == "if a:\n    print(1)\n    stop()\n"


async def check_replaces(source: str, says: str, word: str, filter_text: str) -> None:
    """The popup's item replaces `word` before the cursor and is compared as `filter_text`."""
    async with FakeEditor() as editor:
        await editor.start()
        position = await editor.open(source)
        editor.engine.enqueue(says)
        [item] = await editor.popup(position)
        assert item["filterText"] == filter_text
        text, edit_range = editor.texts[URI], item["textEdit"]["range"]
        start = to_offset(text, edit_range["start"], editor.encoding)
        assert text[start : to_offset(text, edit_range["end"], editor.encoding)] == word
        assert item["textEdit"]["newText"].startswith(word)


async def test_a_popup_item_replaces_the_word_before_the_cursor() -> None:
    await check_replaces("x = 名.pri<CURSOR>", "nt(1)", "pri", "print(1)")
    await check_replaces("x = 名前<CURSOR>", ".f()", "名前", "名前.f()")
    await check_replaces("x = (<CURSOR>", "'a b'", "", "'a b'")
    await check_replaces("x =<CURSOR>", " 12", "", "12")


async def test_crlf_documents_get_crlf() -> None:
    expect = "if a:\r\n    b()\r\n    c()\r\n"
    first = "if a:\r\n    b()\r\n"
    await check("if a:\r\n    <CURSOR>\r\n", "b()\n    c()", expect, popup=[first, expect])


async def test_no_text_is_an_empty_answer() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        position = await editor.open("x = <CURSOR>\n")
        editor.engine.enqueue("")
        assert await editor.inline(position) == []
        editor.engine.enqueue(Generation("", Finish.DEADLINE))
        assert await editor.popup(position) == []
        assert [line["reject"] for line in editor.trace.lines] == ["empty", "no_time"]


# --- changes ---


async def check_change(source: str, changes: Callable[[FakeEditor], list[Json]]) -> None:
    """After one notification with these changes, server and client hold the same text."""
    for encoding in ENCODINGS:
        async with FakeEditor(capabilities=offering(encoding)) as editor:
            await editor.start()
            await editor.open(source)
            await editor.change(*changes(editor))
            assert editor.server.protocol.documents.get(URI).text == editor.texts[URI]
            assert editor.server.protocol.documents.get(URI).version == 2


async def test_several_edits_in_one_notification() -> None:
    def changes(editor: FakeEditor) -> list[Json]:
        text = "a = '😀'\nb = 2\n"
        end = to_position(text, len("a = '😀'"), editor.encoding)
        first = put(end, " # 漢", end)
        second = put({"line": 1, "character": 0}, "\n", {"line": 1, "character": 4})
        third = put({"line": 2, "character": 0}, "three", {"line": 2, "character": 1})
        return [first, second, third]

    await check_change("a = '😀'\nb = 2\n", changes)


async def test_the_whole_text() -> None:
    await check_change("a", lambda editor: [{"text": "b = '😀'\r\n"}])
    await check_change("a", lambda editor: [{"text": "x\n"}, put({"line": 1, "character": 0}, "y")])


async def test_lines_end_only_where_lsp_ends_them() -> None:
    await check_change(
        "a\x0cb\u2028c\nd", lambda editor: [put({"line": 1, "character": 0}, "\x85x")]
    )


async def test_completions_see_the_newest_text() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        await editor.open("x = 1\n")
        await editor.change(put({"line": 1, "character": 0}, "y = "))
        editor.engine.enqueue("2")
        [item] = await editor.inline({"line": 1, "character": 4})
        assert editor.accept_inline(item) == "x = 1\ny = 2"


# --- notebooks ---

CELLS = ("file:///book.ipynb#1", "file:///book.ipynb#2")


async def open_book(editor: FakeEditor) -> None:
    items: list[Json] = [
        {"uri": uri, "languageId": "python", "version": 1, "text": text}
        for uri, text in zip(CELLS, ("x = 1\n", "y = "), strict=True)
    ]
    editor.texts.update({item["uri"]: item["text"] for item in items})
    cells = [{"kind": 2, "document": uri} for uri in CELLS]
    book = {"uri": "file:///book.ipynb", "notebookType": "jupyter", "version": 1, "cells": cells}
    params = {"notebookDocument": book, "cellTextDocuments": items}
    await editor.notify("notebookDocument/didOpen", params)


async def change_book(editor: FakeEditor, cells: Json | None) -> None:
    change = {} if cells is None else {"cells": cells}
    book = {"uri": "file:///book.ipynb", "version": 2}
    await editor.notify("notebookDocument/didChange", {"notebookDocument": book, "change": change})


async def test_cells_are_documents() -> None:
    async with FakeEditor(capabilities={"notebookDocument": {"synchronization": {}}}) as editor:
        result = await editor.start()
        assert result["capabilities"]["notebookDocumentSync"]["notebookSelector"]
        await open_book(editor)
        editor.engine.enqueue("x")
        [item] = await editor.inline({"line": 0, "character": 4}, CELLS[1])
        assert editor.accept_inline(item, CELLS[1]) == "y = x"

        change = put({"line": 0, "character": 4}, "x + ")
        editor.texts[CELLS[1]] = "y = x + "
        content = {"document": {"uri": CELLS[1], "version": 2}, "changes": [change]}
        await change_book(editor, {"textContent": [content]})
        editor.engine.enqueue("1")
        [item] = await editor.inline({"line": 0, "character": 8}, CELLS[1])
        assert editor.accept_inline(item, CELLS[1]) == "y = x + 1"


async def test_cells_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeEditor() as editor:
        await editor.start()
        parsed: list[str] = []
        forgotten: list[str] = []
        completer = editor.server.completer
        monkeypatch.setattr(completer, "opened", lambda snapshot: parsed.append(snapshot.uri))
        monkeypatch.setattr(completer, "closed", forgotten.append)
        await open_book(editor)
        new = {"uri": "file:///book.ipynb#3", "languageId": "python", "version": 1, "text": "z = "}
        structure = {
            "array": {"start": 0, "deleteCount": 1, "cells": [{"kind": 2, "document": new["uri"]}]},
            "didOpen": [new],
            "didClose": [{"uri": CELLS[0]}],
        }
        await change_book(editor, {"structure": structure})
        editor.engine.enqueue("3")
        [item] = await editor.inline({"line": 0, "character": 4}, "file:///book.ipynb#3")
        assert item["insertText"] == "3"
        assert CELLS[0] not in editor.server.protocol.documents
        await change_book(editor, None)
        closing = {
            "notebookDocument": {"uri": "file:///book.ipynb"},
            "cellTextDocuments": [{"uri": CELLS[1]}, {"uri": "file:///book.ipynb#3"}],
        }
        await editor.notify("notebookDocument/didClose", closing)
        assert parsed == [*CELLS, new["uri"]]
        assert forgotten == [*CELLS, new["uri"]]
        assert len(editor.server.protocol.documents) == 0


async def prompt_of(editor: FakeEditor, uri: str, character: int) -> str:
    """What the model is shown of the source for a request in a cell."""
    editor.engine.enqueue("1")
    await editor.inline({"line": 0, "character": character}, uri)
    segments = editor.engine.requests[-1].prompt.segments
    return "".join(each.text for each in segments if isinstance(each, Text))


async def test_a_cell_is_completed_behind_the_cells_before_it() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        await open_book(editor)
        shown = await prompt_of(editor, CELLS[1], 4)
        assert "x = 1\n\ny =" in shown

        # The cells change places; the client deletes one and inserts it again.
        array: Json = {"start": 0, "deleteCount": 1}
        await change_book(editor, {"structure": {"array": array}})
        array = {"start": 1, "deleteCount": 0, "cells": [{"kind": 2, "document": CELLS[0]}]}
        await change_book(editor, {"structure": {"array": array}})
        assert "x" not in await prompt_of(editor, CELLS[1], 4)
        assert editor.server.protocol.notebooks.snapshot(CELLS[0]).preamble == "y =\n\n"

        # A cell that turns into text says nothing to the others.
        await change_book(editor, {"data": [{"kind": 1, "document": CELLS[1]}]})
        assert editor.server.protocol.notebooks.snapshot(CELLS[0]).preamble == ""


# --- documents that move on ---


async def check_moved(meanwhile: Callable[[FakeEditor], Json], expect: str | None) -> None:
    """`x = ` is completed by "value + 1" while the user does something; `expect` results."""
    async with FakeEditor() as editor:
        await editor.start()
        position = await editor.open(f"x = {CURSOR}\n")
        editor.engine.before_answer = lambda: editor.feed(meanwhile(editor))
        editor.engine.enqueue("value + 1")
        items = await editor.inline(position, invoked=False)
        if expect is None:
            assert items == []
            assert editor.trace.lines[-1]["reject"] == "moved_on"
        else:
            [item] = items
            assert editor.accept_inline(item) == expect


async def test_typed_through_is_refitted() -> None:
    at = {"line": 0, "character": 4}
    await check_moved(lambda e: e.change_message(put(at, "va")), "x = value + 1\n")


async def test_other_edits_are_moved_on() -> None:
    at, below = {"line": 0, "character": 4}, {"line": 1, "character": 0}
    await check_moved(lambda e: e.change_message(put(at, "w")), None)
    await check_moved(lambda e: e.change_message(put(below, "va")), None)
    await check_moved(lambda e: e.change_message({"text": ""}), None)
    closed = {"textDocument": {"uri": URI}}
    message = {"jsonrpc": "2.0", "method": "textDocument/didClose", "params": closed}
    await check_moved(lambda e: message, None)
