"""How much memory a model needs at a context, computed from its shape.

Owns: the sum and its parts. Weights are the file's size, or parameters times bits where that is
not known; keys and values are kept as 16-bit numbers; the buffers are those of llama.cpp
without flash attention (docs/decisions/0008-flash-attention.md).

Invariant: pure; a number computed from an estimate says so. Threads: any.
"""

from __future__ import annotations

from dataclasses import dataclass

from slm_lsp.registry.quantizations import bits_per_weight
from slm_lsp.registry.specs import ModelSpec, Shape

CACHE_NUMBER_BYTES = 2
# A batch's logits, and its attention scores of one layer, are 32-bit numbers.
BATCH_TOKENS = 512
BUFFER_NUMBER_BYTES = 4


@dataclass(frozen=True, slots=True)
class Memory:
    """The parts of what is needed; `is_estimate` where the file's size is not known."""

    weights_bytes: int
    cache_bytes: int
    buffer_bytes: int
    is_estimate: bool

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.cache_bytes + self.buffer_bytes


def cache_bytes_per_token(shape: Shape) -> int:
    """Keys and values of one token."""
    return shape.n_layers * (shape.key_width + shape.value_width) * CACHE_NUMBER_BYTES


def weights_bytes(shape: Shape, quantization: str) -> int | None:
    """About how large a file of that quantization is; None where its bits are not known."""
    bits = bits_per_weight(quantization)
    return int(shape.n_parameters * bits / 8) if bits else None


def memory_of(shape: Shape, file_bytes: int, n_ctx: int, *, is_estimate: bool = False) -> Memory:
    """What a model of that shape, in a file of that size, needs for `n_ctx` tokens."""
    # One after the other, so that the larger decides; measured on the default model: 99.4 MiB at
    # 2,048 tokens (this gives 96), 166 at 8,192 (144).
    numbers = BATCH_TOKENS * max(shape.n_vocab, shape.n_heads * n_ctx)
    return Memory(
        weights_bytes=file_bytes,
        cache_bytes=shape.fixed_bytes + n_ctx * cache_bytes_per_token(shape),
        buffer_bytes=numbers * BUFFER_NUMBER_BYTES,
        is_estimate=is_estimate,
    )


def memory_needed(
    spec: ModelSpec, quantization: str | None = None, n_ctx: int | None = None
) -> Memory | None:
    """What a registry entry needs; None where its shape is not known.

    `n_ctx` is all that it was trained on unless given. Raises `SpecError` (unknown quantization).
    """
    wanted = spec.quantization(quantization)
    if spec.shape is None:
        return None
    size = wanted.size_bytes
    found = weights_bytes(spec.shape, wanted.name) if size is None else size
    if found is None:
        return None
    n_ctx = min(n_ctx or spec.context_tokens, spec.context_tokens)
    return memory_of(spec.shape, found, n_ctx, is_estimate=size is None)
