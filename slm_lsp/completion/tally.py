"""Counters of a session: where answers came from, and how long they took.

Owns: what `slm-lsp.stats` says of completions, and the latencies that are kept on the disk.

Invariant: bounded; only the last requests' times are kept, and of all of them how many were how
long.

Threads: the event loop.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from slm_lsp.completion.histogram import Histogram
from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.postprocess import RejectReason

N_LATENCIES = 1000
PERCENTILES = (50, 95, 99)
# Nobody waited for these to end.
GIVEN_UP = (RejectReason.CANCELLED, RejectReason.SUPERSEDED)


class Tally:
    """See the module. `n_shown`, `n_accepted`, `n_partly_accepted` and `n_rejected` count what the
    client tells.

    `answered_ms` leaves out what the client gave up; `suggested_ms` holds what of the rest
    was answered by a suggestion."""

    def __init__(self) -> None:
        self.origins: Counter[str] = Counter()
        self.n_shown = 0
        self.n_accepted = 0
        self.n_partly_accepted = 0
        self.n_rejected = 0
        self.answered_ms = Histogram()
        self.suggested_ms = Histogram()
        self._latencies_ms: deque[float] = deque(maxlen=N_LATENCIES)

    def add(self, outcome: Outcome, request_ms: float) -> None:
        """Count a finished request."""
        self._latencies_ms.append(request_ms)
        if outcome.reject not in GIVEN_UP:
            self.answered_ms.add(request_ms)
        if outcome.completion is not None:
            self.suggested_ms.add(request_ms)
            self.origins[str(outcome.completion.origin)] += 1

    def summary(self) -> dict[str, Any]:
        """All of it, as a JSON object."""
        latencies_ms = sorted(self._latencies_ms)
        return {
            "origins": dict(self.origins),
            "latency_ms": {f"p{p}": percentile(latencies_ms, p) for p in PERCENTILES},
            "n_latencies": len(latencies_ms),
            "n_shown": self.n_shown,
            "n_accepted": self.n_accepted,
            "n_partly_accepted": self.n_partly_accepted,
            "n_rejected": self.n_rejected,
        }


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The smallest value that `percent` % of the values do not exceed (nearest rank)."""
    if not ordered:
        return None
    rank = max(1, math.ceil(percent / 100 * len(ordered)))
    return round(ordered[rank - 1], 3)
