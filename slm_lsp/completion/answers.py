"""From a text, whoever wrote it, to an answer; and what is remembered of it.

Owns: the typed-through memory, and the fit of every answer into the document as it is when
it is given.

Invariant: every text goes through the same post-processing, the look at its syntax where there
is one included, before it is remembered or shown. What is remembered is what was,
or could have been, shown; nothing is remembered for a document that is closed.

Threads: the event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from slm_lsp.completion import postprocess, reuse
from slm_lsp.completion.confidence import Certainty, cut_unsure
from slm_lsp.completion.gate import Gate
from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.place import Place
from slm_lsp.completion.policy import Policy
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.completion.typed_through import TypedThrough
from slm_lsp.context.languages import language_of
from slm_lsp.types import (
    Completion,
    CompletionContext,
    CompletionRequest,
    DocumentSnapshot,
    Finish,
    Generation,
    Origin,
    Trigger,
)

# What of a text for a place the syntax lets stand, nothing if none of it.
Check = Callable[[str, Place], Awaitable[str]]


class Answers:
    """See the module. `end_of_word` knows the words of the open files, `specials` the control
    texts of the model's template; without a `gate` all that the model wrote may be shown."""

    def __init__(
        self,
        policy: Policy,
        latest_text: Callable[[str], str | None] | None,
        end_of_word: Callable[[str], str | None],
        specials: Callable[[], tuple[str, ...]] = tuple,
        gate: Gate | None = None,
    ) -> None:
        self._gate = gate
        self._policy = policy
        self._latest_text = latest_text
        self._end_of_word = end_of_word
        self._specials = specials
        self._typed_through = TypedThrough()

    def remembered(self, request: CompletionRequest) -> Outcome | None:
        """The answer for a place that has one."""
        if not self._policy.reuse:
            return None
        snapshot, offset = request.snapshot, request.offset
        found = self._typed_through.lookup(snapshot.uri, snapshot.text, offset)
        # Who asks for it by hand gets more time than there was when a deadline cut the text.
        if found is None or (request.trigger is Trigger.INVOKED and not found.complete):
            return None
        if not found.text:
            return Outcome(None, RejectReason.REMEMBERED_EMPTY)
        score = found.certainty.score(found.text, found.n_seen) if found.certainty else None
        return self._gated(request, found.text, Origin.REUSED, None, score)

    async def of_model(
        self,
        request: CompletionRequest,
        context: CompletionContext,
        generation: Generation,
        check: Check | None = None,
    ) -> Outcome:
        """The answer that a generation is."""
        text = await self.learn(request.snapshot, request.offset, context, generation, check)
        if isinstance(text, RejectReason):
            return Outcome(None, text, generation)
        certainty = Certainty.of(generation)
        score = certainty.score(text) if certainty else None
        outcome = self._gated(request, text, Origin.MODEL, generation, score)
        if self._gate is not None:
            self._gate.made(request, text, score, is_shown=outcome.completion is not None)
        return outcome

    async def alternative(
        self,
        request: CompletionRequest,
        context: CompletionContext,
        generation: Generation,
        check: Check | None = None,
    ) -> Completion | None:
        """Another text for a place that has an answer, in the request's own document; it is not
        remembered."""
        text = await self._shown(request.snapshot, context, generation, check)
        if isinstance(text, RejectReason):
            return None
        return Completion(text, request.offset, request.offset, Origin.MODEL)

    def refitted(
        self, snapshot: DocumentSnapshot, completion: Completion | None, text: str | None
    ) -> Completion | None:
        """What is left of a completion that was made when its document was `text`."""
        latest = self.latest_text(snapshot)
        if completion is None or text is None or latest is None:
            return None
        return reuse.refit(completion, text, latest)

    def _gated(
        self,
        request: CompletionRequest,
        text: str,
        origin: Origin,
        generation: Generation | None,
        score: float | None,
    ) -> Outcome:
        """The answer, or silence where the model is not sure enough of it."""
        if self._gate is None or score is None:
            return self._fitted(request, text, origin, generation)
        if self._gate.hides(request.trigger, score):
            outcome = Outcome(None, RejectReason.UNSURE, generation)
        else:
            outcome = self._fitted(request, text, origin, generation)
        return replace(outcome, score=score, bar=self._gate.bar)

    async def lexical(
        self,
        request: CompletionRequest,
        context: CompletionContext,
        outcome: Outcome,
        text: str,
        check: Check | None = None,
    ) -> Outcome:
        """The open files' answer, or the outcome that there was without it."""
        place = self._place(request.snapshot, context, Finish.STOP)
        shown = await self._applied(text, place, check, ends_anywhere=True)
        if isinstance(shown, RejectReason):
            return outcome
        fitted = self._fitted(request, shown, Origin.LEXICAL, outcome.generation)
        return replace(fitted, detail=str(outcome.reject)) if fitted.completion else outcome

    async def learn(
        self,
        snapshot: DocumentSnapshot,
        offset: int,
        context: CompletionContext,
        generation: Generation,
        check: Check | None = None,
    ) -> str | RejectReason:
        """What may be shown of a generation, which is remembered for its place."""
        text = await self._shown(snapshot, context, generation, check)
        complete = generation.finish is not Finish.DEADLINE
        if not self._policy.reuse or self.latest_text(snapshot) is None:
            return text
        if not isinstance(text, RejectReason):
            self._typed_through.remember(
                snapshot.uri,
                snapshot.text,
                offset,
                text,
                complete=complete,
                certainty=Certainty.of(generation),
            )
        elif complete and text is RejectReason.EMPTY:
            self._typed_through.remember(snapshot.uri, snapshot.text, offset, "", complete=True)
        return text

    async def _shown(
        self,
        snapshot: DocumentSnapshot,
        context: CompletionContext,
        generation: Generation,
        check: Check | None,
    ) -> str | RejectReason:
        """What of a generation could be shown, if the model is sure enough of it."""
        place = self._place(snapshot, context, generation.finish)
        certainty = Certainty.of(generation) if self._gate is not None else None
        text = generation.text
        if certainty is not None:
            text = cut_unsure(text, certainty, place)
        return await self._applied(text, place, check)

    async def _applied(
        self, text: str, place: Place, check: Check | None, *, ends_anywhere: bool = False
    ) -> str | RejectReason:
        """What may be shown of a text."""
        left = postprocess.filtered(text, place)
        if isinstance(left, RejectReason):
            return left
        if check is not None:
            left = await check(
                left, replace(place, finish=Finish.DEADLINE) if ends_anywhere else place
            )
        return postprocess.put(left, place) if left else RejectReason.BREAKS_SYNTAX

    def knows(self, snapshot: DocumentSnapshot, offset: int) -> bool:
        """Whether a place has an answer already."""
        found = self._typed_through.lookup(snapshot.uri, snapshot.text, offset)
        return found is not None

    def latest_text(self, snapshot: DocumentSnapshot) -> str | None:
        """A document's text as it is now, or would be where the snapshot only supposes it; None
        once it is closed."""
        latest = self._latest_text(snapshot.uri) if self._latest_text else snapshot.text
        is_as_supposed = latest is not None and latest == snapshot.actual
        return snapshot.text if is_as_supposed else latest

    def forget(self, uri: str) -> None:
        """Drop what is kept for a document."""
        self._typed_through.forget(uri)

    def _place(
        self, snapshot: DocumentSnapshot, context: CompletionContext, finish: Finish
    ) -> Place:
        language = language_of(context.language or snapshot.language)
        return Place.of(context, finish, language, self._end_of_word, self._specials())

    def _fitted(
        self,
        request: CompletionRequest,
        text: str,
        origin: Origin,
        generation: Generation | None = None,
    ) -> Outcome:
        """The text in the document as it is now."""
        completion = Completion(text, request.offset, request.offset, origin)
        fitted = self.refitted(request.snapshot, completion, request.snapshot.text)
        return Outcome(fitted, None if fitted else RejectReason.MOVED_ON, generation)
