"""ServerEngine: an Engine whose model is on a server of the user's own.

Owns: the server's state over the engine's life, the requests under way, who makes way for whom,
and when the server is left alone.

Invariant: `generate` ends at the deadline, when cancelled, or with the answer, whatever the server
does, and each request is answered once. Nothing is sent but for a request that a user waits for,
and what finds out about the server. The key is in nothing that is said.

Threads: the event loop that is running when `start` is called; `close` and the properties from any.
The HTTP library is not imported with this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from slm_lsp.deadline import SYSTEM_CLOCK, Cancelled, Clock, Deadline
from slm_lsp.engine.base import EngineStats, EngineUnavailable, PromptError, Superseded
from slm_lsp.engine.breaker import Breaker
from slm_lsp.engine.server_answer import Answer
from slm_lsp.engine.server_apis import APIS, Api, Complaint, Served
from slm_lsp.engine.server_flight import Flight, Way, bring
from slm_lsp.engine.server_link import HttpLink, Link, Trouble
from slm_lsp.engine.server_look import Found, Known, look_at
from slm_lsp.engine.server_settings import (
    ServerRefused,
    ServerSettings,
    base_url,
    check_host,
    find_key,
    host_of,
)
from slm_lsp.types import (
    EngineState,
    Finish,
    Generation,
    GenerationRequest,
    ModelInfo,
    Priority,
)

log = logging.getLogger(__name__)

FIRST_DELAY_S, LAST_DELAY_S = 1.0, 60.0
NOTHING_AHEAD = "nothing is sent to a server ahead of a request"
NO_BRANCH = "a server writes the likeliest text only"
# The newest measured time counts for so much.
NEWEST_SHARE = 0.3
TOO_MANY = 429  # passes by itself, so nobody is told

Until = Callable[[Deadline], Awaitable[None]]
Connect = Callable[[ServerSettings], Awaitable[Link]]


async def until(deadline: Deadline) -> None:
    """Return at the deadline."""
    await asyncio.sleep(max(0.0, deadline.remaining_ms() / 1e3))


async def connect(settings: ServerSettings) -> Link:
    """A link by the settings; the libraries and the system are asked off the loop. Raises
    ServerRefused."""

    def make() -> HttpLink:
        base = base_url(settings.url)
        check_host(base, settings.insecure)
        return HttpLink.make(base, find_key(settings.key_variable, host_of(base)))

    return await asyncio.to_thread(make)


class ServerEngine:
    """An Engine behind HTTP. `start` it within a running event loop."""

    def __init__(
        self,
        settings: ServerSettings,
        known: Known,
        on_state: Callable[[EngineState], None] = lambda state: None,
        on_progress: Callable[[str, float | None], None] = lambda text, done: None,
        clock: Clock = SYSTEM_CLOCK,
        connect: Connect = connect,
        until: Until = until,
    ) -> None:
        self._settings, self._known = settings, known
        self.on_state, self._on_progress = on_state, on_progress
        self._clock, self._connect, self._until = clock, connect, until
        self._state = EngineState.LOADING
        self._failure: str | None = None
        # What requests have shown of a server that looked well; None once one has succeeded.
        self._broken: str | None = None
        self._link: Link | None = None
        self._found: Found | None = None
        self._breaker = Breaker(clock)
        self._stats = EngineStats()
        self._flights: dict[str, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop
        self._keeper: asyncio.Task[None] | None = None

    @property
    def state(self) -> EngineState:
        return self._state

    @property
    def failure(self) -> str | None:
        return self._failure or self._broken

    @property
    def info(self) -> ModelInfo | None:
        return self._found.info if self._found else None

    @property
    def api(self) -> str:
        """How the server is spoken to, once that is known."""
        return self._found.served.api if self._found else self._settings.api

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the model is asked."""
        return self._found.notes if self._found else ()

    @property
    def is_well(self) -> bool:
        """Whether a request would be sent, and nothing bad was heard of the last ones."""
        return self._state is EngineState.READY and not self._breaker.is_open

    def wanted(self) -> None:
        """See Engine. What has failed stays so."""

    def abandon(self, owner: str) -> None:
        """See Engine. A server's cache is its own matter."""

    def stats(self) -> EngineStats:
        return replace(self._stats, n_queued=len(self._flights))

    def start(self) -> None:
        """Begin to find out about the server."""
        self._loop = asyncio.get_running_loop()
        self._keeper = self._loop.create_task(self._keep(), name="slm-server")
        self._keeper.add_done_callback(self._kept)

    def close(self) -> None:
        """See Engine. The loop closes what is open when it turns next."""
        self._state = EngineState.CLOSED
        with contextlib.suppress(RuntimeError):  # the loop has ended, and all with it
            self._loop.call_soon_threadsafe(self._shut)

    async def closed(self) -> None:
        """Wait until nothing of the engine runs any more, after `close`."""
        if self._keeper is not None:
            await asyncio.wait({self._keeper})

    def _shut(self) -> None:
        for flight in list(self._flights.values()):
            flight.end(EngineUnavailable("the engine was closed"))
        if self._keeper is not None:
            self._keeper.cancel()

    # --- the server ---

    async def _keep(self) -> None:
        """Find out about the server, again and again until that worked; then wait for the end."""
        try:
            await self._reach()
            await asyncio.Event().wait()
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            if self._link is not None:
                await self._link.close()

    async def _reach(self) -> None:
        delay_s = FIRST_DELAY_S
        while self._found is None:
            try:
                self._on_progress(f"ask {host_of(self._settings.url)}", None)
                if self._link is None:
                    self._link = await self._connect(self._settings)
                self._found = await look_at(self._link, self._settings, self._known)
            except ServerRefused as error:
                self._failed(str(error))
                return
            except Trouble as trouble:
                self._failed(self._said(trouble))
                await asyncio.sleep(max(delay_s, trouble.wait_ms / 1e3))
                delay_s = min(LAST_DELAY_S, delay_s * 2)
        for note in self._found.notes:
            log.warning("%s", note)
        self._failure = None
        self._become(EngineState.READY)

    def _said(self, error: Exception | str) -> str:
        return f"server {host_of(self._settings.url)} {error}"

    def _failed(self, said: str) -> None:
        log.warning("%s", said)
        self._failure = said
        self._become(EngineState.FAILED)

    def _kept(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the server is no longer looked after", exc_info=error)
            self._failed(f"slm-lsp has a bug: {error!r}")

    def _become(self, state: EngineState) -> None:
        if self._state not in (state, EngineState.CLOSED):
            self._state = state
            self.on_state(state)

    # --- requests ---

    async def generate(
        self, request: GenerationRequest, on_text: Callable[[], None] = lambda: None
    ) -> Generation:
        """See Engine; `on_text` is called when the answer begins."""
        request.cancel.raise_if_cancelled()
        link, served = self._ready(request)
        self._stats.n_requests += 1
        if request.deadline.expired():
            self._stats.n_expired += 1
            return Generation("", Finish.DEADLINE)
        api = APIS[served.api]
        body = self._body(api, served, request)
        if not self._breaker.allows():
            raise self._left_alone()
        flight = self._begin(request, api)
        way = Way(link, api, self._clock, on_text, self._without_logprobs)
        task = self._loop.create_task(bring(flight, way, body))
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._landed(flight, task))
        try:
            return await self._settled(flight)
        finally:
            flight.end(Cancelled())
            if not flight.draining:
                task.cancel()
            if self._flights.get(request.session) is flight:
                del self._flights[request.session]

    def _ready(self, request: GenerationRequest) -> tuple[Link, Served]:
        if request.priority is not Priority.INTERACTIVE or not request.prompt.max_tokens:
            raise EngineUnavailable(NOTHING_AHEAD)
        if request.branch:
            raise EngineUnavailable(NO_BRANCH)
        if self._link is None or self._found is None or self._state is not EngineState.READY:
            raise EngineUnavailable(self._failure or f"server {self._state}")
        return self._link, self._found.served

    def _body(self, api: Api, served: Served, request: GenerationRequest) -> dict[str, object]:
        try:
            return api.body(served, request.prompt)
        except PromptError:
            self._stats.n_failed += 1
            raise

    def _left_alone(self) -> EngineUnavailable:
        self._stats.n_failed += 1
        left_s = self._breaker.retry_in_ms() / 1e3
        return EngineUnavailable(f"{self._breaker.reason}; asked again in {left_s:.0f} s")

    def _begin(self, request: GenerationRequest, api: Api) -> Flight:
        """A flight in the place of the session's last."""
        older = self._flights.get(request.session)
        if older is not None:
            older.end(Superseded())
        heal = request.prompt.heal if api.heals else ""
        flight = Flight(request, Answer(request.prompt, heal), self._clock.now_ms())
        self._flights[request.session] = flight

        def stop() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(flight.end, Cancelled())

        request.cancel.add_callback(stop)
        return flight

    async def _settled(self, flight: Flight) -> Generation:
        """The flight's outcome, or at the deadline what there is."""
        timer = asyncio.ensure_future(self._until(flight.request.deadline))
        try:
            both: set[asyncio.Future[Any]] = {timer, flight.outcome}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            flight.request.cancel.cancel()
            raise
        finally:
            timer.cancel()
        if not flight.outcome.done():
            flight.request.cancel.raise_if_cancelled()
            flight.end(Finish.DEADLINE)
        try:
            finish = flight.outcome.result()
        except Cancelled:
            self._stats.n_cancelled += 1
            raise
        except Exception:
            self._stats.n_failed += 1
            raise
        self._count(flight)
        return flight.answer.generation(finish, flight.started_ms, self._clock.now_ms())

    def _count(self, flight: Flight) -> None:
        answer, stats = flight.answer, self._stats
        stats.n_finished += 1
        stats.n_decode_steps += answer.n_pieces
        stats.n_prefill_tokens += max(0, answer.piece.n_prompt - answer.piece.n_cached)
        decode_ms = answer.piece.decode_ms or answer.ms_per_piece()
        stats.decode_ms = _smooth(stats.decode_ms, decode_ms)
        stats.prefill_ms_per_token = _smooth(stats.prefill_ms_per_token, answer.piece.prefill_ms)

    # --- how it went ---

    def _landed(self, flight: Flight, task: asyncio.Task[None]) -> None:
        """Judge the server by a flight that is over, and settle it where it is not."""
        self._tasks.discard(task)
        if task.cancelled():
            self._cut_short(flight)
            return
        error = task.exception()
        if error is None:
            self._answered()
        elif isinstance(error, Trouble | Complaint):
            self._broke(flight, error)
        else:
            log.error("a server's answer could not be taken", exc_info=error)
            self._breaker.undecided()
            flight.end(EngineUnavailable(f"slm-lsp has a bug: {type(error).__name__}"))

    def _cut_short(self, flight: Flight) -> None:
        """Judge the server by a flight that was not let to its end."""
        if flight.answer.begun:
            self._answered()
        elif flight.was_late():
            said = "has not begun to answer in time again and again"
            self._breaker.failed(self._said(said), late=True)
        else:
            self._breaker.undecided()

    def _answered(self) -> None:
        self._breaker.succeeded()
        self._broken = None

    def _broke(self, flight: Flight, error: Trouble | Complaint) -> None:
        said = self._said(error)
        if isinstance(error, Trouble) and error.is_too_long:
            self._answered()
            flight.end(PromptError(f"{said}: prompt and answer do not fit"))
            return
        wait_ms = error.wait_ms if isinstance(error, Trouble) else 0.0
        log.warning("%s", said)
        self._breaker.failed(said, wait_ms=wait_ms)
        is_busy = isinstance(error, Trouble) and error.status == TOO_MANY
        if self._breaker.is_open and not is_busy:
            self._broken = said
        # What has come is as good as what a deadline cuts.
        flight.end(Finish.DEADLINE if flight.answer.text else EngineUnavailable(said))

    def _without_logprobs(self) -> None:
        """The server refuses them; it is not asked for them again."""
        if self._found is not None:
            self._found = replace(self._found, served=replace(self._found.served, logprobs=False))


def _smooth(known: float, newest: float) -> float:
    if not newest or not known:
        return newest or known
    return known + NEWEST_SHARE * (newest - known)
