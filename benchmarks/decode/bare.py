"""Greedy decoding with nothing but llama.cpp's C functions and an argmax.

Owns: the loop that ours is measured by. It runs on the decoder's own native context, so that
model, memory and threads are the same, and leaves it empty.
"""

from __future__ import annotations

import ctypes
import time
from typing import Any

from slm_lsp.engine.llama import LlamaDecoder


class BareLoop:
    """One sequence of the decoder's context."""

    def __init__(self, decoder: LlamaDecoder) -> None:
        self._native: Any = decoder._native
        self._context: Any = decoder._context
        self._n_vocab = decoder.info.n_vocab
        self._views: dict[int, Any] = {}

    def run(self, prompt: list[int], n_tokens: int) -> tuple[list[int], float]:
        """What is written behind `prompt`, and how long every token but the first took."""
        memory = self._native.llama_get_memory(self._context)
        self._native.llama_memory_clear(memory, False)
        self._decode((ctypes.c_int32 * len(prompt))(*prompt), len(prompt))
        one = (ctypes.c_int32 * 1)()
        found = [self._likeliest()]
        started = time.perf_counter()
        while len(found) < n_tokens:
            one[0] = found[-1]
            self._decode(one, 1)
            found.append(self._likeliest())
        elapsed_ms = (time.perf_counter() - started) * 1e3
        self._native.llama_memory_clear(memory, False)
        return found, elapsed_ms / (n_tokens - 1)

    def _decode(self, tokens: Any, n_tokens: int) -> None:
        batch = self._native.llama_batch_get_one(tokens, n_tokens)
        if self._native.llama_decode(self._context, batch):
            raise RuntimeError("llama_decode failed")

    def _likeliest(self) -> int:
        pointer = self._native.llama_get_logits_ith(self._context, -1)
        address = ctypes.addressof(pointer.contents)
        if address not in self._views:
            import numpy

            self._views[address] = numpy.ctypeslib.as_array(pointer, (self._n_vocab,))
        return int(self._views[address].argmax())
