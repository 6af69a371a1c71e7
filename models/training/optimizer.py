"""Weights while they are trained: exact ones that are stepped, rounded ones that are multiplied.

Owns: the float32 weights, AdamW's state, and the copy of them in the network.

Invariant: the network's parameters are always a rounding of the exact weights; gradients taken at
the rounded weights move the exact ones (straight-through, 1308.3432).

Threads: the training loop's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.training.four_bits import as_shipped
from models.training.network import Network
from models.training.recipe import Recipe


class Optimizer:
    """AdamW (1711.05101) over float32 weights; matrices decay, norms do not."""

    def __init__(self, network: Network, weights: dict[str, Tensor], recipe: Recipe) -> None:
        self.network = network
        self.recipe = recipe
        self.exact = weights
        self._trained = {name: weights[name] for name, _ in network.trained()}
        matrices = [value for value in self._trained.values() if value.dim() > 1]
        norms = [value for value in self._trained.values() if value.dim() == 1]
        self._adamw = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": recipe.weight_decay},
                {"params": norms, "weight_decay": 0.0},
            ],
            lr=recipe.peak_learning_rate,
            betas=(recipe.beta1, recipe.beta2),
            fused=True,
        )

    @torch.no_grad()
    def show(self, rounded: bool) -> None:
        """Write the weights into the network, rounded as they are shipped or not."""
        for name, parameter in self.network.named_parameters():
            value = self.exact[name]
            parameter.copy_(as_shipped(name, value) if rounded else value)

    def step(self, gradients: Sequence[Tensor], learning_rate: float, rounded: bool) -> float:
        """One step along the gradients of `network.trained()`; their norm before clipping."""
        for value, gradient in zip(self._trained.values(), gradients, strict=True):
            value.grad = gradient.float()
        norm = torch.nn.utils.clip_grad_norm_(self._trained.values(), self.recipe.clip_norm)
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
        self.show(rounded)
        return float(norm)

    def state(self) -> dict[str, Any]:
        """What `load` needs to go on exactly here."""
        return {"exact": self.exact, "adamw": self._adamw.state_dict()}

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned."""
        for name, value in state["exact"].items():
            self.exact[name].copy_(value)
        self._adamw.load_state_dict(state["adamw"])
