"""How likely a text has to be to be shown: the bar, and what this user's typing says of it.

Owns: counts, by score, of how many texts became what the user wrote and how many did not, and
the rule that makes a bar of them.

The rule: the bar stands at the lowest score at which a text is still taken in `TARGET` of the
cases. Before anything is known of the user, that share is the benchmark's (`PRIOR`), which counts
as much as `PRIOR_WEIGHT` texts of each score. A text counts by half at the next score and by a
quarter at the one after, as few are of one score.

Invariant: pure. The bar is never below LOWEST, so never shows what is hopeless, and never above
HIGHEST, so never hides what is nearly certain. One more text that was taken never raises it, one
that was not never lowers it (tests/test_bar.py). The order of texts makes no difference until
there are MAX_WEIGHT of them; then all that is known counts for half: old habits are forgotten.

Threads: any; values.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Scores are natural logarithms of the probability of a text's first line.
EDGES = (-12.0, -9.0, -7.0, -5.5, -4.5, -3.5, -2.75, -2.0, -1.5, -1.0, -0.5)
N_SCORES = len(EDGES) + 1
# Of texts of each score, the share that was taken in the benchmark: a curve fitted to it
# (decision 19).
PRIOR = (0.02, 0.06, 0.09, 0.13, 0.19, 0.27, 0.35, 0.45, 0.58, 0.69, 0.79, 0.89)
PRIOR_WEIGHT = 30.0
TARGET = 0.23
# Between which edges the bar can stand.
LOWEST, HIGHEST = EDGES[1], EDGES[9]
NEARBY = (1.0, 0.5, 0.25)
MAX_WEIGHT = 400.0
FORMAT = 1


def _none() -> tuple[float, ...]:
    return (0.0,) * N_SCORES


def place_of(score: float) -> int:
    """Which of the scores that are told apart this is."""
    return bisect_right(EDGES, score)


@dataclass(frozen=True, slots=True)
class Evidence:
    """How many texts of each score were `taken`, and how many were `passed` over."""

    taken: tuple[float, ...] = _none()
    passed: tuple[float, ...] = _none()

    def with_one(self, score: float, was_taken: bool) -> Evidence:
        """One more text."""
        one = tuple(float(at == place_of(score)) for at in range(N_SCORES))
        return self + (Evidence(taken=one) if was_taken else Evidence(passed=one))

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(_sum(self.taken, other.taken), _sum(self.passed, other.passed))

    @property
    def weight(self) -> float:
        """How many texts this counts as."""
        return sum(self.taken) + sum(self.passed)

    def faded(self) -> Evidence:
        """Half of it, as often as it takes to be no more than MAX_WEIGHT."""
        faded = self
        while faded.weight > MAX_WEIGHT:
            taken = tuple(each / 2 for each in faded.taken)
            faded = Evidence(taken, tuple(each / 2 for each in faded.passed))
        return faded

    def share(self, at: int) -> float:
        """How often a text of such a score is taken."""
        taken, judged = PRIOR[at] * PRIOR_WEIGHT, PRIOR_WEIGHT
        for other in range(N_SCORES):
            away = abs(other - at)
            if away < len(NEARBY):
                taken += NEARBY[away] * self.taken[other]
                judged += NEARBY[away] * (self.taken[other] + self.passed[other])
        return taken / judged

    def bar(self) -> float:
        """The lowest score that is worth showing."""
        for at, edge in enumerate(EDGES, 1):
            if LOWEST <= edge < HIGHEST and self.share(at) >= TARGET:
                return edge
        return HIGHEST

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return {
            "format": FORMAT,
            "edges": list(EDGES),
            "taken": [round(each, 4) for each in self.taken],
            "passed": [round(each, 4) for each in self.passed],
        }

    @classmethod
    def from_json(cls, value: Any) -> Evidence:
        """The opposite of `to_json`. Raises ValueError, also for what other scores were
        counted in."""
        if not isinstance(value, Mapping) or value.get("format") != FORMAT:
            raise ValueError(f"not of format {FORMAT}")
        if value.get("edges") != list(EDGES):
            raise ValueError("counted in other scores")
        return cls(_counts(value.get("taken")), _counts(value.get("passed"))).faded()


def _sum(a: Sequence[float], b: Sequence[float]) -> tuple[float, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _counts(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != N_SCORES:
        raise ValueError("not as many counts as there are scores")
    if not all(type(each) in (int, float) and 0.0 <= each <= 1e9 for each in value):
        raise ValueError("not a count")
    return tuple(map(float, value))
