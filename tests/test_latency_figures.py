"""Figures by hand: quantiles, cut-off times, shares, overrun, coverage, the table."""

from __future__ import annotations

import pytest
from latency_scene import record, session

from benchmarks.latency.fates import fates, overruns, reading
from benchmarks.latency.figures import coverage, paired, pooled, summary
from benchmarks.latency.quantiles import product_limit, quantile
from benchmarks.latency.report import main_table


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
    ours = [session([record(place=i, shown_ms=ms, answer_ms=ms) for i, ms in enumerate(times)])]
    assert coverage(ours, patient, 250.0) == (0.5, 4)
    # The fourth was typed on at after 100 ms, before anything came.
    assert coverage(ours, patient, 250.0, overtaken=False) == (0.6667, 3)
    assert coverage(ours, [session([])], 250.0) == (None, 0)


def test_pairs_are_of_the_same_session() -> None:
    ours = [session([record(answer_ms=10.0)], 1), session([record(answer_ms=30.0)], 2)]
    peer = [session([record(answer_ms=60.0)], 2), session([record(answer_ms=40.0)], 1)]
    assert paired(ours, peer, 250.0) == {"answer_p50": 0.25, "answer_p95": 0.25, "cpu_s": 1.0}


def test_over_all_keys_of_the_sessions_that_both_have() -> None:
    quick = [record(answer_ms=10.0) for _ in range(6)]
    slow = [record(answer_ms=40.0), *(record(open_ms=100.0 + i) for i in range(7))]
    other = [record(answer_ms=1.0)]
    found = pooled([session(quick), session(other, 1)], [session(slow), session(other, 2)])
    # One in eight was answered; five could be observed for 102 ms.
    ratio = {"ours": 10.0, "peer": 102.0, "peer_is_bound": True, "ratio": 0.098}
    assert found == {"answer_p50": ratio, "answer_p95": ratio}
    same = pooled([session(quick)], [session(quick)])["answer_p50"]
    assert same == {"ours": 10.0, "peer": 10.0, "peer_is_bound": False, "ratio": 1.0}
    nothing = pooled([session(slow)], [session(quick[:3])])["answer_p95"]
    assert (nothing["ours"], nothing["ratio"]) == (None, None)
    assert pooled([], [])["answer_p50"]["peer"] is None


def test_fates_by_hand() -> None:
    records = [
        record(open_ms=120.0),  # overtaken
        record(open_ms=120.0, answer_ms=50.0, shown_ms=50.0),
        record(open_ms=400.0, answer_ms=240.0),
        record(open_ms=400.0, answer_ms=260.0, shown_ms=260.0),
        record(open_ms=900.0),  # left alone, and no answer
        record(open_ms=900.0, asked=False),
    ]
    found = fates(records, 250.0)
    assert found["overtaken"] == 0.2
    assert found["not_overtaken"] == {
        "n": 4,
        "shown": 0.5,
        "shown_within_budget": 0.25,
        "answer_ms": {"p50": 240.0, "p95": None},
    }
    assert found["paused"] == {
        "n": 3,
        "shown": 0.3333,
        "shown_within_budget": 0.0,
        "answer_ms": {"p50": 260.0, "p95": None},
    }
    # What never came is late by at least the time it had.
    assert overruns(records, 250.0) == [0.0, 0.0, 10.0, 650.0]
    nothing = fates([], 250.0)
    assert (nothing["overtaken"], nothing["paused"]["n"]) == (None, 0)


def test_warm_keys_go_on_in_one_place() -> None:
    kinds = ["switch", "type", "type", "accept", "backspace", "move", "type", "type"]
    keys = [record(kind, n_read=10**i) for i, kind in enumerate(kinds)]
    keys[3]["shown_ms"] = 5.0
    found = reading([session(keys), session([record(n_read=7), record(n_read=None)])])
    assert found["after_jump"]["n"] == 5  # two jumps, the key after each, and a session's first
    assert found["after_jump"]["p50"] == 10
    assert found["warm"]["n"] == 4
    assert found["warm"]["p50"] == 1000
    assert found["warm"]["mean"] == (100 + 1000 + 10_000 + 10**7) / 4
    # Only the key after the one that showed something, and not beyond the next jump.
    assert (found["settled"]["n"], found["settled"]["p95"]) == (1, 10_000)
    assert reading([])["warm"] == {"n": 0, "p50": None, "p95": None, "p99": None, "mean": None}


def test_the_table() -> None:
    keys = [record("switch", n_read=3), record(n_read=3)]
    entry = session(
        [*keys, record(answer_ms=12.3, shown_ms=12.3, n_new_chars=4, n_read=3)], n_decoded=2
    )
    policy = {"summary": summary([entry], 250.0), "memory": {"rss_mb": 1234.4}}
    silent = {"summary": summary([session([record()])], 250.0), "memory": {"rss_mb": 1.0}}
    result = {"model": "m", "budget_ms": 250.0, "policies": {"ours": policy, "peer": silent}}
    lines = main_table([result, {**result, "cold": True}]).splitlines()
    assert len(lines) == 6
    assert lines[2] == (
        "| m | 250 | ours | – / – / – | 33 % / 33 % / 33 % | 0 / 0 | 3 / 3 | 0.50 | 2.0 | 1,234 |"
    )
    assert lines[4].startswith("| m, cold | 250 |")
    assert "– / – / – | 0 % / 0 % / 0 %" in lines[3]
