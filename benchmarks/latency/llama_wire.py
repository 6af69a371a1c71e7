"""The bodies of llama.vim's requests to `/infill`, as at commit a1c8e6e.

Owns: every field and limit that it sends. `t_max_prompt_ms` is sent though llama.cpp does not
act on it; `t_max_predict_ms` acts at an end of a line only.

Invariant: pure values.

Threads: any.
"""

from __future__ import annotations

from typing import Any

from benchmarks.latency.llama_context import Local

N_PREDICT = 128
FIRST_PREDICT_MS, SPECULATIVE_PREDICT_MS, MAX_PROMPT_MS = 250, 1000, 500
FIELDS = [
    "content",
    *(f"timings/prompt_{name}" for name in ("n", "ms", "per_token_ms", "per_second")),
    *(f"timings/predicted_{name}" for name in ("n", "ms", "per_token_ms", "per_second")),
    "truncated",
    "tokens_cached",
]

Json = dict[str, Any]


def completion_body(local: Local, extra: list[Json], limit_ms: int) -> Json:
    """The request for a completion."""
    return {
        "id_slot": 0,
        "input_prefix": local.prefix,
        "input_suffix": local.suffix,
        "input_extra": extra,
        "prompt": local.middle,
        "n_predict": N_PREDICT,
        "stop": [],
        "n_indent": local.indent,
        "top_k": 40,
        "top_p": 0.90,
        "samplers": ["top_k", "top_p", "infill"],
        "stream": False,
        "cache_prompt": True,
        "t_max_prompt_ms": MAX_PROMPT_MS,
        "t_max_predict_ms": limit_ms,
        "response_fields": FIELDS,
    }


def warm_body(extra: list[Json]) -> Json:
    """The request that only has the ring read."""
    return {
        "id_slot": 0,
        "input_prefix": "",
        "input_suffix": "",
        "input_extra": extra,
        "prompt": "",
        "n_predict": 0,
        "temperature": 0.0,
        "samplers": [],
        "stream": False,
        "cache_prompt": True,
        "t_max_prompt_ms": 1,
        "t_max_predict_ms": 1,
        # The original asks for none; those of the work are asked for to count it.
        "response_fields": ["timings/prompt_n", "timings/predicted_n"],
    }
