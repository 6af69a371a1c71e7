"""The counters of sessions on the disk: a file each, in a folder of the user's cache.

Owns: where they are, who may read them, how long they stay, and their reading.

Invariant: nothing here raises. The folder is 0700, a file 0600 and replaced as a whole or not at
all; before a session's first write, what is older than MAX_AGE_S or beyond the newest N_KEPT
goes. A file's name is random, and it holds numbers and our own names for them only: no source
text, no name of a file, no URI (`session_counts`).

Threads: `offer` any; `flush` any but the event loop's, as a disk may hang.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from slm_lsp.completion.session_counts import SessionCounts
from slm_lsp.deadline import wall_s

log = logging.getLogger(__name__)

MAX_AGE_S = 30 * 24 * 3600.0
N_KEPT = 200
MAX_FILE_BYTES = 64 << 10
SUFFIX, HALF_SUFFIX = ".json", ".half"


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
                _replace(self._path, json.dumps(latest.to_json()))
                self._written = latest
            except (OSError, ValueError) as error:
                # Once a session: a full disk stays full.
                level = logging.DEBUG if self._has_warned else logging.WARNING
                log.log(level, "the session's counters are not kept: %s", error)
                self._has_warned = True


def _replace(path: Path, text: str) -> None:
    """Write a file for this user alone. Raises OSError."""
    folder = path.parent
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.name == "posix" and folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    half = path.with_suffix(HALF_SUFFIX)
    half.unlink(missing_ok=True)  # one that was left might have another's permissions
    with open(half, "x", encoding="utf-8", opener=_private) as file:
        file.write(text)
    half.replace(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def prune(folder: Path, now_s: float) -> None:
    """Delete what is old, and of the rest all but the newest."""
    for n_newer, (written_s, path) in enumerate(_dated(folder)):
        # A date in the future is as wrong as one long past.
        if n_newer >= N_KEPT or abs(now_s - written_s) > MAX_AGE_S:
            # Another server may have been faster.
            with contextlib.suppress(OSError):
                path.unlink()


def _dated(folder: Path) -> list[tuple[float, Path]]:
    """Our files and when they were written, the newest first; none where there is no folder."""
    found = []
    # A file may go between the two calls.
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                status = path.lstat()
                if path.suffix in (SUFFIX, HALF_SUFFIX) and stat.S_ISREG(status.st_mode):
                    found.append((status.st_mtime, path))
    return sorted(found, reverse=True)


def read_sessions(folder: Path, since_s: float) -> list[SessionCounts]:
    """The sessions that were last written since then, the newest first."""
    paths = [path for written_s, path in _dated(folder) if written_s >= since_s]
    found = (_read(path) for path in paths if path.suffix == SUFFIX)
    return [counts for counts in found if counts is not None]


def _read(path: Path) -> SessionCounts | None:
    """One session; None where the file is broken or of another version."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ValueError("too large")
        return SessionCounts.from_json(json.loads(content))
    except (OSError, ValueError, RecursionError) as error:
        log.warning("a session is left out: %s: %s", path, error)
        return None
