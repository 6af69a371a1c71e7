"""Where a model file can be fetched from, as one text in a registry entry.

Owns: the forms of a location and what is wrong with one that has none of them.

Invariant: pure; nothing is fetched. No part of a location can leave the folder or the host it
names: no `..`, no absolute path inside of a repository, no password in an address.

Threads: any.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import unquote, urlsplit

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"
_HUB = re.compile(rf"({_PART}/{_PART})/((?:{_PART}/)*{_PART}\.(?:gguf|bin))(?:@({_PART}))?")
_OLLAMA = re.compile(rf"((?:{_PART}/)*{_PART})(?::({_PART}))?")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
FORMS = "hf:OWNER/REPO/FILE.gguf, https://…, file:/… or ollama:NAME:TAG"


@dataclass(frozen=True, slots=True)
class HubLocation:
    """A file of a Hugging Face repository; `revision` is None for its main branch."""

    repo: str
    path: str
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class WebLocation:
    """An address of a file."""

    url: str


@dataclass(frozen=True, slots=True)
class DiskLocation:
    """A file on this machine, by its absolute path."""

    path: str


@dataclass(frozen=True, slots=True)
class OllamaLocation:
    """A model in the store of an Ollama on this machine."""

    name: str
    tag: str


Location = HubLocation | WebLocation | DiskLocation | OllamaLocation


def parse_location(text: str) -> Location:
    """What a location says; raises ValueError with a message for people."""
    scheme, _, rest = text.partition(":")
    if scheme == "hf" and (found := _HUB.fullmatch(rest)):
        return HubLocation(found[1], found[2], found[3])
    if scheme == "ollama" and (found := _OLLAMA.fullmatch(rest)):
        return OllamaLocation(found[1], found[2] or "latest")
    if scheme in ("https", "http"):
        return _web(text)
    if scheme == "file":
        return _disk(rest)
    raise ValueError(f"{text!r} is none of {FORMS}")


def _web(text: str) -> WebLocation:
    parts = urlsplit(text)  # raises ValueError itself
    host = parts.hostname or ""
    if not host or not parts.path.strip("/"):
        raise ValueError(f"{text!r} names no file on a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"the address of {host} must not hold a name or a password")
    if parts.scheme != "https" and host not in _LOOPBACK:
        raise ValueError(f"{text!r} must begin with https://")
    if re.search(r"[\s\x00-\x1f\x7f]", text):
        raise ValueError(f"{text!r} must not hold blanks")
    return WebLocation(text)


def _disk(rest: str) -> DiskLocation:
    if rest.startswith("//"):
        parts = urlsplit("file:" + rest)
        if parts.hostname not in (None, "localhost"):
            raise ValueError(f"file:{rest} names a file of another machine, {parts.hostname}")
        rest = unquote(parts.path)
    if not PurePath(rest).is_absolute() or "\0" in rest:
        raise ValueError(f"file:{rest} must be an absolute path, as in file:/home/me/model.gguf")
    return DiskLocation(rest)
