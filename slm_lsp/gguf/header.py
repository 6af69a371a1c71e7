"""The values of a GGUF file's header: metadata, vocabulary, tensors' shapes.

Owns: what can be asked of a header, and the format's numbers (ggml, docs/gguf.md).

Invariant: pure. What was not kept of a file is never taken for what is not there.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Value = str | int | float | bool

MAGIC = b"GGUF"
INT32, FLOAT32, STRING, ARRAY = 5, 6, 8, 9
FORMS = {
    **{0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?"},
    **{10: "<Q", 11: "<q", 12: "<d"},
}
CONTROL, USER_DEFINED = 3, 4
TOKENS, TOKEN_TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
MAX_SPECIALS = 65_536


class GgufError(Exception):
    """The file is no GGUF file, or none that can be believed."""


class GgufVersionError(GgufError):
    """A GGUF file of a version that is not read."""


class Unkept:
    """A value that is in the file and was read past."""

    def __repr__(self) -> str:
        return "a list or a long text"


UNKEPT = Unkept()


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's name, dimensions (the fastest first), ggml type, and place behind `weights_at`."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A header. `metadata` holds single values and `lists` the lists that were asked for, whose
    texts have surrogates for what is not UTF-8; `kinds` and `item_kinds` are the types of all
    values and of what each list holds, `array_lengths` how much."""

    version: int
    size_bytes: int
    metadata: Mapping[str, Value]
    lists: Mapping[str, Sequence[Any]]
    kinds: Mapping[str, int]
    item_kinds: Mapping[str, int]
    array_lengths: Mapping[str, int]
    tensors: tuple[Tensor, ...]
    weights_at: int
    n_parameters: int

    @property
    def n_vocab(self) -> int:
        return self.array_lengths.get(TOKENS, 0)

    @property
    def architecture(self) -> str:
        return self.text("general.architecture")

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

    def value(self, key: str, default: Any = None) -> Any:
        """A single value; UNKEPT where there is another, `default` where there is none."""
        if key in self.metadata:
            return self.metadata[key]
        return UNKEPT if key in self.kinds else default

    def of_architecture(self, key: str, default: Any = None) -> Any:
        """The `value` of `<architecture>.<key>`."""
        return self.value(f"{self.architecture}.{key}", default)

    def specials(self, known: Collection[str] = ()) -> frozenset[str]:
        """The texts of control and user-defined tokens. Texts in `known` count as such whatever the
        file says of them: llama.cpp too overrides the type of what looks like a sentinel
        (src/llama-vocab.cpp)."""
        texts, types = self.lists.get(TOKENS, ()), self.lists.get(TOKEN_TYPES, ())
        if len(types) != len(texts) or self.item_kinds.get(TOKENS) != STRING:
            return frozenset()
        typed = zip(texts, types, strict=True)
        found = [text for text, kind in typed if kind in (CONTROL, USER_DEFINED)]
        return frozenset(found[:MAX_SPECIALS]) | frozenset(known).intersection(texts)
