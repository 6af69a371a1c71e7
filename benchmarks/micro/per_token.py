"""Python's share of a generated token: the decode loop's time less llama_decode's own."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from slm_lsp.config import Config
from slm_lsp.deadline import SYSTEM_CLOCK, CancelToken, Deadline
from slm_lsp.engine.base import EngineStats
from slm_lsp.engine.kv import KvCache
from slm_lsp.engine.llama import LlamaDecoder
from slm_lsp.engine.run import Run
from slm_lsp.types import GenerationRequest, Prompt, StopRule, Text
from slm_lsp.wiring import load_decoder

CODE = "def total_of(items, limit):\n    total = 0\n    for item in items:\n"


class _Timed:
    """The native API with llama_decode timed."""

    def __init__(self, native: Any) -> None:
        self._native = native
        self.decode_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def llama_decode(self, context: Any, batch: Any) -> int:
        before = time.perf_counter()
        code = self._native.llama_decode(context, batch)
        self.decode_s += time.perf_counter() - before
        return int(code)


def measure(n_runs: int, n_tokens: int = 48) -> tuple[list[float], list[float]]:
    """Milliseconds a token in Python and in llama_decode, one figure a run."""
    config = replace(Config(), context_tokens=1024)
    decoder = load_decoder(config, lambda text, done: None)
    assert isinstance(decoder, LlamaDecoder)
    timed = _Timed(decoder._native)
    decoder._native = timed
    # No end of text, so that every run writes the same number of tokens.
    decoder.vocabulary.ends = frozenset()
    prompt = Prompt((Text(CODE),), StopRule(strings=("\0",), indent_columns=0), (), n_tokens)
    python_ms, native_ms = [], []
    kv = KvCache(decoder, SYSTEM_CLOCK, EngineStats())
    for i in range(n_runs + 1):
        request = GenerationRequest("bench", prompt, Deadline.after(60_000.0), CancelToken())
        run = Run(kv, request, SYSTEM_CLOCK)
        timed.decode_s = 0.0
        started = time.perf_counter()
        generation = run.finish()
        elapsed_s = time.perf_counter() - started
        kv.cut(generation.n_prompt - 1)  # or the next run would know what to write
        if i and generation.n_predicted:
            python_ms.append((elapsed_s - timed.decode_s) * 1e3 / generation.n_predicted)
            native_ms.append(timed.decode_s * 1e3 / generation.n_predicted)
    decoder.close()
    return python_ms, native_ms
