"""The one command, from this repository's own source to a file that completes code.

Two minutes, most of it starting PyTorch and llama.cpp; the model that comes out is of no use.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("gguf")
pytest.importorskip("tokenizers")

from models.training import train
from models.training.curve import read_log
from models.training.recipe import SMOKE

pytestmark = pytest.mark.training
REPOSITORY = Path(__file__).resolve().parents[2]


def command(work: Path, *more: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "models.training", "--work", str(work), "--recipe", "smoke", *more],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def complete(model: Path) -> str:
    """What the server would insert after `def add(a, b):`, or why nothing: the model is of no use,
    but it must load and be asked."""
    done = subprocess.run(
        [sys.executable, "-m", "slm_lsp", "complete", "--model", str(model), "example.py:2:1"],
        cwd=model.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0 or "no completion: " in done.stderr, done.stderr
    return done.stdout or done.stderr


def test_one_command_makes_a_model_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    command(tmp_path)
    model = tmp_path / "slm-fim-135m.gguf"
    rows = read_log(tmp_path / "run" / train.LOG)
    assert rows[-1]["n_seen"] >= SMOKE.total_tokens
    assert 80e6 < model.stat().st_size < 95e6
    assert (tmp_path / "curve.svg").stat().st_size > 1000

    n_seen = rows[-1]["n_seen"]
    command(tmp_path, "--set", f"total_tokens={n_seen + 1000}")
    first = read_log(tmp_path / "run" / train.LOG)
    assert min(row["n_seen"] for row in first[len(rows) :]) >= n_seen

    (tmp_path / "example.py").write_text("def add(a, b):\n\n\nprint(add(1, 2))\n")
    assert complete(model).strip()
