"""What a model that is not here would do, from one that was measured.

Owns: the scaling. Writing a token reads all weights once, so its time goes with the file's size;
reading computes with all weights for each token, so its time goes with their number.

Invariant: pure. Everything made here is marked as an estimate, and rests on the measured model
nearest in size: small models fill a machine less well, so that from a small one a large one
looks slower than it is.

Threads: any.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from slm_lsp.tune.candidate import Candidate
from slm_lsp.tune.measurement import Measurement
from slm_lsp.tune.recommend import N_CONTEXTS

# Python, numpy and llama.cpp's code, beside a model's own memory.
PROGRAM_BYTES = 80_000_000


def reference_for(candidate: Candidate, measured: Sequence[Candidate]) -> Candidate | None:
    """What its estimate rests on: the measured one of the nearest size. One in another
    quantization counts as farther away, as some are read several times faster than others."""
    known = [each for each in measured if each.measured is not None and not each.is_estimate]

    def distance(other: Candidate) -> float:
        off = abs(math.log(candidate.file_bytes / other.file_bytes))
        return off + (math.log(3.0) if other.quantization != candidate.quantization else 0.0)

    return min(known, key=distance, default=None)


def estimated(candidate: Candidate, measured: Sequence[Candidate], own_bytes: int) -> Candidate:
    """`candidate` with estimated figures, where anything was measured; `own_bytes` is the memory
    of its weights, contexts and buffers."""
    reference = reference_for(candidate, measured)
    if reference is None or reference.measured is None:
        return candidate
    by_bytes = candidate.file_bytes / reference.file_bytes
    by_weights = candidate.n_parameters / reference.n_parameters
    known = reference.measured
    made = Measurement(
        step_ms={
            threads: {size: ms * by_weights for size, ms in sizes.items()}
            for threads, sizes in known.step_ms.items()
        },
        write_ms={threads: ms * by_bytes for threads, ms in known.write_ms.items()},
        step_slope_ms=known.step_slope_ms * by_weights,
        write_slope_ms=known.write_slope_ms * by_weights,
        n_ctx=known.n_ctx,
        rss_bytes=own_bytes + PROGRAM_BYTES,
        pss_bytes=own_bytes + PROGRAM_BYTES,
    )
    return dataclasses.replace(candidate, measured=made, is_estimate=True)


def rough_memory(candidate: Candidate, n_ctx: int) -> int:
    """Its own memory where its shape is not known: the file, its contexts, and a tenth."""
    cache = N_CONTEXTS * n_ctx * candidate.cache_bytes_per_token
    return int(1.1 * (candidate.file_bytes + cache))
