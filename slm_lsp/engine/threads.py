"""How many threads read a prompt, by what it costs: all of them, or one beside a busy machine.

Owns: the time a token takes with all threads and with one, and the choice between the two. Threads
wait for each other several times a layer. When another process has one of the cores, all wait
for the one that is not running, and two threads may be slower than one by far.

Invariant: pure; it reads no clock. Nothing is tried while all threads are as fast as they were;
once they are not, one thread is tried, and all again from time to time.

Threads: the Scheduler's.
"""

from __future__ import annotations

from slm_lsp.engine.rates import Rate

# Steps of fewer tokens say little of reading.
MIN_TOKENS = 16
# So much slower than they have been, all threads are no longer trusted.
SLOWER = 1.6
# Their best time is forgotten by and by: the context grows, and a machine gets warm.
FORGOTTEN = 1.01
# Steps with one thread until all are tried again.
TRY_EVERY = 12


class ThreadChoice:
    """See the module. With one thread there is nothing to choose."""

    def __init__(self, n_all: int) -> None:
        self.n_all = n_all
        self._rates = {1: Rate(), n_all: Rate()}
        self._usual_ms = 0.0
        self._n_steps = 0

    def choose(self) -> int:
        """How many threads the next step is to use."""
        every, one = self._rates[self.n_all], self._rates[1]
        if self.n_all == 1 or not every.n or every.mean_ms <= SLOWER * self._usual_ms:
            return self.n_all
        if not one.n:
            return 1
        if one.mean_ms < every.mean_ms and self._n_steps % TRY_EVERY:
            return 1
        return self.n_all

    def add(self, n_threads: int, n_tokens: int, ms: float) -> None:
        """A step of `n_tokens` with so many threads took `ms`."""
        if n_tokens < MIN_TOKENS or n_threads not in self._rates:
            return
        self._n_steps += 1
        rate = self._rates[n_threads]
        rate.add(ms / n_tokens)
        if n_threads == self.n_all:
            usual_ms = self._usual_ms * FORGOTTEN
            self._usual_ms = min(usual_ms, rate.mean_ms) if usual_ms else rate.mean_ms
            if rate.mean_ms <= SLOWER * self._usual_ms:
                self._rates[1] = Rate() if self.n_all > 1 else rate  # of a time that is over
