"""What a session does to the texts, and what of the shown text is accepted.

Owns: the texts as they are now, how much of each passage stands in them, the cursor.

Invariant: no clock and no server. Whatever is accepted on the way, and wherever events are
left out for it, the texts are the originals once every event has been applied.

Threads: any; one replay belongs to one session of one policy.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.latency.sessions import Event, Kind, Session

# Nobody stops typing for less.
MIN_ACCEPTED_CHARS = 3


@dataclass(frozen=True, slots=True)
class Change:
    """`n_removed` characters at `start` of a file were replaced by `text`."""

    file: int
    start: int
    n_removed: int
    text: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A suggestion as an edit: `start`..`end` of the current text becomes `text`."""

    start: int
    end: int
    text: str


def inserted(document: str, offset: int, shown: Shown) -> str | None:
    """What accepting would insert at the cursor; None if it does more than insert there."""
    after = document[: shown.start] + shown.text + document[shown.end :]
    n_new = len(after) - len(document)
    if n_new < 0 or after[:offset] != document[:offset]:
        return None
    if after[offset + n_new :] != document[offset:]:
        return None
    return after[offset : offset + n_new]


def decide(text: str | None, remaining: str, n_shown: int, every: int | None = None) -> str:
    """What is accepted of a shown text; empty if nothing is.

    With `every` None, the text itself, if it is the beginning of what remains to be typed.
    A model of random weights is never right; for it, the `every`-th suggestion (`n_shown`
    counts them from 1) is taken for the rest of the line that remains, whatever it says.
    """
    if every is not None:
        line = remaining.split("\n", 1)[0]
        return line if n_shown % every == 0 and len(line) >= MIN_ACCEPTED_CHARS else ""
    if text is None or len(text) < MIN_ACCEPTED_CHARS:
        return ""
    return text if remaining.startswith(text) else ""


class Replay:
    """See the module."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.texts = [_hollow(session, file) for file in range(len(session.files))]
        self.typed = [0] * len(session.passages)
        self.file = 0
        self.offset = 0
        self._passage: int | None = None
        self._n_wrong = 0

    def apply(self, event: Event) -> Change | None:
        """Do what an event says; None where it changes no text or is left out."""
        if event.kind in (Kind.SWITCH, Kind.MOVE):
            self._passage = event.passage
            self.file = self.session.passages[event.passage].file
            self.offset = self._place(event.passage)
        elif event.kind is Kind.OPEN:
            self.file, self.offset, self._passage = event.passage, 0, None
        elif event.kind is Kind.BACKSPACE and self._n_wrong:
            self._n_wrong -= 1
            return self._edit(self.offset - 1, 1, "")
        elif event.kind is Kind.MISTYPE and event.index >= self.typed[event.passage]:
            self._n_wrong += 1
            return self._edit(self.offset, 0, event.text)
        elif event.kind is Kind.TYPE:
            left = event.text[max(0, self.typed[event.passage] - event.index) :]
            if left:
                return self._type(event.passage, left)
        return None

    def skips(self, event: Event) -> bool:
        """Whether applying the event now would do nothing at all."""
        typed = self.typed[event.passage] if event.kind is not Kind.OPEN else 0
        if event.kind is Kind.TYPE:
            return event.index + len(event.text) <= typed
        if event.kind in (Kind.MISTYPE, Kind.WAIT):
            return event.index < typed
        return event.kind is Kind.BACKSPACE and self._n_wrong == 0

    def accept(self, text: str) -> Change:
        """Insert what was accepted; it must be the beginning of `remaining`."""
        assert self._passage is not None
        assert text
        assert self.remaining().startswith(text)
        return self._type(self._passage, text)

    def remaining(self) -> str:
        """What is still to be typed at the cursor; empty while a wrong key stands there."""
        if self._passage is None or self._n_wrong:
            return ""
        return self.session.passages[self._passage].text[self.typed[self._passage] :]

    def _type(self, passage: int, text: str) -> Change:
        self.typed[passage] += len(text)
        return self._edit(self.offset, 0, text)

    def _edit(self, start: int, n_removed: int, text: str) -> Change:
        before = self.texts[self.file]
        self.texts[self.file] = before[:start] + text + before[start + n_removed :]
        self.offset = start + len(text)
        return Change(self.file, start, n_removed, text)

    def _place(self, passage: int) -> int:
        """The offset behind what stands of a passage."""
        passages = self.session.passages
        here = passages[passage]
        missing = sum(
            len(other.text) - self.typed[i]
            for i, other in enumerate(passages)
            if other.file == here.file and other.start < here.start
        )
        return here.start - missing + self.typed[passage]


def _hollow(session: Session, file: int) -> str:
    """A file's text without its passages."""
    text = session.originals[file]
    for passage in sorted(session.passages, key=lambda p: p.start, reverse=True):
        if passage.file == file:
            text = text[: passage.start] + text[passage.start + len(passage.text) :]
    return text
