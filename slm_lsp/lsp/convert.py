"""Between LSP's types and the project's own.

Owns: the shape of answers: inline items, and popup items for clients without ghost text.

Invariant: pure; every position in an answer is in the client's units of the document as the
server holds it now.

Threads: the event loop.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lsprotocol import types as lsp

from slm_lsp.text.document import Document, Edit
from slm_lsp.text.notebook import Cell
from slm_lsp.types import Completion, Trigger

WORD_BEFORE = re.compile(r"\w*\Z")
MAX_LABEL_CHARS = 80
MAX_WORD_CHARS = 100
# What clients run when they accept an item.
ACCEPTED_COMMAND = "slm-lsp.accepted"

ContentChange = lsp.TextDocumentContentChangePartial | lsp.TextDocumentContentChangeWholeDocument


def edits_of(changes: Iterable[ContentChange]) -> list[Edit]:
    """A change notification's edits, in order."""
    edits = []
    for change in changes:
        if isinstance(change, lsp.TextDocumentContentChangePartial):
            start, end = change.range.start, change.range.end
            edits.append(
                Edit((start.line, start.character), (end.line, end.character), change.text)
            )
        else:
            edits.append(Edit(None, None, change.text))
    return edits


def cell_of(cell: lsp.NotebookCell) -> Cell:
    """A notebook's cell."""
    return Cell(cell.document, cell.kind == lsp.NotebookCellKind.Code)


def end_of(document: Document, edits: list[Edit]) -> int | None:
    """Where the last of the edits that gave `document` ends, None if that says nothing."""
    last = edits[-1] if edits else None
    if last is None or last.start is None or last.end is None:
        return None
    return document.offset_at(min(last.start, last.end)) + len(last.text)


def inline_trigger(kind: lsp.InlineCompletionTriggerKind | None) -> Trigger:
    """Which budget an inline request has."""
    invoked = kind == lsp.InlineCompletionTriggerKind.Invoked
    return Trigger.INVOKED if invoked else Trigger.AUTOMATIC


def position_of(document: Document, offset: int) -> lsp.Position:
    line, character = document.position_at(offset)
    return lsp.Position(line=line, character=character)


def inline_list(
    document: Document | None, completions: Iterable[Completion], ids: Iterator[int]
) -> lsp.InlineCompletionList:
    """The answer to textDocument/inlineCompletion, the best text first; each item takes an id."""
    if document is None:
        return lsp.InlineCompletionList(items=[])
    items = [_inline_item(document, each, next(ids)) for each in completions]
    return lsp.InlineCompletionList(items=items)


def _inline_item(
    document: Document, completion: Completion, item_id: int
) -> lsp.InlineCompletionItem:
    edit_range = lsp.Range(
        start=position_of(document, completion.start), end=position_of(document, completion.end)
    )
    accepted = lsp.Command("accepted", ACCEPTED_COMMAND, arguments=[item_id])
    return lsp.InlineCompletionItem(completion.text, range=edit_range, command=accepted)


def uri_of(argument: Any) -> str | None:
    """The document that a command's argument names, be it bare or as LSP names documents; None
    where it names none."""
    if isinstance(argument, str):
        return argument
    if not isinstance(argument, Mapping):
        return None
    named = argument.get("textDocument", argument)
    uri = named.get("uri") if isinstance(named, Mapping) else None
    return uri if isinstance(uri, str) else None


def popup_list(document: Document | None, completion: Completion | None) -> lsp.CompletionList:
    """The answer to textDocument/completion: the first line, and the block if there is more.

    It is always incomplete: the next keystroke may find a longer text.
    """
    items = []
    if document is not None and completion is not None:
        first_line = _first_line(completion.text)
        items.append(_item(document, completion, first_line, "0"))
        if first_line != completion.text:
            items.append(_item(document, completion, completion.text, "1"))
    return lsp.CompletionList(is_incomplete=True, items=items)


def _first_line(text: str) -> str:
    """The beginning of `text`, up to the end of its first line that holds something."""
    start = len(text) - len(text.lstrip())
    end = text.find("\n", start)
    return text if end < 0 else text[:end].rstrip("\r")


def _item(document: Document, completion: Completion, text: str, order: str) -> lsp.CompletionItem:
    """One popup item. It replaces the word before the cursor by itself, because clients
    compare that word with the item to decide whether to show it."""
    before = document.text[max(0, completion.start - MAX_WORD_CHARS) : completion.start]
    word = WORD_BEFORE.search(before)
    typed = word.group() if word else ""
    lines = (typed + text).strip().splitlines()
    label = lines[0][:MAX_LABEL_CHARS] if lines else ""
    return lsp.CompletionItem(
        label=f"{label} …" if len(lines) > 1 else label,
        kind=lsp.CompletionItemKind.Text,
        detail="slm-lsp",
        documentation="\n".join(lines) if len(lines) > 1 else None,
        sort_text=order,
        filter_text=(typed + text).strip(),
        insert_text_format=lsp.InsertTextFormat.PlainText,
        # The text is indented already.
        insert_text_mode=lsp.InsertTextMode.AsIs,
        text_edit=lsp.TextEdit(
            range=lsp.Range(
                start=position_of(document, completion.start - len(typed)),
                end=position_of(document, completion.end),
            ),
            new_text=typed + text,
        ),
    )
