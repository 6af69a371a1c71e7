"""Quantization-aware training: the forward pass sees weights as the shipped file will hold them.

Owns: rounding to Q4_0 and Q8_0 exactly as llama.cpp stores them, in PyTorch on any device.

Invariant: rounding is idempotent, and equal to `gguf.quants` up to float16 scales (tested).

Threads: any; pure functions.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 32


def rounded_q4_0(weights: Tensor) -> Tensor:
    """`weights [rows, n]` on the grid of Q4_0: 32 values share a scale, -8 to 7 steps each."""
    blocks = weights.reshape(-1, BLOCK)
    at = blocks.abs().argmax(1, keepdim=True)
    scale = blocks.gather(1, at) / -8
    inverse = torch.where(scale == 0, torch.zeros_like(scale), 1 / scale)
    steps = (blocks * inverse + 8.5).floor().clamp(0, 15) - 8
    return (steps * scale.half().to(weights.dtype)).reshape(weights.shape)


def rounded_q8_0(weights: Tensor) -> Tensor:
    """`weights [rows, n]` on the grid of Q8_0: 32 values share a scale, -127 to 127 steps each."""
    blocks = weights.reshape(-1, BLOCK)
    scale = blocks.abs().amax(1, keepdim=True) / 127
    inverse = torch.where(scale == 0, torch.zeros_like(scale), 1 / scale)
    return ((blocks * inverse).round() * scale.half().to(weights.dtype)).reshape(weights.shape)


def as_shipped(name: str, weights: Tensor) -> Tensor:
    """A parameter of the network as `weights.SHIPPED` stores it."""
    if "norm" in name:
        return weights
    return rounded_q4_0(weights) if "ffn" in name else rounded_q8_0(weights)
