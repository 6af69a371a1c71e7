"""Files of Hugging Face repositories: what the hub declares of one, and which it cached here.

Owns: the only import of huggingface_hub, used for addresses, the user's token, mirrors
(HF_ENDPOINT), what a file's size and sha256 are, and its cache.

Invariant: nothing is written into that cache (docs/decisions/0023-obtaining-models.md), no
request is made where HF_HUB_OFFLINE is set, and no message holds a token.

Threads: the pull's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from slm_lsp.registry.location import HubLocation
from slm_lsp.registry.steps import PullError

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

    from slm_lsp.registry.web import WebFile

DEFAULT_ENDPOINT = "https://huggingface.co"
TIMEOUT_S = 10.0

_TRUE = ("1", "ON", "YES", "TRUE")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class HubOffline(PullError):
    """The hub was not asked, or did not answer."""


def is_offline(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the user wants no request to the hub."""
    value = environ.get("HF_HUB_OFFLINE") or environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in _TRUE


def endpoint(environ: Mapping[str, str] = os.environ) -> str:
    """The hub or its mirror. Raises PullError for one that is not protected."""
    chosen = (environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
    parts = urlsplit(chosen)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise PullError(f"HF_ENDPOINT is {chosen!r}: it must begin with https://")
    return chosen


def describe(location: HubLocation) -> WebFile:
    """Where the file is and what the hub declares of it. Raises PullError, HubOffline where
    the hub cannot be asked."""
    if is_offline():
        raise HubOffline(
            f"HF_HUB_OFFLINE is set and {_shown(location)} is not here. Unset it, or give the path "
            "of a file that is."
        )
    hub = endpoint()
    _be_quiet()
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    from slm_lsp.registry.web import WebFile

    found = _asked(location, hub)
    etag = found.etag or ""
    return WebFile(
        _address(location, hub),
        size_bytes=found.size,
        # The hub's ETag of a large file is its sha256; of a small one it is git's hash.
        sha256=etag if _SHA256.fullmatch(etag) else None,
        headers={name: str(value) for name, value in build_hf_headers().items()},
        refused=_advice(location, hub),
    )


def _address(location: HubLocation, hub: str) -> str:
    from huggingface_hub import hf_hub_url

    revision = location.revision or "main"
    return str(hf_hub_url(location.repo, location.path, revision=revision, endpoint=hub))


def _asked(location: HubLocation, hub: str) -> HfFileMetadata:
    import httpx2
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        return get_hf_file_metadata(_address(location, hub), timeout=TIMEOUT_S, endpoint=hub)
    except HfHubHTTPError as error:
        response = error.response
        code = response.headers.get("x-error-code", "")
        raise _refusal(location, hub, response.status_code, code) from None
    except HFValidationError as error:
        raise PullError(f"{_shown(location)} is no name on the hub: {error}") from error
    except (httpx2.HTTPError, OfflineModeIsEnabled) as error:
        raise HubOffline(
            f"{urlsplit(hub).netloc} cannot be reached ({error}). Check the network; a mirror can "
            "be set in HF_ENDPOINT and a proxy in HTTPS_PROXY."
        ) from error


def files_of(repo: str) -> list[str]:
    """The model files of a repository, as locations. Raises PullError."""
    hub = endpoint()
    _be_quiet()
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if is_offline():
        raise HubOffline(f"HF_HUB_OFFLINE is set: name a file, as in hf:{repo}/FILE.gguf")
    try:
        names = HfApi(endpoint=hub).list_repo_files(repo)
    except HfHubHTTPError as error:
        status = error.response.status_code
        whole = HubLocation(repo, "FILE.gguf")
        raise _refusal(whole, hub, status, error.response.headers.get("x-error-code", "")) from None
    except (httpx2.HTTPError, HFValidationError, OfflineModeIsEnabled) as error:
        raise HubOffline(f"{urlsplit(hub).netloc} was asked for {repo} in vain: {error}") from error
    return [f"hf:{repo}/{name}" for name in sorted(names) if name.endswith(".gguf")]


def cached(location: HubLocation) -> Path | None:
    """The file in Hugging Face's own cache, where it is in it."""
    _be_quiet()
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(
            location.repo, location.path, cache_dir=str(cache_folder()), revision=location.revision
        )
    except (HFValidationError, OSError):
        return None
    return Path(found) if isinstance(found, str) else None


def cached_sha256(path: Path) -> str | None:
    """The sha256 that the cache itself names a file by; None if it does not."""
    try:
        name = os.path.basename(os.readlink(path))
    except OSError:
        return None
    return name if _SHA256.fullmatch(name) else None


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where huggingface_hub keeps what it fetched (its environment variables, in its order)."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if chosen := environ.get(name):
            return Path(os.path.expandvars(chosen)).expanduser()
    home = environ.get("HF_HOME")
    if not home:
        home = os.path.join(environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.path.expandvars(home)).expanduser() / "hub"


def _be_quiet() -> None:
    # Else its first request asks the hub for a list of other programs to name in its user agent.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def _refusal(location: HubLocation, hub: str, status: int, code: str) -> PullError:
    shown = _shown(location)
    if code == "RevisionNotFound":
        return PullError(f"{location.repo} has no revision {location.revision!r}: check {shown}.")
    if code == "EntryNotFound":
        return PullError(
            f"there is no file {location.path} in {location.repo}: the files that it has are "
            f"listed at {hub}/{location.repo}/tree/{location.revision or 'main'}."
        )
    if status in (401, 403) or code in ("GatedRepo", "RepoNotFound"):
        return PullError(f"the hub refuses {shown} (status {status}). {_advice(location, hub)}")
    if status == 404:
        return PullError(f"there is no {shown} (status 404): check owner, repository and file.")
    if status == 429 or status >= 500:
        return HubOffline(f"{urlsplit(hub).netloc} answers status {status}. Try again later.")
    return PullError(f"{urlsplit(hub).netloc} answers {shown} with status {status}: check it.")


def _advice(location: HubLocation, hub: str) -> str:
    return (
        f"If {location.repo} exists, it is private or its licence must be accepted first: do so at "
        f"{hub}/{location.repo}, make a token at {hub}/settings/tokens, and set HF_TOKEN to it or "
        "run `hf auth login`."
    )


def _shown(location: HubLocation) -> str:
    revision = f"@{location.revision}" if location.revision else ""
    return f"hf:{location.repo}/{location.path}{revision}"
