"""Reading files that may be anything.

Owns: what is opened at all, and how bytes become text.

Invariant: only regular files of at most MAX_BYTES are read, through no link in their last
part, and nothing is waited for: not for a pipe, nor for a device. Never raises.

Threads: any.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

MAX_BYTES = 512 * 1024
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)
_BINARY_HEAD = 8192
# Text in another encoding of which more than this part cannot be read is of no use to anybody.
_MAX_UNREADABLE = 0.02


def read_bytes(path: Path | str) -> bytes | None:
    """What a file holds, or None where it is not to be read."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open(path, _FLAGS)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES:
                source = file.read(MAX_BYTES + 1)
                return source if source is not None and len(source) <= MAX_BYTES else None
    return None


def text_of(source: bytes) -> str | None:
    """The text that bytes are; None where they are none."""
    if b"\0" in source[:_BINARY_HEAD]:
        return None
    with contextlib.suppress(UnicodeDecodeError):
        return source.decode("utf-8-sig")
    text = source.decode("utf-8-sig", "replace")
    return text if text.count("\ufffd") <= len(text) * _MAX_UNREADABLE else None


def read_text(path: Path | str) -> str | None:
    """The text of a file, or None."""
    source = read_bytes(path)
    return None if source is None else text_of(source)
