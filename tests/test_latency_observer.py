"""The daemon's counters at each key, on a fake engine; the way to the first text, at a server that
only answers as told."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import pytest
from daemon_scene import served, short_directory

from benchmarks.latency import corpus
from benchmarks.latency.first_text import PLACES, FirstText, first_text, place
from benchmarks.latency.home import Home
from benchmarks.latency.observer import Observer, read_between
from benchmarks.latency.policy import View
from slm_lsp.engine.base import EngineStats
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.engine.rendezvous import Place


class CountingEngine(FakeEngine):
    """Has read ten tokens more whenever it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.n_read = 0

    def stats(self) -> EngineStats:
        self.n_read += 10
        return replace(super().stats(), n_prefill_tokens=self.n_read)


async def test_samples_are_taken_beside_the_daemon_s_own_clients() -> None:
    with short_directory() as directory:
        assert await Observer.find(directory) is None
        engine = CountingEngine()
        async with served(Place(directory, "0"), engine) as daemon:
            observer = await Observer.find(directory)
            assert observer is not None
            assert daemon._n_users() == 0
            engine.n_read = 0
            for _ in range(3):
                observer.sample()
            samples = await observer.close()
        assert [each.n_prefill_tokens for each in samples if each] == [10, 20, 30]
        assert read_between(samples) == (10, 10)


async def test_a_daemon_that_ended_leaves_samples_without_a_figure() -> None:
    with short_directory() as directory:
        async with served(Place(directory, "0"), CountingEngine()):
            observer = await Observer.find(directory)
            assert observer is not None
        observer.sample()
        assert await observer.close() == [None]


def test_between_samples_that_are_not_known_nothing_is() -> None:
    known = [EngineStats(n_prefill_tokens=n) for n in (5, 9, 2)]
    assert read_between(known) == (4, 0)  # another daemon's counters began anew
    assert read_between([known[0], None, known[1]]) == (None, None)
    assert read_between([]) == ()


def test_every_place_is_there_and_ends_its_line() -> None:
    texts = corpus.sources()
    for number, (module, line, kept) in enumerate(PLACES):
        view = place(texts, number)
        assert line.startswith(kept.rstrip())
        assert view.text[: view.offset].endswith(f"\n{kept}")
        assert view.text[view.offset] == "\n"
        assert len(view.text) < len(texts[module])
    assert place(texts, len(PLACES)) == place(texts, 0)


SERVER = """
import json, sys
answers = iter(json.loads(sys.argv[1]))
trace = None
while (line := sys.stdin.buffer.readline()):
    sys.stdin.buffer.readline()
    message = json.loads(sys.stdin.buffer.read(int(line.split(b":")[1])))
    if "id" not in message:
        continue
    result = None
    if message["method"] == "initialize":
        trace = open(message["params"]["initializationOptions"]["trace"], "a", buffering=1)
        result = {"capabilities": {}}
    elif message["method"].endswith("inlineCompletion"):
        text, fact = next(answers)
        trace.write(json.dumps(fact) + "\\n")
        result = {"items": [{"insertText": text}] if text else []}
    body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
    sys.stdout.buffer.flush()
    if message["method"] == "shutdown":
        break
"""
LOADING = ("", {"reject": "loading", "origin": None})
LEXICAL = ("word", {"origin": "lexical"})
MODEL = ("said", {"origin": "model"})


async def first(answers: list[Any], monkeypatch: pytest.MonkeyPatch) -> FirstText:
    monkeypatch.setattr("benchmarks.latency.first_text.REPEAT_S", 0.0)
    home = Home()
    command = [sys.executable, "-c", SERVER, json.dumps(answers)]
    view = View("file:///coldstart/a.py", "x = (", 5, modified=True)
    try:
        return await first_text(command, {}, home, view)
    finally:
        home.close()
        assert not home.folder.exists()


async def test_it_is_asked_until_the_model_has_said_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = await first([LOADING, LOADING, LEXICAL, LEXICAL, MODEL, MODEL], monkeypatch)
    assert (found.place, found.n_asked, found.origin) == ("a.py", 5, "lexical")
    assert found.rejects == {"loading": 2}
    assert found.text_ms is not None
    assert found.model_ms is not None
    assert 0 < found.initialized_ms <= found.text_ms < found.model_ms


async def test_the_model_may_be_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await first([MODEL], monkeypatch)
    assert found.origin == "model"
    assert found.text_ms == found.model_ms


def test_an_environment_apart_from_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLM_LSP_CACHE_DIR", "/models")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    home = Home()
    env = home.env()
    home.close()
    assert env["SLM_LSP_CACHE_DIR"] == "/models"
    for name in ("CACHE_HOME", "STATE_HOME", "CONFIG_HOME", "RUNTIME_DIR"):
        assert env[f"XDG_{name}"].startswith(str(home.folder))
    assert "PYTHONDONTWRITEBYTECODE" not in env
