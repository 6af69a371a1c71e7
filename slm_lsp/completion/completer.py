"""The pipeline of one completion: memory, context, prompt, engine, post-processing.

Owns: the order of the stages, and what is said when one of them has no answer.

Invariant: every request ends in one `Outcome`, with a completion or with a reason, and in
one trace line, whatever fails. The engine is reached only through `Engine.generate`; what is
remembered answers without it. Nothing is waited for past the deadline.

Threads: the event loop; what has to be looked at in a document is the Preparer's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from slm_lsp.completion.ahead import Ahead
from slm_lsp.completion.alternatives import others, with_alternatives, with_others
from slm_lsp.completion.answers import Answers, Check
from slm_lsp.completion.collecting import Collector
from slm_lsp.completion.flights import Flight, Flights
from slm_lsp.completion.gate import Gate
from slm_lsp.completion.jobs import taken_of
from slm_lsp.completion.outcome import UNANSWERED, Outcome, note
from slm_lsp.completion.patience import Patience
from slm_lsp.completion.place import Place
from slm_lsp.completion.policy import Policy
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.completion.preparing import Preparer
from slm_lsp.completion.recent import Recent, entry_of
from slm_lsp.completion.tally import Tally
from slm_lsp.completion.target import Prepared, Target
from slm_lsp.completion.worker import WorkerClosed, result_of
from slm_lsp.config import Config
from slm_lsp.deadline import Cancelled
from slm_lsp.engine.base import Engine, EngineUnavailable, PromptError, Superseded
from slm_lsp.prompt import fim
from slm_lsp.prompt.plan import UNKNOWN, Speed
from slm_lsp.secrets.paths import is_secret_uri
from slm_lsp.trace import Span, Trace
from slm_lsp.types import (
    CompletionRequest,
    DocumentSnapshot,
    EngineState,
    Finish,
    Generation,
    GenerationRequest,
    Trigger,
)

if TYPE_CHECKING:
    from slm_lsp.workspace.source import WorkspaceSource

log = logging.getLogger(__name__)

# What the answer still has to go through once the engine has stopped; the look at its syntax
# has to leave a part of that.
RESERVE_MS = 8.0
SHOWING_MS = 2.0
CLOSED = "the completer was closed"
UNCHECKED = "unchecked"


class Completer:
    """Completes requests on one engine. Close it to end its worker."""

    def __init__(
        self,
        engine: Engine,
        config: Config,
        trace: Trace | None = None,
        latest_text: Callable[[str], str | None] | None = None,
        policy: Policy | None = None,
        workspace: WorkspaceSource | None = None,
        collector: Collector | None = None,
    ) -> None:
        """`latest_text` gives a document's text as it is now, None once it is closed; `workspace`
        knows the other files, and belongs to whoever made it. `collector` asks others instead."""
        policy = policy or Policy.of(config)
        self.engine = engine
        self.config = config
        self.trace = trace or Trace()
        self.tally = Tally()
        self.policy = policy
        self.paused = False
        # Whether the workspace leaves a document or its language out.
        self.leaves_out: Callable[[str, str], bool] = lambda uri, language: False
        self.recent = Recent()
        self.gate = Gate() if policy.confidence_gate else None
        if not policy.snippets:
            collector = None
        elif workspace is not None and collector is None:
            collector = Collector.of(workspace)
        self._preparer = Preparer(anchored=policy.anchors, workspace=workspace, collector=collector)
        self._answers = Answers(
            policy, latest_text, self._preparer.end_of_word, self._control_texts, self.gate
        )
        self._flights = Flights()
        self._patience = Patience()
        self._ahead = Ahead(self, self._preparer, self._answers, self._flights)

    async def complete(self, request: CompletionRequest) -> Outcome:
        """See the module. Only asyncio.CancelledError is ever raised."""
        span = Span(request.deadline.clock)
        span.note(
            session=request.session, version=request.snapshot.version, trigger=request.trigger
        )
        budget_ms = request.deadline.remaining_ms()
        outcome = Outcome(None, RejectReason.CANCELLED)
        is_actual = request.snapshot.actual is None
        if is_actual:  # what is only supposed says nothing of what was shown before
            self._seen(request.snapshot)
            self._patience.asked(request)
        self._ahead.asked(request)
        try:
            outcome = await self._complete(request, span)
            if is_actual:
                self._patience.shown(request, outcome.completion)
            if not self._patience.is_tired(request.session):
                self._ahead.after(request, outcome)
        except asyncio.CancelledError:
            request.cancel.cancel()
            raise
        except Exception as error:
            log.exception("a completion failed")
            # Its message may hold source text, which the trace must not.
            name = type(error).__name__
            outcome = Outcome(None, RejectReason.INTERNAL_ERROR, detail=name)
        finally:
            note(span, outcome)
            self.tally.add(outcome, span.elapsed_ms())
            self.trace.write(span)
            is_late = outcome.reject in (RejectReason.NO_TIME, RejectReason.UNFINISHED)
            speed = self.speed() if is_late else UNKNOWN  # asks the daemon
            entry = entry_of(request, outcome, span, budget_ms, speed)
            self.recent.add(request.snapshot.uri, entry)
        return outcome

    async def _complete(self, request: CompletionRequest, span: Span) -> Outcome:
        if (why := self._left_alone(request.snapshot)) is not None:
            return Outcome(None, why)
        outcome = self._answers.remembered(request)
        if outcome is not None and self._wants_others(request):
            # What is remembered comes first, and the rest is looked for as if it were not.
            self._flights.stop(request.session)
            text = self._answers.latest_text(request.snapshot)
            other = await self._answer(request, span)
            first = self._answers.refitted(request.snapshot, outcome.completion, text)
            return with_others(replace(outcome, completion=first), other)
        if outcome is None:
            # Nothing is waited for: what the engine has read and written of an older request or
            # in the background is in its memory, and this one goes on from there.
            self._flights.stop(request.session)
            return await self._answer(request, span)
        if not self._ahead.on_course(request):
            self._flights.stop(request.session)
        return outcome

    async def _answer(self, request: CompletionRequest, span: Span) -> Outcome:
        """What the model says, or where it cannot, what the open files do."""
        flight = Flight(request.snapshot, request.offset, request.cancel)
        try:
            with self._flights.asking(request.session, flight):
                return await self._asked(request, span)
        except WorkerClosed:
            return Outcome(None, RejectReason.ENGINE_FAILED, detail=CLOSED)

    async def _asked(self, request: CompletionRequest, span: Span) -> Outcome:
        unready = self._unready()
        if unready is not None and not self.policy.lexical:
            return unready
        deadline = request.deadline.earlier(RESERVE_MS)
        if unready is None and deadline.expired():
            return Outcome(None, RejectReason.NO_TIME, detail="the request came too late")
        model = self.engine.info if unready is None else None
        target = Target(
            request.snapshot,
            request.offset,
            deadline,
            request.cancel,
            model,
            speed=self.speed(),
            trigger=request.trigger,
        )
        with span.stage("prepare"):
            prepared = await self._preparer.prepare(target, self.config, span)
        if prepared is None:
            request.cancel.cancel()
            late = Outcome(None, RejectReason.NO_TIME, detail="parsing took too long")
            return unready or late
        guess = None
        if self.policy.lexical:
            guess = self._preparer.guess(request.snapshot, request.offset)
        # Before the document is caught up with, which may take as long as the model.
        self._preparer.look_around(target, prepared)
        self._preparer.follow(request.snapshot)
        if prepared.context.unwanted is not None:
            return Outcome(None, RejectReason(prepared.context.unwanted))
        outcome = unready or await self._generated(request, prepared, span)
        if outcome.completion is None and outcome.reject in UNANSWERED and guess is not None:
            with span.stage("lexical"):
                text = await result_of(guess, request.deadline)
            check = self._check(request, prepared, span)
            return await self._answers.lexical(
                request, prepared.context, outcome, text or "", check
            )
        return outcome

    def speed(self) -> Speed:
        """What the engine takes for a token."""
        stats = self.engine.stats()
        return Speed(stats.prefill_ms_per_token, stats.decode_ms)

    def _control_texts(self) -> tuple[str, ...]:
        """What the model's prompts are put together with."""
        info = self.engine.info
        return fim.control_texts(self._preparer.template_of(info)) if info is not None else ()

    def _unready(self) -> Outcome | None:
        """Why the engine cannot be asked, if it cannot."""
        if self.engine.info is None or self.engine.state is not EngineState.READY:
            self.engine.wanted()
            return self._unavailable(self.engine.failure or "")
        return None

    def _unavailable(self, detail: str) -> Outcome:
        loading = self.engine.state is EngineState.LOADING
        reason = RejectReason.LOADING if loading else RejectReason.ENGINE_FAILED
        return Outcome(None, reason, detail=detail)

    async def _generated(
        self, request: CompletionRequest, prepared: Prepared, span: Span
    ) -> Outcome:
        """The model's answer."""
        assert prepared.prompt is not None
        assert prepared.chosen is not None
        job = GenerationRequest(
            session=request.session,
            prompt=prepared.prompt,
            deadline=request.deadline.earlier(RESERVE_MS),
            cancel=request.cancel,
            document=prepared.chosen.sequence,
            others=prepared.others,
        )
        try:
            with span.stage("engine"):
                generation = await self.engine.generate(job)
        except Superseded:
            return Outcome(None, RejectReason.SUPERSEDED)
        except Cancelled:
            return Outcome(None, RejectReason.CANCELLED)
        except EngineUnavailable as error:
            return self._unavailable(str(error))
        except PromptError as error:
            return Outcome(None, RejectReason.PROMPT_REFUSED, detail=str(error))
        self._preparer.answered(request.snapshot.uri, prepared.chosen, generation.other_at)
        taken = taken_of(job, prepared.chosen, generation, span)
        with span.stage("finish"), self._preparer.hurried():
            check = self._check(request, prepared, span)
            outcome = await self._answers.of_model(request, prepared.context, generation, check)
        if self._wants_others(request) and outcome.reject is not RejectReason.MOVED_ON:
            with span.stage("others"):
                outcome = await self._more(request, taken, prepared, outcome, check)
        if not self._patience.is_tired(request.session):
            self._go_on(request, taken, prepared, generation, outcome)
        return outcome

    def _wants_others(self, request: CompletionRequest) -> bool:
        return request.n_alternatives > 0 and request.trigger is Trigger.INVOKED

    async def _more(
        self,
        request: CompletionRequest,
        job: GenerationRequest,
        prepared: Prepared,
        outcome: Outcome,
        check: Check | None,
    ) -> Outcome:
        """The outcome with other texts; where it has none of its own, one of them is it."""
        snapshot, text = request.snapshot, self._answers.latest_text(request.snapshot)
        found = await others(
            self.engine, self._answers, request, job, prepared.context, outcome, self.speed(), check
        )
        # Somebody may have typed since the first answer was made.
        first = self._answers.refitted(snapshot, outcome.completion, text)
        fitted = [self._answers.refitted(snapshot, each, snapshot.text) for each in found]
        return with_alternatives(replace(outcome, completion=first), fitted)

    def _check(self, request: CompletionRequest, prepared: Prepared, span: Span) -> Check | None:
        """How the syntax of a request's texts is looked at, if it is."""
        deadline = request.deadline.earlier(SHOWING_MS)
        target = Target(request.snapshot, request.offset, deadline, request.cancel, None)
        return self.check(target, prepared, span)

    def check(self, target: Target, prepared: Prepared, span: Span | None = None) -> Check | None:
        """How the syntax of texts for a target is looked at; None where it is not."""
        if not self.policy.syntax_gate or not prepared.has_tree:
            return None
        span = span or Span(target.deadline.clock)

        async def checked(text: str, place: Place) -> str:
            with span.stage("syntax"):
                verdict = await self._preparer.check(target, text, place)
            span.note(syntax=verdict.state if verdict is not None else UNCHECKED)
            return verdict.text if verdict is not None else text

        return checked

    def _go_on(
        self,
        request: CompletionRequest,
        job: GenerationRequest,
        prepared: Prepared,
        generation: Generation,
        outcome: Outcome,
    ) -> None:
        """Let the background do what the deadline left of a job."""
        chosen = prepared.chosen
        if generation.finish is Finish.DEADLINE and outcome.reject is not RejectReason.MOVED_ON:
            self._ahead.carry_on(request, job, prepared, generation)
        if chosen is None:
            return
        n_tokens = chosen.taken(generation.other_at).n_tokens
        # What is larger was read when there was more time.
        if n_tokens <= chosen.anchor.n_tokens and (
            chosen.renewable or self._ahead.has_time_for_more(request, n_tokens)
        ):
            self._ahead.renew_after(request)

    # --- documents ---

    def accepted(self) -> None:
        """The client tells that the user accepted a suggestion."""
        self.tally.n_accepted += 1
        if self.gate is not None:
            self.gate.accepted()

    def _seen(self, snapshot: DocumentSnapshot) -> None:
        if self.gate is not None:
            self.gate.seen(snapshot)

    def opened(self, snapshot: DocumentSnapshot) -> None:
        """Look at a document, and let the engine read it, ahead of its first request."""
        if self._left_alone(snapshot):
            return
        self._preparer.follow(snapshot)
        self._ahead.reading.opened(snapshot)

    def ready(self) -> None:
        """The engine has become ready: let it read what was opened last."""
        self._ahead.reading.ready()

    def idle(self, snapshot: DocumentSnapshot, offset: int | None = None) -> None:
        """Nobody has asked for a while since an edit that ended at `offset`."""
        if self._left_alone(snapshot):
            return
        self._seen(snapshot)
        self._preparer.follow(snapshot)
        self._ahead.reading.idle(snapshot, offset)

    def pause(self, paused: bool) -> None:
        """Do nothing until told to go on, or go on."""
        self.paused = paused
        if paused:
            self._flights.close()

    def _left_alone(self, snapshot: DocumentSnapshot) -> RejectReason | None:
        """Why nothing of a document is looked at, if so."""
        if self.paused:
            return RejectReason.PAUSED
        if self.config.secret_files == "off" and is_secret_uri(snapshot.uri):
            return RejectReason.SECRET_FILE
        is_left_out = self.leaves_out(snapshot.uri, snapshot.language)
        return RejectReason.LEFT_OUT if is_left_out else None

    def closed(self, uri: str) -> None:
        """Forget a document."""
        self._preparer.forget(uri)
        self._answers.forget(uri)
        self._flights.forget(uri)
        self._patience.forget(uri)
        self._ahead.forget(uri)
        self.recent.forget(uri)
        if self.gate is not None:
            self.gate.forget(uri)
        self.engine.abandon(uri)

    def close(self) -> None:
        """End the worker and all that runs in the background; the engine belongs to whoever
        made it."""
        self._flights.close()
        self._preparer.close()
