"""Progress of `slm-lsp tune`: a bar on a terminal, a line for each model elsewhere.

Owns: how it is drawn.

Invariant: writes to the stream it was given only, and never a line twice.

Threads: the caller's; rich redraws from a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def show_progress(stream: TextIO) -> Iterator[Callable[[str, float], None]]:
    """Give a callback that takes what is being done, and how much of all is."""
    console = Console(file=stream)
    # Not `console.is_terminal`: that is also true of a log file where FORCE_COLOR is set.
    if not stream.isatty() or console.is_dumb_terminal:
        yield plain_lines(stream)
        return
    columns = (BarColumn(24), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("", total=1.0)
        yield lambda text, done: bars.update(task, description=escape(text), completed=done)


def plain_lines(stream: TextIO) -> Callable[[str, float], None]:
    """A line when the next model is begun; what is done with it is left out."""
    shown: set[str] = set()

    def report(text: str, done: float) -> None:
        name = text.rpartition(": ")[0]
        if name not in shown:
            shown.add(name)
            print(f"tune: {name}", file=stream, flush=True)

    return report
