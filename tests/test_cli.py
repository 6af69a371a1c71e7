"""The command line: places, files, what is said where, and exit statuses.

Invariant: stdout carries results only; what is wrong is one sentence on stderr.
Threads: the main thread; `complete` runs its own event loop.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slm_lsp import __version__, oneshot
from slm_lsp.cli import UsageError, run
from slm_lsp.config import Config
from slm_lsp.engine.base import Engine, ModelLoadError
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.oneshot import MAX_FILE_BYTES, locate, parse_place, read_source
from slm_lsp.registry.specs import DEFAULT_MODEL
from slm_lsp.types import EngineState, Finish, Generation
from slm_lsp.wiring import ModelFile, Report, looks_like_path, obtain

Captured = pytest.CaptureFixture[str]
FIGURES = {"text", "origin", "finish", "reject", "model", "n_prompt", "n_cached"} | {
    *("n_predicted", "ttft_ms", "total_ms", "alternatives")
}


@pytest.fixture(autouse=True)
def _no_settings_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


# --- places ---


@pytest.mark.parametrize(
    ("place", "path", "line", "column"),
    [
        ("a.py:12:5", "a.py", 12, 5),
        ("/src/a b.py:1:1", "/src/a b.py", 1, 1),
        ("C:\\src\\a.py:3:4", "C:\\src\\a.py", 3, 4),
        ("a:b:7.py:3:4", "a:b:7.py", 3, 4),
    ],
)
def test_places(place: str, path: str, line: int, column: int) -> None:
    assert parse_place(place) == (Path(path), line, column)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("a.py", "'a.py' is not PATH:LINE:COL"),
        ("a.py:3", "is not PATH:LINE:COL"),
        ("a.py:3:", "is not PATH:LINE:COL"),
        ("a.py:three:4", "such as src/app.py:12:5"),
        ("3:4", "is not PATH:LINE:COL"),
        (":3:4", "is not PATH:LINE:COL"),
        ("a.py:3:" + "9" * 5000, "is not PATH:LINE:COL"),
        ("a.py:0:1", "counted from 1"),
        ("a.py:1:-1", "counted from 1"),
    ],
)
def test_no_places(place: str, says: str) -> None:
    with pytest.raises(UsageError, match=says.replace(".", r"\.")):
        parse_place(place)


SOURCE = "x = '😀'\r\ny = 2\n"


@pytest.mark.parametrize(
    ("line", "column", "offset"),
    [(1, 1, 0), (1, 6, 5), (1, 7, 6), (1, 8, 7), (2, 1, 9), (2, 6, 14), (3, 1, 15)],
)
def test_locate(line: int, column: int, offset: int) -> None:
    document, found = locate(Path("a.py"), line, column, SOURCE)
    assert (found, document.language) == (offset, "python")
    assert document.uri.startswith("file:///")


@pytest.mark.parametrize(
    ("line", "column", "says"),
    [
        (4, 1, "a.py has 3 lines, not 4"),
        (1, 9, "a.py: line 1 has 7 characters: no column 9"),
        (3, 2, "a.py: line 3 has 0 characters: no column 2"),
        (10**30, 10**30, "a.py has 3 lines"),
    ],
)
def test_locate_outside(line: int, column: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        locate(Path("a.py"), line, column, SOURCE)


# --- files ---

FILES = [
    (b"\x7fELF\0\1", "a binary file"),
    (b"caf\xe9 = 1", "not UTF-8 text .*byte 3"),
    (b"\xff\xfe", "not UTF-8"),
]


@pytest.mark.parametrize(("content", "says"), FILES)
def test_files_that_are_no_source(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"a.py: {says}"):
        read_source(path)


def test_places_that_hold_no_file(tmp_path: Path) -> None:
    for path, says in [
        (tmp_path / "missing.py", "no such file"),
        (tmp_path, "not a file"),
        (tmp_path / ("x" * 300), "too long"),
        (Path("a\0b"), "no such file"),
    ]:
        with pytest.raises(UsageError, match=says):
            read_source(path)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(UsageError, match="larger than 16 MB"):
        read_source(path)


def test_sources(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    for content, text in [(b"", ""), (b"a\r\nb", "a\r\nb"), (b"\xef\xbb\xbfx = 1", "x = 1")]:
        path.write_bytes(content)
        assert read_source(path) == text


# --- models ---


def test_which_models_are_files() -> None:
    assert all(map(looks_like_path, ("a.gguf", "./m", "~/m", "C:\\m")))
    assert not any(map(looks_like_path, ("", "smollm2-135m")))
    assert obtain(Config(model="/m/a.gguf")) == ModelFile("a.gguf", Path("/m/a.gguf"), None)
    assert obtain(Config(model="~/a.gguf")).path == Path.home() / "a.gguf"


def test_unknown_models_and_quantizations() -> None:
    with pytest.raises(ModelLoadError, match=r"no model 'gpt'\. `slm-lsp models list` names"):
        obtain(Config(model="gpt"))
    with pytest.raises(
        ModelLoadError, match=f"no model 'smolm2-135m'; did you mean {DEFAULT_MODEL}"
    ):
        obtain(Config(model="smolm2-135m"))
    with pytest.raises(ModelLoadError, match=r"~nobody-here/a\.gguf: .* home"):
        obtain(Config(model="~nobody-here/a.gguf"))
    with pytest.raises(ModelLoadError, match="Q1_X"):
        obtain(Config(quantization="Q1_X"))


# --- commands ---


def check(captured: Captured, arguments: list[str], status: int, out: str, err: str) -> None:
    """The command ends with `status`; stdout and stderr hold these, or nothing if empty."""
    try:
        got = run(arguments)
    except SystemExit as exit_:  # argparse's way out
        got = int(exit_.code or 0)
    said = captured.readouterr()
    assert got == status, said.err
    assert out in said.out
    assert err in said.err
    assert bool(said.out) == bool(out), said.out
    assert bool(said.err) == bool(err), said.err


def test_commands_that_are_none(capsys: Captured) -> None:
    check(capsys, [], 2, "", "required: COMMAND")
    check(capsys, ["compleet"], 2, "", "invalid choice: 'compleet'")
    check(capsys, ["models"], 2, "", "required: ACTION")
    check(capsys, ["complete"], 2, "", "PATH:LINE:COL")
    check(capsys, ["complete", "a.py:1:1", "--budget-ms", "soon"], 2, "", "--budget-ms")
    check(capsys, ["models", "pull", "gpt"], 2, "", "slm-lsp: there is no model 'gpt'")
    check(capsys, ["--version"], 0, f"slm-lsp {__version__}", "")
    check(capsys, ["--help"], 0, "within a latency budget", "")


def test_models_list(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLM_LSP_CACHE_DIR", str(tmp_path))
    check(capsys, ["models", "list"], 0, DEFAULT_MODEL, "")


def use_engine(monkeypatch: pytest.MonkeyPatch, engine: FakeEngine) -> list[Config]:
    """Let `complete` run on `engine`; the settings that it is started with are returned."""
    started: list[Config] = []

    def start(config: Config, on_state: object, on_progress: Report) -> Engine:
        started.append(config)
        assert callable(on_state)
        on_state(engine.state)
        return engine

    monkeypatch.setattr(oneshot, "start_inproc", start)
    monkeypatch.setattr(oneshot, "obtain_with_bar", lambda config: None)
    return started


def test_complete(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.py"
    path.write_bytes("# 😀\nx = ".encode())
    engine = FakeEngine()
    started = use_engine(monkeypatch, engine)
    engine.enqueue("é + 1")
    check(capsys, ["complete", f"{path}:2:5", "--threads", "3"], 0, "é + 1\n", "")
    assert started[0].threads == 3
    assert engine.closed


def test_complete_as_json(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = ")
    for says, status in (("1", 0), ("", 1)):
        engine = FakeEngine()
        use_engine(monkeypatch, engine)
        engine.enqueue(says)
        assert run(["complete", f"{path}:1:5", "--json"]) == status
        said = capsys.readouterr()
        figures = json.loads(said.out)
        assert figures.keys() == FIGURES
        assert (figures["text"], figures["model"]) == (says, "fake")
        assert (figures["reject"] is None) == bool(says)
        assert said.err == ""


def test_complete_with_nothing_to_show(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "empty.py"
    path.write_bytes(b"")
    engine = FakeEngine()
    use_engine(monkeypatch, engine)
    engine.enqueue("")
    check(capsys, ["complete", f"{path}:1:1"], 1, "", "slm-lsp: no completion: empty")


def test_complete_where_it_cannot(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.py"
    for content, says in ((b"\0", "binary"), (b"\xe9", "UTF-8"), (b"x", "no column 9")):
        path.write_bytes(content)
        check(capsys, ["complete", f"{path}:1:9"], 2, "", says)
    check(capsys, ["complete", "/no/such.py:1:1"], 2, "", "slm-lsp: /no/such.py: no such file")
    check(capsys, ["complete", f"{path}:1"], 2, "", "PATH:LINE:COL")
    check(capsys, ["complete", f"{path}:1:1", "--model", "gpt"], 2, "", "no model 'gpt'")
    engine = FakeEngine()
    engine.state, engine.failure = EngineState.FAILED, "the model is broken"
    use_engine(monkeypatch, engine)
    check(capsys, ["complete", f"{path}:1:1"], 2, "", "slm-lsp: the model is broken")


def test_wrong_settings_are_said_and_the_rest_is_taken(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = ")
    monkeypatch.delenv("SLM_LSP_KEEP_READY")
    monkeypatch.setenv("SLM_LSP_PROMPT_TOKENS", "many")
    engine = FakeEngine()
    started = use_engine(monkeypatch, engine)
    engine.enqueue("1")
    arguments = ["complete", f"{path}:1:5", "--threads", "-1", "--batch-threads", "2"]
    assert run(arguments) == 0
    said = capsys.readouterr().err
    assert "prompt_tokens must be" in said
    assert "threads must be from 0" in said
    assert started == [Config(batch_threads=2)]


# --- what serving imports ---

INITIALIZE_AND_LIST_MODULES = """
import json, sys
import slm_lsp.lsp.stdio
from slm_lsp.settings_file import config_path
from slm_lsp.config import Config
from slm_lsp.lsp.server import SlmServer
from slm_lsp.trace import Trace
from slm_lsp.wiring import start_engine

class Stream:
    def write(self, message):
        assert b'"capabilities"' in message

config_path()
server = SlmServer(Config(), start_engine, Trace(), [])
server.protocol.set_writer(Stream())
params = {"processId": None, "rootUri": None, "capabilities": {}}
message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
body = json.dumps(message)
structure = server.protocol.structure_message
server.protocol.handle_message(json.loads(body, object_hook=structure))
assert server.protocol.initialized
print(*sys.modules)
"""


def test_initialize_is_answered_without_model_and_grammars() -> None:
    command = [sys.executable, "-c", INITIALIZE_AND_LIST_MODULES]
    modules = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert "slm_lsp.lsp.server" in modules
    packages = {module.partition(".")[0] for module in modules}
    heavy = {"llama_cpp", "numpy", "tree_sitter", "rich", "psutil", "filelock", "pip"}
    assert not packages & heavy
    assert not [module for module in modules if module.startswith("slm_lsp.registry")]
    # What follows `initialized`: the pipeline, and what it leaves on the disk.
    assert not [module for module in modules if module.startswith("slm_lsp.completion.")]


def test_complete_with_alternatives(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = ")
    for arguments, said in (
        (["--alternatives", "2"], "1\n----\n2\n----\n3\n"),
        (["--alternatives", "1"], "1\n----\n2\n"),
        ([], "1\n"),
    ):
        engine = FakeEngine()
        use_engine(monkeypatch, engine)
        engine.enqueue("1")
        engine.others = [Generation(each, Finish.EOS) for each in "23"]
        assert run(["complete", f"{path}:1:5", *arguments]) == 0
        assert capsys.readouterr().out == said
    engine = FakeEngine()
    use_engine(monkeypatch, engine)
    engine.enqueue("1")
    engine.others = [Generation(each, Finish.EOS) for each in "23"]
    assert run(["complete", f"{path}:1:5", "--json", "--alternatives", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["alternatives"] == ["2", "3"]
    check(capsys, ["complete", f"{path}:1:5", "--alternatives", "3"], 2, "", "alternatives")
