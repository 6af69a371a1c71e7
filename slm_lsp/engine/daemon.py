"""The daemon's serving side: one Engine, any number of servers over a unix socket.

Owns: the connections, their requests, what is told to all of them, and when to end: after an
idle time, on a client's word, when the model could not be loaded, or, once a client of another
version or other settings was refused, as soon as the last client leaves.

Invariant: every Generate is answered by one Answer or Error while its connection lives; a
dropped connection cancels its requests; sessions of two clients never meet; nothing is
said to a peer whose user is not ours.

Threads: the event loop; `engine_is` and `report` may be called from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import replace

from slm_lsp import __version__
from slm_lsp.engine import wire
from slm_lsp.engine.base import Engine
from slm_lsp.engine.codec import WireError
from slm_lsp.engine.connection import Connection
from slm_lsp.engine.rendezvous import PeerOf, is_ours, peer_of
from slm_lsp.engine.wire import (
    PROTOCOL_VERSION,
    Abandon,
    Answer,
    Cancel,
    Error,
    Generate,
    Hello,
    Message,
    State,
    Stats,
    Stop,
    Trouble,
    receive,
)
from slm_lsp.types import EngineState, GenerationRequest

log = logging.getLogger(__name__)

HELLO_PATIENCE_S = 5.0
# Whoever started it needs this long to connect and hear that the model is broken, if nobody has.
FAILED_LINGER_S = 5.0
# A native step that has not ended after this many looks never will.
WATCH_INTERVAL_S = 5.0
N_STUCK_LOOKS = 12


class Daemon:
    """Serves `engine` until `stopped`. `key` says which model and settings it is."""

    def __init__(
        self, key: str, idle_s: float, peer_of: PeerOf = peer_of, version: str = __version__
    ) -> None:
        self.stopped = asyncio.Event()
        self.stuck = False
        self._key, self._version = key, version
        self._idle_s = idle_s
        self._peer_of = peer_of
        self._engine: Engine
        self._server: asyncio.Server
        self._loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()
        self._numbers = itertools.count(1)
        self._empty = asyncio.Event()
        self._empty.set()
        self._retiring = ""
        self._used_at_s = self._loop.time()
        self._ending = "stopped"

    # --- life ---

    async def serve(self, sock: socket.socket, engine: Engine) -> None:
        """Serve on a listening socket until the daemon is to end."""
        self._engine = engine
        self._server = await asyncio.start_unix_server(self._connected, sock=sock)
        watches = [asyncio.create_task(each) for each in (self._watch_idle(), self._watch_steps())]
        try:
            await self.stopped.wait()
        finally:
            self._server.close()
            for watch in watches:
                watch.cancel()
            self._tell(State(EngineState.CLOSED, failure=self._ending))
            for connection in list(self._connections):
                connection.drop()
            # Lets the transports write what is left and close.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), HELLO_PATIENCE_S)

    async def listen(self, sock: socket.socket) -> None:
        """Take clients from another listening socket; those that are connected stay."""
        before = self._server
        self._server = await asyncio.start_unix_server(self._connected, sock=sock)
        before.close()

    def stop(self, reason: str) -> None:
        """End; clients are told why."""
        log.info("the daemon ends: %s", reason)
        self._ending = reason
        self.stopped.set()

    async def _watch_idle(self) -> None:
        left_s = self._idle_s
        while left_s > 0:
            await asyncio.sleep(left_s)
            left_s = self._used_at_s + self._idle_s - self._loop.time()
        self.stop("idle")

    def _used(self) -> None:
        self._used_at_s = self._loop.time()

    async def _watch_steps(self) -> None:
        """End when the engine's thread hangs in a native step; a new process is the cure."""
        n_looks, before = 0, self._engine.stats()
        while n_looks < N_STUCK_LOOKS:
            await asyncio.sleep(WATCH_INTERVAL_S)
            now = self._engine.stats()
            # Counters count what has ended; only new requests may have been added since.
            same = replace(now, n_requests=0, n_queued=0) == replace(
                before, n_requests=0, n_queued=0
            )
            n_looks = n_looks + 1 if same and now.n_queued and before.n_queued else 0
            before = now
        self.stuck = True
        self.stop("a native step does not end")

    # --- what the engine says ---

    def engine_is(self, state: EngineState) -> None:
        """Pass on a state of the engine."""
        self._from_any_thread(self._engine_is)

    def report(self, text: str, done: float | None) -> None:
        """Pass on a step of loading."""
        message = State(EngineState.LOADING, progress=text, done=done)
        self._from_any_thread(lambda: self._tell(message))

    def _from_any_thread(self, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(call)

    def _engine_is(self) -> None:
        self._used()
        self._tell(self._state())
        if self._engine.state is EngineState.FAILED:
            # Not kept: what failed may work for one who asks later. Those who ask now are told.
            self._retiring = "the model could not be loaded"
            self._loop.call_later(FAILED_LINGER_S, self.stop, self._retiring)

    def _state(self) -> State:
        engine = self._engine
        stats = engine.stats()
        return State(engine.state, failure=engine.failure, info=engine.info, stats=stats)

    def _tell(self, message: Message) -> None:
        for connection in self._connections:
            connection.send(message)

    # --- clients ---

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(next(self._numbers), writer)
        # The transport's socket is a wrapper; the kernel is asked through the real one.
        if is_ours(writer.get_extra_info("socket"), self._peer_of) is None:
            log.warning("a process of another user was refused")
            writer.transport.abort()
            return
        try:
            if await asyncio.wait_for(self._welcome(connection, reader), HELLO_PATIENCE_S):
                while True:
                    self._take(connection, await receive(reader))
        except (asyncio.IncompleteReadError, OSError, TimeoutError):
            pass  # it left
        except WireError as error:
            log.warning("client %d was dropped: %s", connection.number, error)
        finally:
            self._left(connection)

    async def _welcome(self, connection: Connection, reader: asyncio.StreamReader) -> bool:
        """Exchange hellos; tell whether the client may stay."""
        hello = await receive(reader)
        if not isinstance(hello, Hello):
            raise WireError("the first message must be a hello")
        connection.send(Hello(PROTOCOL_VERSION, self._version, self._key, os.getpid()))
        if hello.key:
            ours = (PROTOCOL_VERSION, self._version, self._key)
            if (hello.protocol, hello.version, hello.key) != ours:
                connection.send(Error(None, Trouble.VERSION, self._refusal(hello)))
                self.retire("another version or other settings are asked for")
                return False
            connection.slot = self._free_slot()
            self._used()
        self._connections.add(connection)
        self._empty.clear()
        connection.send(self._state())
        return True

    def _refusal(self, hello: Hello) -> str:
        if (hello.protocol, hello.version) != (PROTOCOL_VERSION, self._version):
            found = f"of version {self._version} runs, not {hello.version}"
        else:
            found = "with other settings, or of an older model file, runs"
        return (
            f"a daemon {found}; it ends with the last editor that uses it, "
            "or at once by `slm-lsp daemon stop`"
        )

    def retire(self, reason: str) -> None:
        """End as soon as the last client leaves."""
        self._retiring = reason
        if not self._n_users():
            self.stop(reason)

    def _n_users(self) -> int:
        return sum(each.slot > 0 for each in self._connections)

    def _free_slot(self) -> int:
        """The lowest number that is free. An editor that comes back gets the one it had, in
        most cases, and with it the KV of its documents."""
        taken = {each.slot for each in self._connections}
        return next(number for number in itertools.count(1) if number not in taken)

    def _left(self, connection: Connection) -> None:
        connection.drop()
        if connection in self._connections:
            self._connections.remove(connection)
            if not self._connections:
                self._empty.set()
            if connection.slot:
                self._engine.abandon(str(connection.slot))
                self._used()
            if self._retiring:
                self.retire(self._retiring)

    # --- messages ---

    def _take(self, connection: Connection, message: Message) -> None:
        if isinstance(message, Generate):
            self._start(connection, message)
        elif isinstance(message, Cancel):
            if message.id in connection.requests:
                connection.requests[message.id].request.cancel.cancel()
        elif isinstance(message, Abandon):
            self._engine.abandon(f"{connection.slot}/{message.document}")
        elif isinstance(message, Stats):
            connection.send(Stats(message.id, self._engine.stats(), self._n_users()))
        elif isinstance(message, Stop):
            self.stop("stopped")
        else:
            raise WireError(f"{type(message).__name__.lower()} is not for a daemon")

    def _start(self, connection: Connection, message: Generate) -> None:
        if message.id in connection.requests:
            raise WireError("generate.id: used twice")
        self._used()
        message = Generate(message.id, _named_apart(message.request, connection.slot))
        connection.requests[message.id] = message
        task = asyncio.create_task(self._answer(connection, message))
        connection.tasks[message.id] = task

    async def _answer(self, connection: Connection, message: Generate) -> None:
        answer: Message
        try:
            generation = await self._engine.generate(message.request)
            answer = Answer(message.id, generation, self._engine.stats())
        except Exception as error:
            answer = wire.error_of(message.id, error)
        finally:
            connection.requests.pop(message.id, None)
            connection.tasks.pop(message.id, None)
        self._used()
        try:
            connection.send(answer)
        except WireError as error:  # too large
            connection.send(wire.error_of(message.id, error))


def _named_apart(request: GenerationRequest, slot: int) -> GenerationRequest:
    """The request with names that no other client's can have."""
    # An empty document means the session's own.
    document = f"{slot}/{request.document}" if request.document else ""
    return replace(request, session=f"{slot}/{request.session}", document=document)
