"""Blocks of quantized random weights, made without quantizing: bits are drawn, scales chosen.

Owns: the layouts of the quantizations used (ggml-common.h: block_q4_0, block_q8_0, block_q4_K,
block_q6_K).

Invariant: the weights that a block stands for have mean 0 (Q8_0 and Q6_K: half a step less) and
the standard deviation asked for.

Threads: any.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


def blocks(kind: str, n_rows: int, n_columns: int, spread: float, rng: Any) -> Bytes:
    """Random weights of mean 0 and that standard deviation, as a quantization's bytes."""
    n_weights, n_bytes = {
        "Q4_0": (32, 18),
        "Q8_0": (32, 34),
        "Q4_K": (256, 144),
        "Q6_K": (256, 210),
    }[kind]
    if n_columns % n_weights:
        raise ValueError(f"{n_columns} columns do not fit {kind}")
    n_blocks = n_rows * (n_columns // n_weights)
    raw = rng.integers(0, 256, (n_blocks, n_bytes), dtype=np.uint8)
    fill = {"Q4_0": _q4_0, "Q8_0": _q8_0, "Q4_K": _q4_k, "Q6_K": _q6_k}[kind]
    fill(raw, spread)
    return np.ascontiguousarray(raw.reshape(n_rows, -1))


def _half(value: float) -> Bytes:
    return np.frombuffer(np.float16(value).tobytes(), dtype=np.uint8)


def _q4_0(raw: Bytes, spread: float) -> None:
    """A scale, then 32 values of 4 bits less 8. 0 becomes 8, or the mean would not be 0."""
    nibbles = raw[:, 2:]
    nibbles[(nibbles & 0x0F) == 0] |= 0x08
    nibbles[(nibbles & 0xF0) == 0] |= 0x80
    raw[:, :2] = _half(spread / math.sqrt(2 * sum(i * i for i in range(8)) / 16))


def _q8_0(raw: Bytes, spread: float) -> None:
    """A scale, then 32 signed bytes."""
    raw[:, :2] = _half(spread / math.sqrt((256**2 - 1) / 12))


def _q4_k(raw: Bytes, spread: float) -> None:
    """Two scales, 8 times a scale and a minimum of 6 bits, then 256 values of 4 bits. With all
    of those 1, a weight is d * value - dmin, and dmin = 7.5 d makes the mean 0."""
    scale = spread / math.sqrt((16**2 - 1) / 12)
    raw[:, 0:2], raw[:, 2:4] = _half(scale), _half(7.5 * scale)
    raw[:, 4:12], raw[:, 12:16] = 1, 0x11


def _q6_k(raw: Bytes, spread: float) -> None:
    """256 values of 6 bits less 32, 16 scales of 8 bits, a scale of all."""
    raw[:, 192:208] = 1
    raw[:, 208:210] = _half(spread / math.sqrt((64**2 - 1) / 12))
