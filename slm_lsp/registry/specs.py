"""What is known of each model: where it comes from, how large it is, how it is prompted.

Owns: the frozen specs and their loading from `models/*.toml`, which an installed package
carries inside itself and a checkout keeps beside it.

Invariant: a spec that exists is complete and checked; nothing here touches the network,
the cache or a model file.

Threads: any; specs are immutable.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slm_lsp.registry.toml_table import SpecError, TomlTable
from slm_lsp.types import FimTemplate

__all__ = [
    "DEFAULT_MODEL",
    "ModelSpec",
    "QuantizationSpec",
    "SourceSpec",
    "SpecError",
    "load_spec",
    "load_specs",
]

DEFAULT_MODEL = "smollm2-135m"

# These become file names and arguments of pip, so they may hold no separator and no leading dash.
_NAME = r"[a-z0-9][a-z0-9._-]*"
_PACKAGE = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_VERSION = r"[0-9][0-9A-Za-z.!+_-]*"
_QUANTIZATION = r"[A-Z0-9][A-Z0-9_]*"
_SHA256 = r"[0-9a-f]{64}"

_PLACEHOLDERS = ("{prefix}", "{suffix}")


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One file inside one published wheel; `size_bytes` and `sha256` are the file's own."""

    kind: str
    package: str
    version: str
    member: str
    quantization: str
    download_bytes: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class QuantizationSpec:
    """One form a model can be had in, and the size of its file."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One registry entry. `quantizations` begins with the default."""

    name: str
    title: str
    licence: str
    architecture: str
    context_tokens: int
    source: SourceSpec
    quantizations: tuple[QuantizationSpec, ...]
    template: FimTemplate

    def quantization(self, name: str | None = None) -> QuantizationSpec:
        """The quantization of that name, or the default; raises `SpecError` if there is none."""
        if name is None:
            return self.quantizations[0]
        for known in self.quantizations:
            if known.name == name:
                return known
        names = ", ".join(known.name for known in self.quantizations)
        raise SpecError(f"{self.name} has no quantization {name}; it has {names}")


def load_specs(folder: Path | None = None) -> dict[str, ModelSpec]:
    """Every registry entry by name, in the order of names; raises `SpecError` at a wrong file."""
    files = sorted((folder or _shipped_folder()).glob("*.toml"))
    return {file.stem: load_spec(file) for file in files}


def load_spec(file: Path) -> ModelSpec:
    """The registry entry in `file`; raises `SpecError` naming the file and the key."""
    top = TomlTable.read(file)
    name = top.text("name", _NAME)
    if name != file.stem:
        raise top.error("name", f"{name!r} must be the file's own name, {file.stem!r}")
    source = _source(top.table("source"))
    spec = ModelSpec(
        name=name,
        title=top.text("title"),
        licence=top.text("licence"),
        architecture=top.text("architecture"),
        context_tokens=top.count("context_tokens"),
        source=source,
        quantizations=_quantizations(top.table("quantizations"), source),
        template=_template(top.table("template")),
    )
    top.finish()
    return spec


def _shipped_folder() -> Path:
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "models", package.parent / "models"):
        if folder.is_dir():
            return folder
    raise SpecError(f"{package / 'models'}: no folder with registry entries")


def _source(table: TomlTable) -> SourceSpec:
    source = SourceSpec(
        kind=table.text("kind"),
        package=table.text("package", _PACKAGE),
        version=table.text("version", _VERSION),
        member=table.text("member"),
        quantization=table.text("quantization", _QUANTIZATION),
        download_bytes=table.count("download_bytes"),
        size_bytes=table.count("size_bytes"),
        sha256=table.text("sha256", _SHA256),
    )
    if source.kind != "pypi":
        raise table.error("kind", f"must be 'pypi', not {source.kind!r}")
    table.finish()
    return source


def _quantizations(table: TomlTable, source: SourceSpec) -> tuple[QuantizationSpec, ...]:
    default = table.text("default", _QUANTIZATION)
    sizes = table.table("size_bytes")
    known = {name: QuantizationSpec(name, sizes.count(name)) for name in sizes.names()}
    if default not in known:
        raise table.error("default", f"{default!r} has no entry in size_bytes")
    shipped = known.get(source.quantization)
    if shipped is not None and shipped.size_bytes != source.size_bytes:
        raise sizes.error(shipped.name, f"must be the source's size_bytes, {source.size_bytes}")
    table.finish()
    return (known.pop(default), *known.values())


def _template(table: TomlTable) -> FimTemplate:
    layout = table.texts("layout")
    for placeholder in _PLACEHOLDERS:
        if layout.count(placeholder) != 1:
            raise table.error("layout", f"must hold {placeholder} once, not {list(layout)}")
    template = FimTemplate(
        name=table.text("name"),
        layout=layout,
        stop=table.texts("stop"),
        suffix_lines=table.count("suffix_lines") if "suffix_lines" in table.names() else None,
        suffix_is_file="suffix_is_file" in table.names() and table.take("suffix_is_file", bool),
        files_layout=_optional_texts(table, "files_layout"),
        file=_optional_texts(table, "file"),
    )
    if bool(template.files_layout) != bool(template.file):
        raise table.error("files_layout", "and file belong together: one is missing")
    for placeholder in (*_PLACEHOLDERS, "{files}") if template.files_layout else ():
        if template.files_layout.count(placeholder) != 1:
            raise table.error("files_layout", f"must hold {placeholder} once")
    table.finish()
    return template


def _optional_texts(table: TomlTable, key: str) -> tuple[str, ...]:
    return table.texts(key) if key in table.names() else ()
