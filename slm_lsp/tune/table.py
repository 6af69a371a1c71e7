"""The table that `slm-lsp tune` prints.

Owns: its columns, and the only use of rich for tables.

Invariant: names from files are shown as text, never read as markup; estimates carry a `~`.

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

from slm_lsp.tune.recommend import Limits, Verdict

# Where the output is no terminal, lines are not cut to fit one.
PLAIN_WIDTH = 120


def print_table(
    verdicts: Sequence[Verdict], best: Verdict | None, limits: Limits, stream: TextIO
) -> None:
    """One row a candidate that has figures."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for title in ("file", "memory", "reads/s", "writes/s", "threads", "prompt", "line", "cold"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(f"{limits.budget_ms:g} ms")
    for each in verdicts:
        cells = [Text(cell) for cell in row(each, is_best=each is best)]
        table.add_row(*cells, style="dim" if each.candidate.is_estimate else None)
    is_terminal = stream.isatty()
    width = shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns if is_terminal else PLAIN_WIDTH
    console = Console(file=stream, width=width, force_terminal=is_terminal, highlight=False)
    console.print(table)


def row(verdict: Verdict, *, is_best: bool = False) -> list[str]:
    """The cells of one row, as text."""
    candidate, choice = verdict.candidate, verdict.choice
    about = "~" if candidate.is_estimate else ""
    mark = "* " if is_best else "  "
    return [
        f"{mark}{candidate.label}{' (not here)' if candidate.is_estimate else ''}",
        _size(candidate.file_bytes),
        f"{about}{_size(verdict.memory_bytes)}",
        f"{about}{verdict.reads_per_s:.0f}",
        f"{about}{verdict.writes_per_s:.0f}",
        f"{choice.threads}, {choice.batch_threads}",
        str(choice.prompt_tokens),
        f"{about}{verdict.warm_ms:.0f} ms",
        f"{about}{verdict.cold_prompt_tokens}",
        f"{about}kept" if verdict.keeps else f"{about}no: {verdict.misses}",
    ]


def _size(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"
