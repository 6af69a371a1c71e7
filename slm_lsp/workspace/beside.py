"""Reading many files in a process beside the one that writes them to an index.

Owns: that process, from its start to its end, and the pipe through which it tells what files hold.
Python reads and cuts text on one core only; with a process of its own for it the writer has the
other one, and a large workspace is indexed in two thirds of the time.

Invariant: what is read is the same as without the process, in the same order: if it ends early, the
rest is read here. It ends when nobody reads its pipe any more, however the reader ended.

Threads: the builder's.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

log = logging.getLogger(__name__)

# A message costs more than what a small file holds.
BATCH = 16
END_S = 2.0

T = TypeVar("T")


def read_beside(read: Callable[[Path], T], paths: Sequence[Path]) -> Iterator[T]:
    """`read` of every path, in their order. What `read` gives goes through a pipe."""
    n_read = 0
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.Process(
        target=_tell, args=(read, paths, ours, theirs), name="slm-reader", daemon=True
    )
    try:
        child.start()
        theirs.close()
        while n_read < len(paths):
            batch = _received(ours)
            if batch is None:
                log.warning("the process that reads files ended early; the rest is read here")
                break
            for each in batch:
                n_read += 1
                yield each
    finally:
        ours.close()
        if child.pid is not None:
            child.join(END_S)
            child.kill()
    for path in paths[n_read:]:
        yield read(path)


def _received(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return None


def _tell(
    read: Callable[[Path], Any], paths: Sequence[Path], ours: Connection, theirs: Connection
) -> None:
    """The process: read all, and tell it in parts."""
    # The other end as well, or a builder that is gone would not be noticed.
    ours.close()
    try:
        for start in range(0, len(paths), BATCH):
            theirs.send([read(path) for path in paths[start : start + BATCH]])
    except (OSError, KeyboardInterrupt):
        pass  # nobody listens any more
