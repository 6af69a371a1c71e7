"""Vocabularies of real models, without weights, and copies of them with other sentinels.

Owns: five vocabularies (fixtures/vocabs), the families that are tried on them, and the spare
tokens that get a family's sentinels. Threads: the test's own.
"""

from __future__ import annotations

import lzma
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VOCABS = Path(__file__).parent / "fixtures" / "vocabs"
CONTROL, USER_DEFINED = 3, 4
# Bytes of a value by its type in GGUF; strings and arrays tell their own length.
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9


class Gguf:
    """A file without tensors: the place of every key's value."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        n_tensors, n_keys = struct.unpack_from("<QQ", data, 8)
        assert data[:4] == b"GGUF"
        assert n_tensors == 0
        self.values: dict[str, tuple[int, int]] = {}
        self._at = 24
        for _ in range(n_keys):
            key = self._string().decode()
            start = self._at
            self._skip(self._number("<I"))
            self.values[key] = (start, self._at)

    def _number(self, form: str) -> int:
        (number,) = struct.unpack_from(form, self.data, self._at)
        self._at += struct.calcsize(form)
        return int(number)

    def _string(self) -> bytes:
        length = self._number("<Q")
        self._at += length
        return self.data[self._at - length : self._at]

    def _skip(self, kind: int) -> None:
        if kind == STRING:
            self._string()
        elif kind == ARRAY:
            item, count = self._number("<I"), self._number("<Q")
            if item == STRING:
                for _ in range(count):
                    self._string()
            else:
                self._at += SIZES[item] * count
        else:
            self._at += SIZES[kind]

    def strings(self, key: str) -> list[bytes]:
        self._at = self.values[key][0] + 8
        return [self._string() for _ in range(self._number("<Q"))]

    def replace(self, values: Mapping[str, bytes]) -> bytes:
        """The file with other values; each begins with its type."""
        parts, end = [], 0
        for key, (start, stop) in self.values.items():
            parts += [self.data[end:start], values.get(key, self.data[start:stop])]
            end = stop
        return b"".join([*parts, self.data[end:]])


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def with_tokens(data: bytes, texts: Mapping[int, str], kind: int, name: str) -> bytes:
    """A vocabulary with some tokens' texts and types, and its name, replaced."""
    file = Gguf(data)
    tokens = file.strings("tokenizer.ggml.tokens")
    start, stop = file.values["tokenizer.ggml.token_type"]
    types = list(struct.unpack(f"<{len(tokens)}i", data[start + 16 : stop]))
    for token, text in texts.items():
        tokens[token], types[token] = text.encode(), kind
    listed = struct.pack("<IIQ", ARRAY, STRING, len(tokens)) + b"".join(map(string, tokens))
    return file.replace(
        {
            "tokenizer.ggml.tokens": listed,
            "tokenizer.ggml.token_type": data[start : start + 16]
            + struct.pack(f"<{len(types)}i", *types),
            "general.name": struct.pack("<I", STRING) + string(name.encode()),
        }
    )


@dataclass(frozen=True)
class Family:
    """A template's name, the vocabulary it is tried on, and the spare tokens it takes."""

    template: str
    vocab: str
    texts: str = ""
    first: int = 0
    name: str = ""


SPARE = {
    "qwen2": 151646,
    "llama-spm": 31990,
    "starcoder": 1,
    "refact": 49152,
    "deepseek-coder": 32022,
}
FAMILIES = {
    "starcoder2": Family("starcoder", "starcoder"),
    "refact": Family("starcoder", "refact"),
    "deepseek": Family("deepseek", "deepseek-coder"),
    # The true ids of Qwen2.5-Coder.
    "qwen": Family(
        "qwen",
        "qwen2",
        "<|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|>",
        first=151659,
    ),
    "codellama": Family("codellama", "llama-spm", "▁<PRE> ▁<MID> ▁<SUF> ▁<EOT>"),
    "codegemma": Family(
        "qwen",
        "llama-spm",
        "<|fim_prefix|> <|fim_suffix|> <|fim_middle|> <|file_separator|> <end_of_turn>",
    ),
    "codestral": Family("codestral", "llama-spm", "[PREFIX] [SUFFIX] [MIDDLE] [[PREFIX]"),
    "granite": Family(
        "starcoder", "starcoder", "<fim_prefix> <fim_middle> <fim_suffix> <fim_pad> <filename>"
    ),
    "mellum": Family(
        "mellum",
        "starcoder",
        "<fim_prefix> <fim_middle> <fim_suffix> <fim_pad> <reponame> <filename>",
        name="Mellum 4b Base",
    ),
    "santacoder": Family(
        "santacoder", "starcoder", "<fim-prefix> <fim-middle> <fim-suffix> <fim-pad>"
    ),
    "seed-coder": Family(
        "seed-coder", "qwen2", "<[fim-prefix]> <[fim-suffix]> <[fim-middle]> <[end▁of▁sentence]>"
    ),
    "falcon": Family("falcon", "qwen2", "<|prefix|> <|suffix|> <|middle|>"),
}


def vocabulary_bytes(name: str) -> bytes:
    """The file of a vocabulary as llama.cpp has it."""
    return lzma.decompress((VOCABS / f"ggml-vocab-{name}.gguf.xz").read_bytes())


def family_bytes(name: str, kind: int = CONTROL) -> bytes:
    """The vocabulary that a family is tried on, with the family's sentinels of that type."""
    family = FAMILIES[name]
    data = vocabulary_bytes(family.vocab)
    if not family.texts:
        return data
    texts = dict(enumerate(family.texts.split(), family.first or SPARE[family.vocab]))
    return with_tokens(data, texts, kind, family.name or "spare")
