"""The protocol as this server speaks it: pygls with its documents and its silences replaced.

Owns: the open documents, and the answers to messages that have no handler to go to:
parameters that do not fit, requests before `initialize` or after `shutdown`.

Invariant: every request gets exactly one response, whatever its parameters are. No text is
kept by pygls, whose documents split lines where LSP does not. Nothing waits.

Threads: the event loop.
"""

from __future__ import annotations

import contextvars
import logging
from typing import Any

from cattrs import transform_error
from cattrs.errors import ClassValidationError
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams
from pygls.protocol import JsonRPCNotification, LanguageServerProtocol, lsp_method

from slm_lsp.deadline import SYSTEM_CLOCK
from slm_lsp.lsp.convert import edits_of
from slm_lsp.text.document import Document, DocumentNotOpen, DocumentStore
from slm_lsp.text.position import Encoding

log = logging.getLogger(__name__)

# When the message now handled was received, in milliseconds of SYSTEM_CLOCK.
RECEIVED_MS: contextvars.ContextVar[float] = contextvars.ContextVar("received_ms")

IGNORED = JsonRPCNotification(method="$/slm-lsp/unreadable", jsonrpc="2.0", params=None)


class SlmProtocol(LanguageServerProtocol):
    """See the module. `documents` is the only copy of the client's texts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.documents = DocumentStore()
        self.initialized = False

    @property
    def shut_down(self) -> bool:
        """Whether the client has sent `shutdown`."""
        return bool(self._shutdown)

    def document(self, uri: str) -> Document:
        """An open document, or the error that its request is answered with."""
        try:
            return self.documents.get(uri)
        except DocumentNotOpen as error:
            raise JsonRpcInvalidParams(message=str(error)) from error

    # --- messages ---

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Parse a message; one that cannot be parsed is answered here."""
        try:
            return super().structure_message(data)
        except JsonRpcException as error:
            cause = error.__cause__
            why = f"{type(cause).__name__}: {cause}"
            if isinstance(cause, ClassValidationError):
                why = "; ".join(transform_error(cause))
            log.warning("%s: parameters that do not fit: %s", data.get("method"), why)
            if "id" in data and "method" in data:
                self._refuse(data["id"], lsp.ErrorCodes.InvalidParams, f"{data['method']}: {why}")
            return IGNORED

    def handle_message(self, message: Any) -> None:
        """Hand a message on, unless the session's state forbids it."""
        RECEIVED_MS.set(SYSTEM_CLOCK.now_ms())
        method, msg_id = getattr(message, "method", None), getattr(message, "id", None)
        if method is None or method in (lsp.INITIALIZE, lsp.EXIT):
            self.initialized = self.initialized or method == lsp.INITIALIZE
        elif self._shutdown or not self.initialized:
            if msg_id is not None:
                code = lsp.ErrorCodes.InvalidRequest if self._shutdown else _NOT_INITIALIZED
                state = "is shutting down" if self._shutdown else "is not initialized"
                self._refuse(msg_id, code, f"{method}: the server {state}")
            return
        super().handle_message(message)

    def _refuse(self, msg_id: str | int, code: int, message: str) -> None:
        self._send_response(msg_id, error=lsp.ResponseError(code=int(code), message=message))

    # --- documents ---

    @lsp_method(lsp.INITIALIZE)
    def lsp_initialize(self, params: lsp.InitializeParams) -> Any:
        result = yield from super().lsp_initialize(params)
        chosen = result.capabilities.position_encoding
        self.documents.encoding = Encoding(getattr(chosen, "value", chosen) or Encoding.UTF16)
        return result

    @lsp_method(lsp.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: lsp.DidOpenTextDocumentParams) -> Any:
        self._open([params.text_document])
        yield from self._user_handler(lsp.TEXT_DOCUMENT_DID_OPEN, params)

    @lsp_method(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: lsp.DidChangeTextDocumentParams) -> Any:
        self._change(params.text_document, params.content_changes)
        yield from self._user_handler(lsp.TEXT_DOCUMENT_DID_CHANGE, params)

    @lsp_method(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: lsp.DidCloseTextDocumentParams) -> Any:
        self._close([params.text_document])
        yield from self._user_handler(lsp.TEXT_DOCUMENT_DID_CLOSE, params)

    @lsp_method(lsp.NOTEBOOK_DOCUMENT_DID_OPEN)
    def lsp_notebook_document__did_open(self, params: lsp.DidOpenNotebookDocumentParams) -> None:
        self._open(params.cell_text_documents)

    @lsp_method(lsp.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def lsp_notebook_document__did_change(
        self, params: lsp.DidChangeNotebookDocumentParams
    ) -> None:
        cells = params.change.cells
        if cells is None:
            return
        if cells.structure is not None:
            self._close(cells.structure.did_close or [])
            self._open(cells.structure.did_open or [])
        for content in cells.text_content or []:
            self._change(content.document, content.changes)

    @lsp_method(lsp.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def lsp_notebook_document__did_close(self, params: lsp.DidCloseNotebookDocumentParams) -> None:
        self._close(params.cell_text_documents)

    def _open(self, items: Any) -> None:
        for item in items:
            self.documents.open(item.uri, item.language_id, item.version, item.text)

    def _change(self, identifier: Any, changes: Any) -> None:
        self.documents.change(identifier.uri, identifier.version, edits_of(changes))

    def _close(self, identifiers: Any) -> None:
        for identifier in identifiers:
            try:
                self.documents.close(identifier.uri)
            except DocumentNotOpen as error:
                log.warning("%s", error)

    def _user_handler(self, method: str, params: Any) -> Any:
        handler = self.fm.features.get(method)
        if handler is not None:
            yield handler, (params,), None


_NOT_INITIALIZED = -32002  # ServerNotInitialized, LSP 3.17 "lifecycle messages"
