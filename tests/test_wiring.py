"""Which parts make an engine, and how its loading is ended."""

from __future__ import annotations

import threading

import pytest

from slm_lsp import wiring
from slm_lsp.config import Config
from slm_lsp.engine.base import Decoder, ModelLoadError
from slm_lsp.engine.fake import FakeDecoder
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
    engine = wiring.start_engine(
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


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelLoadError, match=r"no model 'nosuch'; known are smollm2-135m"):
        wiring.obtain(Config(model="nosuch"))
