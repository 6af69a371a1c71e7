"""What records of a load test say: times and shares by the number of developers, and a picture.

Owns: the figures of one step, the table, and the plot.

Invariant: only records or the result's JSON are read. Requests that the next key took back are in
no share and no quantile: nobody saw whether they were in time. Their number is told.

Threads: the main thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.latency.quantiles import share, spread
from benchmarks.load.developer import Record

Result = Mapping[str, Any]


def figures(n_developers: int, records: Sequence[Record], seconds: float) -> dict[str, Any]:
    """One step of the test. A late answer's time is the budget's, as the text was cut there."""
    judged = [r for r in records if r.outcome in ("answered", "late")]
    failed = Counter(r.outcome for r in records if r.outcome.startswith("failed"))
    n_kept = len(judged) + sum(failed.values())
    return {
        "developers": n_developers,
        "requests": len(records),
        "requests_per_s": round(len(records) / seconds, 1),
        "taken_back": sum(r.outcome == "taken back" for r in records),
        "answered_share": share(sum(r.outcome == "answered" for r in judged), n_kept),
        "with_text_share": share(sum(r.n_chars > 0 for r in judged), n_kept),
        "first_ms": spread([r.first_ms for r in judged if r.first_ms is not None]),
        "total_ms": spread([r.total_ms for r in judged if r.total_ms is not None]),
        "failed": dict(failed.most_common(5)),
    }


def table(steps: Iterable[Mapping[str, Any]]) -> str:
    """The steps for people."""
    lines = [
        "developers  requests/s  answered  with text  first token p50/p95  answer p50/p95, ms",
    ]
    for step in steps:
        first, total = step["first_ms"], step["total_ms"]
        lines.append(
            f"{step['developers']:10}  {step['requests_per_s']:10}  "
            f"{_percent(step['answered_share']):>8}  {_percent(step['with_text_share']):>9}  "
            f"{_ms(first):>19}  {_ms(total):>14}"
        )
        lines += [f"            {n} x {said}" for said, n in step["failed"].items()]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.0f} %"


def _ms(times: Mapping[str, float | None]) -> str:
    return " / ".join("–" if times[q] is None else f"{times[q]:.0f}" for q in ("p50", "p95"))


def plot(result: Result, path: Path) -> None:
    """Latency and the share answered in time, against the number of developers."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "slm-lsp"
    from matplotlib import pyplot as plt

    steps = result["steps"]
    numbers = [step["developers"] for step in steps]
    chart, (times, shares) = plt.subplots(1, 2, figsize=(9, 3.2))
    for field, label in (("first_ms", "first token"), ("total_ms", "whole answer")):
        for quantile, style in (("p50", "-"), ("p95", "--")):
            values = [step[field][quantile] for step in steps]
            drawn = [(n, v) for n, v in zip(numbers, values, strict=True) if v is not None]
            times.plot(*zip(*drawn, strict=True), style, marker="o", label=f"{label}, {quantile}")
    times.axhline(result["budget_ms"], color="tab:red", linestyle=":", label="budget")
    times.set_ylabel("ms after the key")
    for field, label in (("answered_share", "complete in time"), ("with_text_share", "any text")):
        values = [(step[field] or 0.0) * 100 for step in steps]
        shares.plot(numbers, values, marker="o", label=label)
    shares.set_ylabel("% of requests that were waited for")
    shares.set_ylim(0, 100)
    for panel in (times, shares):
        panel.set_xlabel("developers")
        panel.legend(fontsize=7)
    chart.suptitle(f"{result['model']} ({result['api']})", fontsize=9)
    chart.tight_layout()
    chart.savefig(path, metadata={"Date": None})
    plt.close(chart)
