"""The item that a popup has selected, which ghost text beside it has to go on from.

Owns: what `context.selectedCompletionInfo` of an inline request means: the document as it would
be with the item in its range, and answers that begin with the item's text and carry its range.

Invariant: pure. What is malformed or not true of the document as it is (stale) counts as absent,
so that the request is answered as ever; nothing of the document is changed.

Threads: the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from lsprotocol import types as lsp

from slm_lsp.text.document import Document
from slm_lsp.text.position import join_surrogates
from slm_lsp.types import Completion, DocumentSnapshot

MAX_UNITS = 2**31
# No name, call or snippet of a popup is longer; what is would only crowd the prompt.
MAX_TEXT_CHARS = 1000


@dataclass(frozen=True, slots=True)
class Selected:
    """An item that would put `text` in place of `start`..`end` of a document."""

    text: str
    start: int
    end: int

    @classmethod
    def of(
        cls,
        document: Document,
        position: lsp.Position,
        info: lsp.SelectedCompletionInfo | None,
    ) -> Selected | None:
        """The item of a request at `position`; None where there is none for the document as it is.

        As of any item of a popup, its range is within a line and holds the cursor.
        """
        if info is None or not 0 < len(info.text) <= MAX_TEXT_CHARS:
            return None
        start, at, end = (
            _exact_offset(document, each) for each in (info.range.start, position, info.range.end)
        )
        if start is None or at is None or end is None or not start <= at <= end:
            return None
        if info.range.start.line != info.range.end.line:
            return None
        return cls(join_surrogates(info.text), start, end)

    def put_into(self, snapshot: DocumentSnapshot) -> tuple[DocumentSnapshot, int]:
        """The document as it would be, and where the cursor would stand in it."""
        text = snapshot.text
        before = join_surrogates(text[: self.start] + self.text)
        supposed = join_surrogates(before + text[self.end :])
        return replace(snapshot, text=supposed, actual=text), len(before)

    def extended(self, completions: Iterable[Completion]) -> list[Completion]:
        """Completions behind the item as ones of the document, with the item at their head."""
        return [
            replace(each, text=self.text + each.text, start=self.start, end=self.end)
            for each in completions
        ]


def _exact_offset(document: Document, position: lsp.Position) -> int | None:
    """The offset of a position that the document has; of any other there is none."""
    given = (position.line, position.character)
    offset = document.offset_at(given)
    return offset if document.position_at(offset) == given else None


def drop_malformed(params: Any) -> None:
    """Take an item out of a request's parameters if it cannot be read as one."""
    context = params.get("context") if isinstance(params, dict) else None
    if not isinstance(context, dict) or "selectedCompletionInfo" not in context:
        return
    info = context["selectedCompletionInfo"]
    if not (isinstance(info, dict) and isinstance(info.get("text"), str) and _is_range(info)):
        del context["selectedCompletionInfo"]


def _is_range(info: dict[str, Any]) -> bool:
    edit_range = info.get("range")
    if not isinstance(edit_range, dict):
        return False
    ends = [edit_range.get("start"), edit_range.get("end")]
    return all(
        isinstance(end, dict) and _is_count(end.get("line")) and _is_count(end.get("character"))
        for end in ends
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_UNITS
