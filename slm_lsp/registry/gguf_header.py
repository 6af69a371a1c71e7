"""What a GGUF file says of itself, read without loading the model.

Owns: the reading of a header (metadata, control tokens, tensor shapes) within bounds, so that a
file from anywhere can be looked at. The format: ggml, docs/gguf.md.

Invariant: nothing native; no count or length of the file is believed beyond the bytes that
it has left; memory used does not grow with what a header claims. What is wrong raises
GgufError with a message for people.

Threads: the caller's; a vocabulary of 150,000 tokens takes a few tenths of a second.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

Value = str | int | float | bool

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_KEYS = 65_536
MAX_TENSORS = 1_000_000
MAX_KEY_BYTES = 65_535  # the format's own limit
MAX_KEPT_BYTES = 1 << 20  # of a text; longer ones are read past
MAX_KEPT_TEXTS_BYTES = 64 << 20
MAX_SPECIALS = 65_536
# Texts and lists within lists, all together: those are read one by one. The largest vocabularies
# have 260,000 tokens and 520,000 merges.
MAX_ITEMS = 1 << 22
MAX_DIMENSIONS = 4
MAX_NESTING = 4

STRING, ARRAY = 8, 9
FORMS = {
    **{0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?"},
    **{10: "<Q", 11: "<q", 12: "<d"},
}
CONTROL, USER_DEFINED = 3, 4
TOKENS, TOKEN_TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"


class GgufError(Exception):
    """The file is no GGUF file, or none that can be believed."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A header. `array_lengths` tells the sizes of what is not kept; `specials` are the texts of
    control and user-defined tokens; `n_parameters` counts all tensors' numbers."""

    version: int
    size_bytes: int
    n_tensors: int
    n_vocab: int
    n_parameters: int
    metadata: Mapping[str, Value]
    array_lengths: Mapping[str, int]
    specials: frozenset[str] = field(default_factory=frozenset)

    def text(self, key: str) -> str:
        """A value of the metadata as a text; empty where there is none."""
        return str(self.metadata.get(key, ""))

    def number(self, *keys: str) -> int:
        """The first of these that is a whole number; 0 where there is none."""
        for key in keys:
            value = self.metadata.get(key)
            if type(value) is int:
                return value
        return 0


def read_header(path: Path, known: Collection[str] = ()) -> GgufHeader:
    """The header of `path`; raises GgufError and OSError.

    Texts in `known` count as control tokens whatever the file says of them: llama.cpp too
    overrides the type of what looks like a sentinel (src/llama-vocab.cpp).
    """
    size_bytes = path.stat().st_size
    if not path.is_file():
        raise GgufError(f"{path} is no file")
    with path.open("rb", buffering=1 << 20) as stream:
        try:
            return _Reader(stream, size_bytes, known).header()
        except GgufError as error:
            raise GgufError(f"{path}: {error}") from error


class _Reader:
    """One pass over the bytes of a header."""

    def __init__(self, stream: BinaryIO, size_bytes: int, known: Collection[str]) -> None:
        self._stream = stream
        self._known = frozenset(known)
        self._size_bytes = size_bytes
        self._left = size_bytes
        self._kept_bytes = 0
        self._n_items = 0
        self._values: dict[str, Value] = {}
        self._lengths: dict[str, int] = {}
        self._texts: list[str] = []
        self._types: tuple[int, ...] = ()

    def header(self) -> GgufHeader:
        """All of it."""
        version = self._version()
        n_tensors, n_keys = self._number("<Q"), self._number("<Q")
        # A key has 13 bytes at least, a tensor 24.
        if n_keys > min(MAX_KEYS, self._left // 13):
            raise GgufError(f"its header claims {n_keys} keys, which cannot be")
        if n_tensors > min(MAX_TENSORS, self._left // 24):
            raise GgufError(f"its header claims {n_tensors} tensors, which cannot be")
        for _ in range(n_keys):
            self._key_and_value()
        n_parameters = sum(self._tensor() for _ in range(n_tensors))
        return GgufHeader(
            version=version,
            size_bytes=self._size_bytes,
            n_tensors=n_tensors,
            n_vocab=self._lengths.get(TOKENS, 0),
            n_parameters=n_parameters,
            metadata=self._values,
            array_lengths=self._lengths,
            specials=self._specials(),
        )

    def _version(self) -> int:
        if self._size_bytes < 24 or self._bytes(4) != MAGIC:
            raise GgufError("not a GGUF model file (it does not begin with 'GGUF')")
        version = self._number("<I")
        if version not in VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            what = "written for big-endian machines" if swapped in VERSIONS else "not known here"
            raise GgufError(f"GGUF of version {min(version, swapped)}, which is {what}")
        return version

    def _key_and_value(self) -> None:
        length = self._number("<Q")
        if length > MAX_KEY_BYTES:
            raise GgufError(f"its header has a key of {length} bytes, which cannot be")
        key = self._bytes(length).decode("utf-8", "replace")
        kind = self._number("<I")
        if kind == ARRAY:
            self._array(key, 0)
        elif kind == STRING:
            text = self._text()
            if text is not None:
                self._values[key] = text
        else:
            self._values[key] = self._number(self._form(kind))

    def _array(self, key: str, depth: int) -> None:
        if depth >= MAX_NESTING:
            raise GgufError(f"lists within lists in its key {key!r}: too deep")
        item, count = self._number("<I"), self._number("<Q")
        if depth == 0:
            self._lengths[key] = count
        # An item takes a byte at least, a text eight, a list twelve.
        smallest = {STRING: 8, ARRAY: 12}.get(item) or struct.calcsize(self._form(item))
        if count > self._left // smallest:
            raise GgufError(f"its key {key!r} claims {count} items, more than the file holds")
        is_types = key == TOKEN_TYPES and item in (4, 5) and depth == 0
        self._n_items += count if is_types or item in (STRING, ARRAY) else 0
        if self._n_items > MAX_ITEMS:
            raise GgufError(f"its key {key!r} has {count} items, more than any model has")
        if item == ARRAY:
            for _ in range(count):
                self._array(key, depth + 1)
        elif item == STRING:
            self._text_items(count, kept=key == TOKENS and depth == 0)
        elif is_types:
            self._types = struct.unpack(f"<{count}i", self._bytes(4 * count))
        else:
            self._skip(count * smallest)

    def _text_items(self, count: int, kept: bool) -> None:
        for _ in range(count):
            if kept:
                self._texts.append(self._text() or "")
            else:
                self._skip(self._number("<Q"))

    def _tensor(self) -> int:
        self._skip(self._number("<Q"))  # its name
        n_dimensions = self._number("<I")
        if n_dimensions > MAX_DIMENSIONS:
            raise GgufError(f"a tensor of {n_dimensions} dimensions, which cannot be")
        n_numbers = 1
        for _ in range(n_dimensions):
            n_numbers *= self._number("<Q")
        self._skip(12)  # its type and its place
        # 64 numbers a byte is finer than any quantization there is.
        if n_numbers > 64 * self._size_bytes:
            raise GgufError("a tensor that is larger than the file; it may be incomplete")
        return n_numbers

    def _specials(self) -> frozenset[str]:
        if len(self._types) != len(self._texts):
            return frozenset()
        typed = zip(self._texts, self._types, strict=True)
        found = [text for text, kind in typed if kind in (CONTROL, USER_DEFINED)]
        return frozenset(found[:MAX_SPECIALS]) | self._known.intersection(self._texts)

    def _text(self) -> str | None:
        length = self._number("<Q")
        self._kept_bytes += length
        if length > MAX_KEPT_BYTES or self._kept_bytes > MAX_KEPT_TEXTS_BYTES:
            self._skip(length)
            return None
        return self._bytes(length).decode("utf-8", "replace")

    def _form(self, kind: int) -> str:
        if kind not in FORMS:
            raise GgufError(f"a value of a type that there is not ({kind})")
        return FORMS[kind]

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
            raise GgufError("its header ends in the middle: the file is incomplete or damaged")
        self._left -= length
