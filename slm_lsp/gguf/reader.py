"""Reading the header of a GGUF file, without loading the model.

Owns: the one pass over a header's bytes, and its bounds: a file from anywhere can be looked at, and
judged before a native library sees it.

Invariant: nothing native; no count or length of the file is believed beyond the bytes that
it has left; memory used does not grow with what a header claims. What is wrong raises
GgufError with a message for people.

Threads: the caller's; a vocabulary of 150,000 tokens takes a few tenths of a second.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from slm_lsp.gguf.header import (
    ARRAY,
    FORMS,
    MAGIC,
    STRING,
    TOKEN_TYPES,
    TOKENS,
    UNKEPT,
    GgufError,
    GgufHeader,
    GgufVersionError,
    Tensor,
    Value,
)

# The first one counts in 32 bits; llama.cpp no longer reads it.
VERSIONS = (2, 3)
MAX_KEYS = 65_536
MAX_TENSORS = 65_536
MAX_KEY_BYTES = 65_535  # the format's own limit
MAX_TENSOR_NAME_BYTES = 1_024  # the format's own is 64
MAX_KEPT_BYTES = 1 << 20  # of a text; longer ones are read past
MAX_KEPT_TEXTS_BYTES = 64 << 20
# Texts, lists within lists and numbers that are kept, all together: those are read one by one. The
# largest vocabularies have 260,000 tokens and 520,000 merges.
MAX_ITEMS = 1 << 22
MAX_DIMENSIONS = 4
MAX_NESTING = 4
BLOCK_BYTES = 1 << 20
TOO_SHORT = "its header ends in the middle: the file is incomplete or damaged"
ALIGNED, ALIGNMENT = "general.alignment", 32


def read_header(
    path: Path,
    keep: Collection[str] = (TOKENS, TOKEN_TYPES),
    versions: Collection[int] = VERSIONS,
) -> GgufHeader:
    """The header of `path` with the lists named in `keep`; raises GgufError and OSError."""
    size_bytes = path.stat().st_size
    if not path.is_file():
        raise GgufError(f"{path} is no file")
    with path.open("rb", buffering=1 << 20) as stream:
        try:
            return _Reader(stream, size_bytes, frozenset(keep)).header(versions)
        except GgufError as error:
            raise type(error)(f"{path}: {error}") from error


class _Reader:
    """One pass over the bytes of a header."""

    def __init__(self, stream: BinaryIO, size_bytes: int, keep: frozenset[str]) -> None:
        self._stream, self._keep = stream, keep
        self._size_bytes = self._left = size_bytes
        self._count_form = "<Q"
        self._n_items = self._kept_bytes = 0
        self._values: dict[str, Value] = {}
        self._lists: dict[str, Sequence[Any]] = {}
        self._kinds: dict[str, int] = {}
        self._item_kinds: dict[str, int] = {}
        self._lengths: dict[str, int] = {}

    def header(self, versions: Collection[int]) -> GgufHeader:
        """All of it."""
        version = self._version(versions)
        n_tensors, n_keys = self._count(), self._count()
        # A key has 9 bytes at least, a tensor 20; in versions after the first 4 more of each.
        if n_keys > min(MAX_KEYS, self._left // 9):
            raise GgufError(f"its header claims {n_keys} keys, which cannot be")
        if n_tensors > min(MAX_TENSORS, self._left // 20):
            raise GgufError(f"its header claims {n_tensors} tensors, which cannot be")
        for _ in range(n_keys):
            self._key_and_value()
        tensors, n_parameters = [], 0
        for _ in range(n_tensors):
            tensor, n_numbers = self._tensor()
            tensors.append(tensor)
            n_parameters += n_numbers
        unsaid: Any = UNKEPT if ALIGNED in self._kinds else ALIGNMENT
        alignment = self._values.get(ALIGNED, unsaid)
        if type(alignment) is not int or alignment < 1:
            raise GgufError(f"its alignment is {alignment!r}, which cannot be")
        ends_at = self._size_bytes - self._left
        return GgufHeader(
            version=version,
            size_bytes=self._size_bytes,
            metadata=self._values,
            lists=self._lists,
            kinds=self._kinds,
            item_kinds=self._item_kinds,
            array_lengths=self._lengths,
            tensors=tuple(tensors),
            weights_at=ends_at + -ends_at % alignment,
            n_parameters=n_parameters,
        )

    def _version(self, versions: Collection[int]) -> int:
        if self._size_bytes < 4 or self._bytes(4) != MAGIC:
            raise GgufError("not a GGUF model file (it does not begin with 'GGUF')")
        version = int(self._number("<I"))
        if version not in versions:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            what = "written for big-endian machines" if swapped in versions else "not known here"
            raise GgufVersionError(f"GGUF of version {min(version, swapped)}, which is {what}")
        self._count_form = "<I" if version == 1 else "<Q"
        return version

    def _key_and_value(self) -> None:
        length = self._count()
        if length > MAX_KEY_BYTES:
            raise GgufError(f"its header has a key of {length} bytes, which cannot be")
        key = self._bytes(length).decode("utf-8", "replace")
        if key in self._kinds:
            # Readers differ in which of them they take.
            raise GgufError(f"its header has the key {key!r} twice")
        kind = self._kinds[key] = int(self._number("<I"))
        if kind == ARRAY:
            self._array(key, 0)
        elif kind == STRING:
            raw = self._text()
            if raw is not None:
                self._values[key] = raw.decode("utf-8", "replace")
        else:
            self._values[key] = self._number(self._form(kind))

    def _array(self, key: str, depth: int) -> None:
        if depth >= MAX_NESTING:
            raise GgufError(f"lists within lists in its key {key!r}: too deep")
        item, count = int(self._number("<I")), self._count()
        if depth == 0:
            self._item_kinds[key], self._lengths[key] = item, count
        # An item takes a byte at least, a text its length's, a list four more.
        width = struct.calcsize(self._count_form)
        smallest = {STRING: width, ARRAY: 4 + width}.get(item) or struct.calcsize(self._form(item))
        if count > self._left // smallest:
            raise GgufError(f"its key {key!r} claims {count} items, more than the file holds")
        kept = depth == 0 and key in self._keep
        self._n_items += count if kept or item in (STRING, ARRAY) else 0
        if self._n_items > MAX_ITEMS:
            raise GgufError(f"its key {key!r} has {count} items, more than any model has")
        if item == ARRAY:
            for _ in range(count):
                self._array(key, depth + 1)
        elif item == STRING:
            self._texts(key, count, kept)
        elif kept:
            form = f"<{count}{self._form(item)[1]}"
            self._lists[key] = struct.unpack(form, self._bytes(count * smallest))
        else:
            self._skip(count * smallest)

    def _texts(self, key: str, count: int, kept: bool) -> None:
        if not kept:
            self._pass_texts(count)
            return
        texts: list[str] = []
        for _ in range(count):
            raw = self._text()
            if raw is None:
                raise GgufError(f"its key {key!r} has longer texts than any model has")
            texts.append(raw.decode("utf-8", "surrogateescape"))
        self._lists[key] = texts

    def _pass_texts(self, count: int) -> None:
        """Read past texts, of which a vocabulary has hundreds of thousands, a block at a time."""
        length = struct.Struct(self._count_form)
        block, begins_at = b"", 0
        at = self._size_bytes - self._left
        for _ in range(count):
            i = at - begins_at
            if i + length.size > len(block):
                self._stream.seek(at)
                block, begins_at, i = self._stream.read(BLOCK_BYTES), at, 0
            if len(block) < length.size:
                raise GgufError(TOO_SHORT)
            at += length.size + length.unpack_from(block, i)[0]
            if at > self._size_bytes:
                raise GgufError(TOO_SHORT)
        self._stream.seek(at)
        self._left = self._size_bytes - at

    def _tensor(self) -> tuple[Tensor, int]:
        """A tensor, and how many numbers it has."""
        length = self._count()
        if length > MAX_TENSOR_NAME_BYTES:
            raise GgufError(f"a tensor whose name has {length} bytes, which cannot be")
        name = self._bytes(length).decode("utf-8", "replace")
        n_dimensions = int(self._number("<I"))
        if n_dimensions > MAX_DIMENSIONS:
            raise GgufError(f"a tensor of {n_dimensions} dimensions, which cannot be")
        shape = tuple(self._count() for _ in range(n_dimensions))
        n_numbers = 1
        for size in shape:
            n_numbers *= size
        # 64 numbers a byte is finer than any quantization there is.
        if n_numbers > 64 * self._size_bytes:
            raise GgufError("a tensor that is larger than the file; it may be incomplete")
        return Tensor(name, shape, int(self._number("<I")), int(self._number("<Q"))), n_numbers

    def _text(self) -> bytes | None:
        """A text's bytes; None for one that is too long to be kept."""
        length = self._count()
        self._kept_bytes += length
        if length > MAX_KEPT_BYTES or self._kept_bytes > MAX_KEPT_TEXTS_BYTES:
            self._skip(length)
            return None
        return self._bytes(length)

    def _form(self, kind: int) -> str:
        if kind not in FORMS:
            raise GgufError(f"a value of a type that there is not ({kind})")
        return FORMS[kind]

    def _count(self) -> int:
        return int(self._number(self._count_form))

    def _number(self, form: str) -> int:
        (number,) = struct.unpack(form, self._bytes(struct.calcsize(form)))
        return number  # type: ignore[no-any-return]

    def _bytes(self, length: int) -> bytes:
        self._take(length)
        found = self._stream.read(length)
        if len(found) != length:
            raise GgufError("the file became shorter while it was read")
        return found

    def _skip(self, length: int) -> None:
        self._take(length)
        self._stream.seek(length, os.SEEK_CUR)

    def _take(self, length: int) -> None:
        if length > self._left:
            raise GgufError(TOO_SHORT)
        self._left -= length
