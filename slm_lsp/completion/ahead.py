"""What is done before anybody asks for it: the rest of a cut text, the text behind what is
shown, and prompts that the engine has read already.

Owns: when work in the background begins, and for which place.

Invariant: at most one such job a session, of lower priority than any request, and ended by
the session's next request unless that is on the way to where the job's answer is of use.
Nothing is begun for a request that is not the session's newest. Never raises.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from slm_lsp.completion.answers import Answers
from slm_lsp.completion.flights import Flight, Flights
from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.policy import BACKGROUND_MS
from slm_lsp.completion.preparing import Kind, Prepared, Preparer, Target
from slm_lsp.deadline import SYSTEM_CLOCK, CancelToken, Clock, Deadline
from slm_lsp.prompt import budget, fim, plan
from slm_lsp.trace import Span
from slm_lsp.types import (
    CompletionContext,
    CompletionRequest,
    DocumentSnapshot,
    EngineState,
    FimTemplate,
    Finish,
    Generation,
    GenerationRequest,
    Origin,
    Priority,
)

if TYPE_CHECKING:
    from slm_lsp.completion.completer import Completer

log = logging.getLogger(__name__)

# Documents whose last place is kept, closed ones included: who opens a file again often goes
# on where he was.
MAX_PLACES = 256
# Who has been shown a cut text reads it first; what is written beyond is seldom looked at.
CARRY_ON_TOKENS = 32
# Longer than most pauses between two keys: reading more of a place waits for as long, since a
# request would have to wait for the step under way.
PAUSE_S = 0.3


class Ahead:
    """See the module."""

    def __init__(
        self, completer: Completer, preparer: Preparer, answers: Answers, flights: Flights
    ) -> None:
        self._completer = completer
        self._answers = answers
        self._preparer = preparer
        self._flights = flights
        self._newest: dict[str, CompletionRequest] = {}
        self._places: OrderedDict[str, int] = OrderedDict()
        self._opened: DocumentSnapshot | None = None
        self._to_renew: CompletionRequest | None = None
        self._clock: Clock = SYSTEM_CLOCK

    def asked(self, request: CompletionRequest) -> None:
        """A request has come."""
        self._clock = request.deadline.clock
        self._newest[request.session] = request
        self._places[request.snapshot.uri] = request.offset
        self._places.move_to_end(request.snapshot.uri)
        while len(self._places) > MAX_PLACES:
            self._places.popitem(last=False)

    def on_course(self, request: CompletionRequest) -> bool:
        """Whether the background work of the session still fits what is typed."""
        flight = self._flights.background(request.session)
        return flight is not None and flight.agrees(request.snapshot, request.offset)

    def forget(self, uri: str) -> None:
        """Drop what is kept for an open document."""
        for session, request in list(self._newest.items()):
            if request.snapshot.uri == uri:
                del self._newest[session]
        if self._opened is not None and self._opened.uri == uri:
            self._opened = None

    # --- after an answer ---

    def carry_on(
        self,
        request: CompletionRequest,
        job: GenerationRequest,
        context: CompletionContext,
        generation: Generation,
    ) -> None:
        """Let the engine finish what a deadline cut, and then read what the next ones need."""
        if not self._completer.policy.carry_on or not self._is_newest(request):
            return
        snapshot, offset = request.snapshot, request.offset
        flight = Flight(snapshot, offset, CancelToken(), generation.text)
        n_tokens = min(job.prompt.max_tokens, generation.n_predicted + CARRY_ON_TOKENS)
        is_cut = n_tokens < job.prompt.max_tokens
        again = replace(job, prompt=replace(job.prompt, max_tokens=n_tokens))
        again = self._job(request.session, flight, again)

        async def finish() -> None:
            longer = await self._completer.engine.generate(again)
            if is_cut and longer.finish is Finish.LENGTH:
                longer = replace(longer, finish=Finish.DEADLINE)  # it could go on
            self._answers.learn(snapshot, offset, context, longer)
            # By now the user may have typed some of it; on a slow model all answers are cut.
            newest = self._newest.get(request.session)
            if self._to_renew is request and newest is not None and self._may_read():
                await self._read(newest.snapshot, newest.offset, request.session, flight)

        self._flights.start(request.session, flight, finish)

    def renew_after(self, request: CompletionRequest) -> None:
        """The request's next ones would be better off with more context."""
        self._to_renew = request

    def after(self, request: CompletionRequest, outcome: Outcome) -> None:
        """A request was answered."""
        self._suppose(request, outcome)
        if self._to_renew is request and self._is_newest(request):
            known = outcome.completion.text if outcome.completion is not None else ""
            self._warm(request.snapshot, request.offset, request.session, known, PAUSE_S)

    def _suppose(self, request: CompletionRequest, outcome: Outcome) -> None:
        """Let the engine go on as if what is shown had been accepted."""
        shown, completer = outcome.completion, self._completer
        if shown is None or shown.origin is Origin.LEXICAL or not completer.policy.speculate:
            return
        text = self._answers.latest_text(request.snapshot)
        busy = self._flights.background(request.session) is not None
        if text is None or busy or not self._ready_for(request):
            return
        here = replace(request.snapshot, text=text)
        there = replace(here, text=text[: shown.start] + shown.text + text[shown.end :])
        at = shown.start + len(shown.text)
        if self._answers.knows(there, at):
            return
        flight = Flight(here, shown.start, CancelToken(), shown.text, is_shown=True)

        async def suppose() -> None:
            prepared = await self._prepared(there, at, flight, Kind.SUPPOSED)
            if prepared is None or prepared.prompt is None:
                return
            job = self._job(request.session, flight, self._new_job(there, prepared))
            said = await completer.engine.generate(job)
            self._answers.learn(there, at, prepared.context, said)

        self._flights.start(request.session, flight, suppose)

    def _ready_for(self, request: CompletionRequest) -> bool:
        ready = self._completer.engine.state is EngineState.READY
        return ready and not self._preparer.closed and self._is_newest(request)

    def _is_newest(self, request: CompletionRequest) -> bool:
        return self._newest.get(request.session) is request

    # --- before a request ---

    def opened(self, snapshot: DocumentSnapshot) -> None:
        """A document was opened; before the engine is ready, the last one is kept for it."""
        if self._completer.engine.state is EngineState.LOADING:
            self._opened = snapshot
        else:
            self._warm(snapshot, self._places.get(snapshot.uri))

    def ready(self) -> None:
        """The engine is ready."""
        snapshot, self._opened = self._opened, None
        text = self._answers.latest_text(snapshot) if snapshot is not None else None
        if snapshot is not None and text is not None:
            self._warm(replace(snapshot, text=text), self._places.get(snapshot.uri))

    def idle(self, snapshot: DocumentSnapshot, offset: int | None) -> None:
        """An edit, perhaps an acceptance, has ended at `offset` and nobody asked since."""
        last = self._newest.get(snapshot.uri)
        place = self._places.get(snapshot.uri) if offset is None else offset
        if last is None or (last.snapshot.text, last.offset) != (snapshot.text, place):
            self._warm(snapshot, place)

    def _may_read(self) -> bool:
        engine = self._completer.engine
        is_ready = engine.state is EngineState.READY and engine.info is not None
        return is_ready and self._completer.policy.warm_ahead and not self._preparer.closed

    def _warm(
        self,
        snapshot: DocumentSnapshot,
        offset: int | None,
        session: str = "",
        known: str = "",
        pause_s: float = 0.0,
    ) -> None:
        """Let the engine read the prompt of a place after a pause, unless it has better to do;
        typing what is `known` does not end it."""
        session = session or snapshot.uri
        busy = self._flights.background(session) or self._flights.asked(session)
        if busy is not None or not self._may_read():
            return
        if offset is None:
            offset = self._unknown_place(snapshot)
        if offset is None:
            return
        at = min(offset, len(snapshot.text))
        flight = Flight(snapshot, at, CancelToken(), known, is_shown=True)

        async def read_ahead() -> None:
            await asyncio.sleep(pause_s)
            await self._read(snapshot, at, session, flight)

        self._flights.start(session, flight, read_ahead)

    def _unknown_place(self, snapshot: DocumentSnapshot) -> int | None:
        completer = self._completer
        assert completer.engine.info is not None
        window = plan.window_tokens(completer.config.prompt_tokens, completer.speed())
        template = self._preparer.template_of(completer.engine.info)
        return unknown_place(snapshot.text, template, window)

    async def _read(
        self, snapshot: DocumentSnapshot, offset: int, session: str, flight: Flight
    ) -> None:
        prepared = await self._prepared(snapshot, offset, flight, Kind.AHEAD)
        if prepared is None or prepared.prompt is None:
            return
        job = self._new_job(snapshot, prepared)
        job = replace(job, prompt=replace(prepared.prompt, max_tokens=0))
        job = self._job(session, flight, job, Priority.WARMUP)
        read = await self._completer.engine.generate(job)
        if read.finish is Finish.LENGTH:
            self._preparer.was_read(snapshot.uri, prepared)

    # --- jobs ---

    async def _prepared(
        self, snapshot: DocumentSnapshot, offset: int, flight: Flight, kind: Kind
    ) -> Prepared | None:
        info, speed = self._completer.engine.info, self._completer.speed()
        target = Target(snapshot, offset, self._deadline(), flight.cancel, info, kind, speed)
        return await self._preparer.prepare(target, self._completer.config, Span(self._clock))

    def _new_job(self, snapshot: DocumentSnapshot, prepared: Prepared) -> GenerationRequest:
        assert prepared.prompt is not None
        assert prepared.chosen is not None
        return GenerationRequest(
            session=snapshot.uri,
            prompt=prepared.prompt,
            deadline=self._deadline(),
            cancel=CancelToken(),
            document=prepared.chosen.sequence,
        )

    def _job(
        self,
        session: str,
        flight: Flight,
        job: GenerationRequest,
        priority: Priority = Priority.SPECULATIVE,
    ) -> GenerationRequest:
        """The job as one of the background."""
        return replace(
            job,
            session=session,
            deadline=self._deadline(),
            cancel=flight.cancel,
            priority=priority,
        )

    def _deadline(self) -> Deadline:
        return Deadline.after(BACKGROUND_MS, self._clock)


def unknown_place(text: str, template: FimTemplate, prompt_tokens: int) -> int | None:
    """Where to read a document whose cursor is not known, None if that is of no use.

    A prompt that begins with the prefix shares its head with that of every cursor in the
    same window, so the whole first window is read. One that begins with the suffix shares
    nothing with another cursor's.
    """
    if fim.is_suffix_first(template):
        return None
    return min(len(text), budget.Window.of(prompt_tokens).prefix_chars)
