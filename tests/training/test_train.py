"""The loop: it learns, it stops and goes on, it follows its recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")
pytest.importorskip("tokenizers")

from tiny import SHAPE, network

from models.training import checkpoint, recipe, train
from models.training.curve import read_log
from models.training.examples import Sample
from models.training.optimizer import Optimizer
from models.training.recipe import Recipe, changed, learning_rate
from models.training.shard_file import Shard, shard_of

pytestmark = pytest.mark.training
TINY = Recipe(
    total_tokens=600,
    tokens_per_batch=64,
    peak_learning_rate=3e-3,
    warmup_tokens=64,
    decay_share=0.5,
    rounding_from=0.8,
    frozen_layers=1,
)


def shard() -> Shard:
    rng = np.random.default_rng(5)
    made = [[9 + int(i + rng.integers(3)) % 8 for i in range(20)] for _ in range(24)]
    return shard_of([Sample(tokens, 0, 4, 14, "x") for tokens in made], (), {})


def run_in(folder: Path, chosen: Recipe = TINY) -> train.Run:
    folder.mkdir(exist_ok=True)
    net = network()
    net.freeze(chosen.frozen_layers)
    exact = {name: p.detach().clone() for name, p in net.named_parameters()}
    run = train.Run(chosen, Optimizer(net, exact, chosen), torch.device("cpu"), folder, 1 << 20, {})
    run.evaluations = {"lines": (shard(), 8)}
    latest = folder / checkpoint.LATEST
    if latest.exists():
        state, run.progress = checkpoint.load(latest, run.device)
        run.optimizer.load(state)
    return run


def weights_of(run: train.Run) -> dict[str, Any]:
    return {name: value.clone() for name, value in run.optimizer.exact.items()}


def rows(folder: Path, key: str) -> list[dict[str, float]]:
    return [row for row in read_log(folder / train.LOG) if key in row]


def test_loss_falls(tmp_path: Path) -> None:
    chosen = changed(TINY, ["total_tokens=6000", "rounding_from=1.0"])
    train.train(run_in(tmp_path, chosen), shard(), 10_000)
    losses = [row["loss"] for row in rows(tmp_path, "loss")]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    whole = run_in(tmp_path / "whole")
    train.train(whole, shard(), 10_000)

    stopped = run_in(tmp_path / "parts")
    original = stopped.optimizer.step

    def step_and_stop(*arguments: object) -> float:
        stopped.stopping = stopped.progress.n_steps == 4
        return original(*arguments)  # type: ignore[arg-type]

    stopped.optimizer.step = step_and_stop  # type: ignore[method-assign, assignment]
    train.train(stopped, shard(), 10_000)
    assert 0 < stopped.progress.n_seen < TINY.total_tokens
    continued = run_in(tmp_path / "parts")
    assert continued.progress == stopped.progress
    train.train(continued, shard(), 10_000)

    assert continued.progress == whole.progress
    for name, value in weights_of(whole).items():
        assert torch.equal(value, continued.optimizer.exact[name]), name


def test_frozen_layers_stay_and_others_move(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    before = weights_of(run)
    train.train(run, shard(), 10_000)
    moved = {
        name for name, value in weights_of(run).items() if not torch.equal(value, before[name])
    }
    assert moved == {name for name in before if not name.startswith("layers.0.")}


def test_the_network_holds_the_rounding_of_the_exact_weights(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    train.train(run, shard(), 10_000)
    shown = dict(run.optimizer.network.named_parameters())
    name = "layers.2.ffn_down"
    values = run.optimizer.exact[name].reshape(-1, 32)
    assert len(shown[name].detach().reshape(-1, 32)[0].unique()) <= 16
    assert len(values[0].unique()) > 16


def test_what_the_fall_began_with_is_kept(tmp_path: Path) -> None:
    train.train(run_in(tmp_path), shard(), 10_000)
    _, at_fall = checkpoint.load(tmp_path / checkpoint.STABLE, torch.device("cpu"))
    assert TINY.decay_starts <= at_fall.n_seen < TINY.decay_starts + 2 * TINY.tokens_per_batch


def test_evaluations_are_logged_before_and_after(tmp_path: Path) -> None:
    train.train(run_in(tmp_path), shard(), 300)
    seen = [row["n_seen"] for row in rows(tmp_path, "evaluation")]
    assert seen[0] == 0
    assert len(seen) == 3
    assert seen[-1] >= TINY.total_tokens


def test_steps_done_twice_count_once(tmp_path: Path) -> None:
    lines = [{"n_seen": 0, "recipe": {}}, {"n_seen": 10, "loss": 1}, {"n_seen": 20, "loss": 2}]
    again = [{"n_seen": 10, "recipe": {}}, {"n_seen": 20, "loss": 3}]
    path = tmp_path / "log"
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, *again]))
    assert [row["loss"] for row in read_log(path) if "loss" in row] == [1, 3]


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"something": 1}, tmp_path / "latest.pt")
    with pytest.raises(ValueError, match="is no checkpoint"):
        checkpoint.load(tmp_path / "latest.pt", torch.device("cpu"))


def test_the_rate_rises_stays_and_falls() -> None:
    chosen = Recipe(
        total_tokens=1000,
        tokens_per_batch=10,
        peak_learning_rate=1.0,
        warmup_tokens=100,
        decay_share=0.4,
        final_share=0.01,
    )
    rates = {n: learning_rate(chosen, n) for n in (0, 40, 90, 300, 599, 800, 998, 1000)}
    assert rates == pytest.approx(
        {0: 0.1, 40: 0.5, 90: 1.0, 300: 1.0, 599: 1.0, 800: 0.5, 998: 0.01, 1000: 0.01}
    )


def test_a_recipe_is_changed_by_name() -> None:
    assert changed(recipe.CPU, ["seed=7", "clip_norm=0.5"]).seed == 7
    with pytest.raises(ValueError, match="'speed' is no part of a recipe"):
        changed(recipe.CPU, ["speed=9"])
    with pytest.raises(ValueError, match="'seed=x'"):
        changed(recipe.CPU, ["seed=x"])


def test_shape_of_the_tiny_network_has_whole_blocks() -> None:
    assert SHAPE.d_model % 32 == SHAPE.d_ff % 32 == 0
