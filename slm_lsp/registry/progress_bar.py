"""Showing a pull's progress: bars on a terminal, a few plain lines anywhere else.

Owns: the only use of rich for progress, and the wording of the stages.

Invariant: writes to stderr (or the stream it was given) and never to stdout, which may
carry a protocol.

Threads: the caller's; rich redraws from a thread of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from slm_lsp.registry.steps import PullProgress, Stage

_PLAIN_STEP_PERCENT = 25


@contextmanager
def show_progress(stream: TextIO | None = None) -> Iterator[Callable[[PullProgress], None]]:
    """Give a callback for `pull` that draws on `stream` (stderr by default)."""
    stream = sys.stderr if stream is None else stream
    console = Console(file=stream)
    # Not `console.is_terminal`: that is also true of a log file where FORCE_COLOR is set.
    if not stream.isatty() or console.is_dumb_terminal:
        yield PlainLines(stream)
        return
    columns = (TextColumn("{task.description:<10}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console) as bars:
        yield Bars(bars)


class Bars:
    """One bar a stage, kept on the screen when the stage is over."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[Stage, TaskID] = {}

    def __call__(self, progress: PullProgress) -> None:
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._bars.add_task(progress.stage)
        self._bars.update(
            self._tasks[progress.stage],
            completed=progress.done_bytes,
            total=progress.total_bytes or None,
        )


class PlainLines:
    """A line when a stage starts and one at each further quarter, for logs and editors."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._stage: Stage | None = None
        self._shown_percent = 0

    def __call__(self, progress: PullProgress) -> None:
        if progress.stage != self._stage:
            self._stage, self._shown_percent = progress.stage, 0
            size = (
                f"{progress.total_bytes / 1e6:.0f} MB" if progress.total_bytes else "size unknown"
            )
            self._line(f"{progress.stage}: {size}")
        known = progress.total_bytes
        percent = 100 * progress.done_bytes // known if known else 0
        reached = percent - percent % _PLAIN_STEP_PERCENT
        if reached > self._shown_percent:
            self._shown_percent = reached
            self._line(f"{progress.stage}: {reached} %")

    def _line(self, text: str) -> None:
        print(text, file=self._stream, flush=True)
