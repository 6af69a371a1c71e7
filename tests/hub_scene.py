"""A hub on loopback: files over HTTP, and the answers huggingface_hub asks a hub for.

Owns: `Hub`, whose files misbehave as a test says; it notes what it was asked.

Invariant: loopback only; nothing waits, but for a gate that the test opens.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Served:
    """A file, and how it is served."""

    content: bytes
    etag: str = '"1"'
    # The connections of the next requests end after so many bytes of the body; then none does.
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)  # of the next requests
    ranges: bool = True
    redirect: str = ""
    declared_bytes: int | None = None  # the length that the head says
    chunked: bool = False
    content_type: str = "application/octet-stream"
    token: str = ""  # needed to read it
    error_code: str = ""
    gate: threading.Event | None = None  # waited for before the body's second half

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    start: int
    authorization: str


class Hub:
    """A server of files by path; `cdn` is another one that large files of repositories are on."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.files: dict[str, Served] = {}
        self.asked: list[Asked] = []
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.cdn: Hub | None = None

    def serve(self, path: str, content: bytes, **how: object) -> Served:
        """Serve `content` at `path`."""
        served = Served(content, **how)  # type: ignore[arg-type]
        self.files[path] = served
        return served

    def serve_in_repo(self, repo: str, name: str, content: bytes, **how: object) -> Served:
        """Serve a large file of a repository: the hub sends on to the CDN. The CDN's answers
        are what is returned."""
        assert self.cdn is not None
        on_cdn = self.cdn.serve(f"/{hashlib.sha256(content).hexdigest()}", content)
        here = self.serve(f"/{repo}/resolve/main/{name}", content, **how)
        files = [{"type": "file", "path": each, "oid": "0", "size": 1} for each in (name, "x.md")]
        self.serve(f"/api/models/{repo}/tree/main", json.dumps(files).encode())
        here.redirect = f"{self.cdn.url}/{on_cdn.sha256}"
        return on_cdn

    def gets(self) -> list[Asked]:
        """The requests for bytes."""
        return [each for each in self.asked if each.method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        wanted = self.headers.get("Range", "")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        path = self.path.split("?")[0]
        token = self.headers.get("Authorization", "")
        self.hub.asked.append(Asked(self.command, path, start, token))
        served = self.hub.files.get(path)
        if served is None:
            self._refuse(404, "EntryNotFound" if "/resolve/" in path else "")
        elif served.token and token != f"Bearer {served.token}":
            self._refuse(403 if token else 401, served.error_code)
        elif served.statuses:
            self._refuse(served.statuses.pop(0), "")
        elif served.redirect:
            self._send_on(served)
        else:
            self._send(served, start, body)

    def _refuse(self, status: int, code: str, content_range: str = "") -> None:
        self.send_response(status)
        if content_range:
            self.send_header("Content-Range", content_range)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_on(self, served: Served) -> None:
        self.send_response(302)
        self.send_header("Location", served.redirect)
        if "/resolve/" in self.path:
            size = served.declared_bytes
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-Etag", f'"{served.sha256}"')
            self.send_header("X-Linked-Size", str(size or len(served.content)))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, served: Served, start: int, body: bool) -> None:
        total = len(served.content)
        if_range = self.headers.get("If-Range")
        partial = served.ranges and start > 0 and if_range in (None, served.etag)
        if partial and start >= total:
            self._refuse(416, "", f"bytes */{total}")
            return
        content = served.content[start:] if partial else served.content
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("ETag", served.etag)
        self.send_header("Content-Type", served.content_type)
        if served.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            declared = served.declared_bytes
            self.send_header("Content-Length", str(declared or len(content)))
        self.end_headers()
        if body:
            self._body(served, content)

    def _body(self, served: Served, content: bytes) -> None:
        cut = served.cuts.pop(0) if served.cuts else len(content)
        sent = content[:cut]
        if served.chunked:
            sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(sent), sent)
        half = len(sent) // 2 if served.gate else len(sent)
        self.wfile.write(sent[:half])
        self.wfile.flush()
        if served.gate:
            assert served.gate.wait(30)
            self.wfile.write(sent[half:])
        if cut < len(content) or served.declared_bytes:
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass  # clients that go away in the middle are what is tested


@contextmanager
def _server() -> Iterator[Hub]:
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    handler.hub = Hub(server)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield handler.hub  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub and its CDN, for as long as the block runs."""
    with _server() as hub, _server() as cdn:
        hub.cdn = cdn
        yield hub


def lonely_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user who has no settings, no other programs' models and no token."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SLM_LSP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("OLLAMA_MODELS", str(home / "ollama"))
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    monkeypatch.setenv("HF_TOKEN", "")
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "LLAMA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "SLM_LSP_MODEL"):
        monkeypatch.delenv(name, raising=False)
    return home


def make_ollama_store(store: Path, models: dict[str, bytes]) -> None:
    """A store of Ollama with these models; a name is NAME:TAG or NAMESPACE/NAME:TAG."""
    (store / "blobs").mkdir(parents=True, exist_ok=True)
    for name, content in models.items():
        sha256 = hashlib.sha256(content).hexdigest()
        (store / "blobs" / f"sha256-{sha256}").write_bytes(content)
        path, _, tag = name.partition(":")
        folder = store / "manifests" / "registry.ollama.ai"
        folder = folder / (path if "/" in path else f"library/{path}")
        folder.mkdir(parents=True, exist_ok=True)
        layers = [
            {
                "mediaType": "application/vnd.ollama.image.model",
                "digest": f"sha256:{sha256}",
                "size": len(content),
            },
            {
                "mediaType": "application/vnd.ollama.image.template",
                "digest": f"sha256:{'0' * 64}",
                "size": 10,
            },
        ]
        (folder / tag).write_text(json.dumps({"schemaVersion": 2, "layers": layers}))


def make_hub_cache(cache: Path, repo: str, name: str, content: bytes) -> Path:
    """Hugging Face's cache with that file; its path there."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
    blob.parent.mkdir(parents=True)
    blob.write_bytes(content)
    pointer = folder / "snapshots" / COMMIT / name
    pointer.parent.mkdir(parents=True)
    pointer.symlink_to(blob)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    return pointer
