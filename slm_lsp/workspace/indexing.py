"""Filling the index of one workspace folder.

Owns: what is written of a file, and which files have to be written again.

Invariant: whatever ends the work, the index holds whole files only, and the next scan goes on
where this one was. A file that did not change is not opened.

Threads: the child process that builds, one at a time for an index (`build`). Files are read on a
thread beside the one that writes, as SQLite lets others run while it works; many of them in a
process (`beside`).
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from slm_lsp.context.languages import language_of_path
from slm_lsp.workspace.beside import read_beside
from slm_lsp.workspace.files import (
    MAX_FILES,
    Found,
    in_left_out_folder,
    is_wanted_path,
    newest,
    read_source,
    stated,
    walk,
)
from slm_lsp.workspace.headers import definitions
from slm_lsp.workspace.identifiers import words_of
from slm_lsp.workspace.ignore import IgnoreRules
from slm_lsp.workspace.imports import stem_of
from slm_lsp.workspace.store import has_words

FILES_A_COMMIT = 250
# Read ahead of what is written.
N_AHEAD = 16
# From so many files on a process is worth its start.
N_FOR_A_PROCESS = 1000
# Of what no longer belongs to a file: more than there are files, and not just a few.
MIN_STALE = 2000


@dataclass(slots=True)
class Summary:
    """What a build did. `n_seen` files might have been indexed; `ended` tells that it was told
    to stop."""

    n_files: int = 0
    n_seen: int = 0
    n_written: int = 0
    n_removed: int = 0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """What is written of a file: its identifiers, and name and line of what it defines."""

    words: str
    n_words: int
    definitions: tuple[tuple[str, int], ...]


class Indexer:
    """Writes to one index; `stop` is asked before every file."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        root: Path,
        stop: Callable[[], bool] = lambda: False,
        max_files: int = MAX_FILES,
    ) -> None:
        self._connection = connection
        self._root = root
        self._rules = IgnoreRules(root)
        self._stop = stop
        self._max_files = max_files
        self._has_words = has_words(connection)

    def is_stale(self) -> bool:
        """Whether most of the index belongs to files that are not as they were."""
        last = self._connection.execute("select max(seq) from sqlite_sequence").fetchone()[0] or 0
        n_stale = last - self._n_files()
        return bool(n_stale > max(MIN_STALE, self._n_files()))

    def scan(self) -> Summary:
        """Bring the whole index up to date."""
        found, n_seen = newest(walk(self._root, self._rules), self._max_files)
        known = self._known()
        paths = {each.path for each in found}
        gone = [path for path in known if path not in paths]
        changed = [each for each in found if known.get(each.path) != (each.mtime_ns, each.size)]
        # What was worked on last is wanted first.
        changed.sort(key=lambda each: (-each.mtime_ns, each.path))
        summary = Summary(n_seen=n_seen)
        self._write(changed, gone, known, summary)
        summary.n_files = self._n_files()
        return summary

    def update(self, paths: Iterable[str]) -> Summary:
        """Bring files up to date of which somebody says that they have changed."""
        changed, gone = [], []
        known = self._known()
        paths = sorted(set(paths))
        if any(_is_folder(self._root, path) for path in paths):
            return self.scan()
        for path in paths:
            found = self._stated(path)
            if found is None:
                # A folder that is gone took along what was in it.
                gone += [each for each in known if each == path or each.startswith(f"{path}/")]
            elif known.get(path) != (found.mtime_ns, found.size) and (
                path in known or len(known) < self._max_files
            ):
                changed.append(found)
        summary = Summary(n_seen=len(known))
        self._write(changed, gone, known, summary)
        summary.n_files = self._n_files()
        return summary

    def _stated(self, path: str) -> Found | None:
        is_outside = path.startswith("/") or ".." in path.split("/")
        if is_outside or not is_wanted_path(path) or in_left_out_folder(path):
            return None
        if self._rules.leaves_out(path) or _is_behind_link(self._root, path):
            return None
        return stated(self._root / path, path)

    def _write(
        self, changed: list[Found], gone: list[str], known: Container[str], summary: Summary
    ) -> None:
        self._connection.execute("begin immediate")
        for path in gone:
            self._drop(path)
        summary.n_removed = len(gone)
        for n, (found, content) in enumerate(self._read(changed)):
            if self._stop():
                summary.ended = True
                break
            if n % FILES_A_COMMIT == FILES_A_COMMIT - 1:
                self._connection.execute("commit")
                self._connection.execute("begin immediate")
            if found.path in known:
                self._drop(found.path)
            self._put(found, content)
            summary.n_written += 1
        self._connection.execute("commit")

    def _read(self, files: Sequence[Found]) -> Iterator[tuple[Found, Content | None]]:
        """Each file with what it holds, None where nobody has written that."""
        if len(files) >= N_FOR_A_PROCESS:
            paths = [self._root / found.path for found in files]
            yield from zip(files, read_beside(content_of, paths), strict=True)
            return
        ahead: deque[tuple[Found, Future[Content | None]]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="slm-reader") as reader:
            for found in files:
                ahead.append((found, reader.submit(content_of, self._root / found.path)))
                if len(ahead) > N_AHEAD:
                    found, content = ahead.popleft()
                    yield found, content.result()
            for found, content in ahead:
                yield found, content.result()

    def _drop(self, path: str) -> None:
        self._connection.execute("delete from files where path = ?", (path,))

    def _put(self, found: Found, content: Content | None) -> None:
        run = self._connection.execute
        folder, _, base = found.path.rpartition("/")
        language = language_of_path(base)
        n_words = content.n_words if content is not None else 0
        # Also of what is left out, so that it is not opened by every scan.
        row = (found.path, folder, stem_of(base), language, found.mtime_ns, found.size, n_words)
        file = run(
            "insert into files (path, folder, stem, language, mtime_ns, size, n_words)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            row,
        ).lastrowid
        if content is None:
            return
        if self._has_words:
            run("insert into words (rowid, text) values (?, ?)", (file, content.words))
        lines = [(name, file, line) for name, line in content.definitions]
        self._connection.executemany("insert or ignore into definitions values (?, ?, ?)", lines)

    def _known(self) -> dict[str, tuple[int, int]]:
        rows = self._connection.execute("select path, mtime_ns, size from files")
        return {path: (mtime_ns, size) for path, mtime_ns, size in rows}

    def _n_files(self) -> int:
        return int(self._connection.execute("select count(*) from files").fetchone()[0])


def content_of(path: Path) -> Content | None:
    """What the index holds of a file; None where nobody has written it."""
    source = read_source(path)
    if source is None:
        return None
    words, n_words = words_of(source[0])
    return Content(words, n_words, tuple(definitions(language_of_path(path.name), source[1])))


def _is_folder(root: Path, path: str) -> bool:
    # One that came may hold anything.
    return "." not in path.rpartition("/")[2] and (root / path).is_dir()


def _is_behind_link(root: Path, path: str) -> bool:
    folder = root
    for part in path.split("/")[:-1]:
        folder = folder / part
        if folder.is_symlink():
            return True
    return False
