"""The default model's vocabulary: SmolLM2's, less the tokens that code never uses.

Owns: which tokens of the base model are kept (`kept_tokens.txt`), their new ids, the sentinels
that take the place of unused control tokens, and the tokenizer made from them.

Invariant: every kept token can be reached by kept merges alone, so that any text still has a
tokenization; control tokens keep their ids, and plain text never becomes one of them.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gguf import GGUFReader
from tokenizers import Tokenizer as BpeTokenizer
from tokenizers import models, pre_tokenizers

KEPT = Path(__file__).with_name("kept_tokens.txt")
CONTROL = 3  # `tokenizer.ggml.token_type` of a control token
TOKENS_PER_LINE = 1024

# Control tokens of the base model that code never holds, and what they become. <repo_name> and
# <file_sep> have the meaning that they had in pre-training.
RENAMED = {
    "<reponame>": "<fim_pad>",
    "<filename>": "<fim_prefix>",
    "<gh_stars>": "<fim_middle>",
    "<issue_start>": "<fim_suffix>",
}


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Ids of the control tokens that examples are made with."""

    end: int
    repo_name: int
    file_sep: int
    fim_prefix: int
    fim_suffix: int
    fim_middle: int


@dataclass(frozen=True, slots=True)
class BaseVocabulary:
    """The base model's tokens as its GGUF lists them, in GPT-2's byte alphabet."""

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[tuple[str, str], ...]


def read_base(path: Path) -> BaseVocabulary:
    """The vocabulary of a GGUF file with a byte-level BPE tokenizer."""
    fields = GGUFReader(path).fields
    merges = fields["tokenizer.ggml.merges"].contents()
    return BaseVocabulary(
        tuple(fields["tokenizer.ggml.tokens"].contents()),
        tuple(fields["tokenizer.ggml.token_type"].contents()),
        tuple((left, right) for left, _, right in (merge.partition(" ") for merge in merges)),
    )


def closed(base: BaseVocabulary, wanted: Iterable[int]) -> tuple[int, ...]:
    """`wanted` with all that BPE needs on the way to them: parts, single bytes, control tokens."""
    ids = {token: i for i, token in enumerate(base.tokens)}
    parts = {left + right: (left, right) for left, right in reversed(base.merges)}
    kept = {i for i, kind in enumerate(base.types) if kind == CONTROL}
    kept |= {i for i, token in enumerate(base.tokens) if len(token) == 1}
    waiting = [base.tokens[i] for i in wanted]
    while waiting:
        token = waiting.pop()
        if ids[token] not in kept:
            kept.add(ids[token])
            waiting.extend(parts[token])
    return tuple(sorted(kept))


@dataclass(frozen=True)
class Vocabulary:
    """A part of the base vocabulary. `kept[new_id]` is a token's id in the base model."""

    base: BaseVocabulary
    kept: tuple[int, ...]

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """Text of every token in GPT-2's byte alphabet, sentinels under their new names."""
        return tuple(RENAMED.get(text, text) for text in (self.base.tokens[i] for i in self.kept))

    @cached_property
    def types(self) -> tuple[int, ...]:
        return tuple(self.base.types[i] for i in self.kept)

    @cached_property
    def merges(self) -> tuple[tuple[str, str], ...]:
        known = {self.base.tokens[i] for i in self.kept}
        return tuple(
            (left, right)
            for left, right in self.base.merges
            if left in known and right in known and left + right in known
        )

    def id_of(self, token: str) -> int:
        """The id of a token by its text; ValueError where it was not kept."""
        return self.tokens.index(token)

    @cached_property
    def sentinels(self) -> Sentinels:
        return Sentinels(
            end=self.id_of("<|endoftext|>"),
            repo_name=self.id_of("<repo_name>"),
            file_sep=self.id_of("<file_sep>"),
            fim_prefix=self.id_of("<fim_prefix>"),
            fim_suffix=self.id_of("<fim_suffix>"),
            fim_middle=self.id_of("<fim_middle>"),
        )


class Tokenizer:
    """Byte-level BPE as llama.cpp's `smollm` does it: digits apart, then GPT-2's words."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        ids = {token: i for i, token in enumerate(vocabulary.tokens)}
        self._bpe = BpeTokenizer(models.BPE(vocab=ids, merges=list(vocabulary.merges)))
        self._bpe.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; a sentinel's text in it stays plain text."""
        return list(self._bpe.encode(text).ids)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[int]]:
        """Token ids, and for each the code point offset at which it starts."""
        encoding = self._bpe.encode(text)
        return list(encoding.ids), [start for start, _ in encoding.offsets]


def write_kept(kept: Iterable[int], n_tokens: int, path: Path = KEPT) -> None:
    """Write kept ids as bits: one line of hexadecimal digits for 1,024 tokens, lowest id first."""
    bits = bytearray((n_tokens + 7) // 8)
    for i in kept:
        bits[i // 8] |= 1 << (i % 8)
    step = TOKENS_PER_LINE // 8
    lines = [bits[i : i + step].hex() for i in range(0, len(bits), step)]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def read_kept(path: Path = KEPT) -> tuple[int, ...]:
    """The ids that `write_kept` wrote, in ascending order."""
    bits = bytes.fromhex(path.read_text(encoding="ascii"))
    return tuple(i for i in range(8 * len(bits)) if bits[i // 8] >> (i % 8) & 1)


def load(base_gguf: Path) -> Vocabulary:
    """The vocabulary to train with, from the base model's file and the committed list."""
    return Vocabulary(read_base(base_gguf), read_kept())
