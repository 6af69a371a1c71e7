"""Rows of an unfinished run, kept on the disk as they come.

Owns: the partial file, one JSON object a line: first what the run is, then its rows.

Invariant: a row that was added is there after any stop; a line that was cut off counts as not
written. Rows of different runs never mix: a partial file of another run is refused.

Threads: the caller's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class OtherRun(Exception):
    """The partial file belongs to a run with another model, suite or mode."""


class Journal:
    """Rows by situation and problem; without a path they are only kept in memory."""

    def __init__(self, path: Path | None, run: Row) -> None:
        """Go on with `path` if it holds rows of `run`. Raises OtherRun."""
        self.path = path
        self._rows: dict[tuple[str, str], Row] = {}
        if path is None:
            return
        found, rows = read_rows(path)
        if found is not None and found != run:
            raise OtherRun(f"{path} holds rows of {found}; remove it to start afresh")
        self._rows = {(row["situation"], row["name"]): row for row in rows}
        # Written anew, so that what follows does not stand behind a line that was cut off.
        whole = "".join(json.dumps(each) + "\n" for each in (run, *rows))
        beside = path.with_name(path.name + ".new")
        beside.write_text(whole, encoding="utf-8")
        beside.replace(path)

    def row(self, situation: str, name: str) -> Row | None:
        """The row of a problem that has been answered already."""
        return self._rows.get((situation, name))

    def add(self, situation: str, row: Row) -> None:
        """Keep a row."""
        row = {"situation": situation, **row}
        self._rows[situation, row["name"]] = row
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def remove(self) -> None:
        """Remove the file: the run is finished and its result written."""
        if self.path is not None:
            self.path.unlink()


def read_rows(path: Path) -> tuple[Row | None, list[Row]]:
    """What run a partial file is of, if it says so yet, and its whole rows."""
    if not path.exists():
        return None, []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    head, *rows = map(json.loads, lines) if lines else (None,)
    return head, rows
