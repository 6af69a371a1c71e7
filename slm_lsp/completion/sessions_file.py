"""The counters of sessions on the disk: a file each, in a folder of the user's cache.

Owns: where they are, who may read them, how long they stay, and their reading.

Invariant: nothing here raises. The folder is 0700, a file 0600 and replaced as a whole or not at
all; before a session's first write, what is older than MAX_AGE_S or beyond the newest N_KEPT
goes. A file's name is random, and it holds numbers and our own names for them only: no source
text, no name of a file, no URI (`session_counts`).

Threads: `offer` any; `flush` any but the event loop's, as a disk may hang.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from slm_lsp.completion import private_file
from slm_lsp.completion.private_file import SUFFIX, dated, read_file, replace_file
from slm_lsp.completion.session_counts import SessionCounts
from slm_lsp.deadline import wall_s

log = logging.getLogger(__name__)

MAX_AGE_S = 30 * 24 * 3600.0
N_KEPT = 200
MAX_FILE_BYTES = 64 << 10


def default_folder() -> Path:
    """The user's cache folder for sessions."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("slm-lsp")) / "sessions"


class SessionFile:
    """The file of one session; there is none until something was offered and flushed."""

    def __init__(self, folder: Path, now_s: Callable[[], float] = wall_s) -> None:
        self._path = folder / f"{os.urandom(8).hex()}{SUFFIX}"
        self._now_s = now_s
        self._lock = threading.Lock()
        self._latest: SessionCounts | None = None
        self._written: SessionCounts | None = None
        self._has_pruned = self._has_warned = False

    def offer(self, counts: SessionCounts) -> None:
        """What is to be written next, in the place of what was offered before."""
        self._latest = counts

    def flush(self) -> None:
        """Write what was offered last, if it is not written."""
        # Within the lock: of two threads, the later one finds the work done.
        with self._lock:
            latest = self._latest
            if latest is None or latest is self._written:
                return
            if not self._has_pruned:
                self._has_pruned = True
                prune(self._path.parent, self._now_s())
            try:
                replace_file(self._path, json.dumps(latest.to_json()))
                self._written = latest
            except (OSError, ValueError) as error:
                # Once a session: a full disk stays full.
                level = logging.DEBUG if self._has_warned else logging.WARNING
                log.log(level, "the session's counters are not kept: %s", error)
                self._has_warned = True


def prune(folder: Path, now_s: float) -> None:
    """Delete what is old, and of the rest all but the newest."""
    private_file.prune(folder, now_s, MAX_AGE_S, N_KEPT)


def read_sessions(folder: Path, since_s: float) -> list[SessionCounts]:
    """The sessions that were last written since then, the newest first."""
    paths = [path for written_s, path in dated(folder) if written_s >= since_s]
    found = (_read(path) for path in paths if path.suffix == SUFFIX)
    return [counts for counts in found if counts is not None]


def _read(path: Path) -> SessionCounts | None:
    """One session; None where the file is broken or of another version."""
    try:
        return SessionCounts.from_json(json.loads(read_file(path, MAX_FILE_BYTES)))
    except (OSError, ValueError, RecursionError) as error:
        log.warning("a session is left out: %s: %s", path, error)
        return None
