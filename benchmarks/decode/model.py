"""What the benchmarks of the engine alone have in common: a model, a text to read, and the
conditions that a result was measured under.

Owns: loading for a measurement. Nothing ends what the model writes.
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from typing import Any

from slm_lsp import __version__
from slm_lsp.config import Config
from slm_lsp.engine.llama import LlamaDecoder
from slm_lsp.types import Text
from slm_lsp.wiring import load_decoder


def load(config: Config) -> LlamaDecoder:
    """The configured model."""
    decoder = load_decoder(config, lambda text, done: None)
    assert isinstance(decoder, LlamaDecoder)
    decoder.vocabulary.ends = frozenset()
    return decoder


def beginning(decoder: LlamaDecoder, n_tokens: int) -> tuple[str, list[int]]:
    """Source text of about so many tokens, and these."""
    text = Path(argparse.__file__).read_text(encoding="utf-8")
    n_chars = n_tokens
    while len(decoder.tokenize([Text(text[:n_chars])])) < n_tokens:
        n_chars += 1
    return text[:n_chars], decoder.tokenize([Text(text[:n_chars])])


def conditions(benchmark: str, config: Config, decoder: LlamaDecoder) -> dict[str, Any]:
    """The first fields of a result."""
    return {
        "benchmark": benchmark,
        "slm_lsp": __version__,
        "python": platform.python_version(),
        "model": decoder.info.name,
        "cores": os.cpu_count(),
        "threads": config.n_threads,
        "batch_threads": config.n_threads_batch,
    }
