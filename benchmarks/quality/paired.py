"""Two models on the same problems: which of them is right where the other is not.

Owns: the counts of a paired comparison, its test and its interval.

Invariant: pure, and the same result every time: the bootstrap has a fixed seed.

Threads: any.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.quality.problems import task_of

N_RESAMPLES = 4000
SEED = 20220715


@dataclass(frozen=True, slots=True)
class Paired:
    """How often both were right, one of them only, or neither."""

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def n(self) -> int:
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def points(self) -> float:
        """By how many percentage points B is ahead of A."""
        return 100 * (self.only_b - self.only_a) / self.n if self.n else 0.0


def count(a: Mapping[str, bool], b: Mapping[str, bool]) -> Paired:
    """The counts over the problems that both have, by name."""
    pairs = [(a[name], b[name]) for name in a.keys() & b.keys()]
    return Paired(
        both=pairs.count((True, True)),
        only_a=pairs.count((True, False)),
        only_b=pairs.count((False, True)),
        neither=pairs.count((False, False)),
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p of McNemar's exact test: were the two equally good, each problem that only
    one of them solves would be either's with probability one half."""
    n, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, i) for i in range(fewer + 1))
    # Integers: a float power of two would overflow.
    return min(1.0, 2 * tail / (1 << n))


def interval(a: Mapping[str, bool], b: Mapping[str, bool]) -> tuple[float, float]:
    """95 % interval of `Paired.points`, by bootstrap over tasks.

    Tasks are drawn, not problems: those made from one task are no independent evidence.
    """
    by_task: dict[str, list[int]] = defaultdict(list)
    for name in sorted(a.keys() & b.keys()):
        by_task[task_of(name)].append(b[name] - a[name])
    if not by_task:
        return -100.0, 100.0
    sums = [(sum(gains), len(gains)) for gains in by_task.values()]
    draw = random.Random(SEED)
    points = []
    for _ in range(N_RESAMPLES):
        drawn = draw.choices(sums, k=len(sums))
        points.append(100 * sum(gain for gain, _ in drawn) / sum(n for _, n in drawn))
    points.sort()
    n_cut = round(N_RESAMPLES * 0.025)
    return points[n_cut], points[-1 - n_cut]
