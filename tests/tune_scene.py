"""Machines and models made up for the tests of `tune`.

Invariant: what is measured of them follows from a few rates, and no clock is read.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from slm_lsp.tune.candidate import Candidate
from slm_lsp.tune.measurement import SIZES, Measurement
from slm_lsp.tune.recommend import Limits

GB = 10**9


def measured(
    write_ms: float = 10.0,
    read_ms: float = 2.0,
    threads: tuple[int, ...] = (1, 2),
    gain: float = 1.0,
    **others: Any,
) -> Measurement:
    """A model that writes and reads a token in so long with one thread, and in a `gain`-th of that
    with each further one."""
    by_threads = {count: 1.0 / (1.0 + (gain - 1.0) * (count - 1)) for count in threads}
    # A small step costs what a single token costs, and something for each further one.
    steps = {size: max(write_ms + read_ms * (size - 1) / 2, read_ms * size) for size in SIZES}
    values: dict[str, Any] = {
        "step_ms": {
            count: {size: share * ms for size, ms in steps.items()}
            for count, share in by_threads.items()
        },
        "write_ms": {count: share * write_ms for count, share in by_threads.items()},
        "step_slope_ms": 0.0,
        "write_slope_ms": 0.0,
        "n_ctx": 2048,
        "rss_bytes": 400_000_000,
        "pss_bytes": 300_000_000,
        "n_rounds": 7,
    }
    return Measurement(**{**values, **others})


def candidate(
    model: str = "small",
    quantization: str = "Q8_0",
    n_parameters: int = 135_000_000,
    figures: Measurement | None = None,
    **others: Any,
) -> Candidate:
    values: dict[str, Any] = {
        "model": model,
        "title": model,
        "quantization": quantization,
        "made_from": quantization,
        "n_parameters": n_parameters,
        "file_bytes": int(n_parameters * 8.5 / 8),
        "cache_bytes_per_token": 23_040,
        "trained_tokens": 8192,
        "measured": figures or measured(),
    }
    return Candidate(**{**values, **others})


def limits(**others: Any) -> Limits:
    values: dict[str, Any] = {
        "budget_ms": 250.0,
        "memory_bytes": 8 * GB,
        "prompt_tokens": 1024,
        "context_tokens": 2048,
        "n_cores": 2,
    }
    return Limits(**{**values, **others})


def gguf(path: Path, file_type: int = 1, n_parameters: int = 1 << 20) -> Path:
    """A file with the header of a small model, and with no weights that could be loaded."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    def number(key: str, value: int) -> bytes:
        return text(key) + struct.pack("<II", 4, value)

    numbers = {
        "general.file_type": file_type,
        **{"llama.block_count": 2, "llama.attention.head_count": 4},
        **{"llama.embedding_length": 64, "llama.context_length": 4096},
    }
    keys = [text("general.architecture") + struct.pack("<I", 8) + text("llama")]
    keys += [number(key, value) for key, value in numbers.items()]
    tensor = text("w") + struct.pack("<IQIQ", 1, n_parameters, 1, 0)
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, len(keys)) + b"".join(keys) + tensor
    path.write_bytes(header + bytes(2 * n_parameters))
    return path
