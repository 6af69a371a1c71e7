"""One connection of a server to the daemon, and the requests that wait on it.

Owns: the hello, the way of each answer back to its request, and the judgement that the
daemon hangs: a request that is unanswered a while past its deadline, and a ping after it.

Invariant: once the connection is gone, nothing waits on it; a daemon is killed only by the
process id that both it and the kernel gave, and while its connection is open.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from slm_lsp import __version__
from slm_lsp.deadline import Cancelled
from slm_lsp.engine import wire
from slm_lsp.engine.base import EngineStats, EngineUnavailable
from slm_lsp.engine.codec import WireError
from slm_lsp.engine.rendezvous import Peer
from slm_lsp.engine.wire import (
    PROTOCOL_VERSION,
    Answer,
    Cancel,
    Error,
    Generate,
    Hello,
    Message,
    State,
    Stats,
    receive,
)
from slm_lsp.types import Generation, GenerationRequest

log = logging.getLogger(__name__)

HELLO_PATIENCE_S = 5.0
HANG_GRACE_S = 2.0
PING_PATIENCE_S = 2.0
LOST = "the connection to the daemon broke"


class Silent(Exception):
    """The daemon took the connection and said nothing."""


class Refused(Exception):
    """The daemon is another version's or has other settings; the message says so."""


class Link:
    """A connection that has said hello. `on_state` gets every State, from `listen`."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        peer: Peer,
        on_state: Callable[[State], None] = lambda state: None,
    ) -> None:
        self.peer = peer
        self.hello: Hello
        self.stats = EngineStats()
        self.n_clients = 0
        self._reader, self._writer = reader, writer
        self._on_state = on_state
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Generation]] = {}
        self._asked: dict[int, asyncio.Future[Stats]] = {}
        self._unanswered: dict[int, asyncio.TimerHandle] = {}
        self._pinging: asyncio.Task[None] | None = None
        self._n_received = 0

    @classmethod
    async def open(
        cls,
        sock: socket.socket,
        peer: Peer,
        key: str,
        on_state: Callable[[State], None] = lambda state: None,
    ) -> Link:
        """Say hello over a socket. Raises Silent, OSError, WireError or IncompleteReadError."""
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        link = cls(reader, writer, peer, on_state)
        try:
            link._send(Hello(PROTOCOL_VERSION, __version__, key, os.getpid()))
            hello = await asyncio.wait_for(receive(reader), HELLO_PATIENCE_S)
            if not isinstance(hello, Hello):
                raise WireError("the daemon did not say hello")
        except TimeoutError:
            link.close()
            raise Silent("the daemon does not answer") from None
        except BaseException:
            link.close()
            raise
        link.hello = hello
        return link

    async def listen(self) -> None:
        """Take what comes until the connection ends. Raises Refused."""
        try:
            while True:
                message = await receive(self._reader)
                self._n_received += 1
                self._take(message)
        except (asyncio.IncompleteReadError, OSError):
            pass
        except WireError as error:
            log.error("the daemon's message is wrong: %s", error)
        finally:
            self.close()

    def _take(self, message: Message) -> None:
        if isinstance(message, State):
            # First, because whoever is told that the engine is ready may ask at once.
            self.stats = message.stats or self.stats
            self._on_state(message)
        elif isinstance(message, Answer):
            self.stats = message.stats
            self._settle(message.id, message.generation)
        elif isinstance(message, Error):
            if message.id is None:
                raise Refused(message.message)
            self._settle(message.id, wire.exception_of(message))
        elif isinstance(message, Stats) and message.stats is not None:
            self.stats, self.n_clients = message.stats, message.n_clients
            asked = self._asked.pop(message.id, None)
            if asked is not None and not asked.done():
                asked.set_result(message)

    def _settle(self, id_: int, outcome: Generation | Exception) -> None:
        timer = self._unanswered.pop(id_, None)
        if timer is not None:
            timer.cancel()
        waiting = self._pending.pop(id_, None)
        if waiting is None or waiting.done():
            return
        if isinstance(outcome, Exception):
            waiting.set_exception(outcome)
        else:
            waiting.set_result(outcome)

    # --- requests ---

    def ask(self, request: GenerationRequest) -> tuple[int, asyncio.Future[Generation]]:
        """Send a request; the future gets what the daemon says of it.

        Raises EngineUnavailable if the request is too large to be sent.
        """
        id_ = next(self._ids)
        try:
            self._send(Generate(id_, request))
        except WireError as error:
            raise EngineUnavailable(str(error)) from error
        loop = asyncio.get_running_loop()
        self._pending[id_] = answer = loop.create_future()
        # Infinite deadlines are never overdue.
        overdue_s = max(0.0, request.deadline.remaining_ms() / 1e3) + HANG_GRACE_S
        self._unanswered[id_] = loop.call_later(overdue_s, self._suspect)
        return id_, answer

    def forget(self, id_: int) -> None:
        """Nobody waits for this answer any more; the daemon still owes it."""
        self._pending.pop(id_, None)

    def cancel(self, id_: int, answer: asyncio.Future[Generation]) -> None:
        """Give up a request: its future gets Cancelled now, and the daemon is told."""
        if not answer.done():
            answer.set_exception(Cancelled())
            answer.exception()  # seen, even if nobody waits for it any more
        if id_ in self._unanswered:
            self._send(Cancel(id_))

    async def ask_stats(self) -> Stats:
        """The daemon's counters. Raises EngineUnavailable once the connection is gone."""
        return await self._ask_stats()

    def _ask_stats(self) -> asyncio.Future[Stats]:
        id_ = next(self._ids)
        self._asked[id_] = asked = asyncio.get_running_loop().create_future()
        self.send(Stats(id_))
        return asked

    def refresh_stats(self) -> None:
        """Have `stats` brought up to date; nothing waits for it."""
        self.send(Stats(next(self._ids)))

    def send(self, message: Message) -> None:
        """Send a message that fits. Raises EngineUnavailable once the connection is gone."""
        if self._writer.is_closing():
            raise EngineUnavailable(LOST)
        self._send(message)

    def _send(self, message: Message) -> None:
        if not self._writer.is_closing():
            self._writer.write(wire.encode(message))

    # --- its end ---

    def _suspect(self) -> None:
        if self._pinging is None or self._pinging.done():
            self._pinging = asyncio.create_task(self._ping())

    async def _ping(self) -> None:
        """Drop the connection, and the daemon, if it says nothing at all."""
        n_received = self._n_received
        with contextlib.suppress(EngineUnavailable):
            await asyncio.wait({self._ask_stats()}, timeout=PING_PATIENCE_S)
        if self._n_received == n_received and not self._writer.is_closing():
            log.error("daemon %d hangs; it is killed", self.peer.pid)
            self.kill()

    def kill(self) -> None:
        """Kill the daemon, if the kernel names the process that it named, and hang up."""
        if not self._writer.is_closing() and self.hello.pid == self.peer.pid:
            with contextlib.suppress(OSError):
                os.kill(self.peer.pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """Hang up; whatever waits gets EngineUnavailable."""
        # What a daemon that hangs has not read must not keep the socket open.
        self._writer.transport.abort()
        for timer in self._unanswered.values():
            timer.cancel()
        self._unanswered.clear()
        waiting: list[asyncio.Future[Any]] = [*self._pending.values(), *self._asked.values()]
        self._pending.clear()
        self._asked.clear()
        for each in waiting:
            if not each.done():
                each.set_exception(EngineUnavailable(LOST))
                each.exception()  # seen, even if nobody waits for it any more
