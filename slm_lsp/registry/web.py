"""Fetching one file over HTTP, going on where an earlier try was cut off.

Owns: the registry's use of httpx2 for files: ranges, redirects, tries, and what a server's
answers mean for the user.

Invariant: only https leaves this machine (plain http is for loopback), also behind redirects,
and a token goes to the host it is for alone. Not more than the expected size is ever written,
and `fetch` returns only when size and hash are what was expected.

Threads: the caller's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2

from slm_lsp.registry.part import Part
from slm_lsp.registry.steps import OtherFileError, PullError

CONNECT_S = 10.0
READ_S = 30.0
# So often a server may fail in a row without sending anything; then the user is told.
MAX_FAILURES = 4
MAX_PAUSE_S = 30.0
MAX_RESTARTS = 2

_BUSY = (408, 429, 500, 502, 503, 504)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NOTHING_KEPT = "Nothing was kept."

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class WebFile:
    """An address, and what is known of the file there. `headers` may hold a token and are
    never shown; `refused` says what to do when the server asks for rights."""

    url: str
    size_bytes: int | None = None
    sha256: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    refused: str = (
        "It asks for a login, which is not supported: download the file with a browser, and give "
        "its path."
    )

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def shown(self) -> str:
        """The address without what may be a signature."""
        return self.url.split("?")[0].split("#")[0]


class _Interrupted(Exception):
    """The server failed in a way that may pass."""

    def __init__(self, why: str, wait_s: float | None = None, connected: bool = True) -> None:
        super().__init__(why)
        self.wait_s = wait_s
        self.connected = connected


class _Changed(Exception):
    """What was fetched earlier is no part of the file that is there now."""


def fetch(
    web: WebFile,
    part: Part,
    report: Report,
    room: Callable[[int], None],
    pause: Callable[[float], None] | None = None,
) -> str:
    """Complete `part`, and return its sha256. Raises PullError and OSError.

    `report` is told the bytes that are there and the size, 0 where nobody knows it; `room` is
    asked for the bytes that are still to come.
    """
    resumed, pause = part.n_bytes > 0, pause or time.sleep
    with closing(part), _client(web.url) as client:
        _complete(client, web, part, report, room, pause)
        found = part.sha256()
        if web.sha256 is not None and found != web.sha256 and resumed:
            # What an earlier try left may be the wrong part of it.
            part.remove()
            _complete(client, web, part, report, room, pause)
            found = part.sha256()
    if web.sha256 is not None and found != web.sha256:
        part.remove()
        raise OtherFileError(
            f"{web.shown} has sha256 {found}, expected {web.sha256}. {_NOTHING_KEPT} "
            "The file there is another than the one that was checked: try again later, or take "
            "another source."
        )
    return found


def _complete(
    client: httpx2.Client,
    web: WebFile,
    part: Part,
    report: Report,
    room: Callable[[int], None],
    pause: Callable[[float], None],
) -> None:
    n_failures, n_restarts, ever_connected = 0, 0, False
    while True:
        n_before = part.n_bytes
        try:
            _receive(client, web, part, report, room)
            return
        except _Changed as error:
            part.remove()
            n_restarts += 1
            if n_before == 0 or n_restarts > MAX_RESTARTS:
                raise PullError(
                    f"{web.host} answers for another part of {web.shown} than was asked for. "
                    f"{_NOTHING_KEPT} Take another source."
                ) from error
        except _Interrupted as error:
            ever_connected = ever_connected or error.connected
            n_failures = 1 if part.n_bytes > n_before else n_failures + 1
            if n_failures > MAX_FAILURES or not ever_connected:
                raise _given_up(web, part, error) from error
            pause(min(MAX_PAUSE_S, error.wait_s or 2.0 ** (n_failures - 1)))


def _given_up(web: WebFile, part: Part, error: _Interrupted) -> PullError:
    kept = (
        f"The {part.n_bytes / 1e6:.1f} MB that came are kept: pull again to go on from there."
        if part.n_bytes
        else "Try again later."
    )
    return PullError(
        f"{web.host} cannot be reached or breaks off ({error}). {network_advice(error)} {kept}"
    )


def network_advice(error: Exception) -> str:
    """What to do about a connection that was not made."""
    if "CERTIFICATE" in str(error):
        return "If your network has a certificate of its own, name its file in SSL_CERT_FILE."
    return "Check the network; a proxy can be set in HTTPS_PROXY."


def _client(url: str) -> httpx2.Client:
    plain = urlsplit(url).scheme == "http"

    def check(request: httpx2.Request) -> None:
        if request.url.scheme == "https":
            return
        if not (plain and request.url.scheme == "http" and request.url.host in _LOOPBACK):
            raise PullError(
                f"{urlsplit(url).netloc} sends on to {request.url.scheme}://{request.url.host}, "
                "which is not protected. Nothing was fetched; take another source."
            )

    return httpx2.Client(
        follow_redirects=True,
        timeout=httpx2.Timeout(READ_S, connect=CONNECT_S),
        event_hooks={"request": [check]},
    )


def _receive(
    client: httpx2.Client,
    web: WebFile,
    part: Part,
    report: Report,
    room: Callable[[int], None],
) -> None:
    """One request for what is missing. Raises _Interrupted, _Changed and PullError."""
    if web.size_bytes is not None and part.n_bytes >= web.size_bytes:
        if part.n_bytes > web.size_bytes:
            raise _Changed
        report(part.n_bytes, part.n_bytes)
        return
    headers = {**web.headers, "Accept-Encoding": "identity"}
    if part.n_bytes:
        headers["Range"] = f"bytes={part.n_bytes}-"
        if part.validator:
            headers["If-Range"] = part.validator
    try:
        with client.stream("GET", web.url, headers=headers) as response:
            if _is_complete(part, response):
                _check_size(web, part, part.n_bytes)
                report(part.n_bytes, part.n_bytes)
                return
            total_bytes = _begin(web, part, response)
            if total_bytes:
                room(total_bytes - part.n_bytes)
            _copy(web, part, response, total_bytes, report)
    except httpx2.ConnectError as error:
        raise _Interrupted(str(error), connected=False) from error
    except httpx2.HTTPError as error:
        raise _Interrupted(str(error) or type(error).__name__) from error
    except httpx2.InvalidURL as error:
        raise PullError(f"{web.shown} leads to no address: {error}") from error


def _begin(web: WebFile, part: Part, response: httpx2.Response) -> int:
    """Look at the answer's head; the file's size, 0 where the server does not say."""
    status = response.status_code
    if status == 416:
        raise _Changed
    if status in _BUSY:
        wait = response.headers.get("retry-after", "")
        raise _Interrupted(f"status {status}", float(wait) if wait.isdigit() else None)
    if status not in (200, 206):
        raise _refusal(web, status)
    if status == 206:
        total_bytes = _ranged(part, response)
    else:
        length = response.headers.get("content-length", "")
        total_bytes = int(length) if length.isdigit() else 0
    _check_size(web, part, total_bytes)
    if status == 200:
        if response.headers.get("content-type", "").startswith("text/html"):
            raise PullError(
                f"{web.shown} is a web page, not a model file. Give the address that its download "
                "button has."
            )
        part.restart(_validator(response))
    return total_bytes or web.size_bytes or 0


def _check_size(web: WebFile, part: Part, total_bytes: int) -> None:
    if web.size_bytes is not None and total_bytes not in (0, web.size_bytes):
        part.remove()
        raise PullError(
            f"{web.shown} has {total_bytes} bytes, expected {web.size_bytes}. {_NOTHING_KEPT} "
            "The file there is another than the one that is known: take another source."
        )


def _is_complete(part: Part, response: httpx2.Response) -> bool:
    """Whether nothing lies behind what is there."""
    found = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("content-range", "").strip())
    return response.status_code == 416 and found is not None and int(found[1]) == part.n_bytes > 0


def _ranged(part: Part, response: httpx2.Response) -> int:
    found = re.fullmatch(
        r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("content-range", "").strip()
    )
    if found is None or int(found[1]) != part.n_bytes or part.n_bytes == 0:
        raise _Changed
    return int(found[2]) if found[2] != "*" else 0


def _validator(response: httpx2.Response) -> str:
    etag: str = response.headers.get("etag", "")
    return "" if etag.startswith("W/") else etag  # a weak one does not say that bytes are the same


def _copy(
    web: WebFile, part: Part, response: httpx2.Response, total_bytes: int, report: Report
) -> None:
    report(part.n_bytes, total_bytes)
    for chunk in response.iter_raw():
        if total_bytes and part.n_bytes + len(chunk) > total_bytes:
            part.remove()
            raise PullError(
                f"{web.shown} goes on behind the {total_bytes} bytes that it should have. "
                f"{_NOTHING_KEPT} Take another source."
            )
        part.append(chunk)
        report(part.n_bytes, total_bytes)
    if total_bytes and part.n_bytes < total_bytes:
        raise _Interrupted(f"{part.n_bytes} of {total_bytes} bytes came")


def _refusal(web: WebFile, status: int) -> PullError:
    if status in (401, 403):
        return PullError(f"{web.host} refuses {web.shown} (status {status}). {web.refused}")
    if status in (404, 410):
        return PullError(
            f"there is no file at {web.shown} (status {status}). Check the address; the file may "
            "have been renamed."
        )
    return PullError(
        f"{web.host} answers {web.shown} with status {status}. Check the address, or take another "
        "source."
    )
