"""What the turns of one model say together.

Owns: medians, slopes and spread of the times that its turns gave.

Invariant: pure. Medians are kept, so that a turn that was disturbed does not decide.

Threads: any.
"""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Sequence

from slm_lsp.tune.measurement import SIZES, Measurement, Turn

# Shorter, and what other programs took is not counted finely enough.
LEAST_WATCHED_MS = 200.0


def measurement_of(turns: Sequence[Turn], n_before: int) -> Measurement:
    """All of it. `n_before` are the tokens before those written in a round. Raises ValueError where
    nothing was timed."""
    reads: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    writes: dict[int, list[float]] = defaultdict(list)
    for turn in turns:
        for threads, sizes in turn.reads.items():
            for size, ms in sizes.items():
                reads[threads][size].append(ms)
        for threads, times in turn.writes.items():
            writes[threads] += times
    series = [*writes.values(), *(times for sizes in reads.values() for times in sizes.values())]
    whole = all(SIZES[1] in sizes for sizes in reads.values()) and all(writes.values())
    if not writes or not reads or not whole:
        raise ValueError("not a measurement: times are missing")
    step_slope_ms, write_slope_ms = _slopes(turns, writes, n_before)
    took_ms, others_ms = (
        sum(getattr(turn, name) for turn in turns) for name in ("took_ms", "others_ms")
    )
    return Measurement(
        step_ms={
            threads: {size: statistics.median(times) for size, times in sizes.items()}
            for threads, sizes in reads.items()
        },
        write_ms={threads: statistics.median(times) for threads, times in writes.items()},
        step_slope_ms=step_slope_ms,
        write_slope_ms=write_slope_ms,
        n_ctx=turns[0].n_ctx,
        rss_bytes=max(turn.rss_bytes for turn in turns),
        pss_bytes=max(turn.pss_bytes for turn in turns),
        load_ms=turns[0].load_ms,
        n_rounds=sum(bool(turn.reads) for turn in turns),
        spread=spread_of(series),
        other_cores=others_ms / took_ms if took_ms > LEAST_WATCHED_MS else 0.0,
    )


def _slopes(
    turns: Sequence[Turn], writes: dict[int, list[float]], n_before: int
) -> tuple[float, float]:
    """How much longer steps and tokens take for each token that stands before them."""
    deep = max(turns, key=lambda turn: len(turn.chunks))
    step_slope_ms = slope_of(deep.chunks) / SIZES[-1] ** 2
    n_deep = len(deep.chunks) * SIZES[-1]
    if n_deep <= n_before or not deep.deep_writes:
        return step_slope_ms, 0.0
    # Other programs only ever add to a time, so the difference of the shortest is truest.
    longer_ms = min(deep.deep_writes) - min(writes[min(writes)])
    return step_slope_ms, max(0.0, longer_ms / (n_deep - n_before))


def slope_of(times: Sequence[float]) -> float:
    """How much longer each takes than the one before: the median over all pairs, so that one that
    was disturbed does not decide; never below 0."""
    pairs = itertools.combinations(enumerate(times), 2)
    slopes = [(later - earlier) / (j - i) for (i, earlier), (j, later) in pairs]
    return max(0.0, statistics.median(slopes)) if slopes else 0.0


def spread_of(series: Sequence[Sequence[float]]) -> float:
    """How far measurements of the same thing lie apart, as a share of their median."""
    shares = []
    for times in series:
        if len(times) >= 2:
            low, _, high = statistics.quantiles(times, n=4, method="inclusive")
            shares.append((high - low) / statistics.median(times))
    return statistics.median(shares) if shares else 0.0
