"""What was shown or generated for a place, for as long as the user types along it.

Owns: the remembered answers of all documents, silence included, and how a place is found
again: by the text around it, so that moving to and fro and editing elsewhere loses nothing.

Invariant: pure state, bounded. What `lookup` returns continues the text before the cursor
exactly as the remembered answer did. Source text stays in memory only.

Threads: the event loop.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from slm_lsp.completion.confidence import Certainty, n_visible

MAX_ENTRIES = 256
# The text on both sides of a place by which it is known: long enough that two places of a
# file hardly ever share it, short enough that an edit further off keeps the answer.
BEFORE_CHARS = 256
AFTER_CHARS = 256
# No completion is longer: twelve lines of code, with room.
MAX_TYPED_CHARS = 2000

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Remembered:
    """`text` continues a place; empty: the model had nothing to say there. Not `complete`:
    a deadline cut it. `n_typed`: how much of the answer has been typed since, and `n_seen` how
    much of that can be seen. `certainty`: how sure the model was of the whole answer."""

    text: str
    complete: bool = True
    n_typed: int = 0
    n_seen: int = 0
    certainty: Certainty | None = None


class TypedThrough:
    """The remembered answers, the least recently used forgotten first."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[Key, Remembered] = OrderedDict()
        # No further back than the longest answer is there anything to find.
        self._longest: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def remember(
        self,
        uri: str,
        text: str,
        offset: int,
        answer: str,
        *,
        complete: bool,
        certainty: Certainty | None = None,
    ) -> None:
        """Keep what continues `text` at `offset`; silence is an empty answer.

        What a deadline cut never takes the place of a longer answer.
        """
        key = _key(uri, text, offset, _after(text, offset))
        known = self._entries.get(key)
        if not complete and known is not None and known.text.startswith(answer):
            self._entries.move_to_end(key)
            return
        self._entries[key] = Remembered(answer, complete, certainty=certainty)
        self._entries.move_to_end(key)
        self._longest[uri] = max(self._longest.get(uri, 0), len(answer))
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def lookup(self, uri: str, text: str, offset: int) -> Remembered | None:
        """What is left, behind `offset`, of the answer nearest before it.

        A whole answer is preferred to one that was cut. A rest without anything to see is no
        answer; remembered silence is one, where nothing was typed since.
        """
        cut: tuple[Key, Remembered] | None = None
        farthest = min(offset, self._longest.get(uri, -1), MAX_TYPED_CHARS)
        after = _after(text, offset)
        for n_typed in range(farthest + 1):
            key = _key(uri, text, offset - n_typed, after)
            entry = self._entries.get(key)
            if entry is None or not entry.text.startswith(text[offset - n_typed : offset]):
                continue
            n_seen = n_visible(entry.text[:n_typed])
            found = replace(entry, text=entry.text[n_typed:], n_typed=n_typed, n_seen=n_seen)
            if not found.text.strip() and (entry.text or n_typed):
                continue
            if found.complete:
                self._entries.move_to_end(key)
                return found
            cut = cut or (key, found)
        if cut is not None:
            self._entries.move_to_end(cut[0])
        return cut[1] if cut else None

    def forget(self, uri: str) -> None:
        """Drop what is kept for a document."""
        self._longest.pop(uri, None)
        for key in [key for key in self._entries if key[0] == uri]:
            del self._entries[key]


def _key(uri: str, text: str, at: int, after: str) -> Key:
    """A place by the text before it, and by what stands behind the cursor."""
    return uri, text[max(0, at - BEFORE_CHARS) : at], after


def _after(text: str, offset: int) -> str:
    return text[offset : offset + AFTER_CHARS]
