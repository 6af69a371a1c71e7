"""Whether a server is asked at all, after it has failed.

Owns: the count of failures in a row, and how long it is left alone after them.

Invariant: pure but for its clock. While open nothing is sent; then one request at a time, until
one succeeds. Whoever was allowed says how it ended, by one of `succeeded`, `failed`, `undecided`.

Threads: the event loop.
"""

from __future__ import annotations

from slm_lsp.deadline import SYSTEM_CLOCK, Clock

# Failures in a row before it opens, and for how long it does then: twice as long each time.
PATIENCE = 3
FIRST_OPEN_MS, LAST_OPEN_MS = 1_000.0, 60_000.0
# A server that is only late may be in time for the next request, or for one with more time.
LATE_OPEN_MS = 3_000.0


class Breaker:
    """See the module."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.reason = ""
        self._clock = clock
        self._n_failed = self._n_opened = 0
        self._until_ms: float | None = None
        self._trying = False

    def allows(self) -> bool:
        """Whether a request may be sent now; the caller then sends it."""
        if self._until_ms is None:
            return True
        if self._trying or self._clock.now_ms() < self._until_ms:
            return False
        self._trying = True
        return True

    @property
    def is_open(self) -> bool:
        """Whether the last that was heard of the server was bad."""
        return self._until_ms is not None

    def retry_in_ms(self) -> float:
        """How long nothing will be sent."""
        if self._until_ms is None:
            return 0.0
        return max(0.0, self._until_ms - self._clock.now_ms())

    def succeeded(self) -> None:
        self._n_failed = self._n_opened = 0
        self._until_ms, self._trying, self.reason = None, False, ""

    def undecided(self) -> None:
        """The request was taken back before anything was known."""
        self._trying = False

    def failed(self, reason: str, *, wait_ms: float = 0.0, late: bool = False) -> None:
        """Note a failure; with `wait_ms`, one after which nothing is sent for so long."""
        was_trying, self._trying = self._trying, False
        self._n_failed += 1
        if not (wait_ms or was_trying or self._n_failed >= PATIENCE):
            return
        self.reason = reason
        open_ms = min(LAST_OPEN_MS, FIRST_OPEN_MS * 2**self._n_opened)
        self._n_opened += 1
        if late:
            open_ms = min(open_ms, LATE_OPEN_MS)
        self._until_ms = self._clock.now_ms() + max(open_ms, wait_ms)
