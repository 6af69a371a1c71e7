"""Whether a GGUF file's header is one that llama.cpp can be given.

Owns: what is looked at before native code maps a file: that the header is whole, its vocabulary of
one piece, its sizes possible, and its weights within the file. llama.cpp refuses much by itself,
but ends the process where its own assertions fail, and with it every editor's completions.

Invariant: nothing native; what is refused raises ModelLoadError. No good model is refused: only
what every architecture needs is asked for.

Threads: any.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from slm_lsp.engine.base import ModelLoadError
from slm_lsp.gguf.header import FLOAT32, INT32, STRING, GgufError, GgufHeader
from slm_lsp.gguf.reader import read_header

UINT32 = 4
NO_TOKEN = 2**32 - 1
MAX_SIZE = 1 << 24
# Keys of an architecture that are a count of something there must be.
COUNTS = (
    *("context_length", "embedding_length", "block_count", "feed_forward_length"),
    *("attention.head_count", "attention.head_count_kv", "rope.dimension_count"),
    *("attention.key_length", "attention.value_length", "vocab_size"),
)
MAY_BE_NONE = frozenset({"attention.head_count_kv", "feed_forward_length", "attention.head_count"})
ROPE_SCALINGS = (None, "none", "linear", "yarn", "longrope")
# Of models that write nothing, or without a vocabulary: reading a piece of it ends the process.
NO_TOKENIZERS = ("bert", "none", "no_vocab")
LISTS = {"tokens": (STRING,), "scores": (FLOAT32,), "token_type": (INT32, UINT32)}
ADVICE = "If the file was copied or downloaded, it may be incomplete: obtain it again."


def check_header(path: Path) -> None:
    """Raise ModelLoadError where the file should not be given to llama.cpp."""
    header = _header(path)
    looks = (_wrong_vocabulary(header), _wrong_numbers(header), _wrong_tensors(path, header))
    why = next(chain.from_iterable(looks), None)
    if why is not None:
        raise ModelLoadError(f"{path} is broken ({why}). {ADVICE}")


def _header(path: Path) -> GgufHeader:
    """The header, with what is counted anew for each layer."""
    try:
        header = read_header(path, ())
        names = (f"{header.architecture}.{key}" for key in COUNTS)
        lists = tuple(name for name in names if name in header.item_kinds)
        return read_header(path, lists) if lists else header
    except GgufError as error:
        raise ModelLoadError(f"{error}. {ADVICE}") from error
    except OSError as error:
        why = error.strerror or error
        raise ModelLoadError(f"cannot read the model file {path}: {why}") from error


def _wrong_vocabulary(header: GgufHeader) -> Iterator[str]:
    n_tokens, tokenizer = header.n_vocab, header.value("tokenizer.ggml.model")
    if tokenizer in NO_TOKENIZERS:
        yield f"its tokenizer is {tokenizer!r}, which is of no model for text"
    for key, kinds in LISTS.items():
        name = f"tokenizer.ggml.{key}"
        if name not in header.kinds:
            continue
        if header.item_kinds.get(name) not in kinds:
            yield f"{name} is no list of what it should be"
        elif header.array_lengths[name] != n_tokens:
            yield f"{name} has {header.array_lengths[name]} items, and there are {n_tokens} tokens"
    for key in header.kinds:
        if key.startswith("tokenizer.ggml.") and key.endswith("_token_id"):
            value = header.value(key)
            is_token = type(value) is int and 0 <= value < n_tokens
            if not is_token and value != NO_TOKEN:
                yield f"{key} is {_shown(value)}, which is no token"


def _wrong_numbers(header: GgufHeader) -> Iterator[str]:
    for key in COUNTS:
        one = header.of_architecture(key)
        least = 0 if key in MAY_BE_NONE else 1
        for each in header.lists.get(f"{header.architecture}.{key}", (one,)):
            if each is not None and not (type(each) is int and least <= each <= MAX_SIZE):
                yield f"its {key} is {_shown(each)}"
    n_experts = header.of_architecture("expert_count", 0)
    n_used = header.of_architecture("expert_used_count", 0)
    if n_experts and not (type(n_used) is type(n_experts) is int and 0 < n_used <= n_experts):
        yield f"it has {_shown(n_experts)} experts and uses {_shown(n_used)}"
    if header.of_architecture("rope.scaling.type") not in ROPE_SCALINGS:
        yield f"its rope.scaling.type is {_shown(header.of_architecture('rope.scaling.type'))}"
    for key in header.kinds:
        value = header.value(key)
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{key} is {value}"
        elif key.endswith(("epsilon", "freq_base")) and not _is_positive(value):
            yield f"{key} is {_shown(value)}"


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and value > 0


def _wrong_tensors(path: Path, header: GgufHeader) -> Iterator[str]:
    n_bytes = path.stat().st_size - header.weights_at
    names = {tensor.name for tensor in header.tensors}
    if len(names) < len(header.tensors):
        yield "two tensors have one name"
    for tensor in header.tensors:
        if tensor.offset >= max(n_bytes, 1) or not all(0 < n <= MAX_SIZE for n in tensor.shape):
            yield f"its tensor {tensor.name[:80]!r} is not within the file"


def _shown(value: Any) -> str:
    return repr(value)[:80]
