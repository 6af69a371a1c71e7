"""Figures by hand: quantiles, cut-off times, shares, overrun, coverage, the table."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.latency.figures import coverage, paired, product_limit, quantile, summary
from benchmarks.latency.report import table


def record(kind: str = "type", place: int = 0, **values: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "kind": kind,
        "place": place,
        "asked": True,
        "answer_ms": None,
        "shown_ms": None,
        "n_chars": 0,
        "n_new_chars": 0,
        "open_ms": 100.0,
    }
    return {**base, **values}


def session(records: list[dict[str, Any]], number: int = 0, **work: Any) -> dict[str, Any]:
    done = {"prefilled_each": [], "n_prefilled": 0, "n_decoded": 0, **work}
    return {
        "number": number,
        "n_accepted_chars": 7,
        "cpu_s": 2.0,
        "work": done,
        "records": records,
    }


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1.0), (0.25, 1.0), (0.26, 2.0), (0.5, 2.0), (0.51, 3.0), (1.0, 4.0)]
)
def test_quantiles_of_the_nearest_rank(share: float, value: float) -> None:
    assert quantile([4.0, 2.0, 1.0, 3.0], share) == value


def test_a_quantile_of_nothing() -> None:
    assert quantile([], 0.5) is None


def test_without_cut_off_times_the_product_limit_is_the_quantile() -> None:
    times = [5.0, 1.0, 4.0, 2.0, 3.0]
    for share in (0.2, 0.5, 0.8, 1.0):
        assert product_limit([(t, True) for t in times], share) == quantile(times, share)


def test_cut_off_times_by_hand() -> None:
    # At 1: 4/5 left. 2 is cut off. At 3: 4/5 * 2/3 = 8/15. At 4: 4/15. 5 is cut off.
    events = [(1.0, True), (2.0, False), (3.0, True), (4.0, True), (5.0, False)]
    assert product_limit(events, 0.2) == 1.0
    assert product_limit(events, 0.46) == 3.0  # 1 - 8/15 = 0.467
    assert product_limit(events, 0.5) == 4.0
    assert product_limit(events, 0.74) is None
    assert product_limit([(9.0, False), (9.0, True)], 0.5) == 9.0


def test_a_summary_by_hand() -> None:
    records = [
        record(answer_ms=50.0, shown_ms=50.0, n_new_chars=10),
        record(answer_ms=260.0),
        record(answer_ms=350.0, shown_ms=400.0, n_new_chars=10),
        record(),
        record(asked=False, answer_ms=0.0),
    ]
    figures = summary(
        [session(records, prefilled_each=[0, 3, 9], n_prefilled=30, n_decoded=50)], 250.0
    )
    assert figures["n_keystrokes"] == 5
    assert figures["n_asked"] == 4
    assert figures["n_answered"] == 3
    assert figures["answer_ms"] == {"p50": 260.0, "p95": 350.0, "p99": 350.0, "max": 350.0}
    # 3/4 left at 50; one is cut off at 100; 3/8 left at 260; none at 350.
    assert figures["answer_censored_ms"] == {"p50": 260.0, "p95": 350.0, "p99": 350.0}
    assert figures["shown_within"] == {"100": 0.2, "250": 0.2, "500": 0.4}
    assert figures["overrun_ms"] == {"p99": 100.0, "max": 100.0}
    assert figures["prefilled_per_keystroke"] == {"p50": 3, "p95": 9, "all_work": 6.0}
    assert figures["decode_steps_per_shown_char"] == 2.5
    assert figures["cpu_s_per_session"] == 2.0
    assert figures["n_accepted_chars"] == 7


def test_coverage_is_of_the_keys_at_which_the_patient_one_shows() -> None:
    patient = [session([record(place=i, shown_ms=900.0 if i < 4 else None) for i in range(6)])]
    times: list[float | None] = [10.0, 250.0, 251.0, None, 10.0]
    ours = [session([record(place=i, shown_ms=ms) for i, ms in enumerate(times)])]
    assert coverage(ours, patient, 250.0) == 0.5
    assert coverage(ours, [session([])], 250.0) is None


def test_pairs_are_of_the_same_session() -> None:
    ours = [session([record(answer_ms=10.0)], 1), session([record(answer_ms=30.0)], 2)]
    peer = [session([record(answer_ms=60.0)], 2), session([record(answer_ms=40.0)], 1)]
    assert paired(ours, peer, 250.0) == {"answer_p50": 0.25, "answer_p95": 0.25, "cpu_s": 1.0}


def test_the_table() -> None:
    entry = session([record(answer_ms=12.3, shown_ms=12.3, n_new_chars=4)], n_decoded=2)
    policy = {"summary": summary([entry], 250.0), "memory": {"rss_mb": 1234.4}}
    silent = {"summary": summary([session([record()])], 250.0), "memory": {"rss_mb": 1.0}}
    result = {"model": "m", "budget_ms": 250.0, "policies": {"ours": policy, "peer": silent}}
    lines = table([result]).splitlines()
    assert len(lines) == 4
    assert lines[2] == (
        "| m | 250 | ours | 12 / 12 / 12 | 100 % / 100 % / 100 % | 0 / 0 | – / – | 0.50 "
        "| 2.0 | 1,234 |"
    )
    assert "– / – / – | 0 % / 0 % / 0 %" in lines[3]
