"""How good the network is, without generating: one pass over what it should have written.

Owns: loss by part of the sample, and exact lines. Greedy decoding writes a line exactly if and only
if the most likely token is right at every place of it, so one forward pass tells.

Invariant: no gradient, nothing changed.

Threads: the training loop's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from models.training.batches import LossWeights, batches
from models.training.network import Network
from models.training.shard_file import Shard

EVALUATION_TOKENS = 2048
UNIT = LossWeights(suffix=1.0, prefix=1.0, middle=1.0)


@dataclass(frozen=True, slots=True)
class Score:
    """Losses in nats a token. `exact` counts middles right in every token but the end token,
    `ended` those at whose end the end token was the most likely."""

    n_samples: int
    exact: int
    ended: int
    middle_loss: float
    other_loss: float


@torch.no_grad()
def evaluate(network: Network, shard: Shard, device: torch.device, n_samples: int) -> Score:
    """Score the first `n_samples` of a shard."""
    chosen = shard.select(np.arange(min(n_samples, shard.n_samples)))
    exact = ended = 0
    sums = np.zeros(2)
    counts = np.zeros(2)
    for batch in batches(chosen, EVALUATION_TOKENS, seed=0, epoch=0, weights=UNIT):
        logits = F.linear(network(torch.from_numpy(batch.tokens).to(device)), network.token_embd)
        targets = torch.from_numpy(batch.targets).to(device)
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
        nats = loss.reshape(targets.shape).cpu().numpy()
        right = (logits.argmax(-1) == targets).cpu().numpy()
        counted = batch.weights > 0
        for i, part in enumerate((batch.in_middle, ~batch.in_middle)):
            sums[i] += nats[part & counted].sum()
            counts[i] += (part & counted).sum()
        rows = np.arange(len(right))
        last = batch.lengths - 1
        with_middle = batch.in_middle.any(1)
        ended += int((right[rows, last] & with_middle).sum())
        right[rows, last] = True
        exact += int(((right | ~batch.in_middle).all(1) & with_middle).sum())
    means = sums / np.maximum(counts, 1)
    return Score(chosen.n_samples, exact, ended, float(means[0]), float(means[1]))
