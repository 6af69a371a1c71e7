"""Files in the user's cache that are nobody else's: whole or not there, and not for ever.

Owns: how they are written and in which order they are found.

Invariant: the folder is 0700, a file 0600 and replaced as a whole or not at all.

Threads: any but the event loop's, as a disk may hang.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

SUFFIX, HALF_SUFFIX = ".json", ".half"


def replace_file(path: Path, text: str) -> None:
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


def read_file(path: Path, max_bytes: int) -> bytes:
    """A file's content. Raises OSError, and ValueError for one that is too large."""
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError("too large")
    return content


def dated(folder: Path) -> list[tuple[float, Path]]:
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


def prune(folder: Path, now_s: float, max_age_s: float, n_kept: int) -> None:
    """Delete what is old, and of the rest all but the newest."""
    for n_newer, (written_s, path) in enumerate(dated(folder)):
        # A date in the future is as wrong as one long past.
        if n_newer >= n_kept or abs(now_s - written_s) > max_age_s:
            # Another server may have been faster.
            with contextlib.suppress(OSError):
                path.unlink()
