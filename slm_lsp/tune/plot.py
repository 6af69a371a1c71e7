"""The plot of `slm-lsp tune`: the line while typing, and what longer cold prompts take.

Owns: the only use of matplotlib, which comes with the extra `bench`.

Invariant: nothing is shown or imported unless a plot was asked for.

Threads: the main thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slm_lsp.tune.cost import cold_ms, speed_of
from slm_lsp.tune.recommend import RESERVE_MS, Limits, Verdict

KEPT, MISSED = "#2a6fbb", "#c0504d"


class PlotError(Exception):
    """There is no plot; the message says why."""


def save_plot(verdicts: Sequence[Verdict], limits: Limits, invoked_ms: float, path: Path) -> None:
    """Write the plot as the file's ending says, SVG by default. Raises PlotError."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise PlotError(
            "a plot needs matplotlib: `pip install 'slm-lsp[bench]'`; the table has all its figures"
        ) from error
    height = 1.6 + 0.32 * len(verdicts)
    figure, (bars, curves) = plt.subplots(1, 2, figsize=(11, max(3.4, height)))
    try:
        _bars(bars, verdicts, limits)
        _curves(curves, verdicts, limits, invoked_ms)
        figure.tight_layout()
        figure.savefig(path, format=path.suffix.lstrip(".") or "svg", metadata=_undated(path))
    except (OSError, ValueError) as error:
        raise PlotError(f"{path}: cannot be written: {error}") from error
    finally:
        plt.close(figure)


def _undated(path: Path) -> dict[str, None] | None:
    return {"Date": None} if path.suffix in (".svg", "") else None


def _bars(axes: Any, verdicts: Sequence[Verdict], limits: Limits) -> None:
    for i, each in enumerate(verdicts):
        color = KEPT if each.keeps else MISSED
        hatch = "//" if each.candidate.is_estimate else ""
        bar = axes.barh(i, each.warm_ms + RESERVE_MS, color=color, hatch=hatch, alpha=0.85)
        axes.bar_label(bar, fmt=" %.0f", fontsize=7)
    axes.axvline(limits.budget_ms, color="black", linewidth=1, linestyle="--")
    axes.set_yticks(range(len(verdicts)), [each.candidate.label for each in verdicts], fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.set_xlabel("ms, log scale; hatched: estimate; red: does not keep the budget")
    axes.set_title(f"a line while typing; dashed: {limits.budget_ms:g} ms", fontsize=9)


def _curves(axes: Any, verdicts: Sequence[Verdict], limits: Limits, invoked_ms: float) -> None:
    sizes = range(0, limits.prompt_tokens + 1, max(1, limits.prompt_tokens // 64))
    for each in verdicts:
        measured, choice = each.candidate.measured, each.choice
        if measured is None:
            continue
        speed = speed_of(measured, choice.threads, choice.batch_threads)
        style = "--" if each.candidate.is_estimate else "-"
        times = [cold_ms(speed, size) + RESERVE_MS for size in sizes]
        axes.plot(sizes, times, style, label=each.candidate.label, linewidth=1.2)
    for ms in (limits.budget_ms, invoked_ms):
        axes.axhline(ms, color="black", linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.set_xlabel("tokens of a prompt of which nothing was read")
    axes.set_ylabel("ms, log scale")
    title = f"cold prompt and a line; dotted: {limits.budget_ms:g} and {invoked_ms:g} ms"
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=6)
