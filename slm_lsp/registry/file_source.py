"""Obtaining the file of a location: fetched, or linked where it is on this machine already.

Owns: what each form of location means, which files of other programs are looked at first, and
the hash that decides.

Invariant: what is returned has the sha256 of the source, else the one that the server or the
store declares; only a source for which nobody declares one is taken as it comes. What came
first is held to by the pull (`first_use`). Files of
others are linked, never copied where links can be made, and never written to.

Threads: the pull's.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slm_lsp.registry import found, hub, ollama
from slm_lsp.registry.cache import sha256_of
from slm_lsp.registry.location import (
    DiskLocation,
    HubLocation,
    OllamaLocation,
    WebLocation,
    parse_location,
)
from slm_lsp.registry.part import Part
from slm_lsp.registry.specs import FileSource
from slm_lsp.registry.steps import OtherFileError, PullError, PullProgress, Report

if TYPE_CHECKING:
    from slm_lsp.registry.web import WebFile

# GGUF, and the formats before it, which the ctransformers engine reads.
MAGICS = (b"GGUF", b"lmgg", b"fmgg", b"tjgg", b"algg")

_SPLIT = re.compile(r"-\d+-of-\d+\.gguf$")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pull works: its own folder, the folder of parts, and the model's name there."""

    folder: Path
    parts: Path
    name: str
    report: Report
    room: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Obtained:
    """A checked file or link in the pull's folder."""

    path: Path
    sha256: str


def obtain_file(source: FileSource, place: Place) -> Obtained:
    """The source's file, checked. Raises PullError and OSError."""
    try:
        location = parse_location(source.location)
    except ValueError as error:
        raise PullError(str(error)) from error
    if _SPLIT.search(source.location):
        raise PullError(
            f"{source.location} is one of several files of a split model, which is not supported: "
            "join them with llama.cpp's `llama-gguf-split --merge`, and give that file's path."
        )
    match location:
        case HubLocation():
            got = _from_hub(location, source, place)
        case WebLocation():
            got = _download(source, _web_file(location, source), place)
        case DiskLocation():
            got = _from_disk(Path(location.path), source, place)
        case OllamaLocation():
            got = _from_ollama(location, source, place)
    _check_magic(got.path, source.location)
    return got


def _from_hub(location: HubLocation, source: FileSource, place: Place) -> Obtained:
    if source.sha256 and (here := _same_here(location, source.sha256, place)):
        return here
    try:
        web = hub.describe(location)
    except hub.HubOffline:
        path = hub.cached(location)
        named = hub.cached_sha256(path) if path is not None else None
        if path is None or named is None or source.sha256 is not None:
            raise
        return _linked(Path(os.path.realpath(path)), named, place)
    for what, ours, theirs in (
        ("size", source.size_bytes, web.size_bytes),
        ("sha256", source.sha256, web.sha256),
    ):
        if None not in (ours, theirs) and ours != theirs:
            raise OtherFileError(
                f"the hub declares {what} {theirs} for {source.location}, expected {ours}. "
                "Nothing was fetched: the file was changed there since it was checked."
            )
    expected = dataclasses.replace(
        web,
        size_bytes=source.size_bytes or web.size_bytes,
        sha256=source.sha256 or web.sha256,
    )
    if source.sha256 is None and expected.sha256:
        here = _same_here(location, expected.sha256, place)
        if here is not None:
            return here
    return _download(source, expected, place)


def _web_file(location: WebLocation, source: FileSource) -> WebFile:
    from slm_lsp.registry.web import WebFile

    return WebFile(location.url, source.size_bytes, source.sha256)


def _download(source: FileSource, web: WebFile, place: Place) -> Obtained:
    from slm_lsp.registry.web import fetch

    def report(done_bytes: int, total_bytes: int) -> None:
        place.report(PullProgress("download", done_bytes, total_bytes))

    # With the hash: a part of what was there before is no part of what is there now.
    part = Part(place.parts, place.name, f"{source.location}#{web.sha256 or ''}")
    sha256 = fetch(web, part, report, place.room)
    output = place.folder / "source.gguf"
    part.move_to(output)
    return Obtained(output, sha256)


def _from_disk(path: Path, source: FileSource, place: Place) -> Obtained:
    if not path.is_file():
        raise PullError(f"there is no file {path}: check the path.")
    if source.size_bytes is not None and path.stat().st_size != source.size_bytes:
        raise PullError(
            f"{path} has {path.stat().st_size} bytes, expected {source.size_bytes}: it is another "
            "file, or incomplete."
        )
    return _linked(path, source.sha256, place)


def _from_ollama(location: OllamaLocation, source: FileSource, place: Place) -> Obtained:
    model = ollama.find(location)
    if source.sha256 not in (None, model.sha256):
        raise PullError(
            f"{model.name} is another file (sha256 {model.sha256}) than the one that was checked "
            f"({source.sha256}); `slm-lsp models use {model.name}` takes it all the same."
        )
    return _linked(Path(os.path.realpath(model.path)), model.sha256, place)


def _same_here(location: HubLocation, sha256: str, place: Place) -> Obtained | None:
    """A link to a file of another program, if one has that hash."""
    for path in _candidates(location, sha256):
        try:
            return _linked(path, sha256, place)
        except (PullError, OSError):
            continue
    return None


def _candidates(location: HubLocation, sha256: str) -> Iterator[Path]:
    """Files that may be it, each once, by the place where a program keeps them."""
    seen = set()
    paths = [hub.cached(location)]
    for model in found.find_models():
        if model.sha256 == sha256 or model.hub == found.hub_text(location):
            paths.append(model.path)
    for path in paths:
        if path is None:
            continue
        real = Path(os.path.realpath(path))
        # The cache names the file by its hash: no need to read it where that is another one.
        named = hub.cached_sha256(path)
        if real not in seen and named in (None, sha256):
            seen.add(real)
            yield real


def _linked(path: Path, sha256: str | None, place: Place) -> Obtained:
    """A link to `path`, which has that hash. Raises PullError if not."""
    total_bytes = path.stat().st_size

    def tick(done_bytes: int) -> None:
        place.report(PullProgress("verify", done_bytes, total_bytes))

    tick(0)
    got = sha256_of(path, tick)
    if sha256 not in (None, got):
        raise PullError(
            f"{path} has sha256 {got}, expected {sha256}: it is damaged or another file. Obtain "
            "it anew."
        )
    link = place.folder / "source.gguf"
    _link(path.absolute(), link, place)
    return Obtained(link, got)


def _link(path: Path, link: Path, place: Place) -> None:
    # Windows lets few users make symbolic links, and a hard link stays on one disk.
    for make in (os.symlink, os.link):
        try:
            make(path, link)
            return
        except OSError:
            continue
    place.room(path.stat().st_size)
    shutil.copyfile(path, link)


def _check_magic(path: Path, origin: str) -> None:
    with path.open("rb") as stream:
        begins = stream.read(4)
    if begins not in MAGICS:
        raise PullError(
            f"{origin} is no model file: it begins with {begins!r}, not with b'GGUF'. Nothing was "
            "kept; check the address."
        )
