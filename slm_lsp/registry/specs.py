"""What is known of each model: where it comes from, how large it is, how it is prompted.

Owns: the frozen specs, and which of the shipped and the user's own entries hold.

Invariant: a spec that exists is checked, and what is not known in it is None, never guessed;
nothing here touches the network, the cache or a model file. A wrong entry of the user's takes
down no other.

Threads: any; specs are immutable.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from slm_lsp.registry.quantizations import bits_per_weight
from slm_lsp.registry.toml_table import SpecError
from slm_lsp.types import FimTemplate

__all__ = [
    "DEFAULT_MODEL",
    "FileSource",
    "ModelSpec",
    "QuantizationSpec",
    "Registry",
    "Shape",
    "SourceSpec",
    "SpecError",
    "WheelSource",
    "find_spec",
    "load_registry",
    "load_spec",
    "load_specs",
    "user_folder",
]

DEFAULT_MODEL = "smollm2-135m"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WheelSource:
    """One file inside one published wheel; `size_bytes` and `sha256` are the file's own."""

    package: str
    version: str
    member: str
    quantization: str
    download_bytes: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FileSource:
    """One file at a location (`registry.location`); None is what the project does not know."""

    location: str
    quantization: str
    size_bytes: int | None = None
    sha256: str | None = None


SourceSpec = WheelSource | FileSource


@dataclass(frozen=True, slots=True)
class QuantizationSpec:
    """One form a model can be had in, and the size of its file where that is known."""

    name: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model's shape decides the memory it needs. Keys and values of a token are
    `n_layers` rows of `key_width` and of `value_width` numbers each; `fixed_bytes` is memory
    that a sequence needs however long it is."""

    n_parameters: int
    n_layers: int
    n_heads: int
    key_width: int
    value_width: int
    n_vocab: int
    fixed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One registry entry. `quantizations` begins with the default; of `sources` the first that
    fits is meant. `licence_note` says what is to be known of a licence that is not a free one;
    `unchecked` names what of the entry nobody could compare with its source."""

    name: str
    title: str
    licence: str
    architecture: str
    context_tokens: int
    sources: tuple[SourceSpec, ...]
    quantizations: tuple[QuantizationSpec, ...]
    template: FimTemplate
    licence_note: str = ""
    shape: Shape | None = None
    unchecked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    file: Path | None = None

    def quantization(self, name: str | None = None) -> QuantizationSpec:
        """The quantization of that name, or the default; raises `SpecError` if there is none."""
        if name is None:
            return self.quantizations[0]
        for known in self.quantizations:
            if known.name == name:
                return known
        names = ", ".join(known.name for known in self.quantizations)
        raise SpecError(f"{self.name} has no quantization {name}; it has {names}")

    def source_of(self, quantization: str | None = None) -> SourceSpec:
        """The source that has that quantization, or the finest of them to requantize it from;
        raises `SpecError` (unknown quantization)."""
        return self.sources_of(quantization)[0]

    def sources_of(self, quantization: str | None = None) -> tuple[SourceSpec, ...]:
        """All sources that will do for that quantization, in the order to try them."""
        wanted = self.quantization(quantization).name
        exact = tuple(each for each in self.sources if each.quantization == wanted)
        if exact:
            return exact
        finest = max(bits_per_weight(each.quantization) for each in self.sources)
        return tuple(each for each in self.sources if bits_per_weight(each.quantization) == finest)


@dataclass(frozen=True, slots=True)
class Registry:
    """All entries that hold, by name, and what is wrong with the user's that do not."""

    specs: dict[str, ModelSpec]
    problems: tuple[str, ...]


def load_registry(folder: Path | None = None, own_folder: Path | None = None) -> Registry:
    """Every entry, in the order of names; the user's go before the shipped ones.

    `own_folder` is the user's folder unless `folder` was given. Raises `SpecError` at a wrong
    entry in `folder`, which is the project's.
    """
    if folder is None and own_folder is None:
        own_folder = user_folder()
    specs = {file.stem: load_spec(file) for file in _entries(folder or shipped_folder())}
    problems = []
    for file in _entries(own_folder) if own_folder is not None else ():
        try:
            specs[file.stem] = load_spec(file)
        except SpecError as error:
            problems.append(str(error))
    return Registry(dict(sorted(specs.items())), tuple(problems))


def load_specs(folder: Path | None = None, own_folder: Path | None = None) -> dict[str, ModelSpec]:
    """As `load_registry`, with what is wrong in the log alone."""
    registry = load_registry(folder, own_folder)
    for problem in registry.problems:
        _log.warning("left out: %s", problem)
    return registry.specs


def find_spec(name: str, folder: Path | None = None, own_folder: Path | None = None) -> ModelSpec:
    """The entry of that name, reading no other; raises `SpecError` if there is none or it is
    wrong."""
    if folder is None and own_folder is None:
        own_folder = user_folder()
    for place in (own_folder, folder or shipped_folder()):
        file = next((each for each in _entries(place) if each.stem == name), None)
        if file is not None:
            return load_spec(file)
    known = ", ".join(load_registry(folder, own_folder).specs)
    raise SpecError(f"there is no model {name!r}; known are {known}")


def load_spec(file: Path) -> ModelSpec:
    """The registry entry in `file`; raises `SpecError` naming the file, the line and the key."""
    # Imported late: that module's values are the ones above.
    from slm_lsp.registry.spec_file import read_spec

    return read_spec(file)


def user_folder() -> Path:
    """Where users put entries of their own; it need not exist."""
    from platformdirs import user_config_path

    return user_config_path("slm-lsp") / "models"


def shipped_folder() -> Path:
    """Where the project's entries lie: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "models", package.parent / "models"):
        if folder.is_dir():
            return folder
    raise SpecError(f"{package / 'models'}: no folder with registry entries")


def _entries(folder: Path | None) -> list[Path]:
    return sorted(folder.glob("*.toml")) if folder is not None else []
