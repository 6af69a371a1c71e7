"""`python -m models.training.train`: from shards and the base model's weights to a checkpoint.

Owns: the loop, its log, and the times at which it saves and evaluates.

Invariant: a run that was stopped and started again does the same steps as one that was not. At
most `SAVE_S` seconds of work are lost.

Threads: this one, and one a core inside `gradients`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from models.training import checkpoint, recipe, shard_file, vocabulary, weights
from models.training.batches import Batch, LossWeights, batches
from models.training.checkpoint import Progress
from models.training.evaluate import evaluate
from models.training.gradients import RECOMPILE_LIMIT, gradients
from models.training.network import Network, Shape
from models.training.optimizer import Optimizer
from models.training.recipe import Recipe

SAVE_S = 600.0
LOG = "log.jsonl"


@dataclass(slots=True)
class Run:
    """One run and where its files are."""

    recipe: Recipe
    optimizer: Optimizer
    device: torch.device
    folder: Path
    micro_tokens: int
    evaluations: dict[str, tuple[shard_file.Shard, int]]
    progress: Progress = field(default_factory=Progress)
    stopping: bool = False

    def log(self, **values: Any) -> None:
        line = json.dumps({"n_seen": self.progress.n_seen, **values})
        print(line, file=sys.stderr, flush=True)
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def save(self, name: str) -> None:
        checkpoint.save(self.folder / name, self.optimizer, self.progress, self.recipe)


def following(shard: shard_file.Shard, recipe: Recipe, progress: Progress) -> Iterator[Batch]:
    """Batches from where `progress` stands, epoch after epoch; keeps `progress` up to date."""
    worth = LossWeights(recipe.suffix_weight, recipe.prefix_weight, recipe.middle_weight)
    while True:
        for batch in batches(
            shard,
            recipe.tokens_per_batch,
            seed=recipe.seed,
            epoch=progress.epoch,
            start_step=progress.step,
            weights=worth,
        ):
            progress.step += 1
            yield batch
        progress.epoch += 1
        progress.step = 0


def score(run: Run) -> None:
    """Evaluate and log."""
    started = time.perf_counter()
    for name, (shard, n_samples) in run.evaluations.items():
        result = evaluate(run.optimizer.network, shard, run.device, n_samples)
        rounded = recipe.rounds(run.recipe, run.progress.n_seen)
        run.log(evaluation=name, rounded=rounded, **asdict(result))
    run.log(evaluation_s=round(time.perf_counter() - started, 1))


def train(run: Run, shard: shard_file.Shard, evaluate_tokens: int) -> None:
    """Train until the recipe's tokens are seen or the process is asked to stop."""
    progress = run.progress
    run.optimizer.show(recipe.rounds(run.recipe, progress.n_seen))
    saved = time.monotonic()
    next_score = progress.n_seen // evaluate_tokens * evaluate_tokens
    for batch in following(shard, run.recipe, progress):
        if progress.n_seen >= next_score:
            score(run)
            next_score += evaluate_tokens
        started = time.perf_counter()
        rate = recipe.learning_rate(run.recipe, progress.n_seen)
        stable = progress.n_seen < run.recipe.decay_starts
        loss, slopes = gradients(run.optimizer.network, batch, run.device, run.micro_tokens)
        n_tokens = int(batch.lengths.sum())
        progress.n_seen += n_tokens
        progress.n_steps += 1
        norm = run.optimizer.step(slopes, rate, recipe.rounds(run.recipe, progress.n_seen))
        seconds = time.perf_counter() - started
        run.log(
            loss=round(loss, 4),
            norm=round(norm, 3),
            rate=rate,
            tokens_per_s=round(n_tokens / seconds),
        )
        if stable and progress.n_seen >= run.recipe.decay_starts:
            run.save(checkpoint.STABLE)
        done = run.stopping or progress.n_seen >= run.recipe.total_tokens
        if done or time.monotonic() - saved > SAVE_S:
            run.save(checkpoint.LATEST)
            saved = time.monotonic()
        if done:
            break
    if not run.stopping:
        score(run)


def working_type(device: torch.device) -> torch.dtype:
    """What the network computes in. A CPU without instructions for bfloat16 is twenty times slower
    in it than in float32."""
    if device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32
    return torch.bfloat16


def prepare(options: argparse.Namespace, chosen: Recipe) -> Run:
    """The network with the weights to begin or to go on with."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    words = vocabulary.load(options.base)
    shape = Shape(len(words.kept))
    begun = weights.read(options.weights or options.base, words, shape)
    network = Network(shape).to(device, working_type(device))
    network.freeze(chosen.frozen_layers)
    if options.compile:
        torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
        for layer in network.layers:
            layer.compile()
    exact = {
        name: torch.from_numpy(begun[name]).to(device) for name, _ in network.named_parameters()
    }
    optimizer = Optimizer(network, exact, chosen)
    shards = options.shards
    evaluations = {
        name: (shard_file.read(path), options.evaluate_samples)
        for name in ("lines", "valid")
        if (path := shards[0].with_name(f"{shards[0].stem}-{name}.xz")).exists()
    }
    run = Run(chosen, optimizer, device, options.run, options.micro_tokens, evaluations)
    latest = options.run / (options.checkpoint or checkpoint.LATEST)
    if options.checkpoint and not latest.exists():
        raise SystemExit(f"train: no checkpoint {latest}: --checkpoint names a file in --run")
    if latest.exists():
        state, run.progress = checkpoint.load(latest, device)
        optimizer.load(state)
    return run


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(prog="python -m models.training.train", description=__doc__)
    add = parsed.add_argument
    add("--base", type=Path, required=True, help="GGUF of the base model")
    add("--weights", type=Path, help="GGUF to begin with (default: the base model)")
    add("--shards", type=Path, nargs="+", required=True, help="shards to train on")
    add("--run", type=Path, required=True, help="folder of checkpoints and log")
    add("--checkpoint", metavar="NAME", help="file in --run to go on from (default: the latest)")
    add("--recipe", choices=sorted(recipe.RECIPES), default="cpu")
    add("--set", nargs="*", default=[], metavar="NAME=VALUE", help="change the recipe")
    add("--micro-tokens", type=int, default=32_768, help="tokens computed at a time")
    add("--evaluate-tokens", type=int, default=250_000, help="tokens between evaluations")
    add("--evaluate-samples", type=int, default=100)
    add("--compile", action=argparse.BooleanOptionalAction, default=True)
    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    chosen = recipe.changed(recipe.RECIPES[options.recipe], options.set)
    options.run.mkdir(parents=True, exist_ok=True)
    run = prepare(options, chosen)
    run.log(recipe=asdict(chosen), device=str(run.device), cores=os.cpu_count())

    def stop(*_: object) -> None:
        run.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    train(
        run, shard_file.join([shard_file.read(p) for p in options.shards]), options.evaluate_tokens
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
