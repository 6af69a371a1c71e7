"""`slm-lsp models …`: what each command does and says, and what it leaves alone.

Invariant: loopback only; no model is loaded, as what tries one is a fake.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_scene import Hub, lonely_user, make_ollama_store, running_hub
from test_gguf_header import LIST, TEXT, U32, gguf, key, listed, tensor, text

from slm_lsp import models_cli, wiring
from slm_lsp.cli import run
from slm_lsp.config import Config
from slm_lsp.engine.base import ModelLoadError
from slm_lsp.registry import cache
from slm_lsp.registry.specs import DEFAULT_MODEL, FileSource, load_registry, load_specs
from slm_lsp.registry.user_entry import quantization_in
from slm_lsp.settings_file import config_path

SENTINELS = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<|endoftext|>")
TINY = gguf(
    key("general.architecture", TEXT, text("starcoder2")),
    key("general.name", TEXT, text("Tiny Coder")),
    key("general.license", TEXT, text("mit")),
    key("starcoder2.context_length", U32, struct.pack("<I", 4096)),
    key("tokenizer.ggml.tokens", LIST, listed(TEXT, *map(text, SENTINELS))),
    key("tokenizer.ggml.token_type", LIST, listed(5, struct.pack("<4i", 3, 3, 3, 3), count=4)),
    tensors=(tensor(4, 8),),
    rest=random.Random(3).randbytes(1000),
)
PLAIN = gguf(
    key("general.architecture", TEXT, text("llama")),
    key("tokenizer.chat_template", TEXT, text("{{ messages }}")),
    rest=bytes(100),
)
REPO, FILE = "me/tiny-GGUF", "tiny-Q4_0.gguf"
AT_HUB = f"hf:{REPO}/{FILE}"


class Terminal:
    """Runs commands as this user and looks at what they say."""

    def __init__(self, home: Path, captured: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._captured = captured

    def check(self, command: str, status: int = 0, *, out: str = "", err: str = "") -> str:
        """The command ends with that status; stdout and stderr hold these."""
        got = run(["models", *command.split()])
        said = self._captured.readouterr()
        assert got == status, said.err
        assert out in said.out
        assert err in said.err
        assert "Traceback" not in said.err
        return said.out

    def config(self) -> str:
        return config_path().read_text() if config_path().exists() else ""


@pytest.fixture
def terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    monkeypatch.setattr(models_cli, "check_loads", lambda config: wiring.obtain(config))
    return Terminal(lonely_user(tmp_path, monkeypatch), capsys)


@pytest.fixture
def hub(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        running.serve_in_repo(REPO, FILE, TINY)
        yield running


def put_entry(name: str, location: str) -> None:
    """An entry of the user's, as they would write it."""
    folder = config_path().parent / "models"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.toml").write_text(
        f'name = "{name}"\ntitle = "Tiny"\nlicence = "MIT"\nlicence_note = "be kind"\n'
        f'architecture = "llama"\ncontext_tokens = 512\n[source]\nlocation = "{location}"\n'
        'quantization = "Q4_0"\n[quantizations]\ndefault = "Q4_0"\n[template]\n'
        'family = "starcoder"\n'
    )


# --- list ---


def test_the_list_has_a_line_for_each_model(terminal: Terminal) -> None:
    out = terminal.check("list")
    lines = out.splitlines()
    assert len(lines) == 1 + len(load_specs())
    assert max(map(len, lines)) <= 120
    (used,) = (line for line in lines if line.startswith("*"))
    assert DEFAULT_MODEL in used
    assert used.endswith("not here")


def test_the_list_shows_what_is_here_and_what_others_have(terminal: Terminal, hub: Hub) -> None:
    put_entry("tiny", AT_HUB)
    make_ollama_store(terminal.home / "ollama", {f"m{i}:1b": TINY for i in range(10)})
    own = terminal.home / ".lmstudio" / "models" / REPO / FILE
    own.parent.mkdir(parents=True)
    own.write_bytes(TINY)
    out = terminal.check("list", out="found in LM Studio")
    assert "found: ollama:m0:1b (Ollama, 0 MB)" in out
    assert "… and 3 more" in out
    assert f"found: lmstudio:{REPO}/{FILE}" in terminal.check("list --all")
    terminal.check("pull ollama:m3:1b")
    terminal.check("pull tiny", err="MIT. be kind")
    assert "ollama:m3:1b (0 MB)" in terminal.check("list", out="Without an entry:")
    facts = json.loads(terminal.check("list --json"))
    (tiny,) = (each for each in facts["models"] if each["name"] == "tiny")
    assert tiny["state"] == tiny["quantizations"][0]["state"] == "ready"
    assert len(facts["found"]) == 11
    assert facts["located"][0]["location"] == "ollama:m3:1b"


def test_a_wrong_entry_is_said_and_the_rest_is_shown(terminal: Terminal) -> None:
    put_entry("tiny", AT_HUB)
    file = config_path().parent / "models" / "tiny.toml"
    file.write_text(file.read_text().replace("512", '"many"'))
    terminal.check("list", out=DEFAULT_MODEL, err="tiny.toml")


# --- pull and info ---


def test_pull_takes_names_locations_and_what_is_there(terminal: Terminal, hub: Hub) -> None:
    put_entry("tiny", AT_HUB)
    assert Path(terminal.check("pull tiny").strip()) == cache.cache_root() / "models" / (
        "tiny.Q4_0.gguf"
    )
    located = Path(terminal.check(f"pull {AT_HUB}").strip())
    assert located.read_bytes() == TINY
    terminal.check(f"pull {located}", out=str(located))
    terminal.check("pull ./none.gguf", 2, err="there is no file none.gguf")
    terminal.check("pull hf:nowhere", 2, err="is none of hf:OWNER/REPO/FILE.gguf")
    terminal.check("pull http://example.com/m.gguf", 2, err="must begin with https://")
    terminal.check("pull hf:me/other/m.gguf", 2, err="no file m.gguf in me/other")
    terminal.check("pull smolm2-135m", 2, err=f"did you mean {DEFAULT_MODEL}")


def test_info_tells_of_entries_files_and_locations(terminal: Terminal, hub: Hub) -> None:
    terminal.check("info", out=f"{DEFAULT_MODEL}: SmolLM2")
    file = terminal.home / "tiny.gguf"
    file.write_bytes(TINY)
    terminal.check(f"info {file}", out="template: starcoder, found from the control tokens")
    terminal.check(f"info file:{file}", out="licence: mit")
    terminal.check(f"info {AT_HUB}", 2, err=f"`slm-lsp models pull {AT_HUB}` obtains it")
    terminal.check(f"pull {AT_HUB}")
    terminal.check(f"info {AT_HUB}", out="Tiny Coder")
    put_entry("tiny", AT_HUB)
    terminal.check(f"info {AT_HUB}", out=f"{AT_HUB} is tiny:")
    (terminal.home / "bad.gguf").write_bytes(b"no model")
    terminal.check(f"info {terminal.home}/bad.gguf", 2, err="not a GGUF model file")
    (terminal.home / "chat.gguf").write_bytes(PLAIN)
    terminal.check(f"info {terminal.home}/chat.gguf", out="WARNING: it has a chat template")


def test_a_repository_names_its_files(terminal: Terminal, hub: Hub) -> None:
    terminal.check(f"pull hf:{REPO}", 2, err=f"name one of its files\n{AT_HUB}\n")
    terminal.check(f"pull https://huggingface.co/{REPO}/", 2, err=AT_HUB)
    terminal.check("use hf:me/none", 2, err="me/none")
    terminal.check(f"pull https://huggingface.co/{REPO}/resolve/main/{FILE}?download=true")
    terminal.check(f"info {AT_HUB}", out="Tiny Coder")


OTHER = TINY[:-1] + bytes([TINY[-1] ^ 1])


def test_a_hash_that_nobody_knew_is_recorded_and_held_to(terminal: Terminal, hub: Hub) -> None:
    put_entry("tiny", AT_HUB)
    sha256 = hashlib.sha256(TINY).hexdigest()
    terminal.check("info tiny", out="sha256 not known: the first pull records it")
    terminal.check("pull tiny", err=f"nobody has checked the file: its sha256 {sha256} is recorded")
    terminal.check("info tiny", out=f"recorded of Q4_0: sha256 {sha256} of {AT_HUB}")
    file = cache.model_path(load_specs()["tiny"])
    # It is said when it comes, not when it is here.
    terminal.check("pull tiny")
    hub.serve_in_repo(REPO, FILE, OTHER)
    terminal.check("pull tiny --force", 2, err="was recorded when the file was first obtained")
    assert file.read_bytes() == TINY
    # Also where the file itself is gone.
    file.unlink()
    terminal.check("pull tiny", 2, err="`slm-lsp models remove tiny` forgets the hash")
    hub.serve_in_repo(REPO, FILE, TINY)
    terminal.check("pull tiny")
    assert cache.verify(load_specs()["tiny"]) == "ready"
    hub.serve_in_repo(REPO, FILE, OTHER)
    terminal.check("remove tiny --yes")
    terminal.check("pull tiny", err="nobody has checked the file")
    assert file.read_bytes() == OTHER


def test_a_server_that_declares_no_hash_is_held_to_the_first_one_too(
    terminal: Terminal, hub: Hub
) -> None:
    location = f"{hub.url}/m.gguf"
    hub.serve("/m.gguf", TINY)
    terminal.check(f"pull {location}", err="is recorded, and what comes from there later must")
    hub.serve("/m.gguf", OTHER)
    terminal.check(f"pull {location} --force", 2, err=f"models remove {location}` forgets the hash")
    assert cache.located_path(location).read_bytes() == TINY
    terminal.check(f"remove {location} --yes")
    terminal.check(f"pull {location}")
    assert cache.located_path(location).read_bytes() == OTHER


def test_what_another_program_has_may_change(terminal: Terminal) -> None:
    for content in (TINY, OTHER):
        make_ollama_store(terminal.home / "ollama", {"m:1b": content})
        terminal.check("pull ollama:m:1b --force")
        assert cache.located_path("ollama:m:1b").read_bytes() == content


# --- use ---


def test_use_writes_the_settings_and_says_how_to_undo_it(terminal: Terminal, hub: Hub) -> None:
    put_entry("tiny", AT_HUB)
    config_path().write_text("# mine\nautomatic_budget_ms = 300\n")
    terminal.check(
        "use tiny", out="tiny is the model", err=f"undo: slm-lsp models use {DEFAULT_MODEL}"
    )
    assert terminal.config().startswith("# mine\nautomatic_budget_ms = 300\n")
    assert 'model = "tiny"' in terminal.config()
    assert (
        next(line for line in terminal.check("list").splitlines() if line[0] == "*")[3:7] == "tiny"
    )
    terminal.check(f"use {AT_HUB}", err="undo: slm-lsp models use tiny")
    assert f'model = "{AT_HUB}"' in terminal.config()
    terminal.check("list", out=f"* {AT_HUB}")
    terminal.check("use tiny --quantization Q4_0", err=f"undo: slm-lsp models use {AT_HUB}")
    terminal.check(f"use {DEFAULT_MODEL[:-1]}", 2, err="did you mean")
    terminal.check("use tiny --quantization Q2_K", 2, err="tiny has no quantization Q2_K")
    assert 'model = "tiny"' in terminal.config()


def test_use_takes_files_and_what_other_programs_have(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ollama_store(terminal.home / "ollama", {"tiny:latest": TINY})
    terminal.check("use ollama:tiny", out="ollama:tiny:latest is the model")
    assert wiring.obtain(Config(model="ollama:tiny")).path.read_bytes() == TINY
    own = terminal.home / ".lmstudio" / "models" / REPO / FILE
    own.parent.mkdir(parents=True)
    own.write_bytes(TINY)
    terminal.check(f"use lmstudio:{REPO}/{FILE}")
    assert wiring.obtain(Config(model=f"lmstudio:{REPO}/{FILE}")).path == own
    terminal.check("use lmstudio:me/none/none.gguf", 2, err="`slm-lsp models list --all`")
    monkeypatch.chdir(terminal.home)
    monkeypatch.setenv("SLM_LSP_MODEL", "other")
    (terminal.home / "tiny.gguf").write_bytes(TINY)
    terminal.check(
        "use tiny.gguf", out=str(terminal.home / "tiny.gguf"), err="SLM_LSP_MODEL is set"
    )


def test_what_cannot_be_loaded_is_not_used(
    terminal: Terminal, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(config: Config) -> None:
        raise ModelLoadError("llama.cpp cannot load it")

    monkeypatch.setattr(models_cli, "check_loads", refuse)
    terminal.check(f"use {AT_HUB}", 2, err="llama.cpp cannot load it")
    assert terminal.config() == ""


def test_an_entrys_template_goes_with_its_location(terminal: Terminal, hub: Hub) -> None:
    put_entry("tiny", f"{AT_HUB}@main")
    model = wiring.obtain(Config(model=AT_HUB))
    assert model.template is not None
    assert model.template.name == "starcoder"
    assert wiring.identity(Config(model=AT_HUB))[:2] == ("model", AT_HUB)
    assert wiring.identity(Config(model="file:///m.gguf")) == ("file", "/m.gguf")


# --- verify and remove ---


def test_verify_reads_what_is_here(terminal: Terminal, hub: Hub) -> None:
    terminal.check("verify", 2, err="not here: `slm-lsp models pull`")
    put_entry("tiny", AT_HUB)
    terminal.check("pull tiny")
    terminal.check(f"pull {AT_HUB}")
    out = terminal.check("verify")
    assert "tiny Q4_0: ready" in out
    assert f"{AT_HUB}: ready" in out
    file = cache.model_path(load_specs()["tiny"])
    file.write_bytes(b"X" + TINY[1:])
    terminal.check("verify tiny", 1, out="damaged; `slm-lsp models pull --force tiny --quant")
    terminal.check(f"verify {AT_HUB}", out="ready")
    terminal.check("pull tiny --force")
    terminal.check("verify tiny", out="ready")


def test_remove_asks_and_frees(
    terminal: Terminal, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_entry("tiny", AT_HUB)
    terminal.check("remove tiny", out="nothing to remove")
    file = Path(terminal.check("pull tiny").strip())
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    terminal.check("remove tiny", 2, err="say --yes")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    terminal.check("remove tiny", out="0 MB freed", err="its entry stays")
    assert not file.exists()
    assert not cache.sidecar_path(file).exists()
    terminal.check("pull tiny")
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    terminal.check("remove tiny", 1, out="nothing was removed")
    assert file.exists()
    terminal.check("remove tiny --quantization Q8_0 --yes", out="nothing to remove")
    located = Path(terminal.check(f"pull {AT_HUB}").strip())
    terminal.check(f"remove {AT_HUB} --yes")
    assert file.exists()
    assert not located.exists()
    terminal.check("remove gpt --yes", 2, err="there is no model 'gpt'")


def test_remove_leaves_what_is_others(terminal: Terminal) -> None:
    make_ollama_store(terminal.home / "ollama", {"tiny:1b": TINY})
    (blob,) = (terminal.home / "ollama" / "blobs").iterdir()
    link = Path(terminal.check("pull ollama:tiny:1b").strip())
    terminal.check("remove ollama:tiny:1b --yes", out=": 0 MB freed", err="its target stays")
    assert not link.is_symlink()
    assert blob.read_bytes() == TINY
    (terminal.home / "tiny.gguf").write_bytes(TINY)
    terminal.check(f"remove {terminal.home}/tiny.gguf --yes", 2, err="remove it where it is")
    terminal.check("remove lmstudio:a/b/c.gguf --yes", 2, err="remove it where it is")


def test_remove_takes_parts_along(terminal: Terminal, hub: Hub) -> None:
    put_entry("tiny", AT_HUB)
    assert hub.cdn is not None
    (on_cdn,) = hub.cdn.files.values()
    on_cdn.cuts = [100, *[0] * 8]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("time.sleep", lambda _: None)
        terminal.check("pull tiny", 2, err="are kept")
    terminal.check("list", out="partly here")
    terminal.check("remove tiny --yes", out="freed", err=".part-tiny-")
    assert [each.name for each in (cache.cache_root() / "models").iterdir()] == [".locks"]


# --- add ---


def test_add_writes_an_entry_by_what_the_file_says(terminal: Terminal, hub: Hub) -> None:
    file = terminal.check(f"add tiny {AT_HUB}", err="slm-lsp models use tiny").strip()
    assert Path(file) == config_path().parent / "models" / "tiny.toml"
    spec = load_specs()["tiny"]
    (source,) = spec.sources
    assert isinstance(source, FileSource)
    assert (source.location, source.quantization) == (AT_HUB, "Q4_0")
    assert source.size_bytes == len(TINY)
    assert source.sha256 is not None
    assert (spec.title, spec.licence, spec.architecture) == ("Tiny Coder", "mit", "starcoder2")
    assert (spec.context_tokens, spec.template.name) == (4096, "starcoder")
    assert spec.unchecked == ()
    # What was obtained to look at is the model's file.
    assert cache.verify(spec) == "ready"
    assert not list(cache.located_files())
    terminal.check(f"add tiny {AT_HUB}", 2, err="is there already")


def test_add_does_not_fetch_where_the_family_is_given(terminal: Terminal, hub: Hub) -> None:
    terminal.check(f"add tiny {AT_HUB} --family starcoder", err="licence is not known")
    assert hub.asked == []
    assert load_specs()["tiny"].unchecked == ("licence", "architecture", "context_tokens")
    terminal.check(f"add b {AT_HUB} --family gpt", 2, err="there are ")
    terminal.check("add b hf:me/b/b.gguf --family qwen", 2, err="--quantization Q4_0")
    terminal.check("add b hf:me/b/b.gguf --family qwen --quantization Q4_0")
    assert load_registry().problems == ()


def test_add_takes_files_of_this_machine(terminal: Terminal) -> None:
    file = terminal.home / "my model Q8_0.gguf"
    file.write_bytes(TINY)
    (terminal.home / "my.gguf").symlink_to(file)
    terminal.check(f"add mine {terminal.home}/my.gguf --quantization Q8_0")
    assert terminal.check("pull mine")
    terminal.check(f"add My {terminal.home}/my.gguf --quantization Q8_0", 2, err="small letters")
    (terminal.home / "chat-Q8_0.gguf").write_bytes(PLAIN)
    terminal.check(f"add chat {terminal.home}/chat-Q8_0.gguf", 2, err="no fill-in-the-middle")
    terminal.check("add chat gpt", 2, err="'gpt' is no location")
    assert set(load_specs()) - {"mine"} == set(load_specs(own_folder=Path("none")))


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("hf:a/b/qwen2.5-coder-1.5b-q8_0.gguf", "Q8_0"),
        ("hf:a/b/m-Q4_K_M.gguf@v1", "Q4_K_M"),
        ("ollama:m:1.5b-base-q4_0", "Q4_0"),
        ("hf:F16/b/m.gguf", "F16"),
        ("https://a/m.gguf", ""),
        ("hf:a/XF16X/m.gguf", ""),
    ],
)
def test_the_quantization_is_taken_from_the_name(text: str, expect: str) -> None:
    assert quantization_in(text) == expect
