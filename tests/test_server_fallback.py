"""Two engines as one: who answers, who is asked ahead, and prompts made for the other model."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from editor import CURSOR
from fake_editor import PATIENT, FakeEditor
from hypothesis import given
from hypothesis import strategies as st
from server_scene import PATIENCE_S, QWEN, Asked, Scene, breaks, says, scene, stalls, text_of, until

from slm_lsp.config import Config
from slm_lsp.deadline import Cancelled
from slm_lsp.engine.base import EngineUnavailable
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.engine.server_fallback import FallbackEngine, OnState
from slm_lsp.engine.server_text import SIDES
from slm_lsp.prompt import fim
from slm_lsp.prompt.translate import around, translated
from slm_lsp.servers import translate
from slm_lsp.types import (
    CompletionContext,
    EngineState,
    FimTemplate,
    Finish,
    Generation,
    GenerationRequest,
    ModelInfo,
    Priority,
    Prompt,
    Special,
    StopRule,
    Text,
    Want,
)

LOCAL = ModelInfo("local", 512, template=fim.family("starcoder"))
FAMILIES = [each for name in fim.family_names() if (each := fim.family(name)) is not None]


class Local(FakeEngine):
    """The local engine; it answers once it may."""

    def __init__(self) -> None:
        super().__init__(LOCAL)
        self.may = asyncio.Event()
        self.may.set()
        self.called = asyncio.Event()

    async def generate(self, request: GenerationRequest) -> Generation:
        self.called.set()
        waiting = asyncio.Event()
        loop = asyncio.get_running_loop()

        def stop() -> None:
            loop.call_soon(waiting.set)

        request.cancel.add_callback(stop)
        done = asyncio.ensure_future(self.may.wait())
        cancelled = asyncio.ensure_future(waiting.wait())
        try:
            await asyncio.wait({done, cancelled}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            done.cancel()
            cancelled.cancel()
        request.cancel.raise_if_cancelled()
        return await super().generate(request)


@dataclass
class Two:
    engine: FallbackEngine
    local: Local
    scene: Scene
    head_start: asyncio.Event
    states: list[EngineState]
    n_started: list[int]

    def answering(self, request: GenerationRequest) -> asyncio.Task[Generation]:
        return asyncio.create_task(self.engine.generate(request))


@contextlib.asynccontextmanager
async def two(*answers: Any, pages: dict[str, Any] | None = None) -> AsyncIterator[Two]:
    """A scene with a local engine behind its server."""
    local, head_start = Local(), asyncio.Event()
    states: list[EngineState] = []
    n_started = [0]

    async def pause(ms: float) -> None:
        await head_start.wait()

    def make_local(on_state: OnState) -> Local:
        n_started[0] += 1
        on_state(EngineState.READY)
        return local

    async with scene(*answers, pages=pages, start=False) as s:
        engine = FallbackEngine(
            s.engine, make_local, translate(Config()), 100, states.append, pause
        )
        engine.start()
        await until(lambda: s.engine.state is not EngineState.LOADING)
        yield Two(engine, local, s, head_start, states, n_started)
        engine.close()
        await engine.closed()
        assert local.closed is bool(n_started[0])


async def ended(answer: asyncio.Task[Generation]) -> Generation:
    return await asyncio.wait_for(answer, PATIENCE_S)


async def test_a_server_that_answers_is_alone() -> None:
    async with two(says("server")) as t:
        assert t.states == [EngineState.READY]
        assert (await ended(t.answering(t.scene.request()))).text == "server"
        for priority in (Priority.WARMUP, Priority.SPECULATIVE):
            with pytest.raises(EngineUnavailable, match="ahead"):
                await t.engine.generate(t.scene.request(priority=priority))
        assert t.n_started == [0]
        assert t.engine.info is t.scene.engine.info


async def test_a_late_server_is_overtaken_and_its_stream_closed() -> None:
    async with two(stalls()) as t:
        t.local.enqueue("local")
        answer = t.answering(t.scene.request(text="def f():"))
        asked = await t.scene.server.next()
        assert t.n_started == [0]
        t.head_start.set()
        assert (await ended(answer)).text == "local"
        await asyncio.wait_for(asked.hung_up.wait(), PATIENCE_S)
        # The local model's own prompt.
        assert t.local.requests[0].prompt.segments[0] == Special("<fim_prefix>")
        assert Text("def f():") in t.local.requests[0].prompt.segments


async def test_a_server_that_has_begun_needs_no_help() -> None:
    async with two(stalls("ret")) as t:
        answer = t.answering(t.scene.request())
        await text_of(t.scene, "ret")
        t.head_start.set()
        t.scene.pass_deadline()
        found = await ended(answer)
        assert (found.text, found.finish) == ("ret", Finish.DEADLINE)
        assert t.n_started == [0]


async def test_the_server_wins_where_it_is_complete_first() -> None:
    go_on = asyncio.Event()

    async def later(asked: Asked) -> None:
        await go_on.wait()
        await says("server")(asked)

    async with two(later) as t:
        t.local.may.clear()
        t.local.enqueue("local")
        request = t.scene.request()
        answer = t.answering(request)
        t.head_start.set()
        await asyncio.wait_for(t.local.called.wait(), PATIENCE_S)
        go_on.set()
        assert (await ended(answer)).text == "server"
        # The loser has been cancelled, and the request has not.
        assert t.local.requests == []
        assert not request.cancel.cancelled


async def test_at_the_deadline_the_local_text_is_taken_where_the_server_has_none() -> None:
    async with two(stalls()) as t:
        t.local.enqueue(Generation("loc", Finish.DEADLINE))
        answer = t.answering(t.scene.request())
        t.head_start.set()
        await asyncio.wait_for(t.local.called.wait(), PATIENCE_S)
        t.scene.pass_deadline()
        assert (await ended(answer)).text == "loc"


async def test_a_broken_server_is_replaced_at_once_and_then_read_ahead_for() -> None:
    async with two(breaks(lambda a: a.whole("401 No", {}))) as t:
        for n in range(2):
            t.local.enqueue(f"local {n}")
            assert (await ended(t.answering(t.scene.request()))).text == f"local {n}"
        assert (len(t.scene.server.asked), t.n_started) == (1, [1])
        t.local.enqueue("")
        await t.engine.generate(t.scene.request(priority=Priority.WARMUP))
        assert t.local.requests[-1].priority is Priority.WARMUP


async def test_without_a_server_the_local_model_is_the_model() -> None:
    async with two(pages={"/v1/models": ("401 No", {})}) as t:
        await until(lambda: t.n_started == [1])
        assert t.states == [EngineState.READY]
        assert t.engine.info is LOCAL
        t.local.enqueue("local")
        own = Prompt((Special("<fim_prefix>"), Text("x"), Special("<fim_suffix>"), Text("y"),
                      Special("<fim_middle>")))  # fmt: skip
        request = replace(t.scene.request(), prompt=own)
        assert (await ended(t.answering(request))).text == "local"
        assert t.local.requests[0].prompt is own
        assert "401" in (t.engine.failure or "")


KEY = "s3cret-k3y"
WRONG_KEY = ("answered 401: the key is missing or wrong", "environment variable MY_KEY")


def refuses(status: str, extra: str = "") -> Any:
    return breaks(lambda asked: asked.whole(status, {"error": f"not with {KEY}"}, extra))


@pytest.mark.parametrize(
    ("answer", "pages", "settings", "says_what"),
    [
        # What is found out when the server is looked at,
        (says("x"), {"/v1/models": ("401 No", {"error": f"not with {KEY}"})}, {}, WRONG_KEY),
        (says("x"), {"/v1/models": ("302 Found", {})}, {}, ("answered 302", "server_url")),
        (says("x"), {}, {"model": "nosuch"}, ("no model 'nosuch'", "set server_model")),
        # and what requests show only.
        (refuses("401 No"), {}, {}, WRONG_KEY),
        (refuses("404 No"), {}, {}, ("answered 404", "see that server_url and server_model are")),
    ],
)
async def test_what_is_broken_is_shown_once_with_what_to_do_and_without_the_key(
    answer: Any,
    pages: dict[str, Any],
    settings: dict[str, Any],
    says_what: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    config = replace(PATIENT, server_url="http://127.0.0.1:1", server_key_variable="MY_KEY")
    async with scene(answer, pages=pages, start=False, key_variable="MY_KEY", **settings) as s:
        local = FakeEngine(LOCAL)

        def make_local(on_state: OnState) -> FakeEngine:
            on_state(EngineState.READY)
            return local

        def make(config: Config, on_state: OnState, on_progress: Any) -> FallbackEngine:
            made = FallbackEngine(s.engine, make_local, translate(config), 0, on_state)
            made.start()
            return made

        async with FakeEditor(make, config) as editor:
            await editor.start()
            await until(lambda: s.engine.state is not EngineState.LOADING)
            await until(lambda: editor.engine.state is EngineState.READY)
            position = await editor.open(f"x = {CURSOR}\n")
            for _ in range(2):
                local.enqueue("1")
                await editor.inline(position)
            shown = await editor.take("window/showMessage")
            assert shown["type"] == 2
            for part in says_what:
                assert part in shown["message"]
            assert KEY not in shown["message"]
            # Drained at the end: a second message would be left.


async def test_a_server_that_is_busy_is_left_alone_and_not_shown() -> None:
    async with scene(refuses("429 Slow", "Retry-After: 5\r\n")) as s:
        for reason in ("answered 429", "asked again in 5 s"):
            with pytest.raises(EngineUnavailable, match=reason):
                await asyncio.wait_for(s.engine.generate(s.request()), PATIENCE_S)
        assert not s.engine.is_well
        assert s.engine.failure is None


async def test_one_failure_of_a_server_that_may_pass_is_not_shown() -> None:
    async with scene(refuses("500 Oops")) as s:
        with pytest.raises(EngineUnavailable, match="answered 500"):
            await asyncio.wait_for(s.engine.generate(s.request()), PATIENCE_S)
        assert s.engine.failure is None


async def test_a_server_that_answers_again_is_no_longer_broken() -> None:
    async with scene(refuses("401 No"), says("y")) as s:
        with pytest.raises(EngineUnavailable):
            await asyncio.wait_for(s.engine.generate(s.request()), PATIENCE_S)
        assert "answered 401" in (s.engine.failure or "")
        s.clock.advance(60_000)
        await asyncio.wait_for(s.engine.generate(s.request()), PATIENCE_S)
        assert s.engine.failure is None


async def test_where_both_fail_the_servers_reason_is_told() -> None:
    async with two(breaks(lambda a: a.whole("500 Oops", "it broke"))) as t:
        with pytest.raises(EngineUnavailable, match="answered 500"):
            await ended(t.answering(t.scene.request()))


async def test_cancelling_ends_both() -> None:
    async with two(stalls()) as t:
        t.local.may.clear()
        request = t.scene.request()
        answer = t.answering(request)
        asked = await t.scene.server.next()
        t.head_start.set()
        await asyncio.wait_for(t.local.called.wait(), PATIENCE_S)
        request.cancel.cancel()
        with pytest.raises(Cancelled):
            await ended(answer)
        await asyncio.wait_for(asked.hung_up.wait(), PATIENCE_S)


# --- prompts for the other model ---

code = st.text(alphabet="ab \n(.", max_size=30)


@given(st.sampled_from([*FAMILIES, SIDES]), code, code, code)
def test_a_prompt_says_what_stood_around_the_cursor(
    template: FimTemplate, head: str, typed: str, suffix: str
) -> None:
    context = CompletionContext(head + typed, suffix, want=Want.LINE)
    prompt = fim.build(template, context, StopRule(), 8, len(typed))
    found = around(prompt, template)
    assert found is not None
    assert (found.head + found.typed, found.suffix) == (head + typed, suffix)
    again = translated(prompt, template, template, 1000)
    assert again is not None
    assert around(again, template) == found


@pytest.mark.parametrize("other", [each for each in FAMILIES if each.name != "qwen"])
def test_a_prompt_of_another_layout_is_told_from_ones_own(other: FimTemplate) -> None:
    prompt = fim.build(QWEN, CompletionContext("a", "b"), StopRule(), 8)
    assert around(prompt, other) is None
    assert around(prompt, fim.PREFIX_ONLY) is None
    assert around(Prompt((Text("a"),)), QWEN) is None


def test_a_slow_model_is_shown_less_and_typing_moves_nothing() -> None:
    head = "".join(f"line{n} = {n}\n" for n in range(400))
    starts = set()
    for typed in ("", "x", "x = 1"):
        context = CompletionContext(head + typed, "tail" * 400, want=Want.LINE)
        prompt = fim.build(QWEN, context, StopRule(), 8, len(typed))
        made = translated(prompt, QWEN, FAMILIES[-1], 100)
        assert made is not None
        found = around(made, FAMILIES[-1])
        assert found is not None
        assert len(found.head) + len(found.suffix) <= 300 + len(typed)
        starts.add(found.head.split("\n")[0])
    assert len(starts) == 1
