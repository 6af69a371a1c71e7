"""DaemonEngine: an Engine whose model is in the daemon's process.

Owns: the connection to the daemon over its whole life: starting the daemon, starting it again
with back-off when it was lost, and letting it sleep once it ended for lack of work.

Invariant: `generate` ends at the deadline, or at once when the connection breaks, whatever the
daemon does. What has failed is tried again for a request only, and a model that failed to load
only once its file is another, or much later.

Threads: the event loop that is running when `start` is called; `close` and the properties
from any. Nothing native, no numpy and no lock library is imported with this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from slm_lsp.engine.base import EngineStats, EngineUnavailable
from slm_lsp.engine.codec import WireError
from slm_lsp.engine.launch import Launcher, LaunchError
from slm_lsp.engine.link import LOST, Link, Refused, Silent
from slm_lsp.engine.rendezvous import Peer, RendezvousError
from slm_lsp.engine.wire import Abandon, State
from slm_lsp.types import EngineState, Finish, Generation, GenerationRequest, ModelInfo

if TYPE_CHECKING:
    import socket

log = logging.getLogger(__name__)

# Of a request's time, what the answer needs to come back: the daemon stops that much earlier.
TRANSIT_MS = 4.0
FIRST_DELAY_S, LAST_DELAY_S = 0.1, 5.0
# Connections in a row without a loaded model, after which it is given up.
MAX_ATTEMPTS = 6
# How long a daemon must have served before its loss is no sign of a worse one.
STEADY_S = 30.0
# How often to ask again where another daemon is in the way.
REFUSED_DELAY_S = 2.0
# Connections in a row without a hello, after which the daemon counts as hanging.
MAX_SILENT = 2
# Having given up, how long requests are refused before one has it tried again: a disk may have
# room again. A model that did not load costs more to try, and hardly gets better by itself.
AGAIN_S, RELOAD_S = 1.0, 60.0


class DaemonEngine:
    """An Engine behind a socket. `start` it within a running event loop."""

    def __init__(
        self,
        launcher: Launcher,
        key: Callable[[], str],
        on_state: Callable[[EngineState], None] = lambda state: None,
        on_progress: Callable[[str, float | None], None] = lambda text, done: None,
    ) -> None:
        """`key` says which model and settings it is to be, and is asked at each connection: the
        model's file may have been replaced since the last."""
        self._launcher, self._key = launcher, key
        self._last_key = ""
        self._on_state, self._on_progress = on_state, on_progress
        self._state = EngineState.LOADING
        self._failure: str | None = None
        self._info: ModelInfo | None = None
        self._stats = EngineStats()
        self._link: Link | None = None
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[None] | None = None
        self._wanted: asyncio.Event
        self._asleep = False
        # How long nothing is tried again, once it was given up; None before.
        self._gave_up_s: float | None = None
        # Since the last answer, since the model was last ready, since the last hello.
        self._n_lost = self._n_unready = self._n_silent = 0
        self._ready_at_s: float | None = None

    @property
    def state(self) -> EngineState:
        return self._state

    @property
    def failure(self) -> str | None:
        return self._failure

    @property
    def info(self) -> ModelInfo | None:
        return self._info

    def wanted(self) -> None:
        """See Engine. Also called for each request that comes all the same."""
        if self._asleep or self._gave_up_s is not None:
            self._wanted.set()

    def abandon(self, owner: str) -> None:
        """See Engine. A daemon that is not there holds nothing, or finds out by itself."""
        link = self._link
        if link is not None:
            self._on_loop(lambda: _abandon(link, owner))

    def stats(self) -> EngineStats:
        """The last counters that the daemon told; newer ones are asked for."""
        link = self._link
        if link is not None:
            self._stats = link.stats
            self._on_loop(lambda: _refresh(link))
        return replace(self._stats)

    def start(self) -> None:
        """Begin to reach the daemon."""
        self._loop = asyncio.get_running_loop()
        self._wanted = asyncio.Event()
        self._task = self._loop.create_task(self._keep(), name="slm-daemon")
        self._task.add_done_callback(self._kept)

    def close(self) -> None:
        """Hang up; the daemon goes on for other servers, or until it is idle."""
        self._state = EngineState.CLOSED
        self._on_loop(self._shut)

    def _shut(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._link is not None:
            self._link.close()

    def _on_loop(self, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and all with it
            self._loop.call_soon_threadsafe(call)

    # --- requests ---

    async def generate(self, request: GenerationRequest) -> Generation:
        """See Engine."""
        request.cancel.raise_if_cancelled()
        link = self._link
        self.wanted()
        if self._asleep:
            self._become(EngineState.LOADING)
        if link is None or self._state is not EngineState.READY:
            raise EngineUnavailable(self._failure or f"model {self._state}")
        if request.deadline.expired():
            return Generation("", Finish.DEADLINE)
        sent = replace(request, deadline=request.deadline.earlier(TRANSIT_MS))
        id_, answer = link.ask(sent)
        request.cancel.add_callback(lambda: self._on_loop(lambda: link.cancel(id_, answer)))
        try:
            left_s = max(0.0, request.deadline.remaining_ms() / 1e3)
            await asyncio.wait({answer}, timeout=left_s)
            if answer.done():
                generation = answer.result()
                self._n_lost = 0
                return generation
            request.cancel.raise_if_cancelled()
            return Generation("", Finish.DEADLINE)
        except asyncio.CancelledError:
            request.cancel.cancel()  # and the callback above tells the daemon
            raise
        finally:
            link.forget(id_)

    # --- the connection ---

    def _kept(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the connection is no longer looked after", exc_info=error)
            self._give_up(f"slm-lsp has a bug: {error!r}", math.inf)

    async def _keep(self) -> None:
        """Be connected until closed."""
        while True:
            self._n_lost += 1
            self._n_unready += 1
            delay_s = min(LAST_DELAY_S, FIRST_DELAY_S * 2 ** (self._n_lost - 1))
            try:
                trouble = await self._session()
            except Refused as refusal:
                # The daemon in the way ends with its last client.
                trouble, delay_s = str(refusal), REFUSED_DELAY_S
                self._n_lost = self._n_unready = 0
                self._failure = trouble
                self._become(EngineState.FAILED)
            if self._n_unready >= MAX_ATTEMPTS:
                self._give_up(trouble, AGAIN_S)
            if self._asleep:
                await self._wanted.wait()
                self._wanted.clear()
                self._asleep = False
            elif self._gave_up_s is not None:
                await self._hope(self._gave_up_s)
                self._gave_up_s = None
                # One more failure is enough.
                self._n_unready = MAX_ATTEMPTS - 1
            else:
                # Who is refused asks for as long as it lasts, and has said so already.
                level = logging.DEBUG if self._state is EngineState.FAILED else logging.WARNING
                log.log(level, "%s; next try in %.1f s", trouble, delay_s)
                await asyncio.sleep(delay_s)

    async def _next_request(self) -> None:
        self._wanted.clear()
        await self._wanted.wait()

    async def _hope(self, patience_s: float) -> None:
        """Until somebody asks and what was given up may work."""
        until_s = self._loop.time() + patience_s
        await asyncio.sleep(AGAIN_S)
        await self._next_request()
        while self._key() == self._last_key and self._loop.time() < until_s:
            await asyncio.sleep(AGAIN_S)
            await self._next_request()

    async def _session(self) -> str:
        """One connection from its start to its end; tell what ended it. Raises Refused."""
        try:
            sock, peer = await self._launcher.reach()
            self._link = await self._open(sock, peer)
            self._n_silent = 0
            await self._link.listen()
        except RendezvousError as error:
            self._give_up(str(error), AGAIN_S)
            return str(error)
        except LaunchError as error:
            return str(error)
        except (Silent, WireError, asyncio.IncompleteReadError, OSError) as error:
            return f"{error or LOST}; see {self._launcher.log}"
        finally:
            self._hung_up()
        return f"{LOST}; see {self._launcher.log}"

    async def _open(self, sock: socket.socket, peer: Peer) -> Link:
        try:
            self._last_key = self._key()
            return await Link.open(sock, peer, self._last_key, self._told)
        except Silent:
            self._n_silent += 1
            if self._n_silent >= MAX_SILENT:
                self._n_silent = 0
                self._kill(peer)
            raise

    def _kill(self, peer: Peer) -> None:
        """Kill a daemon that hangs before its hello, if it is the one that wrote its id."""
        if self._launcher.place.written_pid() == peer.pid:
            log.error("daemon %d hangs; it is killed", peer.pid)
            with contextlib.suppress(OSError):
                os.kill(peer.pid, signal.SIGKILL)

    def _hung_up(self) -> None:
        if self._link is not None:
            self._link.close()
            self._stats = self._link.stats
            self._link = None
        self._launcher.reap()
        if self._ready_at_s is not None and self._loop.time() - self._ready_at_s > STEADY_S:
            self._n_lost = 0
        self._ready_at_s = None
        if not self._asleep:
            self._loading()

    def _loading(self) -> None:
        # What has failed stays so until it works: the user is told once.
        if self._state is not EngineState.FAILED:
            self._become(EngineState.LOADING)

    def _give_up(self, message: str, patience_s: float) -> None:
        self._gave_up_s = patience_s
        self._failure = message
        self._become(EngineState.FAILED)

    def _told(self, told: State) -> None:
        """Take what the daemon says of its engine."""
        if told.progress is not None:
            self._on_progress(told.progress, told.done)
        elif told.state is EngineState.READY:
            # The same object as before a restart, because templates are chosen by object.
            if told.info != self._info:
                self._info = told.info
            self._failure = None
            self._n_unready = 0
            self._ready_at_s = self._loop.time()
            self._become(EngineState.READY)
        elif told.state is EngineState.FAILED:
            self._give_up(told.failure or "the model could not be loaded", RELOAD_S)
            # It has no more to say, and is in the way of one that may load.
            if self._link is not None:
                self._link.close()
        elif told.state is EngineState.CLOSED and self._gave_up_s is None:
            # It ended in order. READY, as the next request starts it again.
            self._asleep = self._state is EngineState.READY
        elif told.state is EngineState.LOADING:
            self._loading()

    def _become(self, state: EngineState) -> None:
        if self._state in (state, EngineState.CLOSED):
            return
        self._state = state
        if state in (EngineState.READY, EngineState.FAILED):
            self._on_state(state)


def _abandon(link: Link, owner: str) -> None:
    with contextlib.suppress(EngineUnavailable):
        link.send(Abandon(owner))


def _refresh(link: Link) -> None:
    with contextlib.suppress(EngineUnavailable):
        link.refresh_stats()
