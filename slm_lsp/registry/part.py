"""A download under way, whose bytes outlive the process that fetched them.

Owns: the part's file, the note beside it that says what it is a part of, and the hash of
what it holds so far.

Invariant: bytes are only ever taken for a part of the origin that the note names; a part is
never used as a model, but is moved to where it is checked.

Threads: the pull's, under the lock of its model.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import time
from io import FileIO
from pathlib import Path

PREFIX = ".part-"
KEPT_DAYS = 14

_CHUNK_BYTES = 1 << 20


class Part:
    """The part of one origin's file in `folder`; there need be none yet.

    `validator` is the server's ETag for the bytes, empty where it gave none.
    """

    def __init__(self, folder: Path, name: str, origin: str) -> None:
        key = hashlib.sha256(origin.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        self.file = folder / f"{PREFIX}{name}-{key}"
        self._note = self.file.with_name(self.file.name + ".json")
        self._origin = origin
        self.validator = self._read_note()
        self.n_bytes = self.file.stat().st_size if self.validator is not None else 0
        self._digest = hashlib.sha256()
        self._n_hashed = 0
        self._stream: FileIO | None = None

    def restart(self, validator: str) -> None:
        """Begin anew with nothing."""
        self.close()
        # The note goes first: bytes without a note are nobody's.
        self._note.unlink(missing_ok=True)
        self.file.write_bytes(b"")
        note = json.dumps({"origin": self._origin, "validator": validator})
        self._note.write_text(note + "\n", encoding="utf-8")
        self.validator, self.n_bytes = validator, 0
        self._digest, self._n_hashed = hashlib.sha256(), 0

    def append(self, chunk: bytes) -> None:
        """Add bytes behind those that are there."""
        self._catch_up()
        if self._stream is None:
            # Unbuffered, so that a killed process has written all that it was sent.
            self._stream = self.file.open("ab", buffering=0)
        self._stream.write(chunk)
        self._digest.update(chunk)
        self.n_bytes += len(chunk)
        self._n_hashed = self.n_bytes

    def sha256(self) -> str:
        """The hash of what is there, in hexadecimal."""
        self._catch_up()
        return self._digest.hexdigest()

    def move_to(self, target: Path) -> None:
        """Give the file away, as it is complete."""
        self.close()
        os.replace(self.file, target)
        self._note.unlink(missing_ok=True)

    def remove(self) -> None:
        """Take the bytes off the disk."""
        self.close()
        self._note.unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)
        self.validator, self.n_bytes = None, 0

    def close(self) -> None:
        """Close the file; it can be appended to again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _catch_up(self) -> None:
        # What an earlier process fetched is read once, and what a failed write left is cut off.
        if self._n_hashed == self.n_bytes:
            return
        with self.file.open("rb") as stream:
            stream.seek(self._n_hashed)
            while chunk := stream.read(min(_CHUNK_BYTES, self.n_bytes - self._n_hashed)):
                self._digest.update(chunk)
                self._n_hashed += len(chunk)

    def _read_note(self) -> str | None:
        try:
            content = json.loads(self._note.read_text(encoding="utf-8"))
            if content["origin"] == self._origin and self.file.exists():
                return str(content["validator"])
        except (OSError, ValueError, TypeError, KeyError):
            pass
        return None


def parts_of(folder: Path, name: str) -> list[Path]:
    """The files of all parts that were begun for this model."""
    pattern = f"{glob.escape(PREFIX + name)}-{'[0-9a-f]' * 12}"
    return [*folder.glob(pattern), *folder.glob(pattern + ".json")]


def remove_old(folder: Path) -> None:
    """Remove parts that nobody has gone on with for `KEPT_DAYS` days."""
    oldest_s = time.time() - KEPT_DAYS * 86_400
    for file in folder.glob(f"{PREFIX}*"):
        bytes_file = file.with_suffix("") if file.suffix == ".json" else file
        with contextlib.suppress(OSError):
            newest_s = bytes_file.stat().st_mtime if bytes_file.exists() else 0.0
            if newest_s < oldest_s:
                file.unlink()
