"""What real clients send first: each gets a valid answer, and completions by both methods.

The messages in fixtures/initialize were recorded; only paths and process ids were replaced.

Invariant: the answer is judged by lsprotocol's types and by what the client declared.
Threads: the event loop; the completer's worker.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from editor import CURSOR, INITIALIZE_DIR, Json
from fake_editor import FakeEditor
from lsprotocol import types as lsp
from lsprotocol.converters import get_converter

CLIENTS = sorted(path.stem for path in INITIALIZE_DIR.glob("*.json"))


def params_of(client: str) -> Json:
    params: Json = json.loads((INITIALIZE_DIR / f"{client}.json").read_text())
    return params


def capabilities_of(result: Json) -> lsp.ServerCapabilities:
    """The server's capabilities, as a client reads them; what is no LSP is an error."""
    structured: lsp.InitializeResult = get_converter().structure(result, lsp.InitializeResult)
    # lsprotocol ignores what it does not know.
    assert get_converter().unstructure(structured, lsp.InitializeResult) == result
    assert structured.server_info is not None
    assert structured.server_info.name == "slm-lsp"
    assert structured.server_info.version
    return structured.capabilities


def test_there_are_nine_clients() -> None:
    assert len(CLIENTS) == 9


@pytest.mark.parametrize("client", CLIENTS)
async def test_real_clients(client: str) -> None:
    params = params_of(client)
    async with FakeEditor(capabilities=params["capabilities"]) as editor:
        capabilities = capabilities_of(await editor.start(**params))
        general: Json = params["capabilities"].get("general", {})
        offered = general.get("positionEncodings", ["utf-16"])
        assert capabilities.position_encoding in offered
        check_advertised(capabilities, params["capabilities"])

        position = await editor.open(f"x = ['😀', {CURSOR}]\n")
        for _ in range(2):
            editor.engine.enqueue("'é'")
        [item] = await editor.inline(position)
        assert editor.accept_inline(item) == "x = ['😀', 'é']\n"
        [item] = await editor.popup(position)
        assert editor.accept(item) == "x = ['😀', 'é']\n"


def check_advertised(capabilities: lsp.ServerCapabilities, declared: Json) -> None:
    # Never gated on the client's capability: some send the request without declaring it.
    assert capabilities.inline_completion_provider is not None
    assert capabilities.completion_provider is not None
    assert "." in (capabilities.completion_provider.trigger_characters or [])
    sync = capabilities.text_document_sync
    assert isinstance(sync, lsp.TextDocumentSyncOptions)
    assert (sync.open_close, sync.change) == (True, lsp.TextDocumentSyncKind.Incremental)
    assert (capabilities.notebook_document_sync is None) == ("notebookDocument" not in declared)
    assert capabilities.execute_command_provider is not None
    commands = set(capabilities.execute_command_provider.commands)
    assert commands > {"slm-lsp.stats", "slm-lsp.why", "slm-lsp.accepted"}


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (None, "utf-16"),
        ([], "utf-16"),
        (["utf-7"], "utf-16"),
        (["utf-7", "utf-8"], "utf-8"),
        (["utf-32", "utf-16", "utf-8"], "utf-32"),
    ],
)
async def test_the_clients_first_encoding_that_is_known(offered: Any, chosen: str) -> None:
    capabilities = {"general": {} if offered is None else {"positionEncodings": offered}}
    async with FakeEditor(capabilities=capabilities) as editor:
        result = await editor.start()
        assert result["capabilities"]["positionEncoding"] == chosen
        assert editor.server.protocol.documents.encoding == chosen


async def test_the_least_that_a_client_may_send() -> None:
    async with FakeEditor() as editor:
        result = await editor.call("initialize", {"processId": None, "capabilities": {}})
        capabilities_of(result)
        # Some clients open documents at once; some never say `initialized`.
        position = await editor.open(f"x = {CURSOR}\n")
        editor.engine.enqueue("1")
        assert len(await editor.inline(position)) == 1
