"""Plots of a result: when text is shown, policy against policy, and a session's timeline.

Owns: the pictures. matplotlib comes with the extra `bench` and is imported here alone.

Invariant: only the result's JSON is read, so that a plot can be drawn again.

Threads: the main thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMELINE_S = 30.0
MAX_MS = 1000.0


def plot(result: Mapping[str, Any], path: Path) -> None:
    """Draw both pictures: PATH, and PATH with `-timeline` before the suffix."""
    import matplotlib as mpl

    mpl.use("Agg")
    # Without it every run would write other ids into the file.
    mpl.rcParams["svg.hashsalt"] = "slm-lsp"
    _distribution(result, path)
    _timeline(result, path.with_name(f"{path.stem}-timeline{path.suffix}"))


def _distribution(result: Mapping[str, Any], path: Path) -> None:
    """The share of all keys after which text, or any answer, was there within a time."""
    from matplotlib import pyplot as plt

    chart, panels = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    titles = {"shown_ms": "text shown within", "answer_ms": "answered within"}
    for panel, (field, title) in zip(panels, titles.items(), strict=True):
        for name, policy in result["policies"].items():
            records = [r for session in policy["sessions"] for r in session["records"]]
            times = sorted(r[field] for r in records if r[field] is not None)
            shares = [(i + 1) / len(records) for i in range(len(times))]
            panel.plot(
                [0.0, *times, MAX_MS * 4],
                [0.0, *shares, (shares or [0.0])[-1]],
                drawstyle="steps-post",
                label=name,
            )
        panel.axvline(result["budget_ms"], color="tab:red", linestyle="--", label="budget")
        panel.set_title(f"{result['model']}: {title}", fontsize=9)
        panel.set_xlabel("ms after the key")
        panel.set_xlim(0, MAX_MS)
        panel.set_ylim(0, 1)
    panels[0].set_ylabel("share of keys")
    panels[1].legend(fontsize=8)
    chart.tight_layout()
    chart.savefig(path, metadata={"Date": None})
    plt.close(chart)


def _timeline(result: Mapping[str, Any], path: Path) -> None:
    """The beginning of the first session: each key, and when its answer came."""
    from matplotlib import pyplot as plt

    policies = result["policies"]
    chart, panels = plt.subplots(
        len(policies), 1, figsize=(9, 1.6 * len(policies) + 0.6), sharex=True, squeeze=False
    )
    for panel, (name, policy) in zip(panels[:, 0], policies.items(), strict=True):
        records = policy["sessions"][0]["records"] if policy["sessions"] else []
        for record in records:
            at_s = record["at_ms"] / 1e3
            if at_s > TIMELINE_S:
                break
            panel.plot([at_s], [0], "|", color="black", markersize=5)
            shown = record["shown_ms"] is not None
            ms = record["shown_ms"] if shown else record["answer_ms"]
            if ms is not None:
                color = "tab:green" if shown else "tab:gray"
                panel.vlines(at_s, 0, ms, color=color, linewidth=1)
            if record["kind"] == "accept":
                panel.plot([at_s], [0], "^", color="tab:blue", markersize=5)
        panel.axhline(result["budget_ms"], color="tab:red", linestyle="--", linewidth=0.8)
        panel.set_ylim(0, MAX_MS)
        panel.set_title(f"{name}: green text, grey none, blue accepted", fontsize=8)
        panel.set_ylabel("ms")
    panels[-1, 0].set_xlabel("s of session 0")
    chart.tight_layout()
    chart.savefig(path, metadata={"Date": None})
    plt.close(chart)
