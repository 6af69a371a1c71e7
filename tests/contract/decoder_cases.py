"""The decoders that the contract is held against: add a `DecoderCase` to `CASES`.

Owns: how each is made, and what a test must know of it.

Invariant: what is made is a fresh decoder on a small model that the tests have written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import model_files as files
import pytest

from slm_lsp.engine.base import Decoder
from slm_lsp.engine.fake import FakeDecoder

N_CTX = files.N_CTX


def _rule(tokens: Sequence[int]) -> int:
    """A letter that depends on every token before it."""
    state = 7
    for token in tokens:
        state = (state * 31 + token) % 104_729
    return ord("a") + state % 26


def _fake(path: Path) -> Decoder:
    return FakeDecoder(rule=_rule, n_ctx=N_CTX, n_sequences=2, n_cells=2 * N_CTX)


def _llama(path: Path) -> Decoder:
    from slm_lsp.engine.llama import LlamaDecoder

    return LlamaDecoder(path, path.name, n_ctx=N_CTX, n_sequences=2)


def _ctransformers(path: Path) -> Decoder:
    from slm_lsp.engine.ctransformers import CTransformersDecoder

    return CTransformersDecoder(path, path.name, n_ctx=N_CTX)


@dataclass(frozen=True)
class DecoderCase:
    """`library` as the setting calls it, "" for none; `model` is one of `files.MODELS`. `spaces`: a
    prompt's first text gets a space before it; `blanks`: "▁" is a space."""

    library: str
    model: str
    make: Callable[[Path], Decoder]
    spaces: bool = False
    blanks: bool = False

    @property
    def name(self) -> str:
        return f"{self.library or 'fake'}-{self.model}" if self.model else "fake"

    def load(self, folder: Path) -> Decoder:
        return self.make(files.made(folder, self.model) if self.model else folder)


CASES = (
    DecoderCase("", "", _fake),
    DecoderCase("llama.cpp", "llama", _llama, spaces=True, blanks=True),
    DecoderCase("llama.cpp", "qwen2", _llama),
    DecoderCase("ctransformers", "llama", _ctransformers, spaces=True, blanks=True),
    *(
        DecoderCase("ctransformers", name, _ctransformers, blanks=name == "replit")
        for name in files.GGML_SENTINELS
    ),
)


def marks(case: DecoderCase) -> list[pytest.MarkDecorator]:
    """What a test of the case needs: the library; CI installs both, so that none is left out."""
    return [pytest.mark.model] if case.library else []


def parameters(cases: Sequence[DecoderCase] = CASES) -> list[object]:
    """For `pytest.fixture(params=…)`."""
    return [pytest.param(case, id=case.name, marks=marks(case)) for case in cases]
