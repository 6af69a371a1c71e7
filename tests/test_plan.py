"""How much context there is time for, on fast machines and slow ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm_lsp.prompt.plan import MIN_TOKENS, tokens_now, window_tokens

RATES = st.floats(0.0, 100.0)
MS = st.floats(-100.0, 60_000.0)


@pytest.mark.parametrize(
    ("prefill_ms", "expect"),
    # Nothing measured; the 135M model; the 0.5B and 1.5B shapes on two cores; hopeless.
    [(0.0, 1024), (1.2, 1024), (3.6, 384), (11.4, 128), (1000.0, 96)],
)
def test_a_slow_model_is_shown_less(prefill_ms: float, expect: int) -> None:
    assert window_tokens(1024, prefill_ms) == expect


@pytest.mark.parametrize(
    ("remaining_ms", "expect"),
    # A line of 8 tokens of 7 ms has to fit as well; where nothing does, everything is read.
    [(240.0, 128), (170.0, 1024), (1200.0, 768), (60_000.0, 1024)],
)
def test_the_richest_that_leaves_time_for_a_line(remaining_ms: float, expect: int) -> None:
    assert tokens_now(1024, 1.2, 7.0, remaining_ms) == expect


@given(st.integers(1, 5000), RATES, RATES, MS)
def test_sizes_are_within_bounds(
    n_max: int, prefill_ms: float, decode_ms: float, remaining_ms: float
) -> None:
    n_window = window_tokens(n_max, prefill_ms)
    assert min(n_max, MIN_TOKENS) <= n_window <= n_max
    assert 0 < tokens_now(n_window, prefill_ms, decode_ms, remaining_ms) <= n_window


@given(st.integers(1, 5000), RATES, RATES)
def test_a_faster_model_is_never_shown_less(n_max: int, one: float, other: float) -> None:
    slow, fast = max(one, other), min(one, other)
    assert window_tokens(n_max, slow) <= window_tokens(n_max, fast)
