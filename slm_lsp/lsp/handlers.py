"""The handlers: which message goes where.

Owns: the methods, commands and notifications that the server takes, beside its documents.

Invariant: a handler takes its snapshot and deadline before its first await, and leaves the rest
to others. No handler blocks the loop.

Threads: the event loop.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from lsprotocol import types as lsp

from slm_lsp.lsp import client_process, convert
from slm_lsp.lsp.commands import register_commands
from slm_lsp.lsp.events import register_events
from slm_lsp.types import Trigger

if TYPE_CHECKING:
    from slm_lsp.lsp.server import SlmServer

# Beside the first text, for who asks by hand.
N_ALTERNATIVES = 2
TRIGGER_CHARACTERS = list(".([{,:= \n")


def register(server: SlmServer) -> None:
    """Attach the handlers."""
    item_ids = count(1)

    @server.feature(lsp.INITIALIZE)
    def initialize(params: lsp.InitializeParams) -> None:
        server.configure(params.initialization_options)
        server.feed.initialized_with(params)
        server.status.initialized_with(params.capabilities)
        client_process.watch(params.process_id, server.client_gone)

    @server.feature(lsp.INITIALIZED)
    def initialized(params: lsp.InitializedParams) -> None:
        server.start_engine()
        server.feed.watch()

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: lsp.DidSaveTextDocumentParams) -> None:
        server.feed.saved(params.text_document.uri)

    @server.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def watched(params: lsp.DidChangeWatchedFilesParams) -> None:
        server.feed.watched(params.changes)

    @server.feature(lsp.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def folders(params: lsp.DidChangeWorkspaceFoldersParams) -> None:
        server.feed.changed_folders(params.event)

    @server.feature(lsp.SHUTDOWN)
    def shutdown(params: None) -> None:
        server.stop()

    @server.feature(
        lsp.TEXT_DOCUMENT_INLINE_COMPLETION,
        lsp.InlineCompletionOptions(),
    )
    async def inline(params: lsp.InlineCompletionParams) -> lsp.InlineCompletionList:
        trigger = convert.inline_trigger(params.context.trigger_kind)
        uri = params.text_document.uri
        selected = params.context.selected_completion_info
        texts = await server.inline(uri, params.position, trigger, N_ALTERNATIVES, selected)
        return convert.inline_list(server.latest(uri), texts, item_ids)

    # Whether a popup was asked for or came by itself cannot be told from its request.
    @server.feature(
        lsp.TEXT_DOCUMENT_COMPLETION,
        lsp.CompletionOptions(trigger_characters=TRIGGER_CHARACTERS),
    )
    async def popup(params: lsp.CompletionParams) -> lsp.CompletionList:
        uri = params.text_document.uri
        outcome = await server.complete(uri, params.position, Trigger.AUTOMATIC)
        return convert.popup_list(server.latest(uri), outcome.completion)

    register_events(server)
    register_commands(server)
