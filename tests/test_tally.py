"""What `slm-lsp.stats` says of completions.

Invariant: pure.
"""

from __future__ import annotations

from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.completion.tally import N_LATENCIES, Tally, percentile
from slm_lsp.types import Completion, Origin


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(each) for each in range(1, 101)]
    assert [percentile(values, each) for each in (50, 95, 99, 100)] == [50.0, 95.0, 99.0, 100.0]
    assert percentile([7.0], 50) == 7.0
    assert percentile([], 50) is None


def test_only_the_last_requests_count_for_latency() -> None:
    tally = Tally()
    for ms in [1e6] * 5 + [10.0] * N_LATENCIES:
        tally.add(Outcome(Completion("x", 0, 0, Origin.LEXICAL)), ms)
    tally.add(Outcome(None, RejectReason.EMPTY), 10.0)
    summary = tally.summary()
    assert summary["latency_ms"] == {"p50": 10.0, "p95": 10.0, "p99": 10.0}
    assert summary["n_latencies"] == N_LATENCIES
    assert summary["origins"] == {"lexical": N_LATENCIES + 5}


def test_all_requests_but_those_given_up_are_in_the_histograms() -> None:
    tally = Tally()
    tally.add(Outcome(Completion("x", 0, 0, Origin.MODEL)), 100.0)
    for reason in RejectReason:
        tally.add(Outcome(None, reason), 1.0)
    assert (tally.answered_ms.n, tally.suggested_ms.n) == (len(RejectReason) - 1, 1)
