"""What a change is worth on the same holes: the mean of the differences, and how sure that is.

Owns: the interval and the test of a paired mean.

Invariant: pure, and the same result every time: what is drawn has a fixed seed. Files are drawn,
not holes: those of one file are no independent evidence.

Threads: any.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

N_DRAWS = 4000
SEED = 20230605


@dataclass(frozen=True, slots=True)
class Pair:
    """A measure of one hole before and after, and the file of the hole."""

    file: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Gain:
    """The mean gain, its 95 % interval, and the two-sided p of no gain at all."""

    mean: float
    low: float
    high: float
    p: float


def gain(pairs: Sequence[Pair]) -> Gain:
    """Bootstrap over files for the interval; flipping signs by files for the test."""
    by_file: dict[str, list[float]] = defaultdict(list)
    for pair in pairs:
        by_file[pair.file].append(pair.after - pair.before)
    if not by_file:
        return Gain(0.0, 0.0, 0.0, 1.0)
    sums = [(sum(found), len(found)) for _, found in sorted(by_file.items())]
    mean = sum(total for total, _ in sums) / len(pairs)
    draw = random.Random(SEED)
    means = []
    for _ in range(N_DRAWS):
        drawn = draw.choices(sums, k=len(sums))
        means.append(sum(total for total, _ in drawn) / sum(n for _, n in drawn))
    means.sort()
    n_cut = round(N_DRAWS * 0.025)
    return Gain(mean, means[n_cut], means[-1 - n_cut], _sign_flip(sums, abs(mean), len(pairs)))


def _sign_flip(sums: Sequence[tuple[float, int]], mean: float, n: int) -> float:
    draw = random.Random(SEED)
    n_as_large = 0
    for _ in range(N_DRAWS):
        total = sum(found if draw.random() < 0.5 else -found for found, _ in sums)
        n_as_large += abs(total) / n >= mean - 1e-12
    return (n_as_large + 1) / (N_DRAWS + 1)
