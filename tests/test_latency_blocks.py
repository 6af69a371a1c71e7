"""Random blocks stand for weights of the spread asked for; dequantized by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.latency.blocks import Bytes, blocks
from benchmarks.latency.weights import SHAPES, kinds, output_bias

SPREAD = 0.05


def half(raw: Bytes, start: int) -> Any:
    return raw[:, start : start + 2].copy().view(np.float16).astype(np.float64)


def q4_0(raw: Bytes) -> Any:
    nibbles = np.concatenate([raw[:, 2:] & 15, raw[:, 2:] >> 4], axis=1)
    return half(raw, 0) * (nibbles.astype(np.float64) - 8)


def q8_0(raw: Bytes) -> Any:
    return half(raw, 0) * raw[:, 2:].copy().view(np.int8)


def q4_k(raw: Bytes) -> Any:
    scales, low = raw[:, 4:16], raw[:, 4:8] & 63
    assert (low == 1).all()
    assert (scales[:, 4:8] & 63 == 1).all()
    assert ((scales[:, 8:12] & 15) == 1).all()
    assert ((scales[:, 8:12] >> 4) == 1).all()
    nibbles = np.concatenate([raw[:, 16:] & 15, raw[:, 16:] >> 4], axis=1)
    return half(raw, 0) * nibbles - half(raw, 2)


def q6_k(raw: Bytes) -> Any:
    low = np.concatenate([raw[:, :128] & 15, raw[:, :128] >> 4], axis=1)
    high = np.concatenate([(raw[:, 128:192] >> shift) & 3 for shift in (0, 2, 4, 6)], axis=1)
    assert (raw[:, 192:208] == 1).all()
    return half(raw, 208) * (low + 16.0 * high - 32)


@pytest.mark.parametrize(
    ("kind", "n_bytes", "values"),
    [("Q4_0", 18, q4_0), ("Q8_0", 34, q8_0), ("Q4_K", 144, q4_k), ("Q6_K", 210, q6_k)],
)
def test_blocks_have_the_mean_and_the_spread(kind: str, n_bytes: int, values: Any) -> None:
    made = blocks(kind, 64, 1024, SPREAD, np.random.Generator(np.random.PCG64(0)))
    again = blocks(kind, 64, 1024, SPREAD, np.random.Generator(np.random.PCG64(0)))
    assert (made == again).all()
    assert made.shape[0] == 64
    weights = values(made.reshape(-1, n_bytes))
    assert weights.size == 64 * 1024
    assert abs(weights.mean()) < 0.04 * SPREAD
    assert weights.std() == pytest.approx(SPREAD, rel=0.02)


def test_rows_must_be_whole_blocks() -> None:
    with pytest.raises(ValueError, match="896"):
        blocks("Q6_K", 1, 896, SPREAD, np.random.Generator(np.random.PCG64(0)))


@pytest.mark.parametrize(("name", "n_weights"), [("random-0.5b", 0.36e9), ("random-1.5b", 1.31e9)])
def test_the_shapes_have_the_published_sizes(name: str, n_weights: float) -> None:
    # 0.36 and 1.31 billion without the embedding, as the model cards say.
    total = sum(rows * columns for _, (rows, columns), _ in kinds(SHAPES[name]))
    assert total == pytest.approx(n_weights, rel=0.01)


def test_only_plain_words_compete_with_the_ends() -> None:
    tokens = ["Ġself", "return", "<|endoftext|>", "Ċ", "é", "Ġx1"]
    bias = output_bias([*tokens, *(f"Ġw{chr(97 + i)}" for i in range(20))], 2)
    assert bias[0] == bias[1] == 0
    assert (bias[[4, 5]] < -1000).all()
    assert bias[3] > bias[2] > -1000
