"""How much context there is time for.

Owns: the sizes that a prompt may have, and which of them this machine reads in time: one that
answers soon at a place that nobody has read, and one to be read beside it and used from then on.

Invariant: pure. Sizes come from one ladder, so that a rate that wavers does not make another
prompt of every request. A slow model is shown less, never nothing.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slm_lsp.types import LINE_TOKENS

# Reading all that a place is to be read with may take so long, in the background.
READ_MS = 4000.0
# The silence after a jump to a place that is new: two or three keystrokes.
SOON_MS = 600.0
MIN_TOKENS = 96
# Of the largest size, in falling order.
STEPS = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125, 0.09375)
# Rates waver by a factor of two: so many steps.
N_SMALLER = 2
# An estimate of characters a token is used for the window; the text may be denser.
MARGIN = 1.15


@dataclass(frozen=True, slots=True)
class Speed:
    """What the engine takes for a token, in ms; 0 where nothing was measured."""

    prefill_ms: float = 0.0
    decode_ms: float = 0.0


UNKNOWN = Speed()


def window_tokens(n_max: int, speed: Speed) -> int:
    """The largest size up to `n_max` that is read in the background in good time."""
    return _largest(_sizes(n_max), READ_MS, speed)


def soon_tokens(n_max: int, speed: Speed, remaining_ms: float) -> int:
    """The largest size that leaves time for a line before a deadline in `remaining_ms`, or
    that is read soon after it: then it is the next request that is answered."""
    left_ms = remaining_ms - LINE_TOKENS * speed.decode_ms
    sizes = _sizes(n_max)
    return _largest(sizes, min(max(left_ms, SOON_MS), READ_MS), speed)


def other_sizes(n_max: int, n_tokens: int, speed: Speed, remaining_ms: float) -> tuple[int, ...]:
    """What a place may have been read with before, the largest first, if now it would be
    `n_tokens`: more when there was more time, and a little less when the machine seemed slower,
    which counts where that size takes longer than there is."""
    sizes = _sizes(n_max)
    larger = [size for size in sizes if size > n_tokens]
    smaller = [size for size in sizes if size < n_tokens][:N_SMALLER]
    left_ms = remaining_ms - LINE_TOKENS * speed.decode_ms
    is_in_time = n_tokens * MARGIN * speed.prefill_ms <= left_ms
    return (*larger, *(() if is_in_time else smaller))


def _sizes(n_max: int) -> Sequence[int]:
    return [n for n in (int(n_max * step) for step in STEPS) if n >= MIN_TOKENS] or [n_max]


def _largest(sizes: Sequence[int], ms: float, speed: Speed) -> int:
    """The largest size that is read in `ms`, or the smallest; all where no rate is known."""
    fitting = (n for n in sizes if n * MARGIN * speed.prefill_ms <= ms)
    return next(fitting, sizes[-1])
