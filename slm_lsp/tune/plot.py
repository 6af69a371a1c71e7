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
    figure, (lines, curves) = plt.subplots(1, 2, figsize=(12, max(3.4, height)))
    try:
        _lines(lines, verdicts, limits)
        _curves(curves, verdicts, limits, invoked_ms)
        figure.tight_layout()
        figure.savefig(path, format=path.suffix.lstrip(".") or "svg", metadata=_undated(path))
    except (OSError, ValueError) as error:
        raise PlotError(f"{path}: cannot be written: {error}") from error
    finally:
        plt.close(figure)


def _undated(path: Path) -> dict[str, None] | None:
    return {"Date": None} if path.suffix in (".svg", "") else None


def _lines(axes: Any, verdicts: Sequence[Verdict], limits: Limits) -> None:
    for i, each in enumerate(verdicts):
        color = KEPT if each.keeps else MISSED
        filled = "none" if each.candidate.is_estimate else color
        took_ms = each.warm_ms + RESERVE_MS
        axes.plot(took_ms, i, "o", color=color, markerfacecolor=filled, markersize=7)
        axes.annotate(f"{took_ms:.0f}", (took_ms, i), (8, -3), textcoords="offset points", size=7)
    axes.axvline(limits.budget_ms, color="black", linewidth=1, linestyle=":")
    axes.set_yticks(range(len(verdicts)), [each.candidate.label for each in verdicts], fontsize=7)
    axes.invert_yaxis()
    _log(axes.xaxis, axes.set_xscale)
    axes.margins(x=0.15)
    axes.grid(axis="y", linewidth=0.3)
    axes.set_xlabel("ms, log scale; hollow: estimate; red: budget not kept")
    axes.set_title(f"a line while typing; dotted: {limits.budget_ms:g} ms", fontsize=9)


def _log(axis: Any, set_scale: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    set_scale("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


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
    _log(axes.yaxis, axes.set_yscale)
    axes.set_xlabel("tokens of a prompt of which nothing was read")
    axes.set_ylabel("ms, log scale")
    title = f"cold prompt and a line; dotted: {limits.budget_ms:g} and {invoked_ms:g} ms"
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
