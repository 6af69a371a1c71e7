"""One sequence's memory as bytes, out of a llama.cpp context and into another.

Owns: the calls for it, and what such bytes are bound to.

Invariant: a sequence that was restored holds as many tokens as it should, or is empty. Whether
the bytes are those that were saved is the caller's to know: llama.cpp looks at them only to see
that they fit.

Threads: the one that owns the context.
"""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path
from typing import Any


def file_identity(path: Path) -> str:
    """The model file as it is now; empty where that cannot be known. To be asked before it is
    loaded: a file that takes its place meanwhile is another."""
    try:
        status = path.stat()
        return f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    except OSError:
        return ""


def identity(native: Any, file: str, n_ctx: int, unified: bool) -> str:
    """What the memory of a sequence depends on beside its tokens; empty if that of `file` is."""
    if not file:
        return ""
    params = native.llama_context_default_params()  # which `open_context` leaves as they are
    parts = (
        file,
        n_ctx,
        "unified" if unified else "apart",
        params.type_k,
        params.type_v,
        native.__version__,
        platform.machine(),
    )
    return "\0".join(map(str, parts))


def save(native: Any, context: Any, sequence: int, max_bytes: int) -> bytearray | None:
    """A sequence's memory, if it is no larger than `max_bytes`."""
    n_bytes = native.llama_state_seq_get_size(context, sequence)
    if not 0 < n_bytes <= max_bytes:
        return None
    state = bytearray(n_bytes)
    view = (ctypes.c_uint8 * n_bytes).from_buffer(state)
    n_written = native.llama_state_seq_get_data(context, view, n_bytes, sequence)
    return state if n_written == n_bytes else None


def restore(native: Any, context: Any, sequence: int, state: bytearray, n_tokens: int) -> bool:
    """Put back what `save` gave; tell whether the sequence holds `n_tokens` then."""
    memory = native.llama_get_memory(context)
    view = (ctypes.c_uint8 * len(state)).from_buffer(state)
    n_read = native.llama_state_seq_set_data(context, view, len(state), sequence)
    found = (
        n_read,
        native.llama_memory_seq_pos_min(memory, sequence),
        native.llama_memory_seq_pos_max(memory, sequence),
    )
    if found == (len(state), 0, n_tokens - 1):
        return True
    native.llama_memory_seq_rm(memory, sequence, -1, -1)
    return False
