"""`python -m benchmarks.micro`: startup, the server's own work, Python's share of a token.

Run it with nothing else running. Prints a table and writes the figures of every run, and
a plot beside them, with --json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.micro import own_work, per_token, startup
from slm_lsp import __version__

# What the project promises; see docs/architecture.md.
TARGETS = {
    "initialize_ms": ("median", 400.0),
    "own_work_ms": ("p99", 5.0),
    "loop_held_ms": ("p99", 2.0),
    "own_work_indexed_ms": ("p99", 5.0),
    "python_per_token_ms": ("median", 0.3),
}


def figures(samples: list[float]) -> dict[str, Any]:
    """Median, tails and all samples."""
    ordered = sorted(samples)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return {
        "n": len(ordered),
        "median": round(statistics.median(ordered), 4),
        "p95": round(at(0.95), 4),
        "p99": round(at(0.99), 4),
        "max": round(ordered[-1], 4),
        "samples": [round(sample, 4) for sample in samples],
    }


def plot(results: dict[str, dict[str, Any]], path: Path) -> None:
    """One distribution a panel, with its target."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    chart, panels = plt.subplots(1, len(TARGETS), figsize=(4 * len(TARGETS), 3.2))
    for panel, (name, (which, limit)) in zip(panels, TARGETS.items(), strict=True):
        samples = sorted(results[name]["samples"])
        shares = [(i + 1) / len(samples) for i in range(len(samples))]
        panel.plot(samples, shares, drawstyle="steps-post")
        panel.axvline(limit, color="tab:red", linestyle="--", label=f"target ({which})")
        panel.set_title(f"{name}: {which} {results[name][which]:.3g}", fontsize=9)
        panel.set_xlabel("ms")
        panel.set_ylim(0, 1.02)
        panel.set_xlim(left=0)
        panel.legend(fontsize=7)
    panels[0].set_ylabel("share of runs")
    chart.tight_layout()
    chart.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="server starts and decode runs")
    parser.add_argument("--requests", type=int, default=1000, help="requests on the large file")
    parser.add_argument("--files", type=int, default=20_000, help="of the indexed workspace")
    parser.add_argument("--json", type=Path, help="write the result here, and a plot as .svg")
    options = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    ours_ms, bare_ms = startup.measure(options.runs)
    results["initialize_ms"] = figures(ours_ms)
    results["initialize_bare_pygls_ms"] = figures(bare_ms)
    alone = own_work.measure(options.requests)
    results["own_work_ms"] = figures(alone.total_ms)
    results["loop_held_ms"] = figures(alone.loop_ms)
    indexed = own_work.measure_indexed(options.requests, options.files)
    results["own_work_indexed_ms"] = figures(indexed.total_ms)
    handed = asyncio.run(own_work.hand_over(max(2, options.requests // 10)))
    results["hand_over_ms"] = figures(list(handed))
    shares = {"alone": own_work.shares(alone), "indexed": own_work.shares(indexed)}
    python_ms, native_ms = per_token.measure(options.runs)
    results["python_per_token_ms"] = figures(python_ms)
    results["native_per_token_ms"] = figures(native_ms)
    for name, row in results.items():
        which, limit = TARGETS.get(name, ("", 0.0))
        target = f"   target: {which} <= {limit:g}" if which else ""
        print(f"{name:26} median {row['median']:9.3f}  p99 {row['p99']:9.3f}{target}")
    for where, parts in shares.items():
        print(f"a line, {where}: " + ", ".join(f"{name} {ms}" for name, ms in parts.items()))
    if options.json:
        document = {
            "benchmark": "micro",
            "slm_lsp": __version__,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "results": results,
            "shares_ms": shares,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        plot(results, options.json.with_suffix(".svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
