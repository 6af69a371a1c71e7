"""Quantiles and shares, of times that are known and of times that were cut off.

Owns: how each is taken.

Invariant: pure. Quantiles are of the nearest rank, so that each is a value that was measured.

Threads: any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

QUANTILES = (0.5, 0.95, 0.99)
# Fewer keys say nothing of how long an answer may take.
MIN_OBSERVED = 5


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values do not exceed (nearest rank)."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def product_limit(events: Sequence[tuple[float, bool]], share: float) -> float | None:
    """The quantile of times of which some are only known to be longer (Kaplan and Meier 1958).

    Each event is a time and whether it ended there (True) or was cut off (False). None where
    more than 1 - share of the distribution lies beyond what was observed.
    """
    left, n_left = 1.0, len(events)
    # At the same time, what ended comes before what was cut off.
    for time_ms, ended in sorted(events, key=lambda event: (event[0], not event[1])):
        if ended:
            left *= 1.0 - 1.0 / n_left
            if 1.0 - left >= share - 1e-12:
                return time_ms
        n_left -= 1
    return None


def product_limits(records: Sequence[Mapping[str, Any]], field: str) -> dict[str, float | None]:
    """Quantiles of a time of keys, with those that lack it cut off at the next key."""
    events = [
        (record["open_ms"], False) if record[field] is None else (record[field], True)
        for record in records
    ]
    return {f"p{q * 100:g}": rounded(product_limit(events, q)) for q in QUANTILES}


def observed(records: Sequence[Mapping[str, Any]], field: str) -> float | None:
    """The longest time for which at least MIN_OBSERVED keys could be seen to be without an
    answer; None where there are fewer."""
    times = sorted(r["open_ms"] if r[field] is None else r[field] for r in records)
    return rounded(times[-MIN_OBSERVED]) if len(times) >= MIN_OBSERVED else None


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """p50, p95, p99 and the largest."""
    row: dict[str, float | None] = {
        f"p{q * 100:g}": rounded(quantile(values, q)) for q in QUANTILES
    }
    row["max"] = rounded(max(values, default=None))
    return row


def share(part: float, whole: float) -> float | None:
    """A part of 1; None of nothing."""
    return round(part / whole, 4) if whole else None


def rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)
