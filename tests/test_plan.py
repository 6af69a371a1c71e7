"""How much context there is time for, on fast machines and slow ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm_lsp.prompt.plan import (
    MIN_TOKENS,
    UNKNOWN,
    Speed,
    other_sizes,
    soon_tokens,
    window_tokens,
)

TIMES = st.floats(0.0, 100.0)
SPEEDS = st.builds(Speed, TIMES, TIMES)
MS = st.floats(-100.0, 60_000.0)
# The 135M model and the shapes of 0.5B and 1.5B, on two cores.
SMALL, MIDDLE, LARGE = Speed(1.2, 7.0), Speed(3.6, 15.0), Speed(11.4, 43.0)


@pytest.mark.parametrize(
    ("speed", "expect"),
    [(UNKNOWN, 1024), (SMALL, 1024), (MIDDLE, 768), (LARGE, 256), (Speed(1000.0), 96)],
)
def test_a_slow_model_is_shown_less(speed: Speed, expect: int) -> None:
    assert window_tokens(1024, speed) == expect


@pytest.mark.parametrize(
    ("speed", "remaining_ms", "expect"),
    [
        # Typing: what is read soon. By hand: what leaves time for a line, too.
        *[(SMALL, 240.0, 384), (MIDDLE, 240.0, 128), (LARGE, 240.0, 96)],
        *[(SMALL, 1490.0, 1024), (MIDDLE, 1490.0, 256), (LARGE, 1490.0, 96)],
        *[(SMALL, 60_000.0, 1024), (UNKNOWN, 0.0, 1024)],
    ],
)
def test_a_new_place_is_answered_soon(speed: Speed, remaining_ms: float, expect: int) -> None:
    assert soon_tokens(1024, speed, remaining_ms) == expect


@given(st.integers(1, 5000), SPEEDS, MS)
def test_sizes_are_within_bounds(n_max: int, speed: Speed, remaining_ms: float) -> None:
    n_window = window_tokens(n_max, speed)
    assert min(n_max, MIN_TOKENS) <= n_window <= n_max
    assert min(n_max, MIN_TOKENS) <= soon_tokens(n_max, speed, remaining_ms) <= n_window


@given(st.integers(1, 5000), SPEEDS, TIMES)
def test_a_faster_model_is_never_shown_less(n_max: int, speed: Speed, more_ms: float) -> None:
    slower = Speed(speed.prefill_ms + more_ms, speed.decode_ms)
    assert window_tokens(n_max, slower) <= window_tokens(n_max, speed)


def test_what_a_place_may_have_been_read_with() -> None:
    quick = Speed(0.1, 1.0)
    assert other_sizes(1024, 256, quick, 250.0) == (1024, 768, 512, 384)
    assert other_sizes(1024, 1024, quick, 250.0) == ()
    assert other_sizes(1024, 1024, UNKNOWN, 250.0) == ()


def test_a_little_less_may_have_been_read_where_there_is_no_time_for_all() -> None:
    slow = Speed(2.0, 5.0)
    assert other_sizes(1024, 256, slow, 250.0) == (1024, 768, 512, 384, 192, 128)
    assert other_sizes(1024, 256, slow, 2500.0) == (1024, 768, 512, 384)
    assert other_sizes(1024, 96, slow, 50.0)[-1] == 128
