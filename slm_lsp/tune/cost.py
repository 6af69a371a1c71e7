"""What reading a prompt and writing a line take, from a few measured steps.

Owns: the arithmetic. Steps are as large as the engine makes them: it reads in chunks of about
`CHUNK_MS`, of 16 to 256 tokens, so that a newer request never waits longer than one.

Invariant: pure. More tokens never take less time, and where every measured step is at least as
fast, so is everything computed here (tests/test_tune_laws.py).

Threads: any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slm_lsp.engine.rates import CHUNK_MS, MAX_CHUNK_TOKENS, MIN_CHUNK_TOKENS
from slm_lsp.tune.measurement import NEW_TOKENS, Measurement

# A line of code, and the token that ends it.
LINE_TOKENS = 12


@dataclass(frozen=True, slots=True)
class Speed:
    """One choice of threads: `points` are sizes of steps and their times, neither falling;
    `chunk_tokens` is the largest step that the engine makes, `per_token_ms` a token's share."""

    points: tuple[tuple[int, float], ...]
    step_slope_ms: float
    write_slope_ms: float
    chunk_tokens: float
    per_token_ms: float

    @property
    def write_ms(self) -> float:
        """One token, with little before it."""
        return self.points[0][1]


def speed_of(measured: Measurement, threads: int, batch_threads: int) -> Speed:
    """The speed with so many threads to write and to read."""
    points = _rising({1: measured.write_ms[threads], **measured.step_ms[batch_threads]})
    chunk_tokens = min(MAX_CHUNK_TOKENS, max(MIN_CHUNK_TOKENS, _tokens_within(points, CHUNK_MS)))
    return Speed(
        points=points,
        step_slope_ms=max(0.0, measured.step_slope_ms),
        write_slope_ms=max(0.0, measured.write_slope_ms),
        chunk_tokens=chunk_tokens,
        per_token_ms=_step_ms(points, chunk_tokens) / chunk_tokens,
    )


def _rising(steps: Mapping[int, float]) -> tuple[tuple[int, float], ...]:
    """Times by size; a larger step that was measured faster takes as long as the smaller one."""
    points: list[tuple[int, float]] = []
    for size, ms in sorted(steps.items()):
        points.append((size, max(ms, points[-1][1]) if points else ms))
    return tuple(points)


def _step_ms(points: tuple[tuple[int, float], ...], n_tokens: float) -> float:
    """A step's time, on the line between those measured; beyond them by the share of the last."""
    below, below_ms = points[0]
    for size, ms in points:
        if n_tokens <= size:
            share = (n_tokens - below) / (size - below) if size > below else 1.0
            return below_ms + share * (ms - below_ms)
        below, below_ms = size, ms
    return below_ms * n_tokens / below


def _tokens_within(points: tuple[tuple[int, float], ...], limit_ms: float) -> float:
    """The size of the largest step, measured or between those, that takes so long at most."""
    found, found_ms = 0.0, 0.0
    for size, ms in points:
        if ms > limit_ms:
            return found + (size - found) * (limit_ms - found_ms) / (ms - found_ms)
        found, found_ms = size, ms
    return found * limit_ms / found_ms


def read_ms(speed: Speed, n_tokens: int, n_before: int = 0) -> float:
    """Reading `n_tokens` behind `n_before` others."""
    if n_tokens <= 0:
        return 0.0
    if n_tokens <= speed.chunk_tokens:
        steps_ms = _step_ms(speed.points, n_tokens)
    else:
        steps_ms = n_tokens * speed.per_token_ms
    return steps_ms + speed.step_slope_ms * n_tokens * (n_before + n_tokens / 2)


def line_ms(speed: Speed, n_before: int) -> float:
    """Writing a line behind so many tokens."""
    each_ms = speed.write_ms + speed.write_slope_ms * (n_before + LINE_TOKENS / 2)
    return LINE_TOKENS * each_ms


def warm_ms(speed: Speed, prompt_tokens: int) -> float:
    """The usual case while typing: all of the prompt is read but what was typed last."""
    return read_ms(speed, NEW_TOKENS, prompt_tokens) + line_ms(speed, prompt_tokens + NEW_TOKENS)


def cold_ms(speed: Speed, prompt_tokens: int) -> float:
    """A prompt of which nothing is read yet, and a line."""
    return read_ms(speed, prompt_tokens) + line_ms(speed, prompt_tokens)


def longest_cold_prompt(speed: Speed, within_ms: float, n_max: int) -> int:
    """The longest prompt, of `n_max` tokens at most, that is read and answered with a line in
    time; 0 where even a line takes longer."""
    low, high = 0, n_max + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cold_ms(speed, middle) <= within_ms else (low, middle)
    return low
