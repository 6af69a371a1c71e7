"""Which parts make an engine, and how its loading is ended."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from daemon_scene import asked

from slm_lsp import wiring
from slm_lsp.cli import run
from slm_lsp.config import Config
from slm_lsp.engine import kv_folder, rates_file
from slm_lsp.engine.base import Decoder, EngineStats, EngineUnavailable, ModelLoadError
from slm_lsp.engine.fake import FakeDecoder
from slm_lsp.registry.specs import DEFAULT_MODEL
from slm_lsp.types import EngineState
from slm_lsp.wiring import Report


def test_closing_ends_a_load_at_its_next_report(monkeypatch: pytest.MonkeyPatch) -> None:
    loading, closed, ended = threading.Event(), threading.Event(), threading.Event()
    reported: list[str] = []
    states: list[EngineState] = []

    def load(config: Config, report: Report) -> Decoder:
        report("download", 0.0)
        loading.set()
        assert closed.wait(10)
        try:
            report("download", 0.5)
        except ModelLoadError:
            ended.set()
            raise
        return FakeDecoder()

    monkeypatch.setattr(wiring, "load_decoder", load)
    engine = wiring.start_inproc(
        Config(), states.append, lambda text, done: reported.append(f"{text} {done}")
    )
    assert loading.wait(10)
    closer = threading.Thread(target=engine.close)
    closer.start()
    while engine.state is not EngineState.CLOSED:
        closer.join(0.001)
    closed.set()
    closer.join(10)
    assert ended.wait(10)
    assert reported == ["download 0.0"]
    assert states == []
    assert engine.state is EngineState.CLOSED


@pytest.mark.parametrize("keep_kv", [True, False])
@pytest.mark.parametrize("keeps_kv", [True, False])
def test_what_was_read_is_kept_where_both_want_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_kv: bool, keeps_kv: bool
) -> None:
    monkeypatch.setattr(kv_folder, "default_folder", lambda: tmp_path)
    monkeypatch.setattr(rates_file, "default_folder", lambda: tmp_path / "rates")
    monkeypatch.setattr(wiring, "load_decoder", lambda *_: FakeDecoder("xy"))
    older, other = tmp_path / "older.kv", tmp_path / "other"
    older.touch()
    other.touch()
    ready = threading.Event()
    config = Config(keep_kv="on" if keep_kv else "off")
    engine = wiring.start_inproc(config, lambda _: ready.set(), lambda *_: None, keeps_kv=keeps_kv)
    assert ready.wait(10)
    request = replace(asked("p" * 100), document="file:///a.py")
    assert engine.submit(request).future.result(10).text == "xy"
    engine.close()
    assert other.exists()
    # Where it is not wanted, nothing is left of the time when it was.
    assert older.exists() is keep_kv
    assert len(list(tmp_path.glob("*.kv"))) == keep_kv + (keep_kv and keeps_kv)


@pytest.mark.parametrize(
    ("model", "is_path"),
    [
        ("smollm2-135m", False),
        ("x.gguf", True),
        ("./x", True),
        ("C:\\models\\x", True),
        ("", False),
    ],
)
def test_a_path_is_told_from_a_name(model: str, is_path: bool) -> None:
    assert wiring.looks_like_path(model) is is_path


def test_an_unknown_name_says_what_will_do() -> None:
    with pytest.raises(
        ModelLoadError, match=r"no model 'nosuch'\. `slm-lsp models list` names them"
    ):
        wiring.obtain(Config(model="nosuch"))


# --- the daemon ---


def test_the_engine_is_where_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("start_remote", "start_inproc"):
        monkeypatch.setattr(wiring, name, lambda *_, name=name, **kept: name)

    def chosen(engine: str) -> object:
        return wiring.start_engine(Config(engine=engine), lambda _: None, lambda *_: None)

    assert chosen("daemon") == "start_remote"
    assert chosen("inproc") == "start_inproc"


def test_servers_with_the_same_model_have_the_same_daemon(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"1")
    (tmp_path / "other.gguf").symlink_to(path)
    here = Config(model=str(path))
    assert wiring.identity(here) == wiring.identity(Config(model=str(tmp_path / "other.gguf")))
    assert wiring.identity(Config()) == wiring.identity(Config(model=DEFAULT_MODEL))
    assert wiring.identity(Config()) != wiring.identity(Config(quantization="Q4_0"))
    # What only the server looks at makes no difference.
    assert wiring.key(here) == wiring.key(Config(model=str(path), automatic_budget_ms=9))
    for other in (
        Config(threads=3),
        Config(batch_threads=3),
        Config(context_tokens=512),
        Config(keep_kv="off"),
        Config(drafts="off"),
    ):
        assert wiring.identity(other) == wiring.identity(Config())
        assert wiring.key(other) != wiring.key(Config())
    before = wiring.key(here)
    path.write_bytes(b"22")
    assert wiring.key(here) != before


def test_the_daemon_is_started_with_the_servers_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = Config(
        model="./-m.gguf",
        threads=3,
        context_tokens=512,
        daemon_idle_minutes=1.5,
        keep_kv="off",
        drafts="off",
    )
    taken: list[Config] = []

    def run_daemon(config: Config) -> int:
        taken.append(config)
        return 0

    monkeypatch.setattr(wiring, "run_daemon", run_daemon)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("SLM_LSP_KEEP_READY")
    monkeypatch.setenv("SLM_LSP_BATCH_THREADS", "7")
    assert run(wiring.daemon_arguments(given)) == 0
    assert taken == [replace(given, model=str(tmp_path / "-m.gguf"))]
    assert wiring.key(taken[0]) == wiring.key(given)
    assert wiring.identity(taken[0]) == wiring.identity(given)


async def test_a_place_that_is_not_safe_fails_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "no" / "such"))
    states: list[EngineState] = []
    engine = wiring.start_engine(Config(engine="daemon"), states.append, lambda *_: None)
    assert engine.state is EngineState.FAILED
    assert states == [EngineState.FAILED]
    assert "No such file" in (engine.failure or "")
    with pytest.raises(EngineUnavailable, match="No such file"):
        await engine.generate(asked())
    assert engine.stats() == EngineStats()
    engine.close()
