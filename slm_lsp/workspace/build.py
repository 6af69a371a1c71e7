"""`python -m slm_lsp.workspace.build`: bring the index of a workspace folder up to date.

Owns: this process: its priority, the lock that makes it the only writer of an index, and its end
with the server that started it. It reads the paths that have changed from stdin, as a JSON list, or
`null` for all, and writes what it did as one JSON object to stdout.

Invariant: whenever it is killed, the index can be read and the next build goes on from there.
Whoever finds the lock taken leaves the work to its holder.

Threads: the main thread of a process of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import logging
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from slm_lsp.workspace import store
from slm_lsp.workspace.files import MAX_FILES
from slm_lsp.workspace.indexing import Indexer, Summary

log = logging.getLogger(__name__)

NICENESS = 19
# Exit status of a process that found another at the same index.
BUSY = 3


def build(
    root: Path,
    index: Path,
    changed: list[str] | None,
    stop: Callable[[], bool] = lambda: False,
    max_files: int = MAX_FILES,
) -> Summary | None:
    """Bring an index up to date; None if another process is doing so. Raises OSError,
    sqlite3.Error."""
    from filelock import FileLock, Timeout

    store.make_private(index.parent)
    lock = FileLock(index.with_suffix(".lock"), mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    try:
        try:
            return _build(root, index, changed, stop, max_files)
        except sqlite3.DatabaseError as error:
            log.warning("%s is made anew: %s", index, error)
            store.delete(index)
            return _build(root, index, None, stop, max_files)
    finally:
        lock.release()


def _build(
    root: Path, index: Path, changed: list[str] | None, stop: Callable[[], bool], max_files: int
) -> Summary:
    is_new = not index.exists()
    connection = store.open_to_write(index)
    try:
        indexer = Indexer(connection, root, stop, max_files)
        if changed is None and not is_new and indexer.is_stale():
            connection.close()
            store.delete(index)
            connection = store.open_to_write(index)
            indexer = Indexer(connection, root, stop, max_files)
        summary = indexer.scan() if changed is None or is_new else indexer.update(changed)
    finally:
        connection.close()
    if changed is None:
        store.prune(index.parent, index)
    if summary.n_seen > summary.n_files + summary.n_removed and changed is None:
        log.warning(
            "%s: the %d files changed last of %d are indexed", root, summary.n_files, summary.n_seen
        )
    return summary


def main(arguments: list[str]) -> int:
    """Build as told; the exit status is 0 if that was done."""
    root, index = map(Path, arguments)
    logging.basicConfig(format="%(levelname)s %(message)s")
    _be_humble()
    # Nearly nothing that is made here refers to itself; looking for it takes a tenth of the time.
    gc.set_threshold(100_000)
    changed = json.load(sys.stdin)
    parent = os.getppid()
    try:
        # The server that started this has ended, however it did.
        summary = build(root, index, changed, lambda: os.getppid() != parent)
    except (OSError, sqlite3.Error) as error:
        log.error("%s: no index: %s", root, error)
        return 1
    if summary is None:
        return BUSY
    try:
        print(json.dumps(dataclasses.asdict(summary)), flush=True)
    except BrokenPipeError:
        # The server has ended; the index is there for the next. Python would try once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _be_humble() -> None:
    """Take only time and disk that nobody else wants."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICENESS - os.nice(0))
    with contextlib.suppress(Exception):  # where there are no such priorities
        import psutil

        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
