"""Clock, Deadline and CancelToken: the only notion of time in the project.

Owns: reading the monotonic clock, and for the age of files the wall clock. A `Deadline` is one
absolute point, set when a request is received and passed down unchanged; there are no
per-stage timeouts.

Invariant: nothing else reads a clock to decide anything; a clock reading never leaves the
process (the wire carries remaining milliseconds).

Threads: any.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Cancelled(Exception):
    """The request was cancelled or superseded; there is no result."""


class Clock(Protocol):
    """A monotonic clock in milliseconds."""

    def now_ms(self) -> float: ...


class SystemClock:
    """The process's monotonic clock."""

    def now_ms(self) -> float:
        return time.monotonic() * 1000.0


class FakeClock:
    """A clock that moves only when told; for tests of scheduling."""

    def __init__(self, now_ms: float = 0.0) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> float:
        return self._now_ms

    def advance(self, ms: float) -> None:
        self._now_ms += ms


SYSTEM_CLOCK = SystemClock()


def wall_s() -> float:
    """Seconds since 1970, as files are dated; it may jump."""
    return time.time()


class Deadline:
    """An absolute point in time on one clock."""

    __slots__ = ("_at_ms", "clock")

    def __init__(self, at_ms: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._at_ms = at_ms
        self.clock = clock

    @classmethod
    def after(cls, budget_ms: float, clock: Clock = SYSTEM_CLOCK) -> Deadline:
        """The point `budget_ms` from now."""
        return cls(clock.now_ms() + budget_ms, clock)

    def remaining_ms(self) -> float:
        """Milliseconds left; negative once it has passed."""
        return self._at_ms - self.clock.now_ms()

    def earlier(self, ms: float) -> Deadline:
        """The point `ms` before this one: what a stage must leave to those behind it."""
        return Deadline(self._at_ms - ms, self.clock)

    def expired(self) -> bool:
        return self.remaining_ms() <= 0.0


class CancelToken:
    """A one-way flag, set by the asking side and looked at between decode steps."""

    __slots__ = ("_callbacks", "_event", "_lock")

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """Set the flag; what was to be called is called once, on this thread."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for call in callbacks:
            call()

    def add_callback(self, call: Callable[[], None]) -> None:
        """Have `call` called when the flag is set; at once, if it is. It must not raise."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(call)
                return
        call()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def raise_if_cancelled(self) -> None:
        """Raise `Cancelled` if the flag is set."""
        if self._event.is_set():
            raise Cancelled
