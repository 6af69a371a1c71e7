"""The confidence gate: what is not sure enough is cut or not shown, and the bar learns.

Owns: this session's evidence, the texts that are still to be judged, and the bar that follows
from both and from what earlier sessions have left.

Invariant: a text that was asked for by hand is cut at the most, never hidden; without
log-probabilities nothing is judged. Hidden texts are judged by the document as shown ones are,
so a bar that is too high comes down by itself. Numbers leave it, never text.

Threads: the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable

from slm_lsp.completion.bar import Evidence
from slm_lsp.completion.verdicts import Verdict, Verdicts
from slm_lsp.types import CompletionRequest, DocumentSnapshot, Trigger


class Gate:
    """See the module."""

    def __init__(self) -> None:
        self._known = Evidence()
        self._new = Evidence()
        self._verdicts = Verdicts()
        self._bar = self._known.bar()

    @property
    def bar(self) -> float:
        """The score below which nothing is shown by itself."""
        return self._bar

    def hides(self, trigger: Trigger, score: float | None) -> bool:
        """Whether a text of such a score is not shown to whom it was not asked for by."""
        return trigger is Trigger.AUTOMATIC and score is not None and score < self._bar

    # --- what becomes of texts ---

    def made(
        self, request: CompletionRequest, text: str, score: float | None, *, is_shown: bool
    ) -> None:
        """A text was written for a request."""
        if score is not None:
            snapshot, offset = request.snapshot, request.offset
            self._verdicts.made(snapshot, offset, text, score, is_shown=is_shown)

    def seen(self, snapshot: DocumentSnapshot) -> None:
        """A document is so now."""
        self._learn(self._verdicts.seen(snapshot.uri, snapshot.text))

    def accepted(self) -> None:
        """The client tells that a suggestion was accepted."""
        self._learn(self._verdicts.accepted())

    def forget(self, uri: str) -> None:
        """A document was closed."""
        self._verdicts.forget(uri)

    # --- what is kept ---

    def load(self, evidence: Evidence) -> None:
        """What earlier sessions have left."""
        self._known = evidence.faded()
        self._update()

    @property
    def has_new(self) -> bool:
        """Whether there is anything that `take_new` has not taken."""
        return self._new.weight > 0

    def take_new(self) -> Evidence:
        """What this session has seen since the last call; it goes on counting here."""
        new, self._new = self._new, Evidence()
        self._known = (self._known + new).faded()
        self._update()
        return new

    def _learn(self, verdicts: Iterable[Verdict]) -> None:
        for verdict in verdicts:
            self._new = self._new.with_one(verdict.score, verdict.was_taken)
            self._update()

    def _update(self) -> None:
        self._bar = (self._known + self._new).faded().bar()
