"""How much context there is time for.

Owns: the sizes that a prompt may have, and which of them this machine reads in time.

Invariant: pure. Sizes come from one ladder, so that a rate that wavers does not make another
prompt of every request. A slow model is shown less, never nothing.

Threads: any.
"""

from __future__ import annotations

# Reading a prompt nobody has read before may take so long, all in all: the silence after a
# jump to a place that is new.
READ_MS = 2000.0
MIN_TOKENS = 96
# Of the largest size, in falling order.
STEPS = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125, 0.09375)
# A line's worth of tokens, to be written in what reading leaves of the time.
LINE_TOKENS = 8
# An estimate of characters a token is used for the window; the text may be denser.
MARGIN = 1.15


def window_tokens(n_max: int, prefill_ms_per_token: float) -> int:
    """The largest size that is read within `READ_MS`; all where no rate is known (0)."""
    return _largest(n_max, READ_MS, prefill_ms_per_token) or _sizes(n_max)[-1]


def tokens_now(
    n_window: int, prefill_ms_per_token: float, decode_ms: float, remaining_ms: float
) -> int:
    """The richest size that leaves time for a line before the deadline; `n_window` where even
    the smallest does not, as then it is read for the next request."""
    if prefill_ms_per_token <= 0.0:
        return n_window
    left_ms = remaining_ms - LINE_TOKENS * decode_ms
    return _largest(n_window, left_ms, prefill_ms_per_token) or n_window


def _sizes(n_max: int) -> list[int]:
    return [n for n in (int(n_max * step) for step in STEPS) if n >= MIN_TOKENS] or [n_max]


def _largest(n_max: int, ms: float, prefill_ms_per_token: float) -> int | None:
    fitting = (n for n in _sizes(n_max) if n * MARGIN * prefill_ms_per_token <= ms)
    return next(fitting, None)
