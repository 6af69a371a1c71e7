"""Model files that other programs keep on this machine.

Owns: where LM Studio, llama.cpp, Ollama and huggingface_hub put them, and the names that
`--model` takes for them.

Invariant: nothing is written, opened or imported to look; what is found is somebody else's
and is never removed.

Threads: any.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from slm_lsp.registry import ollama
from slm_lsp.registry.hub import cache_folder
from slm_lsp.registry.location import HubLocation

LM_STUDIO, LLAMA_CPP = "lmstudio:", "llamacpp:"
SCHEMES = (LM_STUDIO, LLAMA_CPP)

# Of a split model only the first file is a name for it; projectors and drafters are no models.
_LATER_PART = re.compile(r"-(?!0*1-of-)\d+-of-\d+\.gguf$")
_MAX_FILES = 500


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model file of another program; `name` is what `--model` takes for it. `hub` is the
    repository file that it is a copy of by its place, which nobody has checked."""

    program: str
    name: str
    path: Path
    size_bytes: int
    hub: str = ""
    sha256: str | None = None


def find_models(environ: Mapping[str, str] = os.environ) -> list[FoundModel]:
    """All of them, in the order of programs and names."""
    found: list[FoundModel] = []
    for search in (_in_ollama, _in_lm_studio, _in_llama_cpp, _in_hub_cache):
        for model in search(environ):
            found.append(model)
            if len(found) >= _MAX_FILES:
                return found
    return found


def find_named(name: str, environ: Mapping[str, str] = os.environ) -> FoundModel | None:
    """The file that this `lmstudio:` or `llamacpp:` name stands for."""
    search = _in_lm_studio if name.startswith(LM_STUDIO) else _in_llama_cpp
    return next((each for each in search(environ) if each.name == name), None)


def lm_studio_folders(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Where LM Studio keeps models: under the home that its pointer file names, or its usual
    ones, and where its settings say."""
    import json

    user = Path(environ.get("HOME") or "~").expanduser()
    homes = [user / ".lmstudio", user / ".cache" / "lm-studio"]
    try:
        pointed = (user / ".lmstudio-home-pointer").read_text(encoding="utf-8").strip()
        homes.insert(0, Path(pointed))
    except (OSError, ValueError):
        pass
    folders = [home / "models" for home in homes]
    for home in homes:
        try:
            settings = json.loads((home / "settings.json").read_text(encoding="utf-8"))
            folders.insert(0, Path(settings["downloadsFolder"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return list(dict.fromkeys(folders))


def llama_cpp_folders(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Where llama.cpp keeps what it fetched."""
    if chosen := environ.get("LLAMA_CACHE"):
        return [Path(chosen).expanduser()]
    user = Path(environ.get("HOME") or "~").expanduser()
    if sys.platform == "darwin":
        return [user / "Library" / "Caches" / "llama.cpp"]
    if sys.platform == "win32":
        return [Path(environ.get("LOCALAPPDATA") or user) / "llama.cpp"]
    return [Path(environ.get("XDG_CACHE_HOME") or user / ".cache") / "llama.cpp"]


def hub_text(location: HubLocation) -> str:
    """A repository's file as a location without its revision."""
    return f"hf:{location.repo}/{location.path}"


def _in_ollama(environ: Mapping[str, str]) -> Iterator[FoundModel]:
    for store in ollama.folders(environ):
        for model in ollama.models_in(store):
            yield FoundModel(
                "Ollama", model.name, model.path, model.size_bytes, sha256=model.sha256
            )


def _in_lm_studio(environ: Mapping[str, str]) -> Iterator[FoundModel]:
    for folder in lm_studio_folders(environ):
        for file in _files(folder, "*/*/*.gguf"):
            place = file.relative_to(folder).as_posix()
            yield _found("LM Studio", LM_STUDIO + place, file, "hf:" + place)


def _in_llama_cpp(environ: Mapping[str, str]) -> Iterator[FoundModel]:
    for folder in llama_cpp_folders(environ):
        for file in _files(folder, "*.gguf"):
            owner, _, rest = file.name.partition("_")
            repo, _, name = rest.partition("_")
            hub = f"hf:{owner}/{repo}/{name}" if name else ""
            yield _found("llama.cpp", LLAMA_CPP + file.name, file, hub)


def _in_hub_cache(environ: Mapping[str, str]) -> Iterator[FoundModel]:
    # llama.cpp of 2026 keeps to this layout, too, and in LLAMA_CACHE where that is set.
    folders = [cache_folder(environ)]
    if environ.get("LLAMA_CACHE"):
        folders += llama_cpp_folders(environ)
    for folder in folders:
        for file in _files(folder, "models--*--*/snapshots/*/**/*.gguf"):
            repo, _, revision, *path = file.relative_to(folder).parts
            hub = f"hf:{repo.removeprefix('models--').replace('--', '/', 1)}/{'/'.join(path)}"
            main = _is_main(folder / repo, revision)
            yield _found("Hugging Face", hub if main else f"{hub}@{revision}", file, hub)


def _is_main(repo: Path, revision: str) -> bool:
    try:
        return (repo / "refs" / "main").read_text(encoding="utf-8").strip() == revision
    except (OSError, ValueError):
        return False


def _found(program: str, name: str, file: Path, hub: str) -> FoundModel:
    return FoundModel(program, name, file, file.stat().st_size, hub)


def _files(folder: Path, pattern: str) -> Iterator[Path]:
    """Files of models; those that cannot be looked at are left out."""
    try:
        found = sorted(folder.glob(pattern))
    except OSError:
        return
    for file in found:
        name = file.name.lower()
        if name.startswith(("mmproj", ".")) or _LATER_PART.search(name):
            continue
        try:
            if file.is_file():
                yield file
        except OSError:
            continue
