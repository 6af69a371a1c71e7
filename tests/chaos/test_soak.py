"""A short soak: servers that are restarted, edits, requests that are taken back; nothing fails.

Invariant: nothing is asserted of time or memory, which `python -m benchmarks.soak` measures; files
and threads are counted.
Threads: the event loop; servers and daemon are processes.
"""

from __future__ import annotations

import pytest

from benchmarks.soak import __main__ as subject
from benchmarks.soak.figures import KINDS, slope, tenths, verdict

N_REQUESTS = 300
# A pipe or a connection may be open for a moment when they are counted.
MAX_MORE = 4


@pytest.mark.e2e
async def test_a_short_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "RESTART_EVERY", 50)
    monkeypatch.setattr(subject, "N_SAMPLES", 10)
    result = await subject.soak(N_REQUESTS, 3)
    assert result["n_requests"] >= N_REQUESTS
    assert result["n_failed"] == 0
    assert result["n_restarts"] >= 1
    assert result["n_with_text"] > 0
    assert 0 < result["n_cancelled"] < N_REQUESTS
    samples = result["samples"]
    for kind in KINDS:
        if kind.endswith(("fds", "threads")):
            # The first is taken while the model loads.
            assert samples[-1][kind] <= samples[1][kind] + MAX_MORE, (kind, samples)


def test_what_grows_is_seen() -> None:
    flat = [{"n_requests": n, **dict.fromkeys(KINDS, 50.0)} for n in range(0, 100_000, 1000)]
    grows = [{**each, "server_fds": 50.0 + each["n_requests"] / 1e4} for each in flat]
    assert slope(flat, "server_fds")["per_100k"] == 0.0
    assert slope(grows, "server_fds")["per_100k"] == 10.0
    assert slope(flat[:1], "server_fds")["per_100k"] is None


def test_the_last_tenth_is_held_against_the_first() -> None:
    times = [(n, 10.0 if n < 900 else 30.0) for n in range(1000)]
    parts = tenths(times)
    assert [part["p50"] for part in parts] == [10.0] * 9 + [30.0]
    samples = [{"n_requests": n, **dict.fromkeys(KINDS, 1.0)} for n in range(10)]
    assert verdict({"tenths": parts, "samples": samples})["p99_last_to_first"] == 3.0
