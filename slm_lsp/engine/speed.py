"""How fast a model is on this machine.

Owns: one measurement: a prompt read in one step, then single tokens written.

Invariant: the decoder is its own and is closed again.

Threads: the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slm_lsp.deadline import SYSTEM_CLOCK
from slm_lsp.engine.llama import LlamaDecoder

if TYPE_CHECKING:
    from slm_lsp.config import Config


@dataclass(frozen=True, slots=True)
class Speed:
    """Rates in tokens a second."""

    load_ms: float
    prefill_per_s: float
    decode_per_s: float


def measure(config: Config, path: Path, name: str, n_prompt: int, n_decode: int) -> Speed:
    """Load `path`, read `n_prompt` tokens and write `n_decode`. Raises ModelLoadError."""
    started_ms = SYSTEM_CLOCK.now_ms()
    decoder = LlamaDecoder(
        path,
        name,
        n_ctx=n_prompt + n_decode + 64,
        n_threads=config.n_threads,
        n_threads_batch=config.n_threads_batch,
        n_sequences=1,
    )
    try:
        loaded_ms = SYSTEM_CLOCK.now_ms()
        # Which tokens they are makes no difference to the time.
        prompt = [i % decoder.info.n_vocab for i in range(1000, 1000 + n_prompt)]
        decoder.feed(prompt[:32])
        decoder.truncate(0)
        warm_ms = SYSTEM_CLOCK.now_ms()
        decoder.feed(prompt)
        decoder.pick()
        read_ms = SYSTEM_CLOCK.now_ms()
        for _ in range(n_decode):
            decoder.feed([decoder.pick()[0]])
        written_ms = SYSTEM_CLOCK.now_ms()
    finally:
        decoder.close()
    return Speed(
        load_ms=loaded_ms - started_ms,
        prefill_per_s=n_prompt / (read_ms - warm_ms) * 1e3,
        decode_per_s=n_decode / (written_ms - read_ms) * 1e3,
    )
