"""The places whose prompts the engine has read, or is reading: which one a request goes on from.

Owns: for every document up to two anchors, each with a KV sequence of its own, and the choice
among them: going to and fro between two places reads neither again.

Invariant: what is chosen fits the document as it is (`prompt.anchor`). An anchor that is being
read ahead is chosen once it has been read, and never takes the sequence of the one in use.
Snippets of other files belong to an anchor and stay as they were read with it; one that lacks
most of what is wanted now answers until another has been read. Bounded: the documents used last.

Threads: the completer's worker.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from slm_lsp.prompt import files
from slm_lsp.prompt.anchor import STALE_CHARS, Anchor, drop, shown, typed_since
from slm_lsp.prompt.snippets import lacks
from slm_lsp.text.common import common_prefix
from slm_lsp.types import CompletionContext, FimTemplate, Snippet, Text

MAX_DOCUMENTS = 64
N_PLACES = 2


@dataclass(frozen=True, slots=True)
class Room:
    """What a new anchor may hold: `n_tokens` where there is time to read, `n_soon_tokens` where
    an answer is waited for, `others` where it has been read before, in falling order; and how
    much may be typed behind one."""

    n_tokens: int
    n_soon_tokens: int
    max_typed_chars: int
    others: tuple[int, ...] = ()

    def is_enough(self, n_tokens: int) -> bool:
        """Whether an anchor of a size is not worth reading more: speed is measured, and wavers."""
        return 2 * n_tokens > self.n_tokens


@dataclass(slots=True)
class Slot:
    """One sequence of a document and where it is anchored. `others`: anchors of the same place
    of which the engine may already hold the prompts; it has not said yet."""

    sequence: str
    anchor: Anchor
    is_read: bool = False
    others: tuple[Anchor, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """An anchor, what was typed since, and the KV sequence for both. `renewable`: more context
    could be had from a new anchor, if there is time to read it; `others` are anchors of the same
    place whose prompts the engine may hold from an earlier time."""

    anchor: Anchor
    typed: str
    sequence: str
    renewable: bool = False
    others: tuple[Anchor, ...] = ()

    def taken(self, other_at: int | None) -> Anchor:
        """The anchor of the prompt that the engine took."""
        return self.anchor if other_at is None else self.others[other_at]


class Anchors:
    """See the module."""

    def __init__(self) -> None:
        # Of a document, the slot used last comes last.
        self._slots: OrderedDict[str, list[Slot]] = OrderedDict()

    def now(
        self, uri: str, context: CompletionContext, template: FimTemplate, room: Room
    ) -> Chosen:
        """The anchor to answer from: the one with most context of those that are read, or a
        new one that can be read in time, if any can."""
        slots = self._of(uri)
        slot = _best([each for each in slots if each.is_read], context, room)
        if slot is None:
            soon, others = _sizes(context, template, room, _shown_in(slots))
            slot = self._take(uri, soon, template, None)
            slot.is_read, slot.others = True, others
        slots.remove(slot)
        slots.append(slot)
        typed = typed_since(slot.anchor, context, room.max_typed_chars) or ""
        stale = len(typed) > STALE_CHARS or not _is_full(slot.anchor, context, room)
        # They stand where the text before them has not changed.
        stands = bool(slot.others) and context.prefix[slot.others[0].at :] == typed
        return Chosen(slot.anchor, typed, slot.sequence, stale, slot.others if stands else ())

    def ahead(
        self, uri: str, context: CompletionContext, template: FimTemplate, room: Room
    ) -> Chosen:
        """The anchor that is right for a place if there is time to read it."""
        slots = self._of(uri)
        fresh = Room(room.n_tokens, room.n_tokens, STALE_CHARS)
        full = [slot for slot in slots if _is_full(slot.anchor, context, room)]
        slot = _best(full, context, fresh)
        if slot is None:
            in_use = _best([each for each in slots if each.is_read], context, room)
            anchor = drop(context, template, room.n_tokens, _shown_in(slots))
            slot = self._take(uri, anchor, template, in_use)
        typed = typed_since(slot.anchor, context, room.max_typed_chars) or ""
        return Chosen(slot.anchor, typed, slot.sequence)

    def mark_read(self, uri: str, anchor: Anchor) -> None:
        """The engine has read an anchor's prompt."""
        for slot in self._slots.get(uri, ()):
            if slot.anchor is anchor:
                slot.is_read = True

    def settle(self, uri: str, chosen: Chosen, other_at: int | None) -> None:
        """The engine has answered from the anchor chosen, or from one of its others."""
        for slot in self._slots.get(uri, ()):
            if slot.anchor is chosen.anchor and slot.others:
                slot.anchor = chosen.taken(other_at)
                slot.others = ()

    def forget(self, uri: str) -> None:
        """Drop what is kept for a document."""
        self._slots.pop(uri, None)

    def _of(self, uri: str) -> list[Slot]:
        slots = self._slots.setdefault(uri, [])
        self._slots.move_to_end(uri)
        while len(self._slots) > MAX_DOCUMENTS:
            self._slots.popitem(last=False)
        return slots

    def _take(self, uri: str, anchor: Anchor, template: FimTemplate, kept: Slot | None) -> Slot:
        """A slot for a new anchor, not the one that is `kept`: the one whose sequence begins
        like it, or a new one, or the one used longest ago."""
        slots = self._slots[uri]
        others = [slot for slot in slots if slot is not kept]
        alike = [slot for slot in others if _begins_alike(slot.anchor, anchor, template)]
        if alike:
            slot = alike[-1]
        elif len(slots) < N_PLACES:
            slot = Slot(f"{uri}#{len(slots)}" if slots else uri, anchor)
            slots.insert(0, slot)
        else:
            slot = others[0]
        slot.anchor, slot.is_read, slot.others = anchor, False, ()
        return slot


def _is_full(anchor: Anchor, context: CompletionContext, room: Room) -> bool:
    """Whether an anchor holds about what one would that was read now."""
    is_lacking = lacks(anchor.snippets, context.snippets, room.n_tokens)
    return room.is_enough(anchor.n_tokens) and not is_lacking


def _shown_in(slots: list[Slot]) -> list[Snippet]:
    """The snippets of a document's anchors, those of the one used last first."""
    return [snippet for slot in reversed(slots) for snippet in slot.anchor.snippets]


def _sizes(
    context: CompletionContext, template: FimTemplate, room: Room, earlier: list[Snippet]
) -> tuple[Anchor, tuple[Anchor, ...]]:
    """The anchor of a place that is read soon, and those of other sizes in falling order. Of
    those with the same text there is one, which counts as the largest."""
    found: list[Anchor] = []
    soon: Anchor | None = None
    for n_tokens in sorted({*room.others, room.n_soon_tokens}, reverse=True):
        anchor = drop(context, template, n_tokens, earlier)
        if not found or _texts(found[-1]) != _texts(anchor):
            found.append(anchor)
        if n_tokens == room.n_soon_tokens:
            soon = found[-1]
    assert soon is not None
    return soon, tuple(each for each in found if each is not soon)


def _texts(anchor: Anchor) -> tuple[str, str, tuple[Snippet, ...]]:
    return anchor.head, anchor.suffix, anchor.snippets


def _best(slots: list[Slot], context: CompletionContext, room: Room) -> Slot | None:
    """The slot with most context that fits the place, snippets above all; of equals one that is
    not stale, or the one used last."""
    best: tuple[tuple[bool, int, bool], Slot] | None = None
    for slot in slots:
        typed = typed_since(slot.anchor, context, room.max_typed_chars)
        if typed is None:
            continue
        has_snippets = not lacks(slot.anchor.snippets, context.snippets, room.n_tokens)
        rank = (has_snippets, slot.anchor.n_tokens, len(typed) <= STALE_CHARS)
        if best is None or rank >= best[0]:
            best = rank, slot
    return best[1] if best else None


def _begins_alike(old: Anchor, new: Anchor, template: FimTemplate) -> bool:
    """Whether the prompts of two anchors share more than half of the new one."""
    old_texts, new_texts = (_in_order(each, template) for each in (old, new))
    n_shared = 0
    for text, new_text in zip(old_texts, new_texts, strict=False):
        n_shared += common_prefix(text, new_text, min(len(text), len(new_text)))
        if text != new_text:
            break
    return 2 * n_shared > sum(map(len, new_texts))


def _in_order(anchor: Anchor, template: FimTemplate) -> list[str]:
    """The texts of an anchor's prompt in the order in which they are read."""
    context = shown(anchor, "", CompletionContext("", ""))
    texts = files.segments(template, context, anchor.head, anchor.suffix)
    return [segment.text for segment in texts if isinstance(segment, Text)]
