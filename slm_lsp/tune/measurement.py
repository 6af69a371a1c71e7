"""What was measured of one model file on one machine.

Owns: the values that pass between the child that measures and its parent, and their JSON.

Invariant: pure. What a child says is checked: a Turn holds nothing but times, and a Measurement
that exists has a positive one for each thing that the other modules compute with.

Threads: any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

# Steps of so many tokens are measured: those typed since the last request, and the sizes
# that the engine's own rates are kept for.
NEW_TOKENS = 8
SIZES = (NEW_TOKENS, 16, 64, 256)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a child is to measure."""

    path: str
    name: str
    n_ctx: int
    prompt_tokens: int
    decode_threads: tuple[int, ...]
    batch_threads: tuple[int, ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """What `to_json` of a Plan gave."""
        threads = {key: tuple(values[key]) for key in ("decode_threads", "batch_threads")}
        return cls(**{**values, **threads})


@dataclass(frozen=True, slots=True)
class Turn:
    """What a child timed in one turn, in milliseconds. `reads` is by threads and then by tokens of
    a step, `writes` by threads; `chunks` are steps of the largest size, each behind the one before,
    and `deep_writes` single tokens behind those."""

    reads: Mapping[int, Mapping[int, float]] = field(default_factory=dict)
    writes: Mapping[int, Sequence[float]] = field(default_factory=dict)
    chunks: Sequence[float] = ()
    deep_writes: Sequence[float] = ()
    took_ms: float = 0.0
    load_ms: float = 0.0
    # Cores' time that other programs took meanwhile.
    others_ms: float = 0.0
    n_ctx: int = 0
    rss_bytes: int = 0
    pss_bytes: int = 0

    @classmethod
    def from_json(cls, values: Any) -> Turn:
        """What `to_json` gave. Raises ValueError for anything else."""
        try:
            lists = {key: tuple(map(_time, values[key])) for key in ("chunks", "deep_writes")}
            reads = _by_threads_and_size(values["reads"])
            writes = {int(n): tuple(map(_time, times)) for n, times in values["writes"].items()}
            made = cls(**{**values, **lists, "reads": reads, "writes": writes})
            numbers = (made.took_ms, made.load_ms, made.others_ms)
            if any(not 0 <= each < math.inf for each in numbers):
                raise ValueError("less than nothing")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"not a turn: {error}") from error
        return made


@dataclass(frozen=True, slots=True)
class Measurement:
    """Medians, in milliseconds. `step_ms` is by threads and then by tokens of a step, `write_ms` by
    threads; both with few tokens before. A token takes the slopes' times longer for each token
    before it."""

    step_ms: Mapping[int, Mapping[int, float]]
    write_ms: Mapping[int, float]
    step_slope_ms: float
    write_slope_ms: float
    n_ctx: int
    rss_bytes: int
    pss_bytes: int
    load_ms: float = 0.0
    n_rounds: int = 0
    # Half of the measurements are so far from each other, as a share of their median.
    spread: float = 0.0
    # Cores that other programs kept busy meanwhile.
    other_cores: float = 0.0

    @classmethod
    def from_json(cls, values: Any) -> Measurement:
        """What `to_json` gave. Raises ValueError for anything else."""
        try:
            steps = _by_threads_and_size(values["step_ms"])
            writes = {int(threads): _time(ms) for threads, ms in values["write_ms"].items()}
            made = cls(**{**values, "step_ms": steps, "write_ms": writes})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a measurement: {error}") from error
        if not writes or not steps or not all(SIZES[1] in sizes for sizes in steps.values()):
            raise ValueError("not a measurement: times are missing")
        return made


def _by_threads_and_size(table: Any) -> dict[int, dict[int, float]]:
    return {
        int(threads): {int(size): _time(ms) for size, ms in sizes.items()}
        for threads, sizes in table.items()
    }


def _time(ms: Any) -> float:
    if isinstance(ms, bool) or not isinstance(ms, (int, float)) or not 0 < ms < math.inf:
        raise ValueError(f"not a time: {ms!r:.80}")
    return float(ms)


def to_json(value: Plan | Turn | Measurement) -> dict[str, Any]:
    """A table that JSON can hold; `from_json` reads it."""
    return asdict(value)
