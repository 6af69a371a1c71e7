"""What a step is expected to take, how large the next may be, and the file of the rates.

Invariant: no clock is read. Threads: the test's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm_lsp.engine.rates import (
    CHUNK_MS,
    MAX_CHUNK_TOKENS,
    PICKED,
    PRIOR_MS_PER_TOKEN,
    Rate,
    Rates,
)
from slm_lsp.engine.rates_file import SAVE_EVERY_MS, RatesFile, rates_path

KNOWN = {"1": [10.0, 0.0], "16": [3.0, 0.0], "64": [2.0, 0.0], "256": [1.0, 0.0]}


def test_an_expectation_is_the_mean_and_a_spread() -> None:
    steady, jumpy = Rate(), Rate()
    for n in range(40):
        steady.add(10.0)
        jumpy.add(15.0 if n % 2 else 5.0)
    assert steady.expected_ms == pytest.approx(10.0, abs=0.01)
    assert 13.0 < jumpy.expected_ms < 18.0


def test_one_slow_step_hardly_counts_but_a_slow_machine_does() -> None:
    rate = Rate()
    for _ in range(20):
        rate.add(10.0)
    rate.add(20_000.0)
    assert rate.expected_ms < 40.0
    for _ in range(20):
        rate.add(100.0)
    assert 90.0 < rate.expected_ms < 120.0


@pytest.mark.parametrize(
    ("n_tokens", "expected_ms"),
    [(1, 10.0), (2, 13.0), (16, 55.0), (17, 34.0), (64, 128.0), (65, 65.0), (256, 256.0)],
)
def test_a_step_is_expected_by_its_size(n_tokens: int, expected_ms: float) -> None:
    assert Rates.from_json(KNOWN).step_ms(n_tokens) == expected_ms


def test_no_step_is_expected_to_be_shorter_than_a_single_tokens() -> None:
    rates = Rates.from_json({"1": [100.0, 0.0], "64": [1.0, 0.0]})
    assert (rates.step_ms(17), rates.chunk_tokens(17, 99.0, CHUNK_MS)) == (100.0, 0)


def test_a_few_tokens_cost_a_single_one_and_something_for_each_more() -> None:
    rates = Rates()
    for _ in range(30):
        rates.add(1, 10.0)
        rates.add(4, 22.0)  # 10 + 3 * 4
    assert rates.step_ms(2) == pytest.approx(14.0, abs=0.1)
    assert rates.step_ms(16) == pytest.approx(70.0, abs=0.1)


def test_steps_with_several_picks_are_kept_by_themselves() -> None:
    rates = Rates.from_json(KNOWN)
    assert [rates.picks_ms(n) for n in PICKED] == [13.0, 19.0, 31.0, 55.0]  # as any other, so far
    for _ in range(30):
        rates.add(8, 40.0, 8)
        rates.add(5, 500.0, 5)  # of which nobody asks
    assert rates.picks_ms(8) == pytest.approx(40.0, abs=0.1)
    assert [rates.picks_ms(n) for n in (2, 4, 16)] == [13.0, 19.0, 55.0]
    assert rates.step_ms(8) == 31.0
    kept = Rates.from_json(rates.to_json())
    assert kept.picks_ms(8) == pytest.approx(40.0, abs=0.1)
    rates.doubt()
    assert rates.picks_ms(8) < 30.0


def test_reading_is_not_expected_to_cost_nothing_where_only_writing_was_measured() -> None:
    rates = Rates()
    rates.add(1, 120.0)
    assert rates.prefill_ms_per_token == rates.decode_ms >= 120.0


@pytest.mark.parametrize("n_measured", [8, 40, 200])
def test_what_was_not_measured_is_taken_from_the_nearest(n_measured: int) -> None:
    rates = Rates()
    assert rates.step_ms(100) == 100 * PRIOR_MS_PER_TOKEN
    assert (rates.decode_ms, rates.prefill_ms_per_token) == (0.0, 0.0)
    for _ in range(30):
        rates.add(n_measured, 7.0 * n_measured)
    for n_tokens in (30, 100, 256):
        assert rates.step_ms(n_tokens) == pytest.approx(7.0 * n_tokens, rel=0.01)
    assert rates.prefill_ms_per_token == pytest.approx(7.0, rel=0.01)


times = st.floats(0.0, 500.0)


@given(
    st.fixed_dictionaries({}, optional={n: st.tuples(times, times).map(list) for n in KNOWN}),
    st.integers(1, 3000),
    st.floats(-10.0, 5000.0),
    st.floats(0.0, 500.0),
)
def test_no_chunk_is_expected_to_end_too_late(
    values: Any, n_left: int, remaining_ms: float, patience_ms: float
) -> None:
    rates = Rates.from_json(values)
    n_tokens = rates.chunk_tokens(n_left, remaining_ms, patience_ms)
    assert 0 <= n_tokens <= min(n_left, MAX_CHUNK_TOKENS)
    if n_tokens:
        assert rates.step_ms(n_tokens) < remaining_ms
        assert n_tokens <= 16 or rates.step_ms(n_tokens) <= patience_ms + 1e-6


def test_the_larger_chunk_is_taken_where_both_fit() -> None:
    rates = Rates.from_json(KNOWN)
    assert rates.chunk_tokens(1000, 5000.0, 140.0) == 140
    assert rates.chunk_tokens(1000, 5000.0, CHUNK_MS) == 20
    assert rates.chunk_tokens(1000, 54.0, CHUNK_MS) == 20
    assert rates.chunk_tokens(1000, 34.0, CHUNK_MS) == 16 or rates.step_ms(16) > 34.0
    assert rates.chunk_tokens(1, 10.0, CHUNK_MS) == 0
    assert rates.chunk_tokens(1, 10.1, CHUNK_MS) == 1


# --- on the disk ---


def test_rates_survive_on_the_disk(tmp_path: Path) -> None:
    path = rates_path(tmp_path / "new", "a/model.gguf")
    file = RatesFile(path, 0.0)
    assert file.read().to_json() == {}
    file.save(Rates())  # nothing measured, nothing written
    assert not path.parent.exists()
    file.save(Rates.from_json(KNOWN))
    assert file.read().to_json() == KNOWN
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_file_is_for_one_model() -> None:
    paths = {rates_path(Path("r"), name) for name in ("a/b", "a_b", "a" * 300, "a" * 301)}
    assert len(paths) == 4
    assert all(path.parent == Path("r") and len(path.name) < 100 for path in paths)


def test_they_are_saved_every_few_minutes(tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    file = RatesFile(path, 0.0)
    file.save_if_due(Rates.from_json(KNOWN), SAVE_EVERY_MS - 1)
    assert not path.exists()
    file.save_if_due(Rates.from_json(KNOWN), SAVE_EVERY_MS)
    path.unlink()
    file.save_if_due(Rates.from_json(KNOWN), SAVE_EVERY_MS + 1)
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b'{"7": [1, 1]}',
        b'{"1": 1}',
        b'{"1": [1]}',
        b'{"1": [1, -1]}',
        b'{"1": [NaN, 1]}',
        b'{"1": ["1", 1]}',
        b'{"1": [true, 1]}',
        b'{"1": [1e300, 1]}',
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_ignored(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rates.json"
    path.write_bytes(content)
    assert RatesFile(path, 0.0).read().to_json() == {}
    assert "ignored" in caplog.text


def test_what_cannot_be_written_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    RatesFile(tmp_path / "file" / "rates.json", 0.0).save(Rates.from_json(KNOWN))
    assert "not kept" in caplog.text
