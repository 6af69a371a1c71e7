"""The folder of ready model files and what each is known to hold.

Owns: where model files lie, the JSON sidecar beside each, and the judgement whether a file
is ready, absent or damaged.

Invariant: a model file without a valid sidecar counts as absent, whatever is in it; files
appear here only whole, by renaming. Nothing here downloads or converts.

Threads: any for reading; `publish` only under the lock that `pull` holds.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from slm_lsp.registry.specs import ModelSpec

State = Literal["ready", "absent", "damaged"]

CACHE_DIR_VARIABLE = "SLM_LSP_CACHE_DIR"

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What the model file beside it is: its origin, and its size and hash when it was made."""

    source_sha256: str
    quantization: str
    size_bytes: int
    sha256: str


def cache_root(cache_dir: Path | None = None) -> Path:
    """`cache_dir`, else $SLM_LSP_CACHE_DIR, else the user's cache folder of this program."""
    if cache_dir is not None:
        return cache_dir.absolute()
    if override := os.environ.get(CACHE_DIR_VARIABLE):
        return Path(override).expanduser().absolute()
    return Path(platformdirs.user_cache_dir("slm-lsp", appauthor=False))


def model_path(
    spec: ModelSpec, quantization: str | None = None, cache_dir: Path | None = None
) -> Path:
    """Where the model file lies when it is ready; raises `SpecError` (unknown quantization)."""
    chosen = spec.quantization(quantization).name
    return cache_root(cache_dir) / "models" / f"{spec.name}.{chosen}.gguf"


def state(spec: ModelSpec, quantization: str | None = None, cache_dir: Path | None = None) -> State:
    """Whether the model file can be used, judged by its sidecar and size without reading it.

    Raises `SpecError` (unknown quantization) and `OSError` (cache folder not readable).
    """
    return _judge(spec, quantization, cache_dir, rehash=False)


def verify(
    spec: ModelSpec, quantization: str | None = None, cache_dir: Path | None = None
) -> State:
    """As `state`, but reads the whole file and compares its hash with the sidecar's."""
    return _judge(spec, quantization, cache_dir, rehash=True)


def publish(output: Path, target: Path, source_sha256: str, quantization: str) -> None:
    """Move `output`, a finished file on the same disk, to `target` and write its sidecar."""
    record = Sidecar(source_sha256, quantization, output.stat().st_size, sha256_of(output))
    sidecar = output.with_name(output.name + ".json")
    sidecar.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
    for file in (output, sidecar):
        _flush_to_disk(file)
    # The old sidecar goes first and the new one comes last: whatever moment this is killed
    # at, no sidecar ever describes another file than the one beside it.
    _sidecar_path(target).unlink(missing_ok=True)
    os.replace(output, target)
    os.replace(sidecar, _sidecar_path(target))


def sha256_of(file: Path) -> str:
    """The hash of the file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _judge(
    spec: ModelSpec, quantization: str | None, cache_dir: Path | None, *, rehash: bool
) -> State:
    chosen = spec.quantization(quantization).name
    file = model_path(spec, chosen, cache_dir)
    sidecar = _read_sidecar(_sidecar_path(file))
    # Another source hash is a file of an earlier registry entry under the same name.
    expected = {each.sha256 for each in spec.sources_of(chosen)}
    if sidecar is None or sidecar.quantization != chosen:
        return "absent"
    if None not in expected and sidecar.source_sha256 not in expected:
        return "absent"
    try:
        size_bytes = file.stat().st_size
        if size_bytes != sidecar.size_bytes:
            return "damaged"
        return "damaged" if rehash and sha256_of(file) != sidecar.sha256 else "ready"
    except FileNotFoundError:
        return "absent"


def _sidecar_path(file: Path) -> Path:
    return file.with_name(file.name + ".json")


def _read_sidecar(path: Path) -> Sidecar | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        sidecar = Sidecar(**content)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    texts = (sidecar.source_sha256, sidecar.quantization, sidecar.sha256)
    typed = all(type(text) is str for text in texts) and type(sidecar.size_bytes) is int
    return sidecar if typed else None


def _flush_to_disk(file: Path) -> None:
    # Without this a power cut after the renames can leave a file of the right size full of zeros.
    with file.open("r+b") as stream:
        os.fsync(stream.fileno())
