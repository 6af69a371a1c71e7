"""Models in the store of an Ollama on this machine: its manifests and blobs, no server.

Owns: where that store lies and how it is read.

Invariant: nothing is written there; a digest of a manifest becomes part of a path only after
it was seen to be one.

Threads: any.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from slm_lsp.registry.location import OllamaLocation
from slm_lsp.registry.steps import PullError

HOST = "registry.ollama.ai"
NAMESPACE = "library"
# Where the Linux service keeps its models, which it runs as a user of its own.
SERVICE_FOLDER = Path("/usr/share/ollama/.ollama/models")

_MODEL = "application/vnd.ollama.image.model"
_ADAPTER = "application/vnd.ollama.image.adapter"
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_MAX_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class OllamaModel:
    """A model in the store; `name` is what `--model` takes. `path` need not exist any more."""

    name: str
    path: Path
    size_bytes: int
    sha256: str


def folders(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """The stores to look in: OLLAMA_MODELS alone where it is set."""
    if chosen := environ.get("OLLAMA_MODELS"):
        return [Path(chosen).expanduser()]
    own = [Path("~/.ollama/models").expanduser()]
    return [*own, SERVICE_FOLDER] if sys.platform == "linux" else own


def find(location: OllamaLocation, stores: list[Path] | None = None) -> OllamaModel:
    """The model of that name. Raises PullError: there is none, or it cannot be used."""
    stores = folders() if stores is None else stores
    for store in stores:
        manifest = store / "manifests" / _manifest_path(location)
        try:
            model = _read(store, manifest)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise PullError(
                f"{manifest} cannot be used: {error}. Try `ollama pull` anew."
            ) from error
        if not model.path.is_file():
            raise PullError(
                f"Ollama's store lacks {model.path}, or it cannot be read by you: run `ollama pull "
                f"{location.name}:{location.tag}`, or make it readable."
            )
        return model
    names = sorted(each.name for store in stores for each in models_in(store))
    have = f"There are {', '.join(names)}" if names else "It is empty"
    raise PullError(
        f"there is no ollama:{location.name}:{location.tag} in {' or '.join(map(str, stores))} "
        f"(OLLAMA_MODELS says where else to look). {have}; "
        f"`ollama pull {location.name}:{location.tag}` obtains it."
    )


def models_in(store: Path) -> Iterator[OllamaModel]:
    """Every model in a store that can be used."""
    manifests = store / "manifests"
    for file in sorted(manifests.glob("*/**/*")):
        try:
            if file.is_file():
                model = _read(store, file)
                if model.path.is_file():
                    yield model
        except (OSError, ValueError):
            continue


def _manifest_path(location: OllamaLocation) -> Path:
    parts = location.name.split("/")
    if len(parts) == 1:
        parts = [NAMESPACE, *parts]
    if len(parts) == 2:
        parts = [HOST, *parts]
    return Path(*parts, location.tag)


def _read(store: Path, manifest: Path) -> OllamaModel:
    """What a manifest says. Raises OSError, and ValueError with a message for people."""
    if manifest.stat().st_size > _MAX_MANIFEST_BYTES:
        raise ValueError("too large for a manifest")
    content = json.loads(manifest.read_bytes())
    layers = content.get("layers") if isinstance(content, dict) else None
    if not isinstance(layers, list) or not all(isinstance(each, dict) for each in layers):
        raise ValueError("not a manifest")
    models = [each for each in layers if each.get("mediaType") == _MODEL]
    if any(each.get("mediaType") == _ADAPTER for each in layers):
        raise ValueError("it is an adapter on another model, which is not supported")
    if len(models) != 1:
        raise ValueError(f"it has {len(models)} model files, not one")
    digest = _DIGEST.fullmatch(str(models[0].get("digest")))
    size_bytes = models[0].get("size")
    if digest is None or type(size_bytes) is not int:
        raise ValueError("not a manifest")
    path = store / "blobs" / f"sha256-{digest[1]}"
    return OllamaModel(_name_of(store, manifest), path, size_bytes, digest[1])


def _name_of(store: Path, manifest: Path) -> str:
    *parts, tag = manifest.relative_to(store / "manifests").parts
    if parts[:1] == [HOST]:
        parts = parts[1:]
        if parts[:1] == [NAMESPACE]:
            parts = parts[1:]
    return f"ollama:{'/'.join(parts)}:{tag}"
