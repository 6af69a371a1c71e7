"""Messages that no good client sends: each request is answered once, and the session goes on.

Invariant: after every one of them the server completes as ever (`still_answers`), and
nothing is shown to the user.
Threads: the event loop; the completer's worker.
"""

from __future__ import annotations

from typing import Any

import pytest
from editor import CURSOR, URI, Json, to_position
from fake_editor import FakeEditor

INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32600, -32601, -32602
ORIGIN = {"line": 0, "character": 0}
DOCUMENT = {"uri": URI}


async def check_refused(message: Json, code: int, says: str) -> None:
    """A request, completed by `message`, gets this error; the session goes on."""
    async with FakeEditor() as editor:
        await editor.start()
        await editor.open("x = 1\n")
        request = {**editor.message(""), **message}
        await editor.send(request)
        error = await editor.error(request["id"])
        assert error["code"] == code
        assert says in error["message"]
        await editor.still_answers()


async def check_ignored(*messages: Any) -> None:
    """Messages that nobody waits for leave no trace; the session goes on."""
    async with FakeEditor() as editor:
        await editor.start()
        await editor.open("x = 1\n")
        for message in messages:
            await editor.send(message)
        assert editor.server.protocol.documents.get(URI).text == "x = 1\n"
        await editor.still_answers()


def completion(position: Any = ORIGIN, document: Any = DOCUMENT) -> Json:
    params = {"textDocument": document, "position": position}
    return {"method": "textDocument/completion", "params": params}


def notification(method: str, params: Any) -> Json:
    return {"jsonrpc": "2.0", "method": method, "params": params}


# --- requests ---


@pytest.mark.parametrize("method", ["no/such", "$/no/such", "textDocument/hover", ""])
async def test_unknown_methods(method: str) -> None:
    await check_refused({"method": method}, METHOD_NOT_FOUND, method)


async def test_an_unknown_method_may_go_without_parameters() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        request = editor.message("no/such")
        del request["params"]
        await editor.send(request)
        assert (await editor.error(request["id"]))["code"] == METHOD_NOT_FOUND
        await editor.send({"jsonrpc": "2.0", "method": "no/such"})
        await editor.still_answers()


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (completion(position=None), "$.params.position"),
        (completion(position=[0, 0]), "$.params.position"),
        (completion(position={"line": 0}), "character"),
        (completion(position={"line": "one", "character": 0}), "$.params.position.line"),
        (completion(position={"line": -1, "character": 0}), "line"),
        (completion(position={"line": 0, "character": -5}), "character"),
        (completion(position={"line": 0, "character": 2**31}), "character"),
        (completion(document=None), "$.params.textDocument"),
        (completion(document={}), "uri"),
        (completion(document={"uri": 5}), "not open: 5"),
        ({"method": "textDocument/completion", "params": [1, 2]}, "$.params"),
        ({"method": "textDocument/completion", "params": None}, "$.params"),
        ({**completion(), "method": "textDocument/inlineCompletion"}, "context"),
        ({"method": "workspace/executeCommand", "params": {"arguments": []}}, "command"),
        ({"method": "workspace/executeCommand", "params": {"command": "rm"}}, "rm"),
        (
            {
                "method": "workspace/executeCommand",
                "params": {"command": "slm-lsp.stats", "arguments": [1]},
            },
            "arguments",
        ),
    ],
)
async def test_parameters_that_do_not_fit(message: Json, says: str) -> None:
    await check_refused(message, INVALID_PARAMS, says)


async def test_a_document_that_is_not_open() -> None:
    unknown = {"uri": "file:///other.py"}
    says = "not open: file:///other.py"
    await check_refused(completion(document=unknown), INVALID_PARAMS, says)
    inline = {**completion(document=unknown), "method": "textDocument/inlineCompletion"}
    inline["params"] = {**inline["params"], "context": {"triggerKind": 1}}
    await check_refused(inline, INVALID_PARAMS, says)


async def test_a_request_of_another_protocol() -> None:
    await check_refused({"method": "shutdown", "jsonrpc": "1.0"}, INVALID_REQUEST, "2.0")
    async with FakeEditor() as editor:
        await editor.start()
        request = editor.message("shutdown")
        del request["jsonrpc"]
        await editor.send(request)
        assert (await editor.error(request["id"]))["code"] == INVALID_REQUEST
        await editor.still_answers()


@pytest.mark.parametrize("msg_id", ["five", "", "2", 0, -1])
async def test_ids_of_any_kind_come_back(msg_id: Any) -> None:
    async with FakeEditor() as editor:
        await editor.start()
        await editor.open("\nx = 1\n")
        editor.expect(msg_id)
        editor.engine.enqueue("")
        await editor.send({"jsonrpc": "2.0", "id": msg_id, **completion()})
        assert (await editor.result(msg_id))["items"] == []
        await editor.still_answers()


@pytest.mark.parametrize("method", [None, 5, ["shutdown"], {"jsonrpc": "2.0"}])
async def test_a_method_that_is_no_text(method: Any) -> None:
    await check_refused({"method": method}, INVALID_REQUEST, "a method a text")


@pytest.mark.parametrize("msg_id", [None, True, 1.5, [1], {"a": 1}])
async def test_an_id_that_nobody_can_wait_for(msg_id: Any) -> None:
    """It is not done, and the refusal has no id."""
    async with FakeEditor() as editor:
        await editor.start()
        await editor.open("\nx = 1\n")
        editor.expect(None)
        await editor.send({"jsonrpc": "2.0", "id": msg_id, "method": "shutdown"})
        assert (await editor.error(None))["code"] == INVALID_REQUEST
        await editor.still_answers()


async def test_what_looks_like_a_message_within_one_is_none() -> None:
    """An answer to it would be one that nobody asked for."""
    inner = {"jsonrpc": "2.0", "id": "inner", "method": "textDocument/completion", "params": 5}
    await check_refused(completion(position=inner), INVALID_PARAMS, "$.params.position")
    await check_ignored(
        notification("workspace/didChangeConfiguration", {"settings": inner}),
        [inner],
    )


# --- positions ---


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
async def test_positions_outside_the_text_are_its_edges(encoding: str) -> None:
    async with FakeEditor(capabilities={"general": {"positionEncodings": [encoding]}}) as editor:
        await editor.start()
        await editor.open("a = '😀'\nb = 2")
        most = 2**31 - 1
        for line, character, offset in ((0, most, 7), (1, 99, 13), (9, 0, 13), (most, most, 13)):
            editor.engine.enqueue(" + 1")
            [item] = await editor.inline({"line": line, "character": character})
            end = to_position(editor.texts[URI], offset, encoding)
            assert item["range"] == {"start": end, "end": end}
        await editor.still_answers()


# --- notifications and responses ---

BAD_CHANGES: list[Any] = [
    None,
    {},
    {"textDocument": {"uri": URI, "version": 2}, "contentChanges": "all of it"},
    {"textDocument": {"uri": URI, "version": 2}, "contentChanges": [{"txt": "y"}]},
    {"textDocument": {"uri": URI, "version": "new"}, "contentChanges": [{"text": "y"}]},
    {"textDocument": DOCUMENT, "contentChanges": [{"text": "y"}]},
    {"textDocument": {"uri": "file:///other.py", "version": 2}, "contentChanges": [{"text": "y"}]},
]


async def test_changes_that_cannot_be_made() -> None:
    await check_ignored(*(notification("textDocument/didChange", bad) for bad in BAD_CHANGES))


async def test_other_notifications_that_cannot_be_followed() -> None:
    await check_ignored(
        notification("textDocument/didOpen", {"textDocument": {"uri": URI, "text": "no version"}}),
        notification("textDocument/didOpen", []),
        notification("textDocument/didClose", {"textDocument": {"uri": "file:///other.py"}}),
        notification("notebookDocument/didChange", {"notebookDocument": {"uri": "file:///b"}}),
        notification("$/cancelRequest", {}),
        notification("$/cancelRequest", None),
        notification("$/setTrace", {"value": "loud"}),
        notification("no/such", {"a": 1}),
        notification("workspace/didChangeConfiguration", {"settings": None}),
    )


async def test_responses_that_nobody_waits_for() -> None:
    await check_ignored(
        {"jsonrpc": "2.0", "id": "unknown", "result": None},
        {"jsonrpc": "2.0", "id": 1, "result": {"items": []}},
        {"jsonrpc": "2.0", "id": "unknown", "error": {"code": 1, "message": "no"}},
        {"jsonrpc": "2.0", "id": "unknown", "error": "no"},
        {"jsonrpc": "2.0", "id": None, "error": None},
    )


async def test_what_is_no_message() -> None:
    deep = b"[" * 100_000
    await check_ignored(b"", b"{", b"\xff\xfe", b"[]", b"[{}]", b"1", b"null", b'"x"', b"{}", deep)
    await check_ignored({"jsonrpc": "2.0"}, {"jsonrpc": "2.0", "method": 5}, {"method": "exit"})


# --- texts ---


async def check_text(text: str, at: Json | None = None) -> None:
    """A document with this text is answered, by an item that a client can place."""
    async with FakeEditor() as editor:
        await editor.start()
        end = await editor.open(text)
        if not text.isspace():  # of nothing but white space the engine is not asked
            editor.engine.enqueue("x")
        for item in await editor.inline(at or end):
            assert editor.accept_inline(item)
        change = {"range": {"start": ORIGIN, "end": ORIGIN}, "text": "\ud83dx=# \0 😀\n"}
        await editor.change(change)
        editor.engine.enqueue("x")
        await editor.popup(ORIGIN)
        assert editor.server.protocol.documents.get(URI).text == editor.texts[URI]
        await editor.still_answers()


@pytest.mark.parametrize(
    "text",
    [
        "\0\1\2ELF\x7f\0" * 50,
        "\ud800 lone = ",
        "a = '\udc00'\nb = ",
        "\ufeffbom = ",
        "a\r\nb\rc\n\r\nd = ",
        "\r",
        "\x0c\x85\u2028",
        "((((((((((" * 500,
        "é" * 3000 + " = ",
    ],
)
async def test_texts_of_every_kind(text: str) -> None:
    await check_text(text)


async def test_one_line_of_five_megabytes() -> None:
    await check_text("x = [" + "1, " * 1_700_000)


async def test_unknown_and_empty_languages() -> None:
    for language in ("brainfuck", "", "Python", "\0"):
        async with FakeEditor() as editor:
            await editor.start()
            position = await editor.open(f"x = {CURSOR}\n", language=language)
            editor.engine.enqueue("1")
            assert len(await editor.inline(position)) == 1
            await editor.still_answers()


async def test_known_languages_are_plain_text() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        await editor.open("x = ", language="python")
        assert type(editor.server.protocol.documents.get(URI).language) is str


async def test_opened_twice_closed_twice() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        await editor.open("old\n")
        position = await editor.open(f"x = {CURSOR}\n")
        editor.engine.enqueue("1")
        [item] = await editor.inline(position)
        assert editor.accept_inline(item) == "x = 1\n"
        await editor.close()
        await editor.close()
        await editor.still_answers()
