"""The picture of a result: does the score tell right from wrong?

Owns: the plot. matplotlib comes with the extra `bench` and is imported here alone.

Invariant: only the result's JSON is read, so that it can be drawn again.

Threads: the main thread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.confidence.figures import judged, roc
from slm_lsp.completion.bar import EDGES, HIGHEST, LOWEST, PRIOR, Evidence


def plot(result: Mapping[str, Any], path: Path) -> None:
    """Draw the ROC curves, and the share that is taken by score."""
    import matplotlib as mpl

    mpl.use("Agg")
    # Without it every run would write other ids into the file.
    mpl.rcParams["svg.hashsalt"] = "slm-lsp"
    from matplotlib import pyplot as plt

    chart, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    for name, situation in result["situations"].items():
        rows, found = judged(situation["rows"]), situation["summary"]
        points = roc(rows, "exact")
        label = f"{name}: AUC {found['auc_exact']}"
        left.plot([x for x, _ in points], [y for _, y in points], label=label)
        places = [place_of(each["from"]) for each in found["by_score"] if each["n"]]
        shares = [each["taken"] for each in found["by_score"] if each["n"]]
        right.plot(places, shares, "o-", markersize=3, label=name)
    left.plot([0, 1], [0, 1], color="grey", linewidth=0.5)
    left.set_xlabel("share of wrong lines that are shown")
    left.set_ylabel("share of exact lines that are shown")
    left.legend(fontsize=8)
    right.plot([place_of(None), *map(place_of, EDGES)], PRIOR, "k--", linewidth=1, label="prior")
    right.axvline(Evidence().bar(), color="tab:red", label="bar to begin with")
    right.axvspan(LOWEST, HIGHEST, color="tab:red", alpha=0.08, label="where it can be")
    right.set_xlabel("logarithm of the line's probability (from)")
    right.set_ylabel("share that is taken")
    right.legend(fontsize=8)
    chart.tight_layout()
    chart.savefig(path, metadata={"Date": None})
    plt.close(chart)


def place_of(edge: float | None) -> float:
    return 2 * EDGES[0] - EDGES[1] if edge is None or math.isinf(edge) else edge
