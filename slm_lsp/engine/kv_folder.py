"""The folder of the KV sequences on the disk: who may read it, and what is deleted from it.

Owns: where it is, its permissions and those of its files, how old and how many they may be.

Invariant: the folder is 0700 and its files are 0600, as they hold the user's source; a file that
another could have written is not read. Only files with our suffixes are deleted.

Threads: any; other processes may do the same at the same time.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from slm_lsp.deadline import wall_s

log = logging.getLogger(__name__)

MAX_AGE_S = 7 * 24 * 3600.0
# Of all files, whatever model they belong to.
MAX_TOTAL_BYTES = 128 << 20
MAX_FILES = 16
# One that is still being written is younger.
MAX_PART_AGE_S = 60.0

SUFFIX, PART_SUFFIX = ".kv", ".part"
# A pipe in the place of a file must not be waited for.
READ_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class Refused(ValueError):
    """A file is not what this process could have written; the message says why."""


def default_folder() -> Path:
    """The user's cache folder for KV sequences."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("slm-lsp")) / "kv"


def listed(folder: Path) -> list[Path]:
    """Our files in a folder, which need not exist."""
    try:
        return [path for path in folder.iterdir() if path.suffix in (SUFFIX, PART_SUFFIX)]
    except OSError:
        return []


def prune(folder: Path) -> None:
    """Delete what is old, what nobody goes on writing, and what is too much, the oldest first."""
    now_s, n_bytes, n_files = wall_s(), 0, 0
    for path, status in sorted(_dated(folder), key=lambda each: -each[1].st_mtime):
        is_part = path.suffix == PART_SUFFIX
        # A date in the future is as wrong as one long past.
        fits = abs(now_s - status.st_mtime) <= (MAX_PART_AGE_S if is_part else MAX_AGE_S)
        if fits and not is_part:
            n_bytes, n_files = n_bytes + status.st_size, n_files + 1
            fits = n_bytes <= MAX_TOTAL_BYTES and n_files <= MAX_FILES
        if not fits:
            delete(path)


def _dated(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in listed(folder):
        with contextlib.suppress(OSError):
            yield path, path.lstat()


def clear(folder: Path) -> None:
    """Delete all that is kept, of whatever model."""
    for path in listed(folder):
        delete(path)


def delete(path: Path) -> None:
    """Delete one file, if that can be done."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.info("%s cannot be deleted: %s", path, error)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[io.BufferedReader, int]]:
    """A file that only this user can have written, and its length. Raises Refused, OSError."""
    if path.is_symlink():
        raise Refused("it is a link")
    descriptor = os.open(path, READ_FLAGS | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not _is_private(status):
            raise Refused("others may have written it")
        yield file, status.st_size


def create(path: Path) -> io.BufferedWriter:
    """A new file for this user alone, in a folder that is made so. Raises OSError."""
    folder = path.parent
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or not _is_ours(status):
        raise PermissionError("it is not a folder of yours")
    if not _is_private(status):
        folder.chmod(0o700)
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))


def _is_ours(status: os.stat_result) -> bool:
    # Where users have no numbers, the folder is in the user's profile.
    return os.name != "posix" or status.st_uid == os.getuid()


def _is_private(status: os.stat_result) -> bool:
    return _is_ours(status) and (os.name != "posix" or not status.st_mode & 0o077)
