"""What a GGUF file says of itself before its weights: metadata, vocabulary, tensors.

Owns: reading the header without any native library, so that a file can be judged before a
library that would crash on it sees it. Format: ggml's docs/gguf.md.

Invariant: nothing is read past the file's end, whatever the header claims; what is not GGUF, or
is not whole, raises ModelLoadError.

Threads: any.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from slm_lsp.engine.base import ModelLoadError

MAGIC = b"GGUF"
NUMBERS = {
    **{0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?"},
    **{10: "<Q", 11: "<q", 12: "<d"},
}
INT32, FLOAT32, STRING, ARRAY = 5, 6, 8, 9
MAX_DIMENSIONS = 4
ALIGNMENT = 32


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's name, dimensions (the fastest first), ggml type, and place behind `weights_at`."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """See the module. Texts are decoded with surrogates for what is not UTF-8; `item_kinds` are
    the types of what each list holds."""

    version: int
    values: dict[str, Any]
    item_kinds: dict[str, int]
    tensors: tuple[Tensor, ...]
    weights_at: int

    @property
    def architecture(self) -> str:
        return str(self.values.get("general.architecture", ""))

    def of_architecture(self, key: str, default: Any = None) -> Any:
        """The value of `<architecture>.<key>`."""
        return self.values.get(f"{self.architecture}.{key}", default)


class _Reader:
    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._size = path.stat().st_size
        self._long = True

    def header(self) -> GgufHeader:
        version = self._number("<I")
        if not 1 <= version <= 3:
            raise ModelLoadError(
                f"{self._path} is GGUF of version {version}, which is not known here"
                + (" (or of a big-endian machine)" if not version & 0xFFFF else "")
            )
        self._long = version > 1
        n_tensors, n_values = self._count(), self._count()
        values: dict[str, Any] = {}
        item_kinds: dict[str, int] = {}
        for _ in range(n_values):
            key, kind = self._string(), self._number("<I")
            if kind == ARRAY:
                item_kinds[key] = self._number("<I")
                values[key] = self._list(item_kinds[key])
            else:
                values[key] = self._value(kind)
        tensors = tuple(self._tensor() for _ in range(n_tensors))
        alignment = values.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1:
            raise self._broken(f"its alignment is {alignment!r}")
        end = self._file.tell()
        return GgufHeader(version, values, item_kinds, tensors, end + -end % alignment)

    def _tensor(self) -> Tensor:
        name, n_dimensions = self._string(), self._number("<I")
        if n_dimensions > MAX_DIMENSIONS:
            raise self._broken(f"a tensor of {n_dimensions} dimensions")
        shape = tuple(self._count() for _ in range(n_dimensions))
        return Tensor(name, shape, self._number("<I"), self._number("<Q"))

    def _value(self, kind: int) -> Any:
        if kind in NUMBERS:
            return self._number(NUMBERS[kind])
        if kind == STRING:
            return self._string()
        raise self._broken(f"a value of the unknown type {kind}")

    def _list(self, item: int) -> list[Any]:
        n = self._count()
        if item in NUMBERS:
            form = f"<{n}{NUMBERS[item][1]}"
            return list(struct.unpack(form, self._bytes(n * struct.calcsize(NUMBERS[item]))))
        if item != STRING:
            raise self._broken("a list of lists")
        return [self._string() for _ in range(n)]

    def _string(self) -> str:
        return self._bytes(self._count()).decode("utf-8", "surrogateescape")

    def _count(self) -> int:
        n = int(self._number("<Q" if self._long else "<I"))
        if n > self._size:  # every one of them takes a byte and more
            raise self._broken("a count larger than the file")
        return n

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]

    def _bytes(self, n_bytes: int) -> bytes:
        found = self._file.read(n_bytes) if n_bytes <= self._size else b""
        if len(found) < n_bytes:
            raise self._broken("it ends within its header")
        return found

    def _broken(self, why: str) -> ModelLoadError:
        return ModelLoadError(
            f"{self._path} is broken ({why}). If the file was copied or downloaded, it may be "
            "incomplete: obtain it again."
        )


def read_magic(path: Path) -> bytes:
    """A model file's first four bytes. Raises ModelLoadError for what cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise ModelLoadError(
            f"cannot read the model file {path}: {error.strerror or error}"
        ) from error


def read_header(path: Path) -> GgufHeader:
    """The header of a GGUF file. Raises ModelLoadError."""
    if read_magic(path) != MAGIC:
        raise ModelLoadError(f"{path} is not a GGUF model file (it does not begin with 'GGUF')")
    with path.open("rb") as file:
        file.seek(len(MAGIC))
        return _Reader(file, path).header()
