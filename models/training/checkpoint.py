"""Where a run stands, on disk.

Owns: saving and loading of everything that a run needs to go on as if it had not stopped.

Invariant: a checkpoint is whole or not there; the one before it is kept until the next is whole.

Threads: the training loop's.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.training.optimizer import Optimizer
from models.training.recipe import Recipe

LATEST = "latest.pt"
# As it stood when the learning rate began to fall: what a longer run goes on from.
STABLE = "stable.pt"


@dataclass(slots=True)
class Progress:
    """How far a run has come. `step` counts batches of the epoch."""

    n_seen: int = 0
    n_steps: int = 0
    epoch: int = 0
    step: int = 0


def save(path: Path, optimizer: Optimizer, progress: Progress, recipe: Recipe) -> None:
    """Write beside the old checkpoint, then take its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    torch.save(
        {
            "optimizer": optimizer.state(),
            "progress": dataclasses.asdict(progress),
            "recipe": dataclasses.asdict(recipe),
        },
        beside,
    )
    os.replace(beside, path)


def load(path: Path, device: torch.device) -> tuple[dict[str, Any], Progress]:
    """The optimizer's state and the progress; ValueError if the file is none of ours."""
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
        return saved["optimizer"], Progress(**saved["progress"])
    except (KeyError, TypeError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} is no checkpoint of this program: {error}") from error
