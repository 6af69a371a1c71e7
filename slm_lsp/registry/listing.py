"""What `slm-lsp models list` shows: each entry and what of it is on this machine.

Owns: the rows, their columns and widths, and the same as JSON.

Invariant: plain text for people and for `grep`, one line a model; nothing is fetched or
written, and no file is read but sidecars.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slm_lsp.registry.cache import located_files, model_path, state
from slm_lsp.registry.found import FoundModel
from slm_lsp.registry.needs import weights_bytes
from slm_lsp.registry.specs import FileSource, ModelSpec

MAX_SHOWN_FOUND = 8

_HEADER = ("", "NAME", "PARAMS", "LICENCE", "SIZE", "QUANTIZATIONS", "STATE")
_ALL_HEADER = ("", "NAME", "PARAMS", "LICENCE", "SIZE", "QUANTIZATION", "STATE")


@dataclass(frozen=True, slots=True)
class Quantized:
    """One quantization of a model; the size is an estimate where nobody knows it."""

    name: str
    size_bytes: int | None
    is_estimate: bool
    state: str
    path: str


@dataclass(frozen=True, slots=True)
class Row:
    """One model of the registry. `quantizations` begins with the default; `found` names the
    programs that seem to have a file of it."""

    name: str
    title: str
    licence: str
    licence_note: str
    n_parameters: int | None
    in_use: bool
    quantizations: tuple[Quantized, ...]
    found: tuple[str, ...]

    @property
    def state(self) -> str:
        """Its state in a few words."""
        ready = [each.name for each in self.quantizations if each.state == "ready"]
        damaged = [each.name for each in self.quantizations if each.state == "damaged"]
        if damaged:
            return f"damaged: {', '.join(damaged)}"
        if ready and ready[0] != self.quantizations[0].name:
            return f"ready as {', '.join(ready)}"
        if ready:
            return "ready"
        return f"found in {', '.join(self.found)}" if self.found else "not here"


def rows(
    specs: Mapping[str, ModelSpec],
    found: Iterable[FoundModel] = (),
    in_use: str = "",
    cache_dir: Path | None = None,
) -> list[Row]:
    """A row for each entry; raises `OSError` (cache not readable)."""
    programs = _programs_by_hub(found)
    return [_row(spec, programs, spec.name == in_use, cache_dir) for spec in specs.values()]


def format_list(listed: Sequence[Row], *, each_quantization: bool = False) -> str:
    """The table, without a final line end."""
    table = [_ALL_HEADER if each_quantization else _HEADER]
    for row in listed:
        head = ("*" if row.in_use else "", row.name, _count(row.n_parameters), row.licence)
        if not each_quantization:
            names = " ".join(each.name for each in row.quantizations)
            table.append((*head, _size(row.quantizations[0]), names, row.state))
            continue
        for known in row.quantizations:
            mark = " (default)" if known is row.quantizations[0] else ""
            own = row.state if known.state == "absent" and row.found else known.state
            shown = "not here" if own == "absent" else own
            table.append((*head, _size(known), known.name + mark, shown))
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def format_located(cache_dir: Path | None = None, in_use: str = "") -> list[str]:
    """A line for each file that was obtained from a location without an entry."""
    lines = []
    for _, sidecar in located_files(cache_dir):
        mark = "*" if sidecar.origin == in_use else " "
        lines.append(f"{mark} {sidecar.origin} ({_bytes(sidecar.size_bytes)})")
    return lines


def format_found(found: Sequence[FoundModel], *, all_of_them: bool) -> list[str]:
    """A line for each file of another program, as it is named on the command line."""
    shown = found if all_of_them else found[:MAX_SHOWN_FOUND]
    lines = [f"  found: {each.name} ({each.program}, {_bytes(each.size_bytes)})" for each in shown]
    if len(found) > len(shown):
        lines.append(f"  … and {len(found) - len(shown)} more: `slm-lsp models list --all`")
    return lines


def as_json(
    listed: Sequence[Row], found: Sequence[FoundModel], cache_dir: Path | None = None
) -> dict[str, Any]:
    """All of it for programs."""
    return {
        "models": [{**asdict(row), "state": row.state} for row in listed],
        "located": [
            {"location": sidecar.origin, "path": str(file), "size_bytes": sidecar.size_bytes}
            for file, sidecar in located_files(cache_dir)
        ],
        "found": [
            {
                "name": each.name,
                "program": each.program,
                "path": str(each.path),
                "size_bytes": each.size_bytes,
            }
            for each in found
        ],
    }


def _row(
    spec: ModelSpec, programs: Mapping[str, list[str]], in_use: bool, cache_dir: Path | None
) -> Row:
    known = []
    for each in spec.quantizations:
        size_bytes = each.size_bytes
        if size_bytes is None and spec.shape is not None:
            size_bytes = weights_bytes(spec.shape, each.name)
        path = model_path(spec, each.name, cache_dir)
        here = state(spec, each.name, cache_dir)
        known.append(Quantized(each.name, size_bytes, each.size_bytes is None, here, str(path)))
    hubs = [each.location for each in spec.sources if isinstance(each, FileSource)]
    has = [program for hub in hubs for program in programs.get(hub.split("@")[0], ())]
    return Row(
        name=spec.name,
        title=spec.title,
        licence=spec.licence,
        licence_note=spec.licence_note,
        n_parameters=spec.shape.n_parameters if spec.shape is not None else None,
        in_use=in_use,
        quantizations=tuple(known),
        found=tuple(dict.fromkeys(has)),
    )


def _programs_by_hub(found: Iterable[FoundModel]) -> dict[str, list[str]]:
    programs: dict[str, list[str]] = {}
    for each in found:
        for place in {each.hub, each.name} - {""}:
            programs.setdefault(place, []).append(each.program)
    return programs


def _count(n_parameters: int | None) -> str:
    if n_parameters is None:
        return "?"
    billions = n_parameters / 1e9
    return f"{billions:.1f} B" if billions >= 0.95 else f"{n_parameters / 1e6:.0f} M"


def _size(known: Quantized) -> str:
    if known.size_bytes is None:
        return "?"
    return ("~" if known.is_estimate else "") + _bytes(known.size_bytes)


def _bytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"
