"""The protocol as this server speaks it: pygls with its documents and its silences replaced.

Owns: the open documents and notebooks, and the answers to messages that have no handler to go to:
parameters that do not fit, requests before `initialize` or after `shutdown`.

Invariant: every request gets exactly one response, whatever its parameters are. No text is
kept by pygls, whose documents split lines where LSP does not. Nothing waits.

Threads: the event loop.
"""

from __future__ import annotations

import contextvars
import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

from cattrs import transform_error
from cattrs.errors import ClassValidationError
from cattrs.v import format_exception
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams
from pygls.protocol import JsonRPCNotification, LanguageServerProtocol, lsp_method

from slm_lsp.deadline import SYSTEM_CLOCK, Clock
from slm_lsp.lsp.convert import ContentChange, cell_of, edits_of
from slm_lsp.lsp.selected import drop_malformed
from slm_lsp.text.document import Document, DocumentNotOpen, DocumentStore, Edit
from slm_lsp.text.notebook import Notebooks
from slm_lsp.text.position import Encoding
from slm_lsp.types import DocumentSnapshot

log = logging.getLogger(__name__)

# When the message now handled was received, in milliseconds of the protocol's clock.
RECEIVED_MS: contextvars.ContextVar[float] = contextvars.ContextVar("received_ms")

IGNORED = JsonRPCNotification(method="$/slm-lsp/unreadable", jsonrpc="2.0", params=None)


class SlmProtocol(LanguageServerProtocol):
    """See the module. `documents` is the only copy of the client's texts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.documents = DocumentStore()
        self.notebooks = Notebooks(self.documents)
        self.clock: Clock = SYSTEM_CLOCK
        self.initialized = False
        self.shut_down = False
        # Told of every document that the client opens or closes, cells included.
        self.on_open: Callable[[DocumentSnapshot], None] = lambda snapshot: None
        self.on_close: Callable[[str], None] = lambda uri: None
        # Told of every change, and of what changed, in order.
        self.on_change: Callable[[str, list[Edit]], None] = lambda uri, edits: None

    def document(self, uri: str) -> Document:
        """An open document, or the error that its request is answered with."""
        try:
            return self.documents.get(uri)
        except DocumentNotOpen as error:
            raise JsonRpcInvalidParams(message=str(error)) from error

    # --- messages ---

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Leave an object as it is: pygls asks this for every one within a message, too, and
        would take one that looks like a message for one."""
        return data

    def _structured(self, data: dict[str, Any]) -> Any:
        """Parse a message; one that cannot be parsed is answered here."""
        if "jsonrpc" not in data:
            return data
        method, msg_id = data.get("method", ""), data.get("id", 0)
        if not isinstance(method, str) or not _is_id(msg_id):
            if "id" in data and "method" in data:
                known = msg_id if _is_id(msg_id) else None
                why = "an id is a text or a number, a method a text"
                self._refuse(known, lsp.ErrorCodes.InvalidRequest, why)
            return IGNORED
        if "method" in data and self.get_message_type(method) is None:
            # JSON-RPC lets a message go without; pygls' type for unknown methods does not.
            data.setdefault("params", None)
        if method == lsp.TEXT_DOCUMENT_INLINE_COMPLETION:
            drop_malformed(data.get("params"))
        try:
            return super().structure_message(data)
        except JsonRpcException as error:
            why = _why(error.__cause__)
            log.warning("%s: parameters that do not fit: %s", method, why)
            if "id" in data and "method" in data:
                refusal = self._refusal(method) or (lsp.ErrorCodes.InvalidParams, why)
                self._refuse(msg_id, refusal[0], f"{method}: {refusal[1]}")
            return IGNORED

    def handle_message(self, message: Any) -> None:
        """Hand a message on, unless nobody takes it or the session's state forbids it."""
        RECEIVED_MS.set(self.clock.now_ms())
        if isinstance(message, dict):
            message = self._structured(message)
        method, msg_id = getattr(message, "method", None), getattr(message, "id", None)
        if getattr(message, "jsonrpc", None) != self.VERSION:
            self._refuse_foreign(message)
        elif (refusal := self._refusal(method)) is None:
            self.initialized = self.initialized or method == lsp.INITIALIZE
            self.shut_down = self.shut_down or method == lsp.SHUTDOWN
            super().handle_message(message)
        elif msg_id is not None:
            code, why = refusal
            self._refuse(msg_id, code, f"{method}: {why}")

    def _refusal(self, method: str | None) -> tuple[int, str] | None:
        """The error that a request gets unseen; responses, which have no method, get none."""
        if method is None or method == lsp.EXIT:
            return None
        if self.shut_down:
            return lsp.ErrorCodes.InvalidRequest, "the server is shutting down"
        if self.initialized and method == lsp.INITIALIZE:
            return lsp.ErrorCodes.InvalidRequest, "the server is initialized already"
        if not self.initialized and method != lsp.INITIALIZE:
            return _NOT_INITIALIZED, "the server is not initialized"
        taken = method in self.fm.builtin_features or method in self.fm.features
        if not taken and method != lsp.CANCEL_REQUEST:
            return lsp.ErrorCodes.MethodNotFound, "there is no such method"
        return None

    def _refuse_foreign(self, message: Any) -> None:
        """Answer what looks like a request, but not like one of JSON-RPC 2.0."""
        log.warning("a message that is not one of JSON-RPC 2.0")
        # Without the member `jsonrpc` it has been left as it was.
        fields = message if isinstance(message, dict) else {}
        msg_id = fields.get("id", getattr(message, "id", None))
        if _is_id(msg_id) and (fields.get("method") or getattr(message, "method", None)):
            self._refuse(msg_id, lsp.ErrorCodes.InvalidRequest, "not JSON-RPC 2.0")

    def _refuse(self, msg_id: str | int | None, code: int, message: str) -> None:
        error = lsp.ResponseError(code=int(code), message=message)
        if msg_id is None:
            # lsprotocol would leave the id out.
            plain = {"code": error.code, "message": message}
            self._send_data({"jsonrpc": self.VERSION, "id": None, "error": plain})
        else:
            self._send_response(msg_id, error=error)

    # --- documents ---

    @lsp_method(lsp.INITIALIZE)
    def lsp_initialize(self, params: lsp.InitializeParams) -> Any:
        result = yield from super().lsp_initialize(params)
        chosen = result.capabilities.position_encoding
        self.documents.encoding = Encoding(getattr(chosen, "value", chosen) or Encoding.UTF16)
        return result

    @lsp_method(lsp.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: lsp.DidOpenTextDocumentParams) -> None:
        self._open([params.text_document])

    @lsp_method(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: lsp.DidChangeTextDocumentParams) -> None:
        self._change(params.text_document, params.content_changes)

    @lsp_method(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: lsp.DidCloseTextDocumentParams) -> None:
        self._close([params.text_document])

    @lsp_method(lsp.NOTEBOOK_DOCUMENT_DID_OPEN)
    def lsp_notebook_document__did_open(self, params: lsp.DidOpenNotebookDocumentParams) -> None:
        notebook = params.notebook_document
        self.notebooks.open(notebook.uri, map(cell_of, notebook.cells))
        self._open(params.cell_text_documents)

    @lsp_method(lsp.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def lsp_notebook_document__did_change(
        self, params: lsp.DidChangeNotebookDocumentParams
    ) -> None:
        cells = params.change.cells
        if cells is None:
            return
        uri = params.notebook_document.uri
        if cells.structure is not None:
            array = cells.structure.array
            self.notebooks.splice(
                uri, array.start, array.delete_count, map(cell_of, array.cells or [])
            )
            self._close(cells.structure.did_close or [])
            self._open(cells.structure.did_open or [])
        self.notebooks.turn(uri, map(cell_of, cells.data or []))
        for content in cells.text_content or []:
            self._change(content.document, content.changes)

    @lsp_method(lsp.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def lsp_notebook_document__did_close(self, params: lsp.DidCloseNotebookDocumentParams) -> None:
        self.notebooks.close(params.notebook_document.uri)
        self._close(params.cell_text_documents)

    def _open(self, items: Iterable[lsp.TextDocumentItem]) -> None:
        for item in items:
            self.documents.open(item.uri, item.language_id, item.version, item.text)
            self.on_open(self.notebooks.snapshot(item.uri))

    def _change(
        self,
        identifier: lsp.VersionedTextDocumentIdentifier,
        changes: Iterable[ContentChange],
    ) -> None:
        edits = edits_of(changes)
        try:
            self.documents.change(identifier.uri, identifier.version, edits)
        except DocumentNotOpen as error:
            log.warning("%s", error)
        else:
            self.on_change(identifier.uri, edits)

    def _close(self, identifiers: Iterable[lsp.TextDocumentIdentifier]) -> None:
        for identifier in identifiers:
            try:
                self.documents.close(identifier.uri)
            except DocumentNotOpen as error:
                log.warning("%s", error)
            else:
                self.on_close(identifier.uri)


def _is_id(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def _why(error: BaseException | None) -> str:
    """What does not fit, with the names of the protocol."""
    if not isinstance(error, ClassValidationError):
        return f"{type(error).__name__}: {error}"
    found = transform_error(error, format_exception=_explain)
    return "; ".join(re.sub(r"_([a-z])", lambda letter: letter[1].upper(), each) for each in found)


def _explain(error: BaseException, kind: type | None) -> str:
    # A number out of range has no kind; lsprotocol's own sentence names member and range.
    return str(error) if kind is None else format_exception(error, kind)


_NOT_INITIALIZED = -32002  # ServerNotInitialized, LSP 3.17 "lifecycle messages"
