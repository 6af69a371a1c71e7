"""Whether what was written is what the user wrote: judged by the document itself.

Owns: the texts of which that is not known yet, shown ones and hidden ones. A client need not tell
anything; where it tells that a suggestion was accepted, that is believed at once.

Invariant: pure state, bounded; source text stays in memory. Each text is judged once at the
most. What the document does not tell (the cursor went elsewhere, the place was edited) says
nothing of a text.

Threads: the event loop.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from slm_lsp.completion.confidence import first_line
from slm_lsp.types import DocumentSnapshot

MAX_PENDING = 32
# The text on both sides by which a place is found again.
BEFORE_CHARS, AFTER_CHARS = 64, 64
# Further behind the place than a line is long, nothing of it is looked for.
LOOK_CHARS = 1000
# Editors put the partner of an opened bracket behind the cursor.
CLOSERS = frozenset(")]}>\"'`")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A text of such a score was taken, or was not."""

    score: float
    was_taken: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    uri: str
    at: int
    before: str
    after: str
    said: str
    score: float
    is_shown: bool


class Verdicts:
    """See the module."""

    def __init__(self) -> None:
        self._pending: deque[_Pending] = deque(maxlen=MAX_PENDING)

    def __len__(self) -> int:
        return len(self._pending)

    def made(
        self,
        snapshot: DocumentSnapshot,
        offset: int,
        text: str,
        score: float,
        *,
        is_shown: bool = True,
    ) -> None:
        """A text was written for a place, whether it is shown or not."""
        said = visible(first_line(text))
        if not said:
            return
        whole, uri = snapshot.text, snapshot.uri
        before = whole[max(0, offset - BEFORE_CHARS) : offset]
        after = whole[offset : offset + AFTER_CHARS]
        for each in self._pending:
            if (each.uri, each.at, each.before, each.said) == (uri, offset, before, said):
                return  # the same answer to the same question
        self._pending.append(_Pending(uri, offset, before, after, said, score, is_shown))

    def seen(self, uri: str, text: str) -> list[Verdict]:
        """What a document's text, as it is now, says of what was written for it."""
        found: list[Verdict] = []
        for each in list(self._pending):
            if each.uri != uri:
                continue
            if not text.endswith(each.before, 0, each.at):
                self._pending.remove(each)
                continue
            was_taken = _was_taken(each.said, _typed(each, text))
            if was_taken is not None:
                self._pending.remove(each)
                found.append(Verdict(each.score, was_taken))
        return found

    def accepted(self) -> list[Verdict]:
        """The client tells that what was shown last was accepted."""
        for each in reversed(self._pending):
            if each.is_shown:
                self._pending.remove(each)
                return [Verdict(each.score, True)]
        return []

    def forget(self, uri: str) -> None:
        """A document was closed."""
        for each in [each for each in self._pending if each.uri == uri]:
            self._pending.remove(each)


def visible(text: str) -> str:
    """A text without its white space."""
    return "".join(text.split())


def _typed(pending: _Pending, text: str) -> str:
    """What of the first line that was put at the place can be seen."""
    at, after = pending.at, pending.after
    stretch = text[at : at + LOOK_CHARS + len(after)]
    end = stretch.find(after) if after else len(stretch)
    # Where the text behind has changed, too, the line is all there is.
    return visible(first_line(stretch[:end] if end >= 0 else stretch.partition("\n")[0]))


def _was_taken(said: str, typed: str) -> bool | None:
    """Whether at least half of a line was taken; None as long as it cannot be told."""
    n_same = 0
    while n_same < min(len(said), len(typed)) and said[n_same] == typed[n_same]:
        n_same += 1
    if n_same == len(said):
        return True
    if set(typed[n_same:]) <= CLOSERS:
        return None
    return 2 * n_same >= len(said)
