"""Model files of the format before GGUF: hyperparameters, vocabulary and tensors of four families.

Owns: their layouts, and the walk over a file that finds out which family's it is: nothing in
it says so. (Layouts: ggml's examples of mid 2023, as ctransformers 0.2.27 reads them.)

Invariant: a file that is accepted has exactly the tensors that its hyperparameters ask for, each of
the shape and type that the native loader expects, and ends behind the last: that loader takes a
file cut short without a word, and aborts on what it does not expect.

Threads: any.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from slm_lsp.engine.base import ModelLoadError

MAGIC = b"lmgg"  # 0x67676d6c, as it lies in the file
# Values to a block, and bytes that it takes, by ggml type.
BLOCKS = {
    **{0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34)},
    **{10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210)},
}
F32, F16 = 0, 1
# The type of a file's matrices, by the number that the file gives for all.
KIND_OF_FILE = {0: F32, 1: F16, 2: 2, 3: 3, 7: 8, 8: 6, 9: 7, **{n: n for n in range(10, 15)}}
VERSION_FACTOR = 1000
QUANTIZATION_VERSION = 2
MAX_WORD_BYTES = 1 << 16
MAX_LAYERS = 100  # of the nodes that a graph may have

Shapes = dict[str, tuple[tuple[int, ...], bool]]


class NotThisFamily(Exception):
    """The file does not fit a layout; the message says where."""


@dataclass(frozen=True, slots=True)
class Family:
    """One layout: the name that the library knows, the numbers at the file's head, whether the
    vocabulary's length and scores are there, and its tensors (True: of the file's own type)."""

    name: str
    numbers: str
    n_words_again: bool
    scores: bool
    shapes: Callable[[dict[str, int]], Shapes]
    optional: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GgmlFile:
    """What a file holds beside its weights."""

    family: str
    numbers: dict[str, int]
    words: list[bytes]
    scores: list[float]

    @property
    def n_ctx(self) -> int:
        return self.numbers["n_ctx"]


def _starcoder(n: dict[str, int]) -> Shapes:
    d = n["n_embd"]
    shapes: Shapes = {
        "model/ln_f/g": ((d,), False),
        "model/ln_f/b": ((d,), False),
        "model/wte": ((d, n["n_vocab"]), True),
        "model/wpe": ((d, n["n_ctx"]), False),
        "model/lm_head": ((d, n["n_vocab"]), True),
    }
    matrices = {"attn/c_attn": (d, 3 * d), "attn/c_proj": (d, d)}
    matrices |= {"mlp/c_fc": (d, 4 * d), "mlp/c_proj": (4 * d, d)}
    for i in range(n["n_layer"]):
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"model/h{i}/{norm}/{part}": ((d,), False) for part in "gb"}
        for name, shape in matrices.items():
            shapes[f"model/h{i}/{name}/w"] = shape, True
            shapes[f"model/h{i}/{name}/b"] = shape[1:], False
    return shapes


def _gptj(n: dict[str, int]) -> Shapes:
    d, shapes = n["n_embd"], _common(n, "ln_f", bias=True)
    shapes["lm_head.weight"] = (d, n["n_vocab"]), True
    shapes["lm_head.bias"] = (n["n_vocab"],), False
    for i in range(n["n_layer"]):
        layer = f"transformer.h.{i}"
        shapes |= {f"{layer}.ln_1.{part}": ((d,), False) for part in ("weight", "bias")}
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{layer}.attn.{part}.weight"] = (d, d), True
        for part, shape in (("fc_in", (d, 4 * d)), ("fc_out", (4 * d, d))):
            shapes[f"{layer}.mlp.{part}.weight"] = shape, True
            shapes[f"{layer}.mlp.{part}.bias"] = shape[1:], False
    return shapes


def _mpt(n: dict[str, int]) -> Shapes:
    d, shapes = n["n_embd"], _common(n, "norm_f", bias=False)
    for i in range(n["n_layer"]):
        layer = f"transformer.blocks.{i}"
        shapes |= {f"{layer}.{norm}.weight": ((d,), False) for norm in ("norm_1", "norm_2")}
        shapes[f"{layer}.attn.Wqkv.weight"] = (d, 3 * d), True
        shapes[f"{layer}.attn.out_proj.weight"] = (d, d), True
        shapes[f"{layer}.ffn.up_proj.weight"] = (d, 4 * d), True
        shapes[f"{layer}.ffn.down_proj.weight"] = (4 * d, d), True
    return shapes


def _common(n: dict[str, int], norm: str, bias: bool) -> Shapes:
    d = n["n_embd"]
    shapes: Shapes = {"transformer.wte.weight": ((d, n["n_vocab"]), True)}
    for part in ("weight", "bias") if bias else ("weight",):
        shapes[f"transformer.{norm}.{part}"] = (d,), False
    return shapes


FAMILIES = (
    Family(
        "starcoder",
        "n_vocab n_ctx n_embd n_head n_layer ftype",
        n_words_again=True,
        scores=False,
        shapes=_starcoder,
        optional=frozenset({"model/lm_head"}),
    ),
    Family("gptj", "n_vocab n_ctx n_embd n_head n_layer n_rot ftype", True, False, _gptj),
    Family("mpt", "n_embd n_ctx n_head n_layer n_vocab alibi clip ftype", False, False, _mpt),
    Family("replit", "n_embd n_ctx n_head n_layer n_vocab ftype", False, True, _mpt),
)


class _Reader:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size

    def bytes(self, n_bytes: int) -> bytes:
        found = self._file.read(n_bytes) if 0 <= n_bytes <= self.size else b""
        if len(found) < n_bytes or n_bytes < 0:
            raise NotThisFamily("the file is too short")
        return found

    def ints(self, n: int) -> tuple[int, ...]:
        return struct.unpack(f"<{n}i", self.bytes(4 * n))

    @property
    def n_left(self) -> int:
        return self.size - self._file.tell()

    def skip(self, n_bytes: int) -> None:
        if n_bytes > self.n_left:
            raise NotThisFamily("the file ends within a tensor")
        self._file.seek(n_bytes, os.SEEK_CUR)


def read_as(path: Path, family: Family) -> GgmlFile:
    """The file, if it is one of `family`; NotThisFamily otherwise."""
    with path.open("rb") as file:
        reader = _Reader(file)
        if reader.bytes(4) != MAGIC:
            raise NotThisFamily("it does not begin as GGML files do")
        names = family.numbers.split()
        numbers = dict(zip(names, reader.ints(len(names)), strict=True))
        _check_numbers(numbers)
        n_words = numbers["n_vocab"]
        if family.n_words_again and reader.ints(1) != (n_words,):
            raise NotThisFamily("its vocabulary has another size than it says")
        words, scores = _words(reader, n_words, family.scores)
        _check_tensors(reader, family, numbers)
    return GgmlFile(family.name, numbers, words, scores)


def _check_numbers(numbers: dict[str, int]) -> None:
    sizes = [value for name, value in numbers.items() if name not in ("ftype", "alibi", "clip")]
    if not all(0 < value < 1 << 24 for value in sizes):
        raise NotThisFamily("its sizes make no sense")
    if numbers["n_layer"] > MAX_LAYERS or numbers["n_embd"] % numbers["n_head"]:
        raise NotThisFamily("its sizes make no sense")
    if numbers["n_head"] == 1:
        raise NotThisFamily("it has a single head, at which ctransformers crashes")
    d_head = numbers["n_embd"] // numbers["n_head"]
    if "n_rot" in numbers and (numbers["n_rot"] > d_head or numbers["n_rot"] % 2):
        raise NotThisFamily("its sizes make no sense")
    if numbers["ftype"] % VERSION_FACTOR not in KIND_OF_FILE or numbers["ftype"] < 0:
        raise NotThisFamily(f"its type of weights ({numbers['ftype']}) is not known")


def _words(reader: _Reader, n_words: int, scores: bool) -> tuple[list[bytes], list[float]]:
    words: list[bytes] = []
    found: list[float] = []
    for _ in range(n_words):
        (n_bytes,) = reader.ints(1)
        if n_bytes > MAX_WORD_BYTES:
            raise NotThisFamily("its vocabulary cannot be read")
        words.append(reader.bytes(n_bytes))
        if scores:
            found += struct.unpack("<f", reader.bytes(4))
    return words, found


def _check_tensors(reader: _Reader, family: Family, numbers: dict[str, int]) -> None:
    kind = KIND_OF_FILE[numbers["ftype"] % VERSION_FACTOR]
    missing = family.shapes(numbers)
    while reader.n_left:
        n_dimensions, n_name, found_kind = reader.ints(3)
        if n_dimensions not in (1, 2):
            raise NotThisFamily("its tensors cannot be read")
        found_shape = reader.ints(n_dimensions)
        name = reader.bytes(n_name).decode("utf-8", "replace")
        if name not in missing:
            raise NotThisFamily(f"it has a tensor {name!r}")
        shape, own = missing.pop(name)
        wanted = (shape, kind if own else F32)
        if (found_shape, found_kind) != wanted:
            raise NotThisFamily(f"its tensor {name!r} is {found_shape} of type {found_kind}")
        n_values, n_bytes = BLOCKS[found_kind]
        if shape[0] % n_values:
            raise NotThisFamily(f"its tensor {name!r} has no whole blocks")
        reader.skip(shape[0] // n_values * n_bytes * (shape[1] if len(shape) > 1 else 1))
    if missing.keys() - family.optional:
        raise NotThisFamily(f"it lacks the tensor {min(missing)!r}: it may be incomplete")


def read_file(path: Path, family: str = "") -> GgmlFile:
    """The file, of that family or of the one it fits. Raises ModelLoadError."""
    reasons = []
    for each in FAMILIES:
        if family not in ("", each.name):
            continue
        try:
            return _checked(path, read_as(path, each))
        except NotThisFamily as reason:
            reasons.append(f"as {each.name}: {reason}")
        except OSError as error:
            raise ModelLoadError(f"cannot read {path}: {error.strerror or error}") from error
    raise ModelLoadError(
        f"{path} is no GGML file of {', '.join(each.name for each in FAMILIES)} that can be "
        f"loaded ({'; '.join(reasons)}). If it was copied or downloaded, it may be incomplete: "
        "obtain it again; or obtain the model as GGUF, which llama.cpp loads (library = llama.cpp)."
    )


def _checked(path: Path, found: GgmlFile) -> GgmlFile:
    version, kind = divmod(found.numbers["ftype"], VERSION_FACTOR)
    if kind > F16 and version != QUANTIZATION_VERSION:
        raise ModelLoadError(
            f"{path} was quantized in a way that ctransformers would misread (version {version}, "
            f"not {QUANTIZATION_VERSION}): obtain a later one, or the model as GGUF, which "
            "llama.cpp loads (library = llama.cpp)"
        )
    if found.family == "mpt":
        for word in found.words:
            try:
                word.decode()
            except UnicodeDecodeError:  # its loader would end the process
                raise ModelLoadError(f"{path}: its vocabulary is not UTF-8") from None
    return found
