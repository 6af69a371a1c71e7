"""No broken model file that the check lets through ends the process that loads it.

A thousand by `python tests/contract/gguf_mutations.py 0 1000 FOLDER`, in two minutes.

Invariant: files are loaded by a process of its own, which forks.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from model_files import llama, qwen2

from slm_lsp.engine.base import ModelLoadError
from slm_lsp.engine.llama_load import check_file

N_IN_CI = 60
# What ended llama.cpp (0.3.34 of llama-cpp-python) before its header was looked at.
ENDED: list[dict[str, Any]] = [
    {"llama__attention__layer_norm_rms_epsilon": float("nan")},
    {"llama__expert_count": 8},
    {"llama__rope__scaling__type": "x"},
    {"tokenizer__ggml__model": "bert"},
    {"tokenizer__ggml__tokens": ["a"] * 400},
]
WRONG: list[dict[str, Any]] = [
    *ENDED,
    {"llama__block_count": 2**31},
    {"llama__embedding_length": 0},
    {"llama__context_length": -1.0},
    {"llama__rope__freq_base": 0.0},
    {"tokenizer__ggml__scores": [0.5]},
    {"tokenizer__ggml__token_type": ["a"] * 500},
    {"tokenizer__ggml__bos_token_id": 500_000},
    {"tokenizer__ggml__eos_token_id": "x"},
]


@pytest.mark.parametrize("changed", WRONG, ids=lambda changed: next(iter(changed)))
def test_a_header_that_cannot_be_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    key = {name.replace("__", "."): value for name, value in changed.items()}
    path = tmp_path / "model.gguf"
    path.write_bytes(llama(**{name.replace(".", "__"): value for name, value in key.items()}))
    with pytest.raises(ModelLoadError, match="is broken"):
        check_file(path)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "model.gguf"
    whole = llama()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelLoadError, match=r"is broken|may be incomplete"):
        check_file(path)


def test_good_headers_are_let_through(tmp_path: Path) -> None:
    for data in (
        llama(),
        llama(version=2),
        qwen2(),
        llama(tokenizer__ggml__eos_token_id=2**32 - 1),
    ):
        path = tmp_path / "model.gguf"
        path.write_bytes(data)
        check_file(path)


@pytest.mark.model
def test_broken_models_do_not_end_the_process(tmp_path: Path) -> None:
    program = Path(__file__).with_name("gguf_mutations.py")
    arguments = [sys.executable, str(program), "0", str(N_IN_CI), str(tmp_path)]
    path = os.pathsep.join((str(Path(__file__).parents[2]), str(program.parent)))
    ended = subprocess.run(
        arguments,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "refused by the check" in ended.stdout
    assert "'loaded'" in ended.stdout
