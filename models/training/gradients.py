"""Loss and gradients of a batch, on one accelerator or on several cores.

Owns: how a batch is cut up. On a CPU each core takes some of the rows alone, in its own thread
with one thread of arithmetic: cores meet once a batch instead of at every matrix, so another
process that takes a share of one core costs that share and no more.

Invariant: the sum over the parts is the gradient of the whole batch.

Threads: one a core, owned here, alive for one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from models.training.batches import Batch
from models.training.network import Network, weighted_loss

# Batches of many shapes, frozen layers and evaluation need a variant each; threads have their own.
RECOMPILE_LIMIT = 64

Part = tuple[Tensor, Tensor, Tensor]


def parts_of(batch: Batch, n_parts: int, device: torch.device) -> list[Part]:
    """Tokens, targets and weights of about `n_parts` slices of the rows."""
    rows = np.array_split(np.arange(len(batch.tokens)), min(n_parts, len(batch.tokens)))
    return [
        (
            torch.from_numpy(batch.tokens[part]).to(device),
            torch.from_numpy(batch.targets[part]).to(device),
            torch.from_numpy(batch.weights[part]).to(device),
        )
        for part in rows
    ]


def alone() -> None:
    """Make this thread compute on one core, and compile as many variants as it meets."""
    torch.set_num_threads(1)
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT


def _of_part(network: Network, part: Part, total: float) -> tuple[float, Sequence[Tensor]]:
    tokens, targets, weights = part
    loss = weighted_loss(network, network(tokens), targets, weights, total)
    return float(loss.detach()), torch.autograd.grad(loss, [p for _, p in network.trained()])


def gradients(
    network: Network, batch: Batch, device: torch.device, micro_tokens: int
) -> tuple[float, list[Tensor]]:
    """Mean weighted loss of a batch and its gradients, in the order of `trained`."""
    n_cores = torch.get_num_threads() if device.type == "cpu" else 1
    n_parts = max(n_cores, -(-batch.tokens.size // micro_tokens))
    total = float(batch.weights.sum())
    todo = parts_of(batch, n_parts, device)
    if device.type == "cpu":
        with ThreadPoolExecutor(n_cores, initializer=alone) as pool:
            done = list(pool.map(lambda part: _of_part(network, part, total), todo))
    else:
        done = [_of_part(network, part, total) for part in todo]
    loss = sum(value for value, _ in done)
    summed = [gradient.float() for gradient in done[0][1]]
    for _, more in done[1:]:
        torch._foreach_add_(summed, [gradient.float() for gradient in more])
    return loss, summed
