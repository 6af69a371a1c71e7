"""Prompts that the engine has read before anybody asks.

Owns: for which place, and when: at once where a document is opened or was edited without a
request, in pauses where its user is typing.

Invariant: at most one such job a session, of lower priority than any request. A request that it
is of no use for ends it; any other one interrupts it until nobody has asked for `PAUSE_S`.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from slm_lsp.completion.answers import Answers
from slm_lsp.completion.flights import Flight, Flights
from slm_lsp.completion.jobs import Jobs
from slm_lsp.completion.preparing import Preparer
from slm_lsp.completion.target import Kind
from slm_lsp.deadline import Cancelled, CancelToken
from slm_lsp.prompt import budget, fim, plan
from slm_lsp.types import (
    CompletionRequest,
    DocumentSnapshot,
    EngineState,
    FimTemplate,
    Finish,
    Priority,
)

if TYPE_CHECKING:
    from slm_lsp.completion.completer import Completer

# Documents whose last place is kept, closed ones included: who opens a file again often goes
# on where he was.
MAX_PLACES = 256
# Longer than nearly all pauses between two keys, and most at a line's end: a request would have to
# wait for the step under way. With 0.3 a twentieth of all keys had a reading behind them.
PAUSE_S = 0.5


class Reading:
    """See the module."""

    def __init__(
        self,
        completer: Completer,
        preparer: Preparer,
        answers: Answers,
        flights: Flights,
        jobs: Jobs,
    ) -> None:
        self._completer = completer
        self._preparer = preparer
        self._answers = answers
        self._flights = flights
        self._jobs = jobs
        self._newest: dict[str, CompletionRequest] = {}
        self._places: OrderedDict[str, int] = OrderedDict()
        self._opened: DocumentSnapshot | None = None
        # Set when the session asks again.
        self._until_asked: dict[str, CancelToken] = {}

    def asked(self, request: CompletionRequest) -> None:
        """A request has come."""
        self._newest[request.session] = request
        self._places[request.snapshot.uri] = request.offset
        self._places.move_to_end(request.snapshot.uri)
        while len(self._places) > MAX_PLACES:
            self._places.popitem(last=False)
        if (until_asked := self._until_asked.pop(request.session, None)) is not None:
            until_asked.cancel()

    def is_newest(self, request: CompletionRequest) -> bool:
        """Whether the session has not asked since."""
        return self._newest.get(request.session) is request

    def forget(self, uri: str) -> list[str]:
        """Drop what is kept for an open document; return its sessions."""
        if self._opened is not None and self._opened.uri == uri:
            self._opened = None
        sessions = [key for key, newest in self._newest.items() if newest.snapshot.uri == uri]
        for session in sessions:
            del self._newest[session]
        return sessions

    def opened(self, snapshot: DocumentSnapshot) -> None:
        """A document was opened; before the engine is ready, the last one is kept for it."""
        if self._jobs.engine.state is EngineState.LOADING:
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

    def after(self, request: CompletionRequest, shown: str) -> None:
        """Read more of a request's place; typing what is `shown` there does not end it."""
        if self._may_begin(request.session):
            flight = Flight(request.snapshot, request.offset, CancelToken(), shown, is_shown=True)
            self._begin(request.session, flight, at_once=False)

    async def in_pauses(self, session: str, flight: Flight, *, at_once: bool = False) -> None:
        """Read where the user has come to on the flight's way; `at_once` if nobody types yet."""
        while self._allowed() and not flight.cancel.cancelled:
            until_asked = self._until_asked[session] = CancelToken()
            flight.cancel.add_callback(until_asked.cancel)
            if not at_once and await _set_within(until_asked, PAUSE_S):
                continue
            snapshot, offset, newest = flight.snapshot, flight.offset, self._newest.get(session)
            if newest is not None and flight.agrees(newest.snapshot, newest.offset):
                snapshot, offset = newest.snapshot, newest.offset
            try:
                return await self._read(session, snapshot, offset, until_asked)
            except Cancelled:
                at_once = False

    # --- one place ---

    def _allowed(self) -> bool:
        return self._completer.policy.warm_ahead and self._jobs.possible()

    def _may_begin(self, session: str) -> bool:
        """Whether the session has nothing better to do."""
        busy = self._flights.background(session) or self._flights.asked(session)
        return busy is None and self._allowed()

    def _warm(self, snapshot: DocumentSnapshot, offset: int | None) -> None:
        if not self._may_begin(snapshot.uri):
            return
        if offset is None:
            offset = self._unknown_place(snapshot)
        if offset is not None:
            flight = Flight(snapshot, min(offset, len(snapshot.text)), CancelToken())
            self._begin(snapshot.uri, flight, at_once=True)

    def _begin(self, session: str, flight: Flight, *, at_once: bool) -> None:
        async def read() -> None:
            await self.in_pauses(session, flight, at_once=at_once)

        self._flights.start(session, flight, read)

    def _unknown_place(self, snapshot: DocumentSnapshot) -> int | None:
        info, config = self._jobs.engine.info, self._completer.config
        assert info is not None
        window = plan.window_tokens(config.prompt_tokens, self._completer.speed())
        return unknown_place(snapshot.text, self._preparer.template_of(info), window)

    async def _read(
        self, session: str, snapshot: DocumentSnapshot, offset: int, cancel: CancelToken
    ) -> None:
        prepared = await self._jobs.prepared(snapshot, offset, cancel, Kind.AHEAD)
        if prepared is None or prepared.prompt is None or prepared.chosen is None:
            return
        prompt = replace(prepared.prompt, max_tokens=0)
        job = self._jobs.new(session, cancel, prompt, prepared.chosen.sequence, Priority.WARMUP)
        read = await self._jobs.engine.generate(job)
        if read.finish is Finish.LENGTH:
            self._preparer.was_read(snapshot.uri, prepared)


async def _set_within(token: CancelToken, seconds: float) -> bool:
    """Whether a token is set before so much time has passed."""
    is_set = asyncio.Event()
    token.add_callback(is_set.set)
    try:
        await asyncio.wait_for(is_set.wait(), seconds)
    except TimeoutError:
        return False
    return True


def unknown_place(text: str, template: FimTemplate, prompt_tokens: int) -> int | None:
    """Where to read a document whose cursor is not known, None if that is of no use.

    A prompt that begins with the prefix shares its head with that of every cursor in the
    same window, so the whole first window is read. One that begins with the suffix shares
    nothing with another cursor's.
    """
    if fim.is_suffix_first(template):
        return None
    return min(len(text), budget.Window.of(prompt_tokens).prefix_chars)
