"""Generations under way, and how they end.

Owns: for every session the request that the engine works on and the work in the background
that goes with what was shown last.

Invariant: at most one of each kind a session. Background work is over, one way or another,
when its session, its document or the completer is; nothing it raises is lost unseen.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from slm_lsp.completion.typed_through import AFTER_CHARS, BEFORE_CHARS
from slm_lsp.deadline import Cancelled, CancelToken
from slm_lsp.engine.base import EngineUnavailable, PromptError
from slm_lsp.text.whitespace import unix_lines
from slm_lsp.types import DocumentSnapshot

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Flight:
    """Work for a place. `known` is the text that may be typed without making it useless:
    what was written so far or, as it `is_shown`, what the user sees."""

    snapshot: DocumentSnapshot
    offset: int
    cancel: CancelToken
    known: str = ""
    is_shown: bool = False
    landed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def typed_at(self, snapshot: DocumentSnapshot, offset: int) -> str | None:
        """What was typed here since, None if anything else is different."""
        old, new, at = self.snapshot, snapshot, self.offset
        if old.uri != new.uri or offset < at:
            return None
        begin = max(0, at - BEFORE_CHARS)
        if old.text[begin:at] != new.text[begin:at]:
            return None
        if old.text[at : at + AFTER_CHARS] != new.text[offset : offset + AFTER_CHARS]:
            return None
        return new.text[at:offset]

    def agrees(self, snapshot: DocumentSnapshot, offset: int) -> bool:
        """Whether what was typed is, as far as that is known, what is being written."""
        typed = self.typed_at(snapshot, offset)
        if not typed:
            return typed is not None
        # The model is asked for no indentation; the user may have typed it.
        known, plain = unix_lines(self.known), unix_lines(typed)
        if not self.is_shown:
            known, plain = known.lstrip(" \t"), plain.lstrip(" \t")
        return bool(known) and (known.startswith(plain) or plain.startswith(known))


class Flights:
    """See the module."""

    def __init__(self) -> None:
        self._asked: dict[str, Flight] = {}
        self._background: dict[str, Flight] = {}

    @contextmanager
    def asking(self, session: str, flight: Flight) -> Iterator[None]:
        """The time in which the engine works on a session's request."""
        self._asked[session] = flight
        try:
            yield
        finally:
            flight.landed.set()
            if self._asked.get(session) is flight:
                del self._asked[session]

    def asked(self, session: str) -> Flight | None:
        """The request of a session that the engine works on."""
        return self._asked.get(session)

    def background(self, session: str) -> Flight | None:
        """What is done in the background for a session."""
        return self._background.get(session)

    def start(self, session: str, flight: Flight, work: Callable[[], Awaitable[None]]) -> None:
        """Do work in the background, in place of the session's last."""
        self.stop(session)
        self._background[session] = flight
        flight.task = asyncio.create_task(self._fly(session, flight, work))

    def stop(self, session: str) -> None:
        """End a session's work in the background."""
        flight = self._background.pop(session, None)
        if flight is not None:
            flight.cancel.cancel()
            flight.landed.set()
            if flight.task is not None:
                flight.task.cancel()

    def forget(self, uri: str) -> None:
        """End the background work for a document."""
        for session, flight in list(self._background.items()):
            if flight.snapshot.uri == uri:
                self.stop(session)

    def close(self) -> None:
        """End all background work."""
        for session in list(self._background):
            self.stop(session)

    async def _fly(self, session: str, flight: Flight, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (Cancelled, EngineUnavailable, PromptError) as error:
            log.debug("work in the background ended: %s", type(error).__name__)
        except Exception:
            log.exception("work in the background failed")
        finally:
            flight.landed.set()
            if self._background.get(session) is flight:
                del self._background[session]
