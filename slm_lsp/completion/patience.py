"""Whether the user still wants what is suggested: work nobody looks at is not done.

Owns: for every session what was shown last and how many suggestions in a row were typed past.
After `TIRED_AFTER` of them requests are answered as before, but nothing is done in the
background any more, until one is accepted, typed half-way, or asked for by hand.

Invariant: pure state, bounded by the sessions; clients need not tell anything.

Threads: the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass

from slm_lsp.text.whitespace import unix_lines
from slm_lsp.types import Completion, CompletionRequest, Trigger

# One in four suggestions is taken up where they are good: a dozen misses are no accident.
TIRED_AFTER = 12
# Typing so much of a suggestion is no coincidence.
TAKEN_CHARS = 3


@dataclass(slots=True)
class _Session:
    shown: Completion | None = None
    before: str = ""
    n_dismissed: int = 0


class Patience:
    """See the module."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}

    def asked(self, request: CompletionRequest) -> None:
        """A request has come: judge by its text what was shown before."""
        session = self._sessions.get(request.session)
        if session is None:
            return
        if request.trigger is Trigger.INVOKED:
            session.n_dismissed = 0
        if session.shown is None:
            return
        taken = _is_taken(session, session.shown, request)
        if taken is None:
            return
        session.n_dismissed = 0 if taken else session.n_dismissed + 1
        session.shown = None

    def shown(self, request: CompletionRequest, completion: Completion | None) -> None:
        """A request was answered."""
        if completion is None:
            return
        session = self._sessions.setdefault(request.session, _Session())
        session.shown = completion
        session.before = request.snapshot.text[
            max(0, completion.start - TAKEN_CHARS) : completion.start
        ]

    def is_tired(self, session: str) -> bool:
        """Whether suggestions are of no interest at the moment."""
        known = self._sessions.get(session)
        return known is not None and known.n_dismissed >= TIRED_AFTER

    def forget(self, session: str) -> None:
        """Drop what is kept for a session."""
        self._sessions.pop(session, None)


def _is_taken(session: _Session, shown: Completion, request: CompletionRequest) -> bool | None:
    """Whether the user took the suggestion; None as long as it cannot be told."""
    text, at = request.snapshot.text, shown.start
    if request.offset <= at or not text.endswith(session.before, 0, at):
        # Gone elsewhere, or deleting: this says nothing of the suggestion.
        return None if request.offset == at else False
    typed, said = unix_lines(text[at : request.offset]).lstrip(), unix_lines(shown.text).lstrip()
    if typed.startswith(said):
        return True
    if not said.startswith(typed):
        return False
    return True if len(typed.strip()) >= TAKEN_CHARS else None
