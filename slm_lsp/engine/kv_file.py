"""KV sequences on the disk: what a file holds, and which of them this decoder can have back.

Owns: the format. A file is a header, the sequence's tokens, a checksum of both, and the state
that the decoder gave for it, whose checksum is in the header.

Invariant: what is handed out is byte for byte what was written for a decoder of the same identity;
what is anything else is deleted. Nothing here raises: a disk that is full or closed costs the
next start its warmth, and is told once. A file is replaced as a whole or not at all.

Threads: the Scheduler's. Other processes may read, replace and delete the same files.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slm_lsp.deadline import Deadline
from slm_lsp.engine.kv_folder import (
    PART_SUFFIX,
    SUFFIX,
    Refused,
    create,
    delete,
    listed,
    opened,
    prune,
)

log = logging.getLogger(__name__)

MAX_STATE_BYTES = 64 << 20
MAGIC = b"slm-lsp kv"
FORMAT_VERSION = 1
# Magic, version, identity, number of tokens, bytes of the state and its checksum.
HEAD = struct.Struct("<10sH32sIQI")
CHECKSUM = struct.Struct("<I")
PIECE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """A sequence on the disk: its tokens are known, its state is not read yet."""

    path: Path
    tokens: list[int]
    n_bytes: int
    checksum: int


class KvFiles:
    """The files of one decoder's sequences, among those of others."""

    def __init__(self, folder: Path, identity: str, n_ctx: int) -> None:
        """Look what there is. `n_ctx` is what a sequence may hold."""
        self._folder = folder
        self._n_ctx = n_ctx
        self._identity = hashlib.sha256(identity.encode("utf-8", "replace")).digest()
        self._prefix = self._identity.hex()[:16]
        self._kept: dict[Path, Kept] = {}
        self._has_complained = False
        prune(folder)
        for path in listed(folder):
            if path.name.startswith(self._prefix) and path.suffix == SUFFIX:
                with self._refusing(path), opened(path) as (file, n_bytes):
                    self._kept[path] = self._head(path, file, n_bytes)

    @property
    def kept(self) -> list[Kept]:
        """What can be had back."""
        return list(self._kept.values())

    def path_of(self, key: str) -> Path:
        """The file of what is known by `key`."""
        digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
        return self._folder / f"{self._prefix}-{digest[:32]}{SUFFIX}"

    # --- reading ---

    def read(self, kept: Kept) -> bytearray | None:
        """The state, unless it is damaged or was replaced since."""
        with self._refusing(kept.path), opened(kept.path) as (file, n_bytes):
            found = self._kept[kept.path] = self._head(kept.path, file, n_bytes)
            if found == kept:
                state = bytearray(kept.n_bytes)
                if file.readinto(state) != len(state) or zlib.crc32(state) != kept.checksum:
                    raise Refused("its state is damaged")
                return state
        return None

    def _head(self, path: Path, file: io.BufferedReader, n_file_bytes: int) -> Kept:
        """What a file says of itself; the state follows. Raises Refused."""
        head = file.read(HEAD.size)
        if len(head) != HEAD.size:
            raise Refused("it is cut short")
        magic, version, identity, n_tokens, n_bytes, checksum = HEAD.unpack(head)
        if (magic, version) != (MAGIC, FORMAT_VERSION):
            raise Refused("it is of another version")
        if identity != self._identity:
            raise Refused("it is another model's")
        if not 0 < n_tokens <= self._n_ctx or not 0 < n_bytes <= MAX_STATE_BYTES:
            raise Refused("it does not fit")
        if n_file_bytes != HEAD.size + 4 * n_tokens + CHECKSUM.size + n_bytes:
            raise Refused("it is not as long as it says")
        tokens = file.read(4 * n_tokens)
        if file.read(CHECKSUM.size) != CHECKSUM.pack(zlib.crc32(head + tokens)):
            raise Refused("its tokens are damaged")
        return Kept(path, list(struct.unpack(f"<{n_tokens}i", tokens)), n_bytes, checksum)

    @contextlib.contextmanager
    def _refusing(self, path: Path) -> Iterator[None]:
        """Forget a file that cannot be read within, and delete it if it is wrong."""
        try:
            yield
        except Refused as error:
            log.info("%s is deleted: %s", path, error)
            self.drop(path)
        except OSError as error:
            self._kept.pop(path, None)
            if not isinstance(error, FileNotFoundError):
                self._complain("read", error)

    def drop(self, path: Path) -> None:
        """Delete a file that is of no use."""
        self._kept.pop(path, None)
        delete(path)

    # --- writing ---

    def holds(self, key: str, tokens: Sequence[int]) -> bool:
        """Whether just these tokens are kept; if so, from now on as if written now."""
        kept = self._kept.get(self.path_of(key))
        if kept is None or kept.tokens != list(tokens):
            return False
        try:
            os.utime(kept.path)
        except OSError:
            return False
        return True

    def write(self, key: str, tokens: Sequence[int], state: bytearray, deadline: Deadline) -> None:
        """Keep a sequence, unless that takes too long. The oldest files make room for it."""
        path = self.path_of(key)
        part = path.with_name(f"{path.name}.{os.getpid()}{PART_SUFFIX}")
        kept = Kept(path, list(tokens), len(state), zlib.crc32(state))
        fields = (len(kept.tokens), kept.n_bytes, kept.checksum)
        head = HEAD.pack(MAGIC, FORMAT_VERSION, self._identity, *fields)
        head += struct.pack(f"<{len(tokens)}i", *tokens)
        try:
            delete(part)
            with create(part) as file, memoryview(state) as view:
                file.write(head + CHECKSUM.pack(zlib.crc32(head)))
                for start in range(0, len(state), PIECE_BYTES):
                    if deadline.expired():
                        raise TimeoutError("there was no time left")
                    file.write(view[start : start + PIECE_BYTES])
            part.replace(path)
            self._kept[path] = kept
        except OSError as error:
            delete(part)
            self._complain("written", error)
        prune(self._folder)

    def _complain(self, what: str, error: OSError) -> None:
        if not self._has_complained:
            log.warning("KV sequences could not be %s: %s: %s", what, self._folder, error)
        self._has_complained = True
