"""ServerEngine against a server that stalls, drips, breaks and lies, over real sockets.

Invariant: nothing is asserted of time, and nothing sleeps: deadlines pass when a test says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from server_scene import (
    BUDGET_MS,
    PATIENCE_S,
    SSE,
    Asked,
    Scene,
    breaks,
    says,
    scene,
    stalls,
    text_of,
    until,
)

from slm_lsp.deadline import Cancelled
from slm_lsp.engine import server as server_module
from slm_lsp.engine.base import EngineUnavailable, PromptError, Superseded
from slm_lsp.engine.server import ServerEngine
from slm_lsp.engine.server_look import Known
from slm_lsp.engine.server_settings import ServerSettings
from slm_lsp.types import EngineState, Finish, Generation, Priority, Special, StopRule, Text

KEY = "sk-very-secret-0123456789"
LINE = StopRule(strings=("\n",))


def answering(scene: Scene, **more: Any) -> asyncio.Task[Generation]:
    return asyncio.create_task(scene.engine.generate(scene.request(**more)))


async def ended(answer: asyncio.Task[Generation]) -> Generation:
    return await asyncio.wait_for(answer, PATIENCE_S)


async def test_an_answer_is_taken_as_it_comes_and_the_prompt_is_the_models_own() -> None:
    async with scene(says("a +", " b")) as s:
        found = await ended(answering(s, text="def f(a, b):"))
        assert (found.text, found.finish) == ("a + b", Finish.EOS)
        assert s.states == [EngineState.READY]
        body = s.server.asked[0].body
        assert body["prompt"] == "<|fim_prefix|>def f(a, b):<|fim_suffix|><|fim_middle|>"
        assert (body["model"], body["temperature"]) == ("qwen2.5-coder-1.5b", 0)
        assert body["stop"] == ["<|endoftext|>"]


async def test_the_connection_is_used_again() -> None:
    async with scene(says("y")) as s:
        for _ in range(3):
            await ended(answering(s))
        assert s.server.n_connections == 1


async def test_a_connection_that_the_server_closed_meanwhile_costs_no_answer() -> None:
    async def closing(asked: Asked) -> None:
        await says("one")(asked)
        asked.hang_up()

    async with scene(closing, says("two")) as s:
        assert (await ended(answering(s))).text == "one"
        assert (await ended(answering(s))).text == "two"


async def test_a_stale_connection_is_replaced_where_there_is_time() -> None:
    def drop(asked: Asked) -> None:
        asked.hang_up()

    async with scene(breaks(drop), says("again")) as s:
        assert (await ended(answering(s))).text == "again"
        assert len(s.server.asked) == 2


# --- the deadline ---


@pytest.mark.parametrize("texts", [(), ("ret",), ("ret", "urn", " 1")])
async def test_at_the_deadline_what_has_come_is_the_answer_and_the_stream_is_closed(
    texts: tuple[str, ...],
) -> None:
    async with scene(stalls(*texts)) as s:
        answer = answering(s)
        asked = await s.server.next()
        await text_of(s, "".join(texts))
        s.pass_deadline()
        found = await ended(answer)
        assert (found.text, found.finish) == ("".join(texts), Finish.DEADLINE)
        assert found.total_ms == BUDGET_MS
        await asyncio.wait_for(asked.hung_up.wait(), PATIENCE_S)
        assert s.engine.is_well


async def test_slow_headers_end_at_the_deadline() -> None:
    async def slow(asked: Asked) -> None:
        asked.writer.write(b"HTTP/1.1 200 OK\r\nContent-Ty")
        await asyncio.Event().wait()

    async with scene(slow) as s:
        answer = answering(s)
        asked = await s.server.next()
        s.pass_deadline()
        assert (await ended(answer)).finish is Finish.DEADLINE
        await asyncio.wait_for(asked.hung_up.wait(), PATIENCE_S)


async def test_a_drip_is_cut_between_two_tokens() -> None:
    go_on = asyncio.Semaphore(0)

    async def drips(asked: Asked) -> None:
        asked.begin()
        for text in ("a", "b", "c"):
            await go_on.acquire()
            asked.text(text)
        await asyncio.Event().wait()

    async with scene(drips) as s:
        answer = answering(s)
        await s.server.next()
        for n in (1, 2):
            go_on.release()
            await text_of(s, "abc"[:n])
        s.pass_deadline()
        assert (await ended(answer)).text == "ab"


async def test_a_request_that_is_late_already_is_not_sent() -> None:
    async with scene() as s:
        request = s.request()
        s.pass_deadline()
        assert (await s.engine.generate(request)).finish is Finish.DEADLINE
        assert not s.server.asked


async def test_the_text_ends_where_the_stop_rule_says_though_the_server_goes_on() -> None:
    async with scene(stalls("a = 1", "\nb = 2\nc")) as s:
        answer = answering(s, stop=LINE)
        asked = await s.server.next()
        found = await ended(answer)
        assert (found.text, found.finish) == ("a = 1", Finish.STOP)
        assert asked.body["stop"] == ["\n", "<|endoftext|>"]
        await asyncio.wait_for(asked.hung_up.wait(), PATIENCE_S)


async def test_a_control_text_that_a_server_writes_out_ends_the_text() -> None:
    async with scene(stalls("x<|endo", "ftext|>y")) as s:
        found = await ended(answering(s))
        assert (found.text, found.finish) == ("x", Finish.EOS)


# --- who makes way ---


async def test_cancelling_closes_the_stream_at_once() -> None:
    async with scene(stalls("ret")) as s:
        request = s.request()
        answer = asyncio.create_task(s.engine.generate(request))
        asked = await s.server.next()
        request.cancel.cancel()
        with pytest.raises(Cancelled):
            await ended(answer)
        await asyncio.wait_for(asked.hung_up.wait(), PATIENCE_S)
        assert (s.engine.stats().n_cancelled, s.engine.stats().n_queued) == (1, 0)
        with pytest.raises(Cancelled):
            await s.engine.generate(request)


async def test_the_latest_request_of_a_session_wins_and_others_are_left_alone() -> None:
    async with scene(stalls("old"), stalls("other"), says("new")) as s:
        older = answering(s)
        await s.server.next()
        other = answering(s, session="t")
        await s.server.next()
        assert (await ended(answering(s))).text == "new"
        with pytest.raises(Superseded):
            await ended(older)
        assert not other.done()
        s.pass_deadline()
        assert (await ended(other)).text in ("", "other")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"priority": Priority.WARMUP}, "ahead"),
        ({"priority": Priority.SPECULATIVE}, "ahead"),
        ({"max_tokens": 0}, "ahead"),
    ],
)
async def test_nothing_is_sent_ahead_of_a_request(more: dict[str, Any], said: str) -> None:
    async with scene() as s:
        with pytest.raises(EngineUnavailable, match=said):
            await s.engine.generate(s.request(**more))
        assert not s.server.asked


async def test_closing_answers_who_waits_and_leaves_nothing_behind() -> None:
    async with scene(stalls("ret")) as s:
        answer = answering(s)
        await s.server.next()
        s.engine.close()
        with pytest.raises(EngineUnavailable, match="closed"):
            await ended(answer)
        with pytest.raises(EngineUnavailable):
            await s.engine.generate(s.request())


async def test_a_task_that_is_cancelled_takes_its_request_along() -> None:
    async with scene(stalls()) as s:
        answer = answering(s)
        asked = await s.server.next()
        answer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answer
        await asyncio.wait_for(asked.hung_up.wait(), PATIENCE_S)


# --- servers that are broken ---


def in_the_middle(asked: Asked) -> None:
    asked.begin()
    asked.text("ret")
    asked.chunk('data: {"choices": [{"te')
    asked.hang_up()


def without_an_end(asked: Asked) -> None:
    asked.begin()
    asked.text("ret")
    asked.writer.write(b"0\r\n\r\n")


def then_garbage(asked: Asked) -> None:
    asked.begin()
    asked.text("ret")
    asked.chunk("data: {]\n\n")
    asked.end()


def then_an_error(asked: Asked) -> None:
    asked.begin()
    asked.text("ret")
    asked.event({"error": {"message": "out of memory"}})


@pytest.mark.parametrize("act", [in_the_middle, without_an_end, then_garbage, then_an_error])
async def test_what_came_before_an_answer_broke_is_not_lost(act: Callable[[Asked], None]) -> None:
    async with scene(breaks(act)) as s:
        found = await ended(answering(s))
        assert (found.text, found.finish) == ("ret", Finish.DEADLINE)
        assert len(s.server.asked) == 1


ENDLESS = "data: " + "x" * (1 << 20)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda a: a.whole("200 OK", "<html>", kind="text/html"), "answered text/html"),
        (lambda a: a.whole("200 OK", "[1]"), "no JSON object"),
        (lambda a: a.whole("200 OK", "{]", kind="application/x-ndjson"), "no JSON object"),
        (lambda a: a.whole("200 OK", ENDLESS, kind=SSE), "does not end"),
        (lambda a: a.whole("401 Unauthorized", {"error": {"message": "no"}}), "401.*key.*; no"),
        (lambda a: a.whole("404 Not Found", {"detail": "no model"}), "404: .*no model"),
        (lambda a: a.whole("500 Oops", "it broke", kind="text/plain"), "answered 500: it broke"),
        (lambda a: a.whole("302 Found", "", "Location: https://evil.example/\r\n"), "sends on to"),
        (lambda a: a.writer.write(b"SSH-2.0-OpenSSH\r\n\r\n"), "connection broke"),
    ],
)
async def test_a_server_that_answers_otherwise_is_quoted(
    act: Callable[[Asked], None], said: str
) -> None:
    async with scene(breaks(act)) as s:
        with pytest.raises(EngineUnavailable, match=f"server 127.0.0.1 .*{said}"):
            await ended(answering(s))
        assert s.engine.stats().n_failed == 1


async def test_a_key_that_is_refused_is_not_tried_again_at_once() -> None:
    async with scene(breaks(lambda a: a.whole("401 Unauthorized", {})), says("y")) as s:
        for _ in range(2):
            with pytest.raises(EngineUnavailable, match="answered 401"):
                await ended(answering(s))
        assert len(s.server.asked) == 1
        assert not s.engine.is_well
        s.clock.advance(30_000)
        assert (await ended(answering(s))).text == "y"
        assert s.engine.is_well


async def test_a_server_that_asks_for_patience_gets_it() -> None:
    act = breaks(lambda a: a.whole("429 Too Many", {}, "Retry-After: 7\r\n"))
    async with scene(act, says("y")) as s:
        for waited_ms in (0, 6_900):
            s.clock.advance(waited_ms)
            with pytest.raises(EngineUnavailable, match="answered 429"):
                await ended(answering(s))
        assert len(s.server.asked) == 1
        s.clock.advance(200)
        assert (await ended(answering(s))).text == "y"


async def test_a_server_that_is_overloaded_for_a_moment_is_asked_once_more() -> None:
    async with scene(breaks(lambda a: a.whole("503 Busy", {})), says("y")) as s:
        assert (await ended(answering(s))).text == "y"


async def test_there_is_no_second_try_where_the_time_is_spent() -> None:
    async def late(asked: Asked) -> None:
        s.clock.advance(BUDGET_MS * 0.6)
        asked.whole("503 Busy", {})

    async with scene(late, says("y")) as s:
        with pytest.raises(EngineUnavailable, match="503"):
            await ended(answering(s))
        assert len(s.server.asked) == 1


async def test_a_server_that_never_answers_is_left_alone_for_a_while() -> None:
    async with scene(stalls(), stalls(), stalls(), says("y")) as s:
        for _ in range(3):
            s.new_deadline()
            answer = answering(s)
            await s.server.next()
            s.pass_deadline()
            assert (await ended(answer)).finish is Finish.DEADLINE
        s.new_deadline()
        # The stream's end is noted when it is closed.
        await until(lambda: not s.engine.is_well)
        with pytest.raises(EngineUnavailable, match="did not begin to answer in 250 ms; asked"):
            await s.engine.generate(s.request())
        assert len(s.server.asked) == 3
        s.clock.advance(3_000)
        assert (await ended(answering(s))).text == "y"
        assert s.engine.is_well


async def test_a_server_that_never_accepts_holds_nobody_up() -> None:
    with contextlib.closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        engine = ServerEngine(ServerSettings(url), Known())
        engine.start()
        async with scene() as s:
            with pytest.raises(EngineUnavailable, match="loading"):
                await engine.generate(s.request())
        engine.close()
        await asyncio.wait_for(engine.closed(), PATIENCE_S)


async def test_a_server_that_is_not_there_yet_is_found_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "FIRST_DELAY_S", 0.0)
    pages: dict[str, Any] = {"/v1/models": ("503 Loading", {})}
    async with scene(says("y"), pages=pages) as s:
        assert s.states == [EngineState.FAILED]
        assert "answered 503" in (s.engine.failure or "")
        with pytest.raises(EngineUnavailable, match="answered 503"):
            await s.engine.generate(s.request())
        s.server.pages["/v1/models"] = {"data": [{"id": "m"}]}
        await until(lambda: s.engine.state is EngineState.READY)
        assert (await ended(answering(s))).text == "y"
        assert s.engine.failure is None


async def test_a_prompt_for_another_kind_of_server_is_refused() -> None:
    async with scene(api="infill", template=None) as s:
        with pytest.raises(PromptError):
            await s.engine.generate(s.request())
        assert not s.server.asked


# --- log-probabilities ---


async def test_log_probabilities_are_passed_on_with_the_ends_of_their_tokens() -> None:
    async def told(asked: Asked) -> None:
        asked.begin()
        for text, logprob in (("a", -0.5), (" + b", -0.25)):
            asked.text(text, logprobs={"tokens": [text], "token_logprobs": [logprob]})
        asked.end()

    async with scene(told) as s:
        found = await ended(answering(s))
        assert (found.logprobs, found.ends) == ((-0.5, -0.25), (1, 5))
        assert s.server.asked[0].body["logprobs"] == 1


async def test_where_some_are_missing_none_are_passed_on() -> None:
    async def told(asked: Asked) -> None:
        asked.begin()
        asked.text("a", logprobs={"tokens": ["a"], "token_logprobs": [-0.5]})
        asked.text("b")
        asked.end()

    async with scene(told) as s:
        found = await ended(answering(s))
        assert (found.text, found.logprobs, found.ends) == ("ab", (), ())


async def test_a_server_that_refuses_them_is_not_asked_for_them_again() -> None:
    refuse = breaks(lambda a: a.whole("400 Bad", {"error": {"message": "logprobs?"}}))
    async with scene(refuse, says("y")) as s:
        for _ in range(2):
            assert (await ended(answering(s))).text == "y"
        assert ["logprobs" in asked.body for asked in s.server.asked] == [True, False, False]


# --- the key ---


async def test_the_key_is_sent_and_shown_to_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    echo = breaks(lambda a: a.whole("403 No", {"error": {"message": f"bad key {KEY}"}}))
    moved = breaks(lambda a: a.whole("307 No", "", f"Location: https://x.example/?{KEY}\r\n"))
    async with scene(echo, moved, key_variable="TEST_KEY") as s:
        for _ in range(2):
            with pytest.raises(EngineUnavailable) as caught:
                await ended(answering(s))
            assert KEY not in str(caught.value)
            s.clock.advance(60_000)
        assert {asked.headers["authorization"] for asked in s.server.all} == {f"Bearer {KEY}"}
        assert len(s.server.asked) == 2
        shown = [repr(s.engine._settings), str(s.engine.failure), repr(s.engine._link)]
    assert KEY not in caplog.text
    assert "bad key …" in caplog.text
    assert not any(KEY in text for text in shown)


# --- other APIs ---


def tokens_of(vocabulary: dict[str, int]) -> Callable[[Asked], dict[str, Any]]:
    def page(asked: Asked) -> dict[str, Any]:
        text = asked.body["content"]
        if not text:
            return {"tokens": [1] if asked.body["add_special"] else []}
        return {"tokens": [vocabulary[text]] if text in vocabulary else [7, 8]}

    return page


LLAMA_PAGES = {
    "/props": {"default_generation_settings": {"n_ctx": 4096}, "model_path": "/m/q-coder.gguf"},
    "/tokenize": tokens_of(
        {"<|fim_prefix|>": 10, "<|fim_suffix|>": 11, "<|fim_middle|>": 12, "<|endoftext|>": 0}
    ),
}


async def llama_answers(asked: Asked) -> None:
    asked.begin()
    for text in (" return", " 1"):
        asked.event({"content": text, "stop": False})
    timings = {"prompt_n": 2, "prompt_per_token_ms": 3.0, "predicted_per_token_ms": 4}
    last = {"stop_type": "eos", "tokens_evaluated": 9, "timings": timings}
    asked.event({"content": "", "stop": True, **last})
    asked.writer.write(b"0\r\n\r\n")


async def test_llama_servers_are_recognized_and_sent_tokens() -> None:
    async with scene(llama_answers, api="auto", pages=LLAMA_PAGES, template=None) as s:
        assert s.engine.info is not None
        assert (s.engine.info.name, s.engine.info.n_ctx) == ("q-coder.gguf", 4096)
        assert (s.engine.api, s.engine.notes) == ("llama", ())
        assert s.engine.info.template is not None
        assert s.engine.info.template.name == "qwen"
        await ended(answering(s))
        assert s.server.asked[0].body["prompt"] == [1, 10, "x", 11, 12]


async def test_a_prompt_of_tokens_is_healed_by_a_grammar() -> None:
    async with scene(llama_answers, api="llama", pages=LLAMA_PAGES, template=None) as s:
        segments = (Special("<|fim_prefix|>"), Text("a <|fim_suffix|> b"))
        found = await ended(answering_prompt(s, segments, heal=" ret"))
        body = s.server.asked[0].body
        assert body["prompt"] == [1, 10, "a <", "|fim_suffix|> b"]
        assert body["grammar"].startswith('root ::= " ret" any*\n')
        assert (found.text, found.finish) == ("urn 1", Finish.EOS)
        assert (found.n_prompt, found.n_cached) == (9, 7)
        stats = s.engine.stats()
        assert (stats.prefill_ms_per_token, stats.decode_ms) == (3.0, 4.0)
        # What the model lacks is not sent as text.
        with pytest.raises(PromptError, match="no control token '<nosuch>'"):
            await ended(answering_prompt(s, (Special("<nosuch>"),)))


def answering_prompt(s: Scene, segments: Any, heal: str = "") -> asyncio.Task[Generation]:
    request = s.request()
    prompt = replace(request.prompt, segments=segments, heal=heal)
    return asyncio.create_task(s.engine.generate(replace(request, prompt=prompt)))


async def test_ollama_is_recognized_and_read_line_by_line() -> None:
    async def answer(asked: Asked) -> None:
        asked.begin(kind="application/x-ndjson")
        for said in ({"response": "a"}, {"response": "b"}, {"done": True, "done_reason": "stop"}):
            asked.chunk(json.dumps(said) + "\n")
        asked.writer.write(b"0\r\n\r\n")

    pages = {"/api/version": {"version": "0.9"}, "/api/tags": {"models": [{"name": "q:latest"}]}}
    async with scene(answer, api="auto", pages=pages) as s:
        assert (await ended(answering(s))).text == "ab"
        asked = s.server.asked[0]
        assert (asked.path, asked.body["raw"], asked.body["model"]) == (
            "/api/generate",
            True,
            "q:latest",
        )


async def test_a_model_that_the_server_does_not_have_is_named_with_those_it_has() -> None:
    async with scene(model="nosuch") as s:
        assert s.states == [EngineState.FAILED]
        assert "no model 'nosuch', but qwen2.5-coder-1.5b" in (s.engine.failure or "")


async def test_a_model_of_which_nothing_is_known_gets_the_prefix_and_a_note() -> None:
    async with scene(template=None) as s:
        assert s.engine.info is not None
        assert s.engine.info.template is not None
        assert s.engine.info.template.layout == ("{prefix}",)
        assert "set server_template" in s.engine.notes[0]
