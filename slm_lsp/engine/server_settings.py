"""What a server of the user's own is asked with: its address, its key, what may be sent where.

Owns: the checks of the address, and the key, which comes from an environment variable or the
system's keyring.

Invariant: a key is in no `repr`, no message and no file; `Key.hide` takes it out of what a server
says. Without TLS nothing is sent beyond this machine, but to a private address if the settings
say so. Nothing is looked up before it is asked for.

Threads: any; `check_host` and `find_key` may wait for the system and are called off the event loop.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from slm_lsp.types import FimTemplate

KEYRING_SERVICE = "slm-lsp"
# What users copy of an API's address; the rest is the same for all that a server offers.
ENDPOINTS = (
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/fim/completions",
    "/beta/completions",
    "/api/generate",
    "/completion",
    "/infill",
    "/v1",
    "/beta",
    "/api",
)


class ServerRefused(Exception):
    """The settings cannot be used; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Key:
    """A secret that shows itself to nobody who does not ask for `value`."""

    value: str = field(default="", repr=False)

    def hide(self, text: str) -> str:
        """The text without the key."""
        return text.replace(self.value, "…") if self.value else text

    def headers(self) -> dict[str, str]:
        """What a request says for it."""
        return {"Authorization": f"Bearer {self.value}"} if self.value else {}


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What the user has set. `template` and `model` where they were named; `n_ctx` holds where the
    server does not say what fits."""

    url: str
    api: str = "auto"
    model: str = ""
    template: FimTemplate | None = None
    key_variable: str = ""
    insecure: bool = False
    n_ctx: int = 2048


def base_url(url: str) -> str:
    """The address without what belongs to one of its APIs. Raises ServerRefused."""
    parts = _split(url)
    path = parts.path.rstrip("/")
    for endpoint in ENDPOINTS:
        if path.endswith(endpoint):
            path = path.removesuffix(endpoint)
            break
    return f"{parts.scheme}://{parts.netloc}{path}"


def host_of(url: str) -> str:
    """The host's name alone. Raises ServerRefused."""
    return _split(url).hostname or ""


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(url: str, insecure: bool) -> None:
    """Raise ServerRefused where text would travel in the open."""
    parts, host = _split(url), host_of(url)
    if parts.scheme == "https" or is_loopback(host):
        return
    if not insecure:
        raise ServerRefused(
            f"server_url: {host} would be spoken to without TLS: use https://, or, where it is a "
            'private address that you trust the way to, set server_insecure = "on"'
        )
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ServerRefused(f"server_url: {host} is not known: {error.strerror}") from error
    if not all(_is_private(str(each[4][0])) for each in found):
        raise ServerRefused(f"server_url: {host} is a public address: only https:// is used there")


def find_key(variable: str, host: str, environ: Mapping[str, str] = os.environ) -> Key:
    """The key for a server: the variable's, or the keyring's for its host, or none."""
    value = environ.get(variable, "").strip() if variable else ""
    if not value:
        value = _from_keyring(host)
    if value and not (value.isascii() and value.isprintable() and " " not in value):
        raise ServerRefused(f"the key for {host} holds characters that no key has")
    return Key(value)


def _from_keyring(host: str) -> str:
    # A system without one, a locked one and one that is broken are the same here: no key.
    with contextlib.suppress(Exception):
        import keyring

        return (keyring.get_password(KEYRING_SERVICE, host) or "").strip()
    return ""


def _is_private(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    return found.is_loopback or found.is_private or found.is_link_local


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        wrong = _wrong(parts)
        _ = parts.port
    except ValueError as error:
        raise ServerRefused(f"server_url: not an address: {error}") from error
    if wrong:
        raise ServerRefused(f"server_url: {wrong}")
    return parts


def _wrong(parts: SplitResult) -> str:
    """What is wrong with an address; it may hold a secret, so it is not repeated."""
    faults: Iterable[tuple[bool, str]] = (
        (parts.scheme not in ("http", "https"), "must begin with https:// or http://"),
        (not parts.hostname, "names no host"),
        ("@" in parts.netloc, "holds a name or a password: put the key where server_key_variable "
         "says, or into the keyring"),
        (bool(parts.query or parts.fragment), "must end before any ? or #"),
    )  # fmt: skip
    return next((said for is_so, said in faults if is_so), "")
