"""The table that `slm-lsp tune` prints.

Owns: its columns, their order, and the only use of rich for tables.

Invariant: names from files are shown as text, never read as markup; estimates carry a `~`. What
says whether a model is of use is shown on the narrowest terminal.

Threads: any.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from slm_lsp.tune.measurement import Measurement
from slm_lsp.tune.recommend import Limits, Verdict

# Where the output is no terminal, lines are not cut to fit one.
PLAIN_WIDTH = 200
# The most important first: a narrow terminal shows fewer.
COLUMNS = ("line", "cold", "reads/s", "writes/s", "threads", "prompt", "memory", "file")
GAP = 2


def print_table(
    verdicts: Sequence[Verdict], best: Verdict | None, limits: Limits, stream: TextIO
) -> None:
    """One row a candidate that has figures."""
    titles = ("model", f"{limits.budget_ms:g} ms", *COLUMNS)
    rows = [row(each, is_best=each is best) for each in verdicts]
    is_terminal = stream.isatty()
    width = shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns if is_terminal else PLAIN_WIDTH
    n_columns = columns_within(width, [list(titles), *rows])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for i, title in enumerate(titles[:n_columns]):
        table.add_column(title, justify="left" if i < 2 else "right", no_wrap=True)
    for verdict, cells in zip(verdicts, rows, strict=True):
        style = "dim" if verdict.candidate.is_estimate else None
        table.add_row(*map(Text, cells[:n_columns]), style=style)
    console = Console(file=stream, width=width, force_terminal=is_terminal, highlight=False)
    console.print(table)


def print_threads(measured: Measurement, label: str, stream: TextIO) -> None:
    """What each number of threads reads and writes in a second, of one candidate."""
    sizes = sorted({size for steps in measured.step_ms.values() for size in steps})
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("threads", justify="right")
    table.add_column("writes/s", justify="right")
    for size in sizes:
        table.add_column(f"reads/s by {size}", justify="right")
    for count in sorted(measured.write_ms.keys() | measured.step_ms.keys()):
        steps = measured.step_ms.get(count, {})
        rates = [1e3 * size / steps[size] if size in steps else None for size in sizes]
        write_ms = measured.write_ms.get(count)
        cells = [1e3 / write_ms if write_ms else None, *rates]
        table.add_row(str(count), *(f"{rate:.0f}" if rate is not None else "" for rate in cells))
    console = Console(file=stream, width=PLAIN_WIDTH, highlight=False, no_color=True)
    console.print(Text(f"{label}, tokens a second by threads:"))
    console.print(table)


def columns_within(width: int, rows: Sequence[Sequence[str]]) -> int:
    """How many of the columns fit; the first four are shown in any case."""
    used = 0
    for i, column in enumerate(zip(*rows, strict=True)):
        used += max(len(cell) for cell in column) + GAP
        if used > width + GAP and i >= 4:
            return i
    return len(rows[0])


def row(verdict: Verdict, *, is_best: bool = False) -> list[str]:
    """The cells of one row, as text."""
    candidate, choice = verdict.candidate, verdict.choice
    about = "~" if candidate.is_estimate else ""
    return [
        f"{'*' if is_best else about or ' '} {candidate.label}",
        f"{about}kept" if verdict.keeps else f"{about}no: {verdict.misses}",
        f"{about}{verdict.warm_ms:.0f} ms",
        f"{about}{verdict.cold_prompt_tokens}",
        f"{about}{verdict.reads_per_s:.0f}",
        f"{about}{verdict.writes_per_s:.0f}",
        f"{choice.threads}, {choice.batch_threads}",
        str(choice.prompt_tokens),
        f"{about}{_size(verdict.memory_bytes)}",
        _size(candidate.file_bytes),
    ]


def _size(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"
