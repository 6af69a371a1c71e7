"""The table that `slm-lsp models list` prints.

Owns: its columns and their widths.

Invariant: plain text for people and for `grep`; one line for each quantization of each
model; nothing is fetched or written.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from slm_lsp.registry.cache import state
from slm_lsp.registry.specs import ModelSpec

_HEADER = ("NAME", "QUANTIZATION", "SIZE", "LICENCE", "STATE")


def format_list(specs: Mapping[str, ModelSpec], cache_dir: Path | None = None) -> str:
    """The table of all models, without a final line end; raises `OSError` (cache not readable)."""
    rows = [_HEADER]
    for spec in specs.values():
        default = spec.quantization().name
        for known in spec.quantizations:
            mark = " (default)" if known.name == default else ""
            size = "?" if known.size_bytes is None else f"{known.size_bytes / 1e6:.0f} MB"
            found = state(spec, known.name, cache_dir)
            rows.append((spec.name, known.name + mark, size, spec.licence, found))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
