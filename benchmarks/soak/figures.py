"""What a soak's samples say: whether anything grows, and whether answers become slower.

Owns: the slopes, the comparison of the first and the last tenth, and the plot.

Invariant: pure but for the plot's file. The first fifth, in which caches fill, is in no slope.

Threads: the main thread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.latency.quantiles import quantile, rounded

FILLING_SHARE = 0.2
OF_SERVERS = ("server_rss_mb", "server_fds", "server_threads")
KINDS = (*OF_SERVERS, "daemon_rss_mb", "daemon_fds", "daemon_threads")

Sample = Mapping[str, float]


def slope(samples: Sequence[Sample], kind: str) -> dict[str, float | None]:
    """Growth per 100,000 requests by least squares, and its standard error, which believes that
    samples are independent and so is rather small; and the whole range."""
    last = samples[-1]["n_requests"] if samples else 0
    settled = [s for s in samples if s["n_requests"] >= FILLING_SHARE * last]
    xs, ys = [s["n_requests"] / 1e5 for s in settled], [s[kind] for s in settled]
    n = len(xs)
    if n < 3:
        return {"per_100k": None, "standard_error": None, "first": None, "last": None}
    mean_x, mean_y = sum(xs) / n, sum(ys) / n
    spread = sum((x - mean_x) ** 2 for x in xs)
    grows = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
    left = sum((y - mean_y - grows * (x - mean_x)) ** 2 for x, y in zip(xs, ys, strict=True))
    return {
        "per_100k": rounded(grows, 3),
        "standard_error": rounded(math.sqrt(left / (n - 2) / spread), 3),
        "first": rounded(ys[0], 1),
        "last": rounded(ys[-1], 1),
    }


def tenths(times: Sequence[tuple[int, float]]) -> list[dict[str, float | None]]:
    """Latency of each tenth of the requests that were waited for, in milliseconds."""
    size = max(1, len(times) // 10)
    parts = [[ms for _, ms in times[i * size : (i + 1) * size]] for i in range(10)]
    return [
        {"p50": rounded(quantile(part, 0.5)), "p99": rounded(quantile(part, 0.99))}
        for part in parts
        if part
    ]


def verdict(result: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked of a soak: p99 of the last tenth against the first, and each slope."""
    parts = result["tenths"]
    first, last = (parts[i]["p99"] if len(parts) == 10 else None for i in (0, -1))
    return {
        "p99_last_to_first": rounded(last / first, 3) if first and last else None,
        "slopes": {kind: slope(result["samples"], kind) for kind in KINDS},
    }


def plot(result: Mapping[str, Any], path: Path) -> None:
    """Memory, files and threads, and latency, against the number of requests."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "slm-lsp"
    from matplotlib import pyplot as plt

    samples = result["samples"]
    xs = [s["n_requests"] / 1e3 for s in samples]
    chart, (memory, counts, latency) = plt.subplots(1, 3, figsize=(12, 3.2))
    memory.plot(xs, [s["server_rss_mb"] for s in samples], label="a server that is not restarted")
    memory.plot(xs, [s["daemon_rss_mb"] for s in samples], label="daemon")
    memory.set_ylabel("resident memory, MB")
    memory.set_ylim(bottom=0)
    for kind in ("server_fds", "daemon_fds", "server_threads", "daemon_threads"):
        counts.plot(xs, [s[kind] for s in samples], label=kind.replace("_", " "))
    counts.set_ylabel("number")
    counts.set_ylim(bottom=0)
    numbers = range(1, len(result["tenths"]) + 1)
    for name in ("p50", "p99"):
        latency.plot(numbers, [part[name] for part in result["tenths"]], marker="o", label=name)
    latency.set_ylabel("request to answer, ms")
    latency.set_xlabel("tenth of the run")
    latency.set_ylim(bottom=0)
    for panel in (memory, counts):
        panel.set_xlabel("thousand requests")
    for panel in (memory, counts, latency):
        panel.legend(fontsize=7)
    chart.tight_layout()
    chart.savefig(path, metadata={"Date": None})
    plt.close(chart)
