"""What is done after an answer, before the next request: the rest of a cut text, the text behind
what is shown, and the reading of more context.

Owns: which of these is begun.

Invariant: at most one such job a session, of lower priority than any request, and ended by
the session's next request unless that is on the way to where the job's answer is of use.
Nothing is begun for a request that is not the session's newest. Never raises.

Threads: the event loop.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from slm_lsp.completion.answers import Answers, Check
from slm_lsp.completion.flights import Flight, Flights
from slm_lsp.completion.jobs import Jobs
from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.preparing import Preparer
from slm_lsp.completion.reading import Reading
from slm_lsp.completion.target import Kind, Prepared, room_for
from slm_lsp.deadline import CancelToken
from slm_lsp.types import (
    CompletionRequest,
    DocumentSnapshot,
    Finish,
    Generation,
    GenerationRequest,
    Origin,
)

if TYPE_CHECKING:
    from slm_lsp.completion.completer import Completer

# Who has been shown a cut text reads it first; what is written beyond is seldom looked at. A slow
# model stops earlier: nobody waits for it, and it keeps a core busy.
CARRY_ON_TOKENS, LEAST_TOKENS = 32, 8
CARRY_ON_MS = 1500.0


class Ahead:
    """See the module."""

    def __init__(
        self, completer: Completer, preparer: Preparer, answers: Answers, flights: Flights
    ) -> None:
        self._completer = completer
        self._answers = answers
        self._flights = flights
        self._jobs = Jobs(completer, preparer)
        self.reading = Reading(completer, preparer, answers, flights, self._jobs)
        self._to_renew: dict[str, CompletionRequest] = {}

    def asked(self, request: CompletionRequest) -> None:
        """A request has come."""
        self._jobs.clock = request.deadline.clock
        self.reading.asked(request)

    def on_course(self, request: CompletionRequest) -> bool:
        """Whether the background work of the session still fits what is typed."""
        flight = self._flights.background(request.session)
        return flight is not None and flight.agrees(request.snapshot, request.offset)

    def forget(self, uri: str) -> None:
        """Drop what is kept for an open document."""
        for session in self.reading.forget(uri):
            self._to_renew.pop(session, None)

    def carry_on(
        self,
        request: CompletionRequest,
        job: GenerationRequest,
        prepared: Prepared,
        generation: Generation,
    ) -> None:
        """Let the engine finish what a deadline cut, and then read what the next ones need."""
        if not self._completer.policy.carry_on or not self.reading.is_newest(request):
            return
        snapshot, offset = request.snapshot, request.offset
        flight = Flight(snapshot, offset, CancelToken(), generation.text)
        n_more = carry_on_tokens(self._completer.speed().decode_ms)
        n_tokens = min(job.prompt.max_tokens, generation.n_predicted + n_more)
        is_cut = n_tokens < job.prompt.max_tokens
        prompt = replace(job.prompt, max_tokens=n_tokens)
        again = self._jobs.new(request.session, flight.cancel, prompt, job.document)

        async def finish() -> None:
            longer = await self._completer.engine.generate(again)
            if is_cut and longer.finish is Finish.LENGTH:
                longer = replace(longer, finish=Finish.DEADLINE)  # it could go on
            check = self._check(snapshot, offset, flight, prepared)
            await self._answers.learn(snapshot, offset, prepared.context, longer, check)
            # On a slow model all answers are cut, and no other time is left for it.
            if self._is_to_renew(request):
                await self.reading.in_pauses(request.session, flight)

        self._flights.start(request.session, flight, finish)

    def has_time_for_more(self, request: CompletionRequest, n_tokens: int) -> bool:
        """Whether much more than `n_tokens` is read in good time, by what the engine takes now: of
        its first request it may have known little."""
        target = self._jobs.target(request.snapshot, request.offset, request.cancel, Kind.AHEAD)
        if target.model is None:
            return False
        return not room_for(target, self._completer.config).is_enough(n_tokens)

    def renew_after(self, request: CompletionRequest) -> None:
        """The request's next ones would be better off with more context."""
        self._to_renew[request.session] = request

    def _is_to_renew(self, request: CompletionRequest) -> bool:
        return self._to_renew.get(request.session) is request

    def after(self, request: CompletionRequest, outcome: Outcome) -> None:
        """A request was answered."""
        self._suppose(request, outcome)
        if self._is_to_renew(request) and self.reading.is_newest(request):
            shown = outcome.completion.text if outcome.completion is not None else ""
            self.reading.after(request, shown)

    def _suppose(self, request: CompletionRequest, outcome: Outcome) -> None:
        """Let the engine go on as if what is shown had been accepted."""
        shown = outcome.completion
        if shown is None or shown.origin is Origin.LEXICAL or not self._may_suppose(request):
            return
        text = self._answers.latest_text(request.snapshot)
        if text is None:
            return
        here = replace(request.snapshot, text=text)
        there = replace(here, text=text[: shown.start] + shown.text + text[shown.end :])
        at = shown.start + len(shown.text)
        if self._answers.knows(there, at):
            return
        flight = Flight(here, shown.start, CancelToken(), shown.text, is_shown=True)

        async def suppose() -> None:
            prepared = await self._jobs.prepared(there, at, flight.cancel, Kind.SUPPOSED)
            if prepared is None or prepared.prompt is None or prepared.chosen is None:
                return
            document = prepared.chosen.sequence
            job = self._jobs.new(request.session, flight.cancel, prepared.prompt, document)
            said = await self._completer.engine.generate(job)
            check = self._check(there, at, flight, prepared)
            await self._answers.learn(there, at, prepared.context, said, check)

        self._flights.start(request.session, flight, suppose)

    def _check(
        self, snapshot: DocumentSnapshot, offset: int, flight: Flight, prepared: Prepared
    ) -> Check | None:
        """How the syntax of what is remembered is looked at: without haste."""
        target = self._jobs.target(snapshot, offset, flight.cancel, Kind.SUPPOSED)
        return self._completer.check(target, prepared)

    def _may_suppose(self, request: CompletionRequest) -> bool:
        is_free = self._flights.background(request.session) is None
        may = self._completer.policy.speculate and self._jobs.possible()
        return may and is_free and self.reading.is_newest(request)


def carry_on_tokens(decode_ms: float) -> int:
    """How many tokens a cut text may go on for, where one takes so long (0: not known)."""
    within = CARRY_ON_MS / decode_ms if decode_ms else CARRY_ON_TOKENS
    return round(min(CARRY_ON_TOKENS, max(LEAST_TOKENS, within)))
