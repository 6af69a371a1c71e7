"""What a policy is: when an editor asks for a completion, what it asks, when it shows what.

Owns: the values between the typist and a policy, and the protocol that every policy follows.
Another policy is one file with one class, and one line in `POLICIES` of `__main__`.

Invariant: a policy hears of every change and every move of the cursor, in order, and says what
it shows through the callback alone; the typist knows nothing of how it came about.

Threads: the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.latency.replay import Change, Shown


@dataclass(frozen=True, slots=True)
class View:
    """What the editor shows: one file, the cursor, and whether the file differs from the disk."""

    uri: str
    text: str
    offset: int
    modified: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What a policy has come to for the view as it is now.

    `shown` is None where it shows nothing. `asked` is false where it never wanted to ask, so
    that its silence counts as no latency.
    """

    shown: Shown | None
    asked: bool = True


@dataclass(frozen=True, slots=True)
class Work:
    """What a session cost. `prefilled_each` are the tokens read for each keystroke that was
    answered, 0 where that took no model; the totals count background and cancelled work too.

    So does `read_each`: the tokens read between each call of `changed` or `moved` and the next,
    whatever for; None where that is not known. It is empty where nothing of it is known.
    """

    prefilled_each: tuple[int, ...] = ()
    n_prefilled: int = 0
    n_decoded: int = 0
    facts: dict[str, float] = field(default_factory=dict)
    read_each: tuple[int | None, ...] = ()


Show = Callable[[Answer], None]


class Policy(Protocol):
    """See the module. One policy is started once and lives through many sessions."""

    name: str

    async def start(self) -> None:
        """Start what sessions share, such as the peer's server."""

    async def begin(self, show: Show) -> None:
        """Begin a session in a fresh editor; return once a completion could be had."""

    def opened(self, view: View) -> None:
        """A file was opened; the cursor is at its start."""

    def changed(self, view: View, change: Change) -> None:
        """A key changed the text, or a suggestion was accepted."""

    def moved(self, view: View) -> None:
        """The cursor moved, perhaps to another file, and no text changed."""

    async def end(self) -> Work:
        """End the session's editor."""

    async def stop(self) -> None:
        """End what `start` started."""

    def marks(self) -> Sequence[str]:
        """By which its processes are found, see `processes`."""
