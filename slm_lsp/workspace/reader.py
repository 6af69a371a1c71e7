"""Questions to the index of one workspace folder, answered from the disk.

Owns: one connection that only reads, and is opened anew where the file was replaced.

Invariant: never raises, never waits: where there is no index, or it is broken or locked, there
are no answers. Every question looks at a bounded number of rows, and rows come in a fixed order.

Threads: the completer's worker.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slm_lsp.workspace.store import has_words, open_to_read

log = logging.getLogger(__name__)

# A word of more files tells nothing of a place.
MAX_FILES_A_WORD = 300
MAX_FILES_CALLED = 200
# Virtual instructions of SQLite between two looks at `stop`: some 50 µs.
_STEPS = 2000


@dataclass(frozen=True, slots=True)
class Defined:
    """A line that defines something. `version` changes with the file."""

    path: str
    line: int
    language: str
    version: int


@dataclass(frozen=True, slots=True)
class Indexed:
    """A file of the index, and how well it fits."""

    path: str
    language: str
    version: int
    score: float = 0.0


class IndexReader:
    """See the module. Without a path there are no answers. `generation` changes when they may
    have."""

    def __init__(self, path: Path | None, stop: Callable[[], bool] = lambda: False) -> None:
        self.path = path
        self.generation = 0
        self.broken = False
        self.n_queries = 0
        self.stop = stop
        self._connection: sqlite3.Connection | None = None
        self._inode = (0, 0)
        self._data_version = -1
        self._has_words = False
        self._n_files = 1

    def refresh(self) -> bool:
        """Take notice of what was written since; tell whether there is an index."""
        try:
            status = os.stat(self.path or "")
        except OSError:
            self.close()
            return False
        inode = (status.st_dev, status.st_ino)
        if self._connection is None or inode != self._inode:
            self.close()
            self._inode = inode
            self._open()
        if self._connection is None:
            return False
        version = self._one("pragma data_version")
        if version is not None and version != self._data_version:
            self._data_version = version
            self._n_files = max(1, self._one("select count(*) from files") or 1)
            self.generation += 1
        return self._connection is not None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self.generation += 1

    def defining(self, name: str, limit: int) -> list[Defined]:
        """Where a name is defined: at most `limit` places."""
        # Files that are gone leave their definitions, so there may be more rows than places.
        rows = self._rows(
            "select path, line, language, mtime_ns from definitions join files on file = id"
            " where name = ? limit ?",
            (name, limit),
        )
        return sorted(
            (Defined(path, line, language, version) for path, line, language, version in rows),
            key=lambda each: (each.path, each.line),
        )

    def defining_in(self, name: str, paths: Iterable[str], limit: int) -> list[Defined]:
        """Where these files define a name."""
        wanted = list(paths)
        marks = ",".join("?" * len(wanted))
        rows = self._rows(
            "select path, line, language, mtime_ns from files join definitions on file = id"
            f" where path in ({marks}) and name = ? order by path, line limit ?",
            (*wanted, name, limit),
        )
        return [Defined(path, line, language, version) for path, line, language, version in rows]

    def at(self, stems: Iterable[str]) -> list[str]:
        """Files that are called so but for their suffix, in the order of the stems."""
        wanted = [stem.rpartition("/")[::2] for stem in dict.fromkeys(stems)]
        if not wanted:
            return []
        either = " or ".join(["folder = ? and stem = ?"] * len(wanted))
        values = [part for pair in wanted for part in pair]
        rows = self._rows(f"select folder, stem, path from files where {either}", values)
        rank = {pair: n for n, pair in enumerate(wanted)}
        found = sorted((rank[folder, stem], path) for folder, stem, path in rows)
        return [path for _, path in found]

    def ending(self, ending: str) -> list[str]:
        """Files whose path but for its suffix ends with these parts, the shortest first."""
        stem = ending.rpartition("/")[2]
        rows = self._rows(
            "select path, folder from files where stem = ? limit ?", (stem, MAX_FILES_CALLED)
        )
        found = [path for path, folder in rows if f"/{folder}/{stem}".endswith(f"/{ending}")]
        return sorted(found, key=lambda path: (len(path), path))

    def in_folder(self, folder: str, limit: int) -> list[str]:
        """Files of a folder itself."""
        rows = self._rows(
            "select path from files where folder = ? order by path limit ?", (folder, limit)
        )
        return [path for (path,) in rows]

    def like(self, words: Iterable[str], limit: int) -> list[Indexed]:
        """The files that share most of what is rare among the words, the best first.

        As BM25 has it where a word counts once a file. None once `stop` is true.
        """
        if not self._has_words:
            return []
        scores: dict[int, float] = {}
        for word in words:
            if self.stop():
                return []  # what waits for us should not wait for the ranking of half of it
            rows = self._rows(
                "select rowid from words where words match ? limit ?",
                (f'"{word}"', MAX_FILES_A_WORD + 1),
            )
            if 0 < len(rows) <= MAX_FILES_A_WORD:
                weight = math.log(1 + self._n_files / len(rows))
                for (file,) in rows:
                    scores[file] = scores.get(file, 0.0) + weight
        return self._best(scores, limit)

    def _best(self, scores: dict[int, float], limit: int) -> list[Indexed]:
        # Long files hold many words and are not better for it.
        likely = sorted(scores, key=lambda file: (-scores[file], file))[: 8 * limit]
        if not likely:
            return []
        marks = ",".join("?" * len(likely))
        rows = self._rows(
            f"select id, path, language, mtime_ns, n_words from files where id in ({marks})", likely
        )
        found = [
            Indexed(path, language, version, scores[file] / (0.5 + math.sqrt(n_words) / 16))
            for file, path, language, version, n_words in rows
        ]
        return sorted(found, key=lambda each: (-each.score, each.path))[:limit]

    def _open(self) -> None:
        assert self.path is not None
        try:
            self._connection = open_to_read(self.path)
            if self._connection is not None:
                self._connection.set_progress_handler(lambda: self.stop(), _STEPS)
                self._has_words = has_words(self._connection)
        except sqlite3.Error as error:
            self._failed(error)
        self._data_version = -1
        self.generation += 1

    def _one(self, question: str) -> int | None:
        rows = self._rows(question, ())
        return int(rows[0][0]) if rows else None

    def _rows(self, question: str, values: Iterable[str | int]) -> list[Any]:
        if self._connection is None:
            return []
        self.n_queries += 1
        try:
            return self._connection.execute(question, tuple(values)).fetchall()
        except sqlite3.Error as error:
            self._failed(error)
            return []

    def _failed(self, error: sqlite3.Error) -> None:
        if isinstance(error, sqlite3.OperationalError):
            # Given up, or locked for a moment.
            log.debug("%s: %s", self.path, error)
            return
        log.warning("%s cannot be read and is made anew: %s", self.path, error)
        self.broken = True
        with contextlib.suppress(sqlite3.Error):
            self.close()
