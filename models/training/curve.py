"""`python -m models.training.curve`: loss and exact lines over tokens, from a run's log.

Owns: the plot of a run. Every evaluation in the log is a point; nothing is smoothed but the
training loss, which is a running median.

Threads: the main one.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

MEDIAN_STEPS = 25


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; of steps done twice after a crash, the later ones."""
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if "recipe" in row:
            rows = [old for old in rows if old["n_seen"] <= row["n_seen"]]
        rows.append(row)
    return rows


def running_median(values: list[float]) -> list[float]:
    """The median of each value and those before it."""
    return [median(values[max(0, i - MEDIAN_STEPS + 1) : i + 1]) for i in range(len(values))]


def plot(rows: list[dict[str, Any]], out: Path) -> None:
    """Write the figure."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6))
    steps = [row for row in rows if "loss" in row]
    left.plot(
        [row["n_seen"] / 1e6 for row in steps],
        running_median([row["loss"] for row in steps]),
        label=f"training, weighted (median of {MEDIAN_STEPS} steps)",
        linewidth=0.8,
    )
    for name, colour in (("lines", "tab:green"), ("valid", "tab:red")):
        scored = [row for row in rows if row.get("evaluation") == name]
        seen = [row["n_seen"] / 1e6 for row in scored]
        left.plot(
            seen, [row["middle_loss"] for row in scored], "o-", c=colour, label=f"{name}: middle"
        )
        left.plot(
            seen, [row["other_loss"] for row in scored], ".--", c=colour, label=f"{name}: rest"
        )
        n = scored[0]["n_samples"] if scored else 0
        for key, style in (("exact", "o-"), ("ended", "x:")):
            percent = [100 * row[key] / row["n_samples"] for row in scored]
            right.plot(seen, percent, style, c=colour, label=f"{name}: {key} (n = {n})")
    left.set(xlabel="million tokens seen", ylabel="loss, nats a token")
    right.set(xlabel="million tokens seen", ylabel="% of held-out samples", ylim=(0, 100))
    for axes in (left, right):
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(out)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.training.curve", description=__doc__)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="SVG or PNG")
    options = parser.parse_args(arguments)
    plot(read_log(options.log), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
