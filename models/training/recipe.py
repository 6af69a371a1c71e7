"""What a training run does: sizes, rates, and the learning rate over its course.

Owns: every number that changes the result. Time, device and file names are the rim's.

Invariant: frozen values and pure functions; the same recipe and shards give the same run.

Threads: any.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """Lengths are counted in tokens seen, padding left out.

    The learning rate rises, stays, and falls in a straight line over the last `decay_share`
    (warmup-stable-decay, 2404.06395): what was reached before the fall can be trained on.
    From `rounding_from` (a share of the run) on, the forward pass sees the rounded weights.
    """

    total_tokens: int
    tokens_per_batch: int = 4096
    peak_learning_rate: float = 4e-4
    warmup_tokens: int = 100_000
    decay_share: float = 0.35
    final_share: float = 0.02
    rounding_from: float = 0.0
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.98
    clip_norm: float = 1.0
    frozen_layers: int = 0
    suffix_weight: float = 0.3
    prefix_weight: float = 1.0
    middle_weight: float = 3.0
    seed: int = 1

    @property
    def decay_starts(self) -> int:
        """Tokens after which the learning rate falls."""
        return round(self.total_tokens * (1 - self.decay_share))


# On one accelerator, batches are larger and so are the steps.
ACCELERATOR = Recipe(
    total_tokens=300_000_000,
    tokens_per_batch=131_072,
    peak_learning_rate=1e-3,
    warmup_tokens=6_000_000,
    decay_share=0.3,
    rounding_from=0.6,
    beta2=0.95,
    middle_weight=2.0,
)
# Batches of 4,096 tokens want a low rate: at 4e-4 the loss stands still after a million tokens.
CPU = Recipe(
    total_tokens=4_000_000,
    peak_learning_rate=1e-4,
    warmup_tokens=60_000,
    decay_share=0.2,
    rounding_from=0.8,
    middle_weight=5.0,
    frozen_layers=8,
)
# Shows in two minutes that all parts fit; the model is of no use.
SMOKE = Recipe(total_tokens=2_000, tokens_per_batch=512, warmup_tokens=500)
RECIPES = {"cpu": CPU, "accelerator": ACCELERATOR, "smoke": SMOKE}


def learning_rate(recipe: Recipe, n_seen: int) -> float:
    """The rate of the step taken after `n_seen` tokens."""
    rising = min(1.0, (n_seen + recipe.tokens_per_batch) / max(1, recipe.warmup_tokens))
    left = recipe.total_tokens - n_seen
    falling = left / max(1, recipe.total_tokens - recipe.decay_starts)
    share = min(rising, max(recipe.final_share, min(1.0, falling)))
    return recipe.peak_learning_rate * share


def rounds(recipe: Recipe, n_seen: int) -> bool:
    """Whether the forward pass sees rounded weights by now."""
    return n_seen >= recipe.rounding_from * recipe.total_tokens


def changed(recipe: Recipe, settings: list[str]) -> Recipe:
    """The recipe with `name=value` settings; ValueError names what is wrong."""
    values = dataclasses.asdict(recipe)
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in values:
            raise ValueError(f"{name!r} is no part of a recipe; known: {', '.join(values)}")
        try:
            values[name] = type(values[name])(value)
        except ValueError as error:
            raise ValueError(f"{setting!r}: {error}") from error
    return Recipe(**values)
