"""What `--model` may be: a name, a path, a location, or a file of another program.

Owns: telling these apart, and finding the entry or file that is meant.

Invariant: telling apart reads nothing but the text, so that a server can do it before it
answers; nothing is fetched.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from slm_lsp.registry.specs import ModelSpec

Kind = Literal["name", "path", "location", "found"]

LOCATIONS = ("hf:", "ollama:", "https:", "http:")
FILE = "file:"
FOUND = ("lmstudio:", "llamacpp:")
HUB_ADDRESSES = ("https://huggingface.co/", "https://hf.co/")
SUFFIXES = (".gguf", ".ggml", ".bin")


def kind_of(model: str) -> Kind:
    """Which of these `model` is; `file:` addresses are paths."""
    if model.startswith(LOCATIONS):
        return "location"
    if model.startswith(FOUND):
        return "found"
    is_path = model.endswith(SUFFIXES) or "/" in model or "\\" in model
    return "path" if is_path or model.startswith(FILE) else "name"


def path_of(model: str) -> Path:
    """The file that a path or a `file:` address means; raises ValueError with a message."""
    if model.startswith(FILE):
        from slm_lsp.registry.location import DiskLocation, parse_location

        location = parse_location(model)
        assert isinstance(location, DiskLocation)
        return Path(location.path)
    try:
        return Path(model).expanduser()
    except RuntimeError as error:  # the home of a user that there is not
        raise ValueError(f"{model}: {error}") from error


def normal_location(text: str) -> str:
    """A location as it is kept: the hub's own addresses of a file become `hf:`, whose hash is
    known; raises ValueError with a message."""
    from slm_lsp.registry.location import OllamaLocation, parse_location

    for address in HUB_ADDRESSES:
        parts = text.removeprefix(address).split("?")[0].split("/")
        if text.startswith(address) and len(parts) > 4 and parts[2] in ("resolve", "blob"):
            revision = "" if parts[3] == "main" else f"@{parts[3]}"
            text = f"hf:{parts[0]}/{parts[1]}/{'/'.join(parts[4:])}{revision}"
    if text.startswith(HUB_ADDRESSES) and repo_of(text):
        raise ValueError(f"{text} is a repository, not a file")
    location = parse_location(text)
    if isinstance(location, OllamaLocation):
        return f"ollama:{location.name}:{location.tag}"
    return text


def repo_of(text: str) -> str:
    """The repository that `text` names without a file of it; empty if it does not."""
    for address in ("hf:", *HUB_ADDRESSES):
        parts = text.removeprefix(address).rstrip("/").split("/")
        if text.startswith(address) and len(parts) == 2 and all(parts):
            return "/".join(parts)
    return ""


def spec_at(location: str, specs: Iterable[ModelSpec]) -> ModelSpec | None:
    """The entry that has this location among its sources, whatever the revision."""
    from slm_lsp.registry.specs import FileSource

    for spec in specs:
        for source in spec.sources:
            if isinstance(source, FileSource) and _plain(source.location) == _plain(location):
                return spec
    return None


def spec_named(name: str) -> ModelSpec:
    """The entry of that name, reading no other; raises `SpecError`, which for an unknown name
    says those that are nearly it."""
    from slm_lsp.registry.specs import SpecError, find_spec, shipped_folder, user_folder

    folders = (user_folder(), shipped_folder())
    names = {file.stem for folder in folders for file in folder.glob("*.toml")}
    if name not in names:
        raise SpecError(unknown(name, names))
    return find_spec(name)


def unknown(name: str, names: Iterable[str]) -> str:
    """A sentence for a name that no entry has, with those that are nearly it."""
    from difflib import get_close_matches

    near = get_close_matches(name, sorted(names), 3, 0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return (
        f"there is no model {name!r}{hint or '.'} `slm-lsp models list` names them; a path of a "
        "GGUF file or a location (hf:OWNER/REPO/FILE.gguf, https://…, ollama:NAME:TAG) will do, too"
    )


def _plain(location: str) -> str:
    return location.split("@")[0] if location.startswith("hf:") else location
