"""Pulling a model from each kind of location: what comes, what is linked, what is refused.

Invariant: loopback only; files are small and random, and the quantizer is a stub.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import pickle
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hub_scene import (
    COMMIT,
    Hub,
    lonely_user,
    make_hub_cache,
    make_ollama_store,
    running_hub,
)

from slm_lsp.registry import found
from slm_lsp.registry import hub as hub_module
from slm_lsp.registry.cache import file_state, located_path, model_path, read_sidecar, state, verify
from slm_lsp.registry.pull import PullError, PullProgress, pull, pull_location
from slm_lsp.registry.specs import FileSource, ModelSpec, QuantizationSpec
from slm_lsp.types import FimTemplate

CONTENT = b"GGUF" + random.Random(2).randbytes(200_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REPO, FILE = "me/tiny-GGUF", "tiny-q4_0.gguf"
AT_HUB = f"hf:{REPO}/{FILE}"
CHECKOUT = Path(__file__).parents[1]


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has no other programs' models and no token."""
    return lonely_user(tmp_path, monkeypatch)


def spec_of(*sources: FileSource, quantization: str = "Q4_0") -> ModelSpec:
    return ModelSpec(
        name="tiny",
        title="Tiny",
        licence="MIT",
        architecture="llama",
        context_tokens=512,
        sources=sources,
        quantizations=(QuantizationSpec(quantization, None),),
        template=FimTemplate("psm", ("{prefix}", "{suffix}")),
    )


def at(location: str, **known: Any) -> ModelSpec:
    return spec_of(FileSource(location, "Q4_0", **known))


def left(folder: Path) -> list[str]:
    """What lies in a folder of models, but for locks."""
    if not folder.exists():
        return []
    return sorted(each.name for each in folder.iterdir() if each.name not in (".locks", "at"))


def check_refused(spec: ModelSpec, *says: str) -> str:
    """Pulling fails with all of `says`, and changes nothing but the part that it keeps."""
    before = state(spec)
    with pytest.raises(PullError) as caught:
        pull(spec, force=True)
    for text in says:
        assert text in str(caught.value)
    assert state(spec) == before
    assert not [name for name in left(model_path(spec).parent) if name.startswith(".pull")]
    return str(caught.value)


def check_ready(spec: ModelSpec, *, linked_to: Path | None = None) -> Path:
    """Pulling gives a file of ours, or a link to somebody's, and leaves nothing else."""
    seen: list[PullProgress] = []
    file = pull(spec, progress=seen.append, force=True)
    assert file.read_bytes() == CONTENT
    assert state(spec) == verify(spec) == "ready"
    assert file.is_symlink() is (linked_to is not None)
    if linked_to is not None:
        assert os.path.realpath(file) == os.path.realpath(linked_to)
    assert left(file.parent) == [file.name, file.name + ".json"]
    assert seen[-1].done_bytes == len(CONTENT)
    return file


# --- the hub ---


def test_a_file_comes_from_the_hub_and_its_cdn(hub: Hub, home: Path) -> None:
    hub.serve_in_repo(REPO, FILE, CONTENT)
    file = check_ready(at(AT_HUB))
    record = read_sidecar(file)
    assert record is not None
    assert (record.source_sha256, record.sha256, record.origin) == (SHA256, SHA256, AT_HUB)
    # Nothing is kept twice, and the hub's own cache is left alone.
    assert not list((home / "huggingface").rglob("*.gguf"))


def test_the_token_goes_to_the_hub_alone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.cdn is not None
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.serve_in_repo(REPO, FILE, CONTENT, token="hf_secret", error_code="GatedRepo")
    check_ready(at(AT_HUB))
    assert {each.authorization for each in hub.asked} == {"Bearer hf_secret"}
    assert {each.authorization for each in hub.cdn.asked} == {""}


@pytest.mark.parametrize(("token", "status"), [("", "401"), ("hf_wrong", "403")])
def test_a_gated_file_says_what_to_do(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, token: str, status: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    hub.serve_in_repo(REPO, FILE, CONTENT, token="hf_secret", error_code="GatedRepo")
    said = check_refused(at(AT_HUB), status, "licence", "HF_TOKEN", f"{hub.url}/{REPO}")
    assert "hf_" not in said


def test_a_file_that_is_not_there(hub: Hub) -> None:
    check_refused(at(AT_HUB), "no file tiny-q4_0.gguf in me/tiny-GGUF", "/tree/main")


def test_a_file_that_was_changed_at_the_hub(hub: Hub) -> None:
    hub.serve_in_repo(REPO, FILE, CONTENT)
    check_refused(at(AT_HUB, sha256="0" * 64), f"declares sha256 {SHA256}", "was changed there")
    check_refused(at(AT_HUB, size_bytes=7), "declares size 200004", "expected 7")
    assert hub.gets() == []


def test_a_cdn_that_sends_another_file(hub: Hub) -> None:
    on_cdn = hub.serve_in_repo(REPO, FILE, CONTENT)
    on_cdn.content = b"GGUF" + bytes(200_000)
    check_refused(at(AT_HUB), f"expected {SHA256}", "Nothing was kept")
    on_cdn.content = CONTENT[:-1]
    check_refused(at(AT_HUB), "has 200003 bytes, expected 200004")


def test_a_cut_download_is_gone_on_with_by_the_next_pull(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    on_cdn = hub.serve_in_repo(REPO, FILE, CONTENT)
    on_cdn.cuts = [50_000, *[0] * 4]
    check_refused(at(AT_HUB), "are kept")
    models = located_path(AT_HUB).parents[1]
    assert [name.startswith(".part-tiny-") for name in left(models)] == [True, True]
    assert pull(at(AT_HUB)).read_bytes() == CONTENT
    assert hub.cdn is not None
    assert hub.cdn.gets()[-1].start == 50_000
    assert left(models) == ["tiny.Q4_0.gguf", "tiny.Q4_0.gguf.json"]


def test_a_mirror_must_be_protected(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example")
    check_refused(at(AT_HUB), "HF_ENDPOINT", "https://")


def test_offline_nothing_is_asked(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.serve_in_repo(REPO, FILE, CONTENT)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    check_refused(at(AT_HUB), "HF_HUB_OFFLINE is set")
    cached = make_hub_cache(home / "huggingface" / "hub", REPO, FILE, CONTENT)
    check_ready(at(AT_HUB), linked_to=cached)
    check_ready(at(AT_HUB, sha256=SHA256), linked_to=cached)
    assert hub.asked == []


def test_a_hub_that_cannot_be_reached(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    check_refused(at(AT_HUB), "127.0.0.1:1 cannot be reached", "HTTPS_PROXY")


def test_a_damaged_file_of_the_hubs_cache_is_not_taken(hub: Hub, home: Path) -> None:
    cached = make_hub_cache(home / "huggingface" / "hub", REPO, FILE, CONTENT)
    os.truncate(cached, 1000)
    hub.serve_in_repo(REPO, FILE, CONTENT)
    check_ready(at(AT_HUB))


def test_a_file_of_another_program_saves_the_download(hub: Hub, home: Path) -> None:
    hub.serve_in_repo(REPO, FILE, CONTENT)
    own = home / ".lmstudio" / "models" / REPO / FILE
    own.parent.mkdir(parents=True)
    own.write_bytes(b"GGUF" + bytes(200_000))
    check_ready(at(AT_HUB))
    assert len(hub.cdn.gets() if hub.cdn else ()) == 1
    own.write_bytes(CONTENT)
    file = pull(at(AT_HUB), force=True)
    assert os.path.realpath(file) == str(own)
    assert len(hub.cdn.gets() if hub.cdn else ()) == 1


# --- addresses ---


def test_an_address_without_a_known_hash_keeps_the_one_it_had(hub: Hub) -> None:
    hub.serve("/tiny.gguf", CONTENT)
    spec = at(f"{hub.url}/tiny.gguf")
    record = read_sidecar(check_ready(spec))
    assert record is not None
    assert record.source_sha256 == SHA256
    assert state(at("https://example.com/other.gguf")) == "absent"


def test_what_is_no_model_is_refused(hub: Hub) -> None:
    hub.serve("/tiny.gguf", b"<!doctype html>")
    check_refused(at(f"{hub.url}/tiny.gguf"), "no model file", "<!do")
    assert left(located_path("x").parents[1]) == []


@pytest.mark.usefixtures("home")
def test_a_split_model_is_refused() -> None:
    check_refused(at("hf:me/big/big-00001-of-00003.gguf"), "split", "llama-gguf-split")


# --- this machine ---


def test_a_file_of_the_users_is_linked(home: Path) -> None:
    own = home / "tiny.gguf"
    own.write_bytes(CONTENT)
    check_ready(at(f"file:{own}", sha256=SHA256, size_bytes=len(CONTENT)), linked_to=own)
    check_refused(at(f"file:{own}", sha256="0" * 64), SHA256, "0" * 64)
    check_refused(at(f"file:{own}", size_bytes=1), "200004 bytes, expected 1")
    check_refused(at(f"file:{home}/none.gguf"), "there is no file")


def test_where_no_link_can_be_made_it_is_copied(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "not here")

    monkeypatch.setattr(os, "symlink", refuse)
    monkeypatch.setattr(os, "link", refuse)
    own = home / "tiny.gguf"
    own.write_bytes(CONTENT)
    check_ready(at(f"file:{own}"))


def test_ollamas_store_is_used_in_place(home: Path) -> None:
    make_ollama_store(home / "ollama", {"tiny:1b": CONTENT, "me/other:latest": b"GGUFother"})
    blob = home / "ollama" / "blobs" / f"sha256-{SHA256}"
    check_ready(at("ollama:tiny:1b"), linked_to=blob)
    check_refused(at("ollama:tiny:2b"), "There are ollama:me/other:latest, ollama:tiny:1b")
    check_refused(at("ollama:tiny:1b", sha256="0" * 64), "is another file")
    blob.unlink()
    assert state(at("ollama:tiny:1b")) == "absent"
    check_refused(at("ollama:tiny:1b"), "lacks", "ollama pull tiny:1b")


def test_a_damaged_blob_is_not_taken(home: Path) -> None:
    make_ollama_store(home / "ollama", {"tiny:1b": CONTENT})
    (home / "ollama" / "blobs" / f"sha256-{SHA256}").write_bytes(CONTENT[:-1] + b"X")
    check_refused(at("ollama:tiny:1b"), "damaged or another file")


@pytest.mark.parametrize(
    "manifest",
    [
        "[]",
        "{",
        '{"layers": [{"mediaType": "application/vnd.ollama.image.model"}]}',
        '{"layers": [{"mediaType": "application/vnd.ollama.image.model", "size": 1,'
        ' "digest": "sha256:../../../etc/passwd"}]}',
        '{"layers": []}',
        '{"layers": [{"mediaType": "application/vnd.ollama.image.adapter"}]}',
    ],
)
def test_a_manifest_that_is_none(home: Path, manifest: str) -> None:
    make_ollama_store(home / "ollama", {"tiny:1b": CONTENT})
    file = home / "ollama" / "manifests" / "registry.ollama.ai" / "library" / "tiny" / "1b"
    file.write_text(manifest)
    check_refused(at("ollama:tiny:1b"), "cannot be used")
    assert found.find_models() == []


def test_the_next_source_is_tried(hub: Hub, home: Path) -> None:
    own = home / "tiny.gguf"
    spec = spec_of(FileSource(AT_HUB, "Q4_0"), FileSource(f"file:{own}", "Q4_0"))
    said = check_refused(spec, "none of the 2 sources")
    assert "no file tiny-q4_0.gguf" in said
    assert "there is no file" in said
    own.write_bytes(CONTENT)
    check_ready(spec, linked_to=own)


# --- requantizing ---


def double(source: Path, target: Path, quantization: str, tick: Callable[[], None]) -> None:
    target.write_bytes(source.read_bytes() * 2)
    tick()


def test_another_quantization_is_made_here(hub: Hub) -> None:
    hub.serve_in_repo(REPO, FILE, CONTENT)
    spec = spec_of(FileSource(AT_HUB, "Q4_0"), quantization="Q8_0")
    assert pull(spec, requantize=double).read_bytes() == CONTENT * 2
    assert state(spec) == "ready"


def test_another_programs_file_is_only_read_for_it(home: Path) -> None:
    own = home / "tiny.gguf"
    own.write_bytes(CONTENT)
    spec = spec_of(FileSource(f"file:{own}", "Q4_0"), quantization="Q8_0")
    file = pull(spec, requantize=double)
    assert not file.is_symlink()
    assert own.read_bytes() == CONTENT


# --- locations without an entry ---


def test_a_location_needs_no_entry(hub: Hub) -> None:
    hub.serve_in_repo(REPO, FILE, CONTENT)
    file = pull_location(AT_HUB)
    assert file == located_path(AT_HUB)
    assert file.read_bytes() == CONTENT
    assert file_state(file, rehash=True) == "ready"
    n_asked = len(hub.asked)
    assert pull_location(AT_HUB, quantization="Q4_0") == file
    assert len(hub.asked) == n_asked
    other = pull_location(AT_HUB, quantization="Q8_0", requantize=double)
    assert other != file
    assert other.read_bytes() == CONTENT * 2


def test_a_tag_that_ollama_pulled_anew_is_looked_at_anew(home: Path) -> None:
    make_ollama_store(home / "ollama", {"tiny:1b": CONTENT})
    pull_location("ollama:tiny:1b")
    shutil.rmtree(home / "ollama" / "manifests")
    make_ollama_store(home / "newer", {"tiny:1b": b"GGUF newer"})
    shutil.move(home / "newer" / "manifests", home / "ollama" / "manifests")
    for blob in (home / "newer" / "blobs").iterdir():
        shutil.move(blob, home / "ollama" / "blobs")
    assert pull_location("ollama:tiny:1b").read_bytes() == b"GGUF newer"


# --- room, killing, two at once ---


def test_room_is_looked_at_before_a_byte_comes(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.serve_in_repo(REPO, FILE, CONTENT)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(9, 9, len(CONTENT) - 1))
    check_refused(at(AT_HUB), "no room", "SLM_LSP_CACHE_DIR")
    assert [each.method for each in hub.asked] == ["HEAD", "GET"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(9, 9, len(CONTENT)))
    check_ready(at(AT_HUB))


def test_a_disk_that_fills_up_keeps_the_part(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.serve_in_repo(REPO, FILE, CONTENT)

    def fill(step: PullProgress) -> None:
        if step.done_bytes > 50_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(PullError, match="no room"):
        pull(at(AT_HUB), progress=fill)
    assert pull(at(AT_HUB)).read_bytes() == CONTENT
    assert hub.cdn is not None
    assert hub.cdn.gets()[-1].start > 50_000


KILLED_PULL = """
import os, pickle, signal, sys
from slm_lsp.registry.pull import pull

def kill(step):
    if step.done_bytes > 50_000:
        os.kill(os.getpid(), signal.SIGKILL)

pull(pickle.load(sys.stdin.buffer), progress=kill)
"""


def test_a_killed_pull_is_gone_on_with(hub: Hub) -> None:
    hub.serve_in_repo(REPO, FILE, CONTENT)
    died = subprocess.run(
        [sys.executable, "-c", KILLED_PULL],
        input=pickle.dumps(at(AT_HUB)),
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        check=False,
    )
    assert died.returncode == -9
    assert state(at(AT_HUB)) == "absent"
    assert pull(at(AT_HUB)).read_bytes() == CONTENT
    assert hub.cdn is not None
    assert hub.cdn.gets()[-1].start > 50_000


def test_two_pulls_at_once_fetch_once(hub: Hub) -> None:
    on_cdn = hub.serve_in_repo(REPO, FILE, CONTENT)
    on_cdn.gate = threading.Event()
    begun = threading.Event()
    files: list[Path] = []

    def run() -> None:
        files.append(pull(at(AT_HUB), progress=lambda _: begun.set()))

    threads = [threading.Thread(target=run) for _ in range(2)]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    # Long enough for the second to ask, were there no lock.
    threads[1].join(0.2)
    on_cdn.gate.set()
    for thread in threads:
        thread.join(30)
    assert len(files) == 2
    assert hub.cdn is not None
    assert len(hub.cdn.gets()) == 1


def test_a_pull_of_another_model_does_not_wait(hub: Hub, home: Path) -> None:
    on_cdn = hub.serve_in_repo(REPO, FILE, CONTENT)
    on_cdn.gate = threading.Event()
    begun = threading.Event()
    thread = threading.Thread(target=lambda: pull(at(AT_HUB), progress=lambda _: begun.set()))
    thread.start()
    assert begun.wait(30)
    own = home / "other.gguf"
    own.write_bytes(CONTENT)
    other = dataclasses.replace(at(f"file:{own}"), name="other")
    assert pull(other).read_bytes() == CONTENT
    on_cdn.gate.set()
    thread.join(30)
    assert state(at(AT_HUB)) == "ready"


# --- other programs' files ---


def test_what_other_programs_have_is_found(home: Path) -> None:
    def put(path: str) -> None:
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_bytes(CONTENT)

    make_ollama_store(home / "ollama", {"tiny:1b": CONTENT})
    make_hub_cache(home / "huggingface" / "hub", REPO, FILE, CONTENT)
    put("elsewhere/models/me/a/a.gguf")
    (home / ".lmstudio-home-pointer").write_text(str(home / "elsewhere"))
    put(".lmstudio/models/me/a/mmproj-a.gguf")
    put(".lmstudio/models/me/b/b-00001-of-00002.gguf")
    put(".lmstudio/models/me/b/b-00002-of-00002.gguf")
    put(".cache/llama.cpp/me_c_c.gguf")
    assert [(each.program, each.name) for each in found.find_models()] == [
        ("Ollama", "ollama:tiny:1b"),
        ("LM Studio", "lmstudio:me/a/a.gguf"),
        ("LM Studio", "lmstudio:me/b/b-00001-of-00002.gguf"),
        ("llama.cpp", "llamacpp:me_c_c.gguf"),
        ("Hugging Face", AT_HUB),
    ]
    named = found.find_named("lmstudio:me/a/a.gguf")
    assert named is not None
    assert named.path == home / "elsewhere" / "models" / "me" / "a" / "a.gguf"
    assert found.find_named("llamacpp:none.gguf") is None


def test_lm_studios_settings_say_where_it_keeps_models(home: Path) -> None:
    (home / ".lmstudio").mkdir()
    folder = home / "big disk"
    (home / ".lmstudio" / "settings.json").write_text(f'{{"downloadsFolder": "{folder}"}}')
    assert found.lm_studio_folders()[0] == folder


def test_another_revision_of_the_hubs_cache_is_named_by_it(home: Path) -> None:
    cached = make_hub_cache(home / "huggingface" / "hub", REPO, FILE, CONTENT)
    (cached.parents[2] / "refs" / "main").write_text("1" * 40)
    assert [each.name for each in found.find_models()] == [f"{AT_HUB}@{COMMIT}"]


def test_the_cache_folder_of_the_hub_is_the_librarys(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held against the library itself, in a fresh process as it reads them when imported."""
    ask = "from huggingface_hub import constants as c; print(c.HF_HUB_CACHE)"
    for given in ({}, {"HF_HOME": "~/h"}, {"HF_HUB_CACHE": "$HOME/c"}, {"XDG_CACHE_HOME": "/x"}):
        environ = {key: value for key, value in os.environ.items() if key != "HF_HOME"} | given
        said = subprocess.run(
            [sys.executable, "-c", ask], env=environ, capture_output=True, text=True, check=True
        )
        assert str(hub_module.cache_folder(environ)) == said.stdout.strip()
