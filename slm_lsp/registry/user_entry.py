"""A registry entry of the user's, written for them.

Owns: the text of such an entry, from what a model file says of itself or the user gives.

Invariant: what is written is what `load_spec` accepts, or nothing is written; an entry that is
there is not overwritten unasked. What nobody checked is named in it.

Threads: the main thread.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from slm_lsp.gguf.header import GgufHeader
from slm_lsp.gguf.reader import read_header
from slm_lsp.prompt import fim
from slm_lsp.registry.describe import context_of, info_of, one_line
from slm_lsp.registry.quantizations import BITS
from slm_lsp.registry.specs import ModelSpec, SpecError, load_spec

NAME = r"[a-z0-9][a-z0-9._-]*"
DEFAULT_CONTEXT = 2048


@dataclass(frozen=True, slots=True)
class Entry:
    """What an entry is to say; None is what nobody knows."""

    name: str
    location: str
    family: str
    quantization: str
    title: str
    licence: str | None = None
    architecture: str | None = None
    context_tokens: int | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    shape: tuple[tuple[str, int], ...] = ()


def entry_of_file(name: str, location: str, file: Path, quantization: str = "") -> Entry:
    """An entry by what `file` says of itself; raises SpecError, GgufError and OSError."""
    header = read_header(file)
    chosen = fim.choose_template(info_of(header, location)).name
    if fim.family(chosen) is None:
        raise SpecError(
            f"{location} has no fill-in-the-middle tokens that are known, so an entry would say "
            f"nothing of it that the file does not: `slm-lsp models use {location}` takes it as it "
            f"is. With --family it is prompted as one of {', '.join(fim.family_names())}"
        )
    return Entry(
        name=name,
        location=location,
        family=chosen,
        quantization=quantization or quantization_in(location) or _needs_quantization(location),
        title=one_line(header.text("general.name")) or name,
        licence=one_line(header.text("general.license")) or None,
        architecture=one_line(header.architecture) or None,
        context_tokens=context_of(header) or None,
        size_bytes=header.size_bytes,
        shape=_shape(header),
    )


def entry_unread(name: str, location: str, family: str, quantization: str = "") -> Entry:
    """An entry for a file that nobody has here; raises SpecError."""
    found = quantization or quantization_in(location) or _needs_quantization(location)
    return Entry(name=name, location=location, family=family, quantization=found, title=name)


def quantization_in(text: str) -> str:
    """The quantization that a file's name ends with, or an Ollama tag; empty if there is none."""
    names = "|".join(sorted(map(re.escape, BITS), key=len, reverse=True))
    found = re.findall(rf"(?<![A-Z0-9])(?:{names})(?![A-Z0-9])", text.upper())
    return found[-1] if found else ""


def write_entry(entry: Entry, folder: Path, *, replace: bool = False) -> ModelSpec:
    """Write the entry into `folder` and load it; raises SpecError and OSError."""
    if not re.fullmatch(NAME, entry.name):
        raise SpecError(
            f"{entry.name!r} cannot be a name: small letters, digits, '.', '_' and '-' can"
        )
    if fim.family(entry.family) is None:
        raise SpecError(
            f"there is no family {entry.family!r}; there are {', '.join(fim.family_names())}"
        )
    target = folder / f"{entry.name}.toml"
    if target.exists() and not replace:
        raise SpecError(f"{target} is there already: give another name, or remove it first")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".add-", dir=folder) as scratch:
        file = Path(scratch) / target.name
        file.write_text(_text(entry), encoding="utf-8")
        # Before it is seen by anybody.
        load_spec(file)
        os.replace(file, target)
    return load_spec(target)


def _needs_quantization(location: str) -> str:
    raise SpecError(f"{location} does not tell its quantization: say it, as in --quantization Q4_0")


def _shape(header: GgufHeader) -> tuple[tuple[str, int], ...]:
    prefix = header.architecture
    n_heads = header.number(f"{prefix}.attention.head_count")
    n_kv_heads = header.number(f"{prefix}.attention.head_count_kv") or n_heads
    n_layers = header.number(f"{prefix}.block_count")
    if not n_heads or not n_layers or f"{prefix}.attention.head_count_kv" in header.array_lengths:
        return ()
    width = header.number(f"{prefix}.attention.key_length")
    width = width or header.number(f"{prefix}.embedding_length") // n_heads
    found = {
        "n_parameters": header.n_parameters,
        "n_layers": n_layers,
        "n_heads": n_heads,
        "n_kv_heads": n_kv_heads,
        "head_width": width,
        "n_vocab": header.n_vocab,
    }
    return tuple(found.items()) if all(found.values()) else ()


def _text(entry: Entry) -> str:
    import tomlkit

    document = tomlkit.document()
    document.add(tomlkit.comment("Written by `slm-lsp models add`; yours to change."))
    document["name"] = entry.name
    document["title"] = entry.title
    document["licence"] = entry.licence or "unknown"
    document["architecture"] = entry.architecture or "unknown"
    document["context_tokens"] = entry.context_tokens or DEFAULT_CONTEXT
    facts = ("licence", "architecture", "context_tokens")
    unchecked = [fact for fact in facts if getattr(entry, fact) is None]
    if unchecked:
        document["unchecked"] = unchecked
    source = tomlkit.table()
    source["location"], source["quantization"] = entry.location, entry.quantization
    for key in ("size_bytes", "sha256"):
        if getattr(entry, key) is not None:
            source[key] = getattr(entry, key)
    document["source"] = source
    document["quantizations"] = {"default": entry.quantization}
    document["template"] = {"family": entry.family}
    if entry.shape:
        document["shape"] = dict(entry.shape)
    return tomlkit.dumps(document)
