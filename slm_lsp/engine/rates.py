"""How fast this model is here: what a step of so many tokens is expected to take.

Owns: the measurements (a mean and a spread for each size of step, newer ones counting more)
and how large the next step may be.

Invariant: pure; it reads no clock. An expectation is the mean and one spread, so that a step
that is started seldom ends past the deadline.

Threads: the Scheduler's writes; any may read a figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MIN_CHUNK_TOKENS = 16
MAX_CHUNK_TOKENS = 256
# One chunk is what a newer request may have to wait for.
CHUNK_MS = 40.0
# A request with much time may hold up the next one longer: large chunks are read faster.
PATIENCE = 0.1
SMOOTHING = 0.3
# Before anything is measured.
PRIOR_MS_PER_TOKEN = CHUNK_MS / MIN_CHUNK_TOKENS
# The first measurement says nothing of the spread; later ones are cut at so many times what
# was expected: one step on a machine that was asleep says nothing of the next.
FIRST_SPREAD, OUTLIER = 0.25, 4.0
N_SETTLED = 4

# Steps of 1, of 2 to 16, of 17 to 64 and of 65 to 256 tokens.
SMALL, MIDDLE, LARGE = 16, 64, 256
# Steps behind each token of which one is picked. llama.cpp's kernels for the CPU take four tokens
# at a time, so that seven take longer than eight.
PICKED = (2, 4, 8, 16)


@dataclass(slots=True)
class Rate:
    """One measured time: its mean, and how far from it a measurement is on the average."""

    mean_ms: float = 0.0
    spread_ms: float = 0.0
    n: int = 0

    @property
    def expected_ms(self) -> float:
        return self.mean_ms + self.spread_ms

    def add(self, ms: float) -> None:
        """Take one more measurement into account."""
        if self.n == 0:
            self.mean_ms, self.spread_ms = ms, FIRST_SPREAD * ms
        else:
            if self.n >= N_SETTLED:
                ms = min(ms, max(1.0, OUTLIER * self.expected_ms))
            off_ms = ms - self.mean_ms
            self.mean_ms += SMOOTHING * off_ms
            self.spread_ms += SMOOTHING * (abs(off_ms) - self.spread_ms)
        self.n += 1

    def lower(self) -> None:
        self.mean_ms *= 1.0 - SMOOTHING
        self.spread_ms *= 1.0 - SMOOTHING


class Rates:
    """The measured speed of one model on one machine.

    A single token's time is kept by itself. That of a token more is kept for steps of few
    tokens, which cost a single one's and something for each further one; for larger steps,
    a token's share. Where a token is picked behind each, a step takes much longer (twice as
    long for two tokens, with a large vocabulary): these are kept by themselves, as a whole.
    """

    def __init__(self) -> None:
        self.one = Rate()
        self.more = {SMALL: Rate(), MIDDLE: Rate(), LARGE: Rate()}
        self.picked = {n_tokens: Rate() for n_tokens in PICKED}

    @property
    def decode_ms(self) -> float:
        """What one generated token is expected to take; 0 before any was measured."""
        return self.one.expected_ms

    @property
    def prefill_ms_per_token(self) -> float:
        """What a token of a long prompt is expected to take; 0 before any was measured.

        A slow model's warm-up may end before a step of several; that is no slower a token.
        """
        measured = [rate for rate in self.more.values() if rate.n]
        return measured[-1].expected_ms if measured else self.one.expected_ms

    @property
    def is_measured(self) -> bool:
        """Whether anything is known, of this process or of an earlier one."""
        return bool(self.one.n)

    def add(self, n_tokens: int, ms: float, n_picks: int = 1) -> None:
        """One step of `n_tokens`, of which the last `n_picks` can be picked behind, took `ms`."""
        if n_picks > 1:
            if n_tokens in self.picked:
                self.picked[n_tokens].add(ms)
        elif n_tokens == 1:
            self.one.add(ms)
        elif n_tokens > SMALL:
            self.more[MIDDLE if n_tokens <= MIDDLE else LARGE].add(ms / n_tokens)
        elif self.one.n:
            self.more[SMALL].add(max(0.0, ms - self.one.mean_ms) / (n_tokens - 1))
        else:
            self.more[SMALL].add(ms / n_tokens)

    def step_ms(self, n_tokens: int) -> float:
        """What a step of `n_tokens` is expected to take."""
        first_ms = self.one.expected_ms if self.one.n else PRIOR_MS_PER_TOKEN
        if n_tokens <= SMALL:
            return first_ms + (n_tokens - 1) * self._per_token_ms(SMALL)
        # However it was measured, no step is shorter than one of a single token.
        per_token_ms = self._per_token_ms(MIDDLE if n_tokens <= MIDDLE else LARGE)
        return max(first_ms, n_tokens * per_token_ms)

    def picks_ms(self, n_tokens: int) -> float:
        """What a step of `n_tokens`, one of PICKED, is expected to take where one is picked behind
        each; before that was measured, no more than any other."""
        rate = self.picked[n_tokens]
        return rate.expected_ms if rate.n else self.step_ms(n_tokens)

    def _per_token_ms(self, size: int) -> float:
        """A token's time in steps of this size, or of the nearest size that was measured."""
        near = sorted(self.more, key=lambda other: (abs(math.log(other / size)), -other))
        return next(
            (self.more[other].expected_ms for other in near if self.more[other].n),
            PRIOR_MS_PER_TOKEN,
        )

    def tokens_within(self, ms: float, n_max: int) -> int:
        """The most tokens, up to `n_max`, of a step that is expected to take at most `ms`."""
        n_most = n_max
        for low, size in ((MIDDLE + 1, LARGE), (SMALL + 1, MIDDLE), (1, SMALL)):
            if n_most < low:
                continue
            if self.step_ms(n_most) <= ms:
                return n_most
            per_token_ms = max(self._per_token_ms(size), 1e-6)
            if size == SMALL:
                return max(0, min(n_most, 1 + math.floor((ms - self.step_ms(1)) / per_token_ms)))
            n_tokens = min(n_most, math.floor(ms / per_token_ms))
            if n_tokens >= low and self.step_ms(n_tokens) <= ms:
                return n_tokens
            n_most = low - 1
        return 0

    def chunk_tokens(self, n_left: int, remaining_ms: float, patience_ms: float) -> int:
        """How many of `n_left` tokens to feed in one step; 0 if any would come too late.

        The step is to take no longer than `patience_ms`, for whoever comes next, but a small
        one is made in any case.
        """
        wanted = max(
            MIN_CHUNK_TOKENS,
            self.tokens_within(patience_ms, MAX_CHUNK_TOKENS),
        )
        wanted = min(n_left, wanted)
        affordable = self.tokens_within(remaining_ms, wanted)
        if affordable < min(n_left, MIN_CHUNK_TOKENS) or self.step_ms(affordable) >= remaining_ms:
            return 0
        return affordable

    def doubt(self) -> None:
        """Lower all: they kept a request that had time from making a step.

        Only steps correct them, so one that took long, on a machine that was busy or
        asleep, would otherwise stop all steps for good.
        """
        for rate in self._by_name().values():
            rate.lower()

    def to_json(self) -> dict[str, list[float]]:
        """What was measured, for `from_json`."""
        rates = self._by_name()
        return {name: [rate.mean_ms, rate.spread_ms] for name, rate in rates.items() if rate.n}

    def _by_name(self) -> dict[str, Rate]:
        picked = {f"picked {n}": rate for n, rate in self.picked.items()}
        return {str(n): rate for n, rate in {1: self.one, **self.more}.items()} | picked

    @classmethod
    def from_json(cls, values: Any) -> Rates:
        """What `to_json` gave. Raises ValueError for anything else."""
        rates = cls()
        known = rates._by_name()
        if not isinstance(values, Mapping) or not values.keys() <= known.keys():
            raise ValueError("not a table of rates")
        for name, pair in values.items():
            if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_time, pair)):
                raise ValueError(f"not a time and its spread: {pair!r:.80}")
            # One measurement's weight: another day, the machine may be busier.
            known[name].mean_ms, known[name].spread_ms = float(pair[0]), float(pair[1])
            known[name].n = 1
        return rates


def _is_time(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0.0 <= value < 1e9
