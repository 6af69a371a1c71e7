"""Batches of samples of like length, in an order that can be taken up anywhere.

Owns: which samples stand together, the padding, and how much each token counts in the loss.

Invariant: pure. Every sample is in exactly one batch of an epoch, and batch `i` of (seed, epoch) is
the same whether or not those before it were made. Arrays are [batch, time].

Threads: any.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.training.shard_file import Shard

BUCKET_TOKENS = 32


@dataclass(frozen=True, slots=True)
class LossWeights:
    """What a token counts, by the part of the sample it stands in; `middle` includes the end
    token, `prefix` all of a sample without a middle."""

    suffix: float = 0.3
    prefix: float = 1.0
    middle: float = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """`targets[b, t]` is the token behind `tokens[b, t]`; `weights[b, t]` is what predicting it
    counts, 0 for padding and for sentinels. `lengths[b]` are the inputs that are not padding."""

    tokens: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.int64]
    in_middle: npt.NDArray[np.bool_]


def padded(n_tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Lengths rounded up to a whole number of buckets."""
    return (n_tokens + BUCKET_TOKENS - 1) // BUCKET_TOKENS * BUCKET_TOKENS


def width_of(shard: Shard, indices: npt.NDArray[np.int64]) -> int:
    """How wide the batch of these samples is."""
    return int(padded(shard.lengths[indices] - 1).max())


def plan(shard: Shard, tokens_per_batch: int, seed: int, epoch: int) -> list[npt.NDArray[np.int64]]:
    """The sample indices of each batch of an epoch, in order.

    A batch of width t has `tokens_per_batch // t` samples, at least one. What is left over of one
    width is taken along to the next, so that few batches are small.
    """
    rng = np.random.default_rng((seed, epoch))
    drawn = rng.permutation(shard.n_samples)
    widths = padded(shard.lengths - 1)[drawn]
    planned: list[npt.NDArray[np.int64]] = []
    left = drawn[:0]
    for width in np.unique(widths):
        indices = np.concatenate((left, drawn[widths == width]))
        n_rows = max(1, tokens_per_batch // int(width))
        n_full = len(indices) // n_rows * n_rows
        planned.extend(np.split(indices[:n_full], n_full // n_rows) if n_full else ())
        left = indices[n_full:]
    if len(left):
        planned.append(left)
    return [planned[i] for i in rng.permutation(len(planned))]


def batches(
    shard: Shard,
    tokens_per_batch: int,
    *,
    seed: int,
    epoch: int,
    start_step: int = 0,
    weights: LossWeights = LossWeights(),
) -> Iterator[Batch]:
    """The batches of one epoch from `start_step` on."""
    starts = shard.starts()
    for indices in plan(shard, tokens_per_batch, seed, epoch)[start_step:]:
        yield batch_of(shard, indices, starts, weights)


def batch_of(
    shard: Shard,
    indices: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    weights: LossWeights,
) -> Batch:
    """The batch of the samples at `indices`, as wide as the longest needs."""
    lengths = shard.lengths[indices]
    shape = len(indices), width_of(shard, indices)
    tokens = np.zeros(shape, np.int64)
    targets = np.zeros(shape, np.int64)
    counted = np.zeros(shape, np.float32)
    in_middle = np.zeros(shape, np.bool_)
    for row, (i, n) in enumerate(zip(indices, lengths, strict=True)):
        sample = shard.tokens[starts[i] : starts[i + 1]]
        middle = int(shard.middle_start[i])
        worth = np.full(n, weights.prefix, np.float32)
        worth[shard.suffix_start[i] : shard.suffix_end[i]] = weights.suffix
        worth[middle:] = weights.middle
        tokens[row, : n - 1] = sample[:-1]
        targets[row, : n - 1] = sample[1:]
        counted[row, : n - 1] = worth[1:]
        in_middle[row, max(middle - 1, 0) : n - 1] = True
    counted[np.isin(targets, shard.control)] = 0.0
    return Batch(tokens, targets, counted, lengths - 1, in_middle)
