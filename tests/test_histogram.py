"""Latencies by size: what is lost by it, and that sessions add up.

Invariant: pure.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm_lsp.completion.histogram import FINEST_MS, N_BUCKETS, RESOLUTION, Histogram
from slm_lsp.completion.tally import percentile

times_ms = st.lists(st.floats(0.0, 600_000.0), max_size=50)


def histogram_of(values_ms: list[float]) -> Histogram:
    histogram = Histogram()
    for ms in values_ms:
        histogram.add(ms)
    return histogram


def test_without_values_there_is_no_percentile() -> None:
    assert Histogram().percentile(50) is None
    assert Histogram().n == 0


@given(times_ms, times_ms, st.sampled_from([50, 95, 99, 100]))
def test_percentiles_of_a_sum_are_those_of_all_values(
    one: list[float], other: list[float], percent: int
) -> None:
    merged = histogram_of(one) + histogram_of(other)
    assert merged == histogram_of(one + other)
    exact, told = percentile(sorted(one + other), percent), merged.percentile(percent)
    if exact is None:
        assert told is None
    else:
        assert told == pytest.approx(exact, rel=RESOLUTION + 1e-3, abs=FINEST_MS)


def test_what_is_added_leaves_a_copy_as_it_is() -> None:
    histogram = histogram_of([10.0])
    copy = histogram.copy()
    histogram.add(10.0)
    assert (copy.n, histogram.n) == (1, 2)


@given(st.lists(st.floats()))
def test_it_is_bounded(values_ms: list[float]) -> None:
    histogram = histogram_of(values_ms)
    assert all(0 <= bucket < N_BUCKETS for bucket in histogram.counts)
    assert histogram.n == len(values_ms)


@given(times_ms)
def test_json_and_back(values_ms: list[float]) -> None:
    histogram = histogram_of(values_ms)
    assert Histogram.from_json(histogram.to_json()) == histogram


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1],
        {"x": 1},
        {"-1": 1},
        {str(N_BUCKETS): 1},
        {"1": -1},
        {"1": 1.5},
        {"1": True},
        {"1": 10**400},
        {"9" * 5000: 1},
        {str(each): 1 for each in range(N_BUCKETS + 1)},
    ],
)
def test_json_that_is_no_histogram(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Histogram.from_json(value)
