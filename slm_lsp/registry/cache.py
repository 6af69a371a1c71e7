"""The folder of ready model files and what each is known to hold.

Owns: where model files lie, the JSON sidecar beside each, and the judgement whether a file
is ready, absent or damaged.

Invariant: a model file without a valid sidecar counts as absent, whatever is in it; files
appear here only whole, by renaming. A link to another program's file is removed, never the
file. Nothing here downloads or converts.

Threads: any for reading; `publish` and `remove` only under the lock that `pull` holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import platformdirs

from slm_lsp.registry.specs import ModelSpec, SourceSpec, WheelSource

State = Literal["ready", "absent", "damaged"]

CACHE_DIR_VARIABLE = "SLM_LSP_CACHE_DIR"
LOCATED = "at"

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What the model file beside it is: its origin, and its size and hash when it was made."""

    source_sha256: str
    quantization: str
    size_bytes: int
    sha256: str
    origin: str = ""


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


def located_path(location: str, quantization: str = "", cache_dir: Path | None = None) -> Path:
    """Where the file of a location without a registry entry lies when it is ready."""
    key = hashlib.sha256(location.encode()).hexdigest()[:12]
    last = PurePosixPath(location.split("?")[0].split("@")[0]).name.removesuffix(".gguf")
    stem = f"{key}-{re.sub(r'[^A-Za-z0-9._-]', '-', last)[-100:]}"
    name = f"{stem}.{quantization}.gguf" if quantization else f"{stem}.gguf"
    return cache_root(cache_dir) / "models" / LOCATED / name


def origin_of(source: SourceSpec) -> str:
    """A source in one text, as the sidecar keeps it."""
    if isinstance(source, WheelSource):
        return f"pypi:{source.package}=={source.version}/{source.member}"
    return source.location


def state(spec: ModelSpec, quantization: str | None = None, cache_dir: Path | None = None) -> State:
    """Whether the model file can be used, judged by its sidecar and size without reading it.

    Raises `SpecError` (unknown quantization) and `OSError` (cache folder not readable).
    """
    return _judge(spec, quantization, cache_dir, rehash=False)


def verify(
    spec: ModelSpec,
    quantization: str | None = None,
    cache_dir: Path | None = None,
    tick: Callable[[int], None] | None = None,
) -> State:
    """As `state`, but reads the whole file and compares its hash with the sidecar's."""
    return _judge(spec, quantization, cache_dir, rehash=True, tick=tick)


def file_state(
    file: Path, rehash: bool = False, tick: Callable[[int], None] | None = None
) -> State:
    """Whether `file` is what its sidecar says; `tick` is told the bytes read."""
    sidecar = read_sidecar(file)
    if sidecar is None:
        return "absent"
    try:
        size_bytes = file.stat().st_size
        if size_bytes != sidecar.size_bytes:
            return "damaged"
        return "damaged" if rehash and sha256_of(file, tick) != sidecar.sha256 else "ready"
    except FileNotFoundError:
        return "absent"


def publish(
    output: Path,
    target: Path,
    source_sha256: str,
    quantization: str,
    *,
    origin: str = "",
    sha256: str | None = None,
) -> None:
    """Move `output`, a finished file or link on the same disk, to `target` and write its sidecar.

    `sha256` is the hash of `output` where it is known already.
    """
    found = sha256 or sha256_of(output)
    record = Sidecar(source_sha256, quantization, output.stat().st_size, found, origin)
    sidecar = output.with_name(output.name + ".json")
    sidecar.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
    # What is linked is somebody else's, and may be read-only.
    is_ours = not output.is_symlink() and output.stat().st_nlink == 1
    for file in (output, sidecar) if is_ours else (sidecar,):
        _flush_to_disk(file)
    # The old sidecar goes first and the new one comes last: whatever moment this is killed
    # at, no sidecar ever describes another file than the one beside it.
    sidecar_path(target).unlink(missing_ok=True)
    os.replace(output, target)
    os.replace(sidecar, sidecar_path(target))


def remove(file: Path) -> int:
    """Take a model file and its sidecar away; the bytes that this frees."""
    freed_bytes = 0
    # The sidecar first: what is left of a removal that was killed counts as absent.
    for each in (sidecar_path(file), file):
        with contextlib.suppress(FileNotFoundError):
            status = each.lstat()
            each.unlink()
            freed_bytes += status.st_size if status.st_nlink == 1 and not _is_link(status) else 0
    return freed_bytes


def files_of(name: str, cache_dir: Path | None = None) -> Iterator[Path]:
    """The files that lie here for the model `name`, in any quantization, with a sidecar."""
    for sidecar in sorted((cache_root(cache_dir) / "models").glob("*.gguf.json")):
        file = sidecar.with_suffix("")
        if file.name.removesuffix(".gguf").rpartition(".")[0] == name:
            yield file


def located_files(cache_dir: Path | None = None) -> Iterator[tuple[Path, Sidecar]]:
    """The files that lie here for locations, and what each is."""
    for path in sorted((cache_root(cache_dir) / "models" / LOCATED).glob("*.gguf.json")):
        file = path.with_suffix("")
        if (sidecar := read_sidecar(file)) is not None:
            yield file, sidecar


def sha256_of(file: Path, tick: Callable[[int], None] | None = None) -> str:
    """The hash of the file's content, in hexadecimal."""
    digest, done_bytes = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            done_bytes += len(chunk)
            if tick is not None:
                tick(done_bytes)
    return digest.hexdigest()


def sidecar_path(file: Path) -> Path:
    """Where the record of `file` lies."""
    return file.with_name(file.name + ".json")


def read_sidecar(file: Path) -> Sidecar | None:
    """What `file` is said to be; None without a valid record."""
    try:
        content = json.loads(sidecar_path(file).read_text(encoding="utf-8"))
        sidecar = Sidecar(**content)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    texts = (sidecar.source_sha256, sidecar.quantization, sidecar.sha256, sidecar.origin)
    typed = all(type(text) is str for text in texts) and type(sidecar.size_bytes) is int
    return sidecar if typed else None


def _judge(
    spec: ModelSpec,
    quantization: str | None,
    cache_dir: Path | None,
    *,
    rehash: bool,
    tick: Callable[[int], None] | None = None,
) -> State:
    chosen = spec.quantization(quantization).name
    file = model_path(spec, chosen, cache_dir)
    sidecar = read_sidecar(file)
    if sidecar is None or sidecar.quantization != chosen or not _is_from(sidecar, spec, chosen):
        return "absent"
    return file_state(file, rehash=rehash, tick=tick)


def _is_from(sidecar: Sidecar, spec: ModelSpec, quantization: str) -> bool:
    """Whether one of the entry's sources gave the file: it may be of an earlier entry."""
    for source in spec.sources_of(quantization):
        if source.sha256 is None and sidecar.origin in ("", origin_of(source)):
            return True
        if source.sha256 == sidecar.source_sha256:
            return True
    return False


def _is_link(status: os.stat_result) -> bool:
    return stat.S_ISLNK(status.st_mode)


def _flush_to_disk(file: Path) -> None:
    # Without this a power cut after the renames can leave a file of the right size full of zeros.
    with file.open("r+b") as stream:
        os.fsync(stream.fileno())
