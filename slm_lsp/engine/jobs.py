"""A request and the promise of its answer, and what a newer request means for an older one.

Owns: `Job`, which is settled once, and the rules of who makes way for whom.

Invariant: `fate` is pure. A job that is stopped is answered at once, by whoever stops it; one
that gives way is not answered, it waits again.

Threads: any; `run` is set by the Scheduler's.
"""

from __future__ import annotations

from concurrent.futures import Future, InvalidStateError
from enum import Enum, auto

from slm_lsp.engine.run import Run
from slm_lsp.types import Finish, Generation, GenerationRequest, Priority


class Fate(Enum):
    """What becomes of an older job when a newer one is asked for."""

    STAYS = auto()
    SUPERSEDED = auto()
    CANCELLED = auto()
    GIVES_WAY = auto()


def fate(old: GenerationRequest, new: GenerationRequest, is_running: bool) -> Fate:
    """What `new` means for `old`, which was asked for earlier."""
    both_interactive = old.priority is new.priority is Priority.INTERACTIVE
    if (both_interactive and old.session == new.session) or is_outdated(old, new):
        return Fate.SUPERSEDED
    if not is_running or old.priority <= new.priority:
        return Fate.STAYS
    # Reading ahead is as useful after the interruption as before; what was to be written
    # ahead is not, now that the text is another.
    return Fate.GIVES_WAY if old.priority is Priority.WARMUP else Fate.CANCELLED


def is_outdated(old: GenerationRequest, new: GenerationRequest) -> bool:
    """Whether `old` prepares a state of a document that `new` knows to be past.

    Going on with it would put the older text in the place of the newer in the KV sequence.
    """
    if not new.document or old.document != new.document:
        return False
    if old.priority is Priority.WARMUP:
        return True
    return old.priority is Priority.SPECULATIVE and new.priority is Priority.INTERACTIVE


class Job:
    """A request in the queue or running, and the promise of its answer."""

    def __init__(self, request: GenerationRequest) -> None:
        self.request = request
        self.future: Future[Generation] = Future()
        self.run: Run | None = None
        self._gives_way = False

    def settle(self, outcome: Generation | Exception) -> bool:
        """Answer, unless somebody has already; tell whether this was the answer."""
        if self.future.done():
            return False
        try:
            if isinstance(outcome, Exception):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)
        except InvalidStateError:  # another thread was first
            return False
        return True

    def stop(self, reason: Exception) -> None:
        """Answer at once and let the running step, if any, be the last."""
        if self.settle(reason):
            self.request.cancel.cancel()

    def give_way(self, yes: bool = True) -> None:
        """Let the running step be the last for now."""
        self._gives_way = yes

    def gives_way(self) -> bool:
        return self._gives_way

    def partial(self) -> Generation:
        """What there is so far, as if the deadline had passed now."""
        return self.run.partial() if self.run else Generation("", Finish.DEADLINE)
