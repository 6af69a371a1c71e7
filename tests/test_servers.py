"""From the settings to a server's engine: templates by name, wiring, doctor; the load test."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from server_scene import PATIENCE_S, ScriptedServer, says

from benchmarks.latency.corpus import sources
from benchmarks.latency.replay import Replay
from benchmarks.latency.sessions import Kind, make_session
from benchmarks.load.developer import Developer, Habits, Prompts, Record
from benchmarks.load.figures import figures, table
from slm_lsp import doctor, wiring
from slm_lsp.config import Config
from slm_lsp.engine.base import EngineUnavailable, ModelLoadError
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.engine.server import ServerEngine
from slm_lsp.engine.server_fallback import FallbackEngine
from slm_lsp.prompt import fim
from slm_lsp.prompt.translate import around
from slm_lsp.registry.specs import load_specs
from slm_lsp.server_check import check
from slm_lsp.servers import by_name, settings_of, template_named, what_is_known
from slm_lsp.types import EngineState, Finish, Generation

QWEN = fim.FAMILIES[0]


def nothing(*_: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("served", "first"),
    [
        ("Qwen/Qwen2.5-Coder-7B", "<|fim_prefix|>"),
        ("qwen2.5-coder:1.5b-base", "<|fim_prefix|>"),
        ("bigcode/starcoder2-15b", "<fim_prefix>"),
        ("deepseek-ai/deepseek-coder-33b-base", "<｜fim▁begin｜>"),
        ("codellama/CodeLlama-13b-hf", "▁<PRE>"),
        ("mistralai/Codestral-22B-v0.1", "[SUFFIX]"),
        ("JetBrains/Mellum-4b-base", "<fim_suffix>"),
        ("google/codegemma-7b", "<|fim_prefix|>"),
        ("ByteDance-Seed/Seed-Coder-8B-Base", "<[fim-suffix]>"),
    ],
)
def test_a_served_model_is_known_by_its_name(served: str, first: str) -> None:
    found = by_name(served, load_specs())
    assert found is not None
    assert next(part for part in found.layout if "{" not in part) == first


@pytest.mark.parametrize("served", ["gpt-4o", "llama-3-8b-instruct", "coder", ""])
def test_a_name_that_says_nothing_gives_no_template(served: str) -> None:
    assert by_name(served, load_specs()) is None


def test_a_template_is_named_by_entry_or_family() -> None:
    assert template_named("qwen") == QWEN
    assert template_named("smollm2-135m").suffix_is_file
    assert template_named("prefix-only").layout == ("{prefix}",)
    with pytest.raises(ModelLoadError, match=r"no 'nosuch'; known are .*starcoder"):
        template_named("nosuch")
    assert {"<|fim_prefix|>", "<file_sep>"} <= set(what_is_known().sentinels)


def test_the_settings_are_passed_on() -> None:
    config = Config(server_url="https://h", server_insecure="on", server_template="qwen")
    settings = settings_of(config)
    assert (settings.url, settings.insecure, settings.template) == ("https://h", True, QWEN)
    assert settings.key_variable == "SLM_LSP_SERVER_KEY"


async def test_a_server_is_asked_where_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ScriptedServer(says("y"))
    await server.start()
    local = FakeEngine()
    monkeypatch.setattr(wiring, "start_local", lambda *_: local)
    try:
        assert wiring.start_engine(Config(), nothing, nothing) is local
        for fallback, kind in (("on", FallbackEngine), ("off", ServerEngine)):
            ready = asyncio.Event()
            config = Config(server_url=server.url, server_fallback=fallback)
            engine = wiring.start_engine(config, lambda _, ready=ready: ready.set(), nothing)  # type: ignore[misc]
            assert isinstance(engine, (FallbackEngine, ServerEngine))
            assert type(engine) is kind
            await asyncio.wait_for(ready.wait(), PATIENCE_S)
            assert engine.info is not None
            assert engine.info.name == "qwen2.5-coder-1.5b"
            engine.close()
            await engine.closed()
        states: list[EngineState] = []
        wrong = Config(server_url=server.url, server_template="nosuch")
        engine_wrong = wiring.start_engine(wrong, states.append, nothing)
        assert states == [EngineState.FAILED]
        assert "server_template" in (engine_wrong.failure or "")
    finally:
        await server.stop()


async def test_the_doctor_asks_the_server_a_small_question() -> None:
    server = ScriptedServer(says("a", " + b"))
    await server.start()
    try:
        config = Config(server_url=server.url, server_fallback="off")
        found = await asyncio.to_thread(doctor.examine, config)
        assert [(each.check, each.ok) for each in found] == [("python", True), ("server", True)]
        assert "qwen2.5-coder-1.5b (openai): first token in" in found[1].found
        assert server.asked[0].body["prompt"].startswith("<|fim_prefix|>def add(a, b):")
    finally:
        await server.stop()


async def test_the_doctor_says_what_to_do_about_a_key() -> None:
    server = ScriptedServer(pages={"/v1/models": ("401 No", {"error": "who are you"})})
    await server.start()
    try:
        ok, found, advice = await asyncio.to_thread(check, Config(server_url=server.url))
        assert not ok
        assert "answered 401: the key is missing or wrong; who are you" in found
        assert "SLM_LSP_SERVER_KEY" in advice
    finally:
        await server.stop()
    ok, found, advice = await asyncio.to_thread(check, Config(server_url="http://8.8.8.8"))
    assert (ok, "server_insecure" in found) == (False, True)


# --- the load test ---


async def test_a_developer_asks_after_each_key_and_takes_back_what_is_late() -> None:
    session = make_session(sources(), 1, 0)
    engine, n_keys = FakeEngine(), 30
    engine.enqueue(Generation("ab", Finish.EOS, ttft_ms=5.0))
    engine.enqueue(Generation("a", Finish.DEADLINE, ttft_ms=5.0))
    engine.enqueue(EngineUnavailable("down; asked again in 3 s"))

    async def pause(ms: float) -> None:
        await asyncio.sleep(0)

    developer = Developer("d", session, engine, QWEN, Habits(), pause)
    await developer.type_until(lambda: len(engine.requests) >= n_keys)
    outcomes = [record.outcome for record in developer.records]
    assert len(outcomes) == len(engine.requests) >= n_keys
    assert outcomes[:3] == ["answered", "late", "failed: down"]


def test_typing_only_appends_to_a_developers_prompt() -> None:
    session = make_session(sources(), 1, 0)
    replay, prompts = Replay(session), Prompts(QWEN, Habits())
    heads: list[tuple[str, str]] = []
    for event in session.events[:60]:
        replay.apply(event)
        if event.kind in (Kind.SWITCH, Kind.MOVE):
            heads.clear()
        if event.kind is Kind.TYPE:
            found = around(prompts.at(replay), QWEN)
            assert found is not None
            heads.append((found.head, found.suffix))
            assert (replay.texts[replay.file][: replay.offset]).endswith(found.head + found.typed)
        assert len(set(heads)) <= 1


def test_what_was_taken_back_is_in_no_share() -> None:
    records = [Record("answered", 10.0, 20.0, 3), Record("late", None, 250.0, 0)]
    records += [Record("taken back")] * 6 + [Record("failed: down")] * 2
    step = figures(4, records, 5.0)
    assert (step["answered_share"], step["with_text_share"]) == (0.25, 0.25)
    assert (step["requests"], step["taken_back"], step["requests_per_s"]) == (10, 6, 2.0)
    assert step["total_ms"]["p95"] == 250.0
    assert "2 x failed: down" in table([step])
