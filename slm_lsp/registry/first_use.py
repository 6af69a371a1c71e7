"""Files of which no hash was known: what came first is what has to come again.

Owns: the record of it, which is the sidecar of what was made of the file, and what is said of it.

Invariant: a source whose hash an entry knows is taken by that alone. What a user or another program
may change on this machine is not held to what it was; what comes over a network is, until the
model is removed.

Threads: any for reading.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from slm_lsp.registry.cache import Sidecar, read_sidecar
from slm_lsp.registry.location import HubLocation, WebLocation, parse_location
from slm_lsp.registry.specs import FileSource
from slm_lsp.registry.steps import OtherFileError


def pinned(source: FileSource, folder: Path) -> FileSource:
    """The source with the hash of what came from it before; itself where there is none, or it has a
    hash of its own."""
    if source.sha256 is not None or not _is_remote(source.location):
        return source
    record = _record(source.location, folder)
    return source if record is None else dataclasses.replace(source, sha256=record.source_sha256)


def explained(error: OtherFileError, name: str) -> OtherFileError:
    """The same of a file that had no other hash than the recorded one."""
    return OtherFileError(
        f"{error} That hash was recorded when the file was first obtained here. If it was replaced "
        f"there on purpose, `slm-lsp models remove {name}` forgets the hash; then pull again."
    )


def note_on(record: Sidecar) -> str:
    """What to know of a file that came first."""
    if not _is_remote(record.origin):
        return ""
    return (
        f"no hash of {record.origin} was known here, so nobody has checked the file: its sha256 "
        f"{record.source_sha256} is recorded, and what comes from there later must have it"
    )


def _is_remote(location: str) -> bool:
    try:
        return isinstance(parse_location(location), HubLocation | WebLocation)
    except ValueError:
        return False


def _record(location: str, folder: Path) -> Sidecar | None:
    """What was first made of a location here, in any quantization."""
    for path in sorted(folder.glob("*.gguf.json")):
        record = read_sidecar(path.with_suffix(""))
        if record is not None and record.origin == location:
            return record
    return None
