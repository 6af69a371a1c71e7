"""Latencies by size, so that those of several sessions can be put together.

Owns: the buckets: N_PER_DOUBLING for each doubling of the time, from FINEST_MS to 17 minutes
(COARSEST_MS).

Invariant: bounded, whatever is added; a percentile of a sum is that of all the values, to within
RESOLUTION of it (of FINEST_MS, for less than that).

Threads: one at a time.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

FINEST_MS = 0.125
N_PER_DOUBLING = 8
N_DOUBLINGS = 23
N_BUCKETS = N_DOUBLINGS * N_PER_DOUBLING + 1
COARSEST_MS = FINEST_MS * 2**N_DOUBLINGS
# A bucket is told by its middle, from which its edges are as far as this, as a share of it.
RESOLUTION = 2 ** (0.5 / N_PER_DOUBLING) - 1
# What a number can be that was counted one by one; JSON holds it exactly.
MAX_COUNT = 2**53


@dataclass(slots=True)
class Histogram:
    """How many values each bucket got: the first those up to FINEST_MS, the last all too large."""

    counts: Counter[int] = field(default_factory=Counter)

    @property
    def n(self) -> int:
        """How many values were added."""
        return self.counts.total()

    def add(self, ms: float) -> None:
        """Count one value."""
        bucket = 0
        if ms > FINEST_MS:
            bucket = math.ceil(math.log2(min(ms, COARSEST_MS) / FINEST_MS) * N_PER_DOUBLING)
        self.counts[bucket] += 1

    def copy(self) -> Histogram:
        """What later additions do not change."""
        return Histogram(self.counts.copy())

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.counts + other.counts)

    def percentile(self, percent: float) -> float | None:
        """The middle of the bucket with the value that `percent` % do not exceed."""
        rank = max(1, math.ceil(percent / 100 * self.n))
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                return round(FINEST_MS * 2 ** ((bucket - 0.5) / N_PER_DOUBLING), 3)
        return None

    def to_json(self) -> dict[str, int]:
        """The buckets that are not empty, by their numbers."""
        return {str(bucket): self.counts[bucket] for bucket in sorted(self.counts)}

    @classmethod
    def from_json(cls, value: Any) -> Histogram:
        """The opposite of `to_json`. Raises ValueError."""
        if not isinstance(value, dict) or len(value) > N_BUCKETS:
            raise ValueError("no histogram")
        counts = Counter({int(bucket): count_of(n) for bucket, n in value.items()})
        if not all(0 <= bucket < N_BUCKETS for bucket in counts):
            raise ValueError("a bucket that there is not")
        return cls(counts)


def count_of(value: Any) -> int:
    """A number of things, from JSON. Raises ValueError."""
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise ValueError("not a number of things")
    return value
