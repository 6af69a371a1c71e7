"""What the completer does in the background, and when it stops.

Owns: cut texts that are finished, suggestions behind suggestions, prompts read ahead.

Invariant: engine calls are counted by priority; no sleep: the engine says when it is asked.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from completer_scene import Scene

from slm_lsp.completion import reading
from slm_lsp.completion.ahead import CARRY_ON_TOKENS, LEAST_TOKENS, carry_on_tokens
from slm_lsp.completion.collecting import Collector
from slm_lsp.completion.patience import TIRED_AFTER
from slm_lsp.completion.policy import BACKGROUND_MS, PLAIN, Policy
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.completion.reading import unknown_place
from slm_lsp.config import Config
from slm_lsp.deadline import Cancelled
from slm_lsp.engine.base import EngineStats, Superseded
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.prompt import fim
from slm_lsp.prompt.budget import Window
from slm_lsp.types import (
    DocumentSnapshot,
    EngineState,
    FileName,
    FimTemplate,
    Finish,
    Generation,
    GenerationRequest,
    Origin,
    Priority,
    Prompt,
    Snippet,
    Text,
)

AT = "def f(x):\n    return {}<CURSOR>\n"
URI = "file:///a.py"


class BackgroundEngine(FakeEngine):
    """Holds what is in the background until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.release = asyncio.Event()
        self.asked = asyncio.Event()
        self.prefill_ms_per_token = 0.0

    def stats(self) -> EngineStats:
        stats = super().stats()
        return dataclasses.replace(stats, prefill_ms_per_token=self.prefill_ms_per_token)

    def of(self, priority: Priority) -> list[GenerationRequest]:
        return [each for each in self.requests if each.priority is priority]

    async def generate(self, request: GenerationRequest) -> Generation:
        if request.priority is Priority.INTERACTIVE:
            return await super().generate(request)
        self.requests.append(request)
        self.asked.set()
        await self.release.wait()
        self.requests.remove(request)
        return await super().generate(request)


class BackgroundScene(Scene):
    def __init__(self, folder: Path, collector: Collector | None = None, **on: bool) -> None:
        super().__init__(folder, dataclasses.replace(PLAIN, reuse=True, **on), collector)
        self.completer.engine = self.background = self.engine = BackgroundEngine()

    async def landed(self, session: str = "s") -> None:
        flight = self.completer._flights.background(session)
        self.background.release.set()
        if flight is not None:
            await flight.landed.wait()


@pytest.fixture
def cut(tmp_path: Path) -> Iterator[BackgroundScene]:
    made = BackgroundScene(tmp_path, carry_on=True)
    yield made
    made.close()


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[BackgroundScene]:
    made = BackgroundScene(tmp_path, speculate=True)
    yield made
    made.close()


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[BackgroundScene]:
    made = BackgroundScene(tmp_path, warm_ahead=True)
    yield made
    made.close()


# --- a cut text goes on ---


async def cut_short(scene: BackgroundScene, says: str = "x + 1 + val") -> None:
    scene.engine.enqueue(Generation(says, Finish.DEADLINE))
    await scene.complete(AT.format(""))
    await scene.background.asked.wait()


async def test_a_cut_text_is_finished_for_the_next_keystroke(cut: BackgroundScene) -> None:
    await cut_short(cut)
    first, again = cut.engine.requests
    assert again.prompt.max_tokens == CARRY_ON_TOKENS
    assert dataclasses.replace(again.prompt, max_tokens=first.prompt.max_tokens) == first.prompt
    assert again.priority is Priority.SPECULATIVE
    assert again.deadline.remaining_ms() == BACKGROUND_MS
    assert again.cancel is not first.cancel
    cut.engine.enqueue("x + 1 + value * 2")
    await cut.landed()
    outcome = await cut.complete(AT.format("x"))
    assert outcome.completion is not None
    assert (outcome.completion.text, outcome.completion.origin) == (
        *(" + 1 + value * 2", Origin.REUSED),
    )
    assert len(cut.engine.requests) == 2


async def test_what_goes_on_is_cut_again(cut: BackgroundScene) -> None:
    await cut_short(cut)
    cut.engine.enqueue(Generation("x + 1 + value * 2 + oth", Finish.LENGTH))
    await cut.landed()
    outcome = await cut.complete(AT.format("x"))
    assert outcome.completion is not None
    assert outcome.completion.text == " + 1 + value * 2"


async def test_what_is_asked_before_its_end_takes_its_place(cut: BackgroundScene) -> None:
    await cut_short(cut, "val")
    background = cut.engine.requests[-1]
    cut.engine.enqueue("lue * 2")
    completion = (await cut.complete(AT.format("va"))).completion
    assert completion is not None
    assert (completion.text, completion.origin) == ("lue * 2", Origin.MODEL)
    assert background.cancel.cancelled


async def test_nothing_goes_on_for_who_types_past_every_suggestion(cut: BackgroundScene) -> None:
    for n in range(TIRED_AFTER + 1):
        cut.engine.enqueue(Generation(f"{n} * value", Finish.STOP))
        await cut.complete(AT.format("y" * n))
    cut.engine.enqueue(Generation("x + 1 + val", Finish.DEADLINE))
    assert (await cut.complete(AT.format("z"))).completion is not None
    assert cut.background.of(Priority.SPECULATIVE) == []


async def test_what_does_not_agree_ends_it(cut: BackgroundScene) -> None:
    await cut_short(cut)
    background = cut.engine.requests[-1]
    cut.engine.enqueue("yield_")
    completion = (await cut.complete(AT.format("y"))).completion
    assert completion is not None
    assert completion.origin is Origin.MODEL
    assert background.cancel.cancelled


async def test_a_closed_document_ends_it(cut: BackgroundScene) -> None:
    await cut_short(cut)
    cut.completer.closed(URI)
    assert cut.engine.requests[-1].cancel.cancelled


async def test_a_closed_completer_ends_it(cut: BackgroundScene) -> None:
    await cut_short(cut)
    cut.completer.close()
    assert cut.engine.requests[-1].cancel.cancelled


async def test_an_old_requests_text_is_left_cut(cut: BackgroundScene) -> None:
    def moved() -> None:
        cut.text = "something else"

    cut.engine.before_answer = moved
    cut.engine.enqueue(Generation("x + 1 + val", Finish.DEADLINE))
    assert (await cut.complete(AT.format(""))).reject is RejectReason.MOVED_ON
    assert len(cut.engine.requests) == 1


async def test_a_failure_in_the_background_harms_nobody(
    cut: BackgroundScene, caplog: pytest.LogCaptureFixture
) -> None:
    await cut_short(cut)
    cut.engine.enqueue(RuntimeError("a bug"))
    await cut.landed()
    assert "work in the background failed" in caplog.text
    cut.engine.enqueue("ys")
    assert (await cut.complete(AT.format("z + "))).completion is not None


# --- and what was read only a little of is read in full ---


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BackgroundScene]:
    monkeypatch.setattr(reading, "PAUSE_S", 0.0)
    made = BackgroundScene(tmp_path, carry_on=True, warm_ahead=True, anchors=True)
    made.background.prefill_ms_per_token = 3.0
    yield made
    made.close()


LONG = "".join(f"def f{n}(x):\n    return x + {n}\n\n\n" for n in range(200)) + AT


async def asked_next(scene: BackgroundScene) -> GenerationRequest:
    """The next request in the background."""
    scene.background.asked.clear()
    await scene.background.asked.wait()
    return scene.engine.requests[-1]


async def test_behind_a_cut_text_the_larger_context_is_read(slow: BackgroundScene) -> None:
    slow.engine.enqueue(Generation("x + 1 + val", Finish.DEADLINE))
    await slow.complete(LONG.format(""))
    await slow.background.asked.wait()
    first, longer = slow.engine.requests
    assert longer.priority is Priority.SPECULATIVE
    slow.engine.enqueue("x + 1 + value")
    slow.engine.enqueue(Generation("", Finish.LENGTH))
    flight = slow.completer._flights.background("s")
    assert flight is not None
    slow.background.release.set()
    read = await asked_next(slow)
    await flight.landed.wait()
    assert (read.priority, read.prompt.max_tokens) == (Priority.WARMUP, 0)
    assert length(read) > 2 * length(first)
    # The next one is answered from it.
    slow.engine.enqueue("zs")
    assert (await slow.complete(LONG.format("y + "))).completion is not None
    after = slow.engine.requests[-1]
    assert after.priority is Priority.INTERACTIVE
    assert (after.document, length(after) >= length(read)) == (read.document, True)


async def test_what_the_first_answer_tells_of_the_speed_counts(slow: BackgroundScene) -> None:
    """The first prompt of a model that seemed slow is small, and was all that there is time for."""
    slow.background.prefill_ms_per_token = 100.0

    def measured() -> None:
        slow.background.prefill_ms_per_token = 3.0

    slow.engine.before_answer = measured
    slow.engine.enqueue("x + 1")
    await slow.complete(LONG.format(""))
    async with asyncio.timeout(10.0):
        await slow.background.asked.wait()
    first, read = slow.engine.requests
    assert (read.priority, read.prompt.max_tokens) == (Priority.WARMUP, 0)
    assert length(read) > 2 * length(first)


@pytest.mark.parametrize("finish", [Finish.STOP, Finish.DEADLINE])
async def test_typing_what_is_shown_interrupts_the_reading(
    slow: BackgroundScene, finish: Finish
) -> None:
    """It goes on in the next pause, at the place that the user has come to."""
    slow.engine.enqueue(Generation("x + 1 + val", finish))
    await slow.complete(LONG.format(""))
    await slow.background.asked.wait()
    if finish is Finish.DEADLINE:
        slow.engine.enqueue("x + 1 + value")
        slow.background.release.set()
        slow.background.release.clear()
        await asked_next(slow)
    (read,) = slow.background.of(Priority.WARMUP)
    assert (await slow.complete(LONG.format("x +"))).completion is not None
    assert read.cancel.cancelled
    slow.engine.enqueue(Cancelled())
    slow.background.release.set()
    slow.background.release.clear()
    again = await asked_next(slow)
    assert (again.document, again.priority) == (read.document, Priority.WARMUP)
    assert length(again) > length(read)
    assert not again.cancel.cancelled
    slow.engine.enqueue("zs")
    await slow.complete(LONG.format("y"))
    assert again.cancel.cancelled


async def test_nothing_is_read_between_two_keys(
    slow: BackgroundScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAUSE_S", 3600.0)
    for typed in ("x", "xy"):
        slow.engine.enqueue(Generation(" + 1", Finish.STOP))
        assert (await slow.complete(LONG.format(typed))).completion is not None
        flight = slow.completer._flights.background("s")
        assert flight is not None
        for _ in range(3):  # whatever the worker has to do for it
            await slow.completer._preparer._worker.begin(int)
    assert slow.background.of(Priority.WARMUP) == []


async def test_what_is_read_is_where_the_user_has_come_to(slow: BackgroundScene) -> None:
    slow.engine.enqueue(Generation("x + 1 + val", Finish.DEADLINE))
    await slow.complete(LONG.format(""))
    await slow.background.asked.wait()
    await slow.complete(LONG.format("x +"))
    slow.engine.enqueue("x + 1 + value")
    slow.engine.enqueue(Generation("", Finish.LENGTH))
    slow.background.release.set()
    read = await asked_next(slow)
    texts = [each.text for each in read.prompt.segments if isinstance(each, Text)]
    assert ("".join(texts) + read.prompt.heal).endswith("    return x +")


async def test_another_documents_request_does_not_take_its_reading(slow: BackgroundScene) -> None:
    slow.engine.enqueue(Generation("x + 1 + val", Finish.DEADLINE))
    await slow.complete(LONG.format(""))
    await slow.background.asked.wait()
    slow.engine.enqueue("zs")
    request, slow.text = slow.request(AT.format("y")), LONG.replace("<CURSOR>", "").format("")
    other = dataclasses.replace(request.snapshot, uri="file:///b.py")
    await slow.completer.complete(dataclasses.replace(request, session="b", snapshot=other))
    slow.engine.enqueue("x + 1 + value")
    slow.engine.enqueue(Generation("", Finish.LENGTH))
    slow.background.release.set()
    read = await asked_next(slow)
    assert (read.priority, read.session) == (Priority.WARMUP, "s")


async def test_nothing_is_read_behind_a_cut_text_where_it_is_switched_off(
    tmp_path: Path,
) -> None:
    scene = BackgroundScene(tmp_path, carry_on=True, anchors=True)
    scene.background.prefill_ms_per_token = 3.0
    scene.engine.enqueue(Generation("x + 1 + val", Finish.DEADLINE))
    await scene.complete(LONG.format(""))
    await scene.background.asked.wait()
    scene.engine.enqueue("x + 1 + value")
    await scene.landed()
    assert scene.background.of(Priority.WARMUP) == []
    scene.close()


async def test_what_an_earlier_server_had_read_is_gone_on_from(slow: BackgroundScene) -> None:
    """The engine says that it took the richer prompt; it is behind that one that it goes on."""
    slow.engine.enqueue(Generation("x + 1 + val", Finish.DEADLINE, other_at=0))
    await slow.complete(LONG.format(""))
    await slow.background.asked.wait()
    first, longer = slow.engine.requests
    assert longer.prompt == dataclasses.replace(first.others[0], max_tokens=CARRY_ON_TOKENS)
    assert longer.others == ()
    [line] = slow.lines()
    assert line["n_window"] == Config().prompt_tokens
    slow.engine.enqueue("x + 1 + value")
    await slow.landed()
    assert slow.background.of(Priority.WARMUP) == []
    slow.engine.enqueue("zs")
    await slow.complete(LONG.format("y"))
    last = slow.engine.requests[-1]
    assert last.prompt.segments[:-1] == first.others[0].segments[:-1]
    assert last.others == ()


async def test_where_less_was_taken_more_is_read_behind_it(slow: BackgroundScene) -> None:
    slow.engine.enqueue(Generation("x + 1 + val", Finish.DEADLINE, other_at=-1))
    await slow.complete(LONG.format(""))
    await slow.background.asked.wait()
    first, longer = slow.engine.requests
    assert length(first.others[-1]) < length(first)
    assert longer.prompt == dataclasses.replace(first.others[-1], max_tokens=CARRY_ON_TOKENS)
    slow.engine.enqueue("x + 1 + value")
    slow.engine.enqueue(Generation("", Finish.LENGTH))
    slow.background.release.set()
    read = await asked_next(slow)
    assert read.priority is Priority.WARMUP


async def test_snippets_that_come_late_are_read_in_the_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAUSE_S", 0.0)
    found: list[Snippet] = []
    source = SimpleNamespace(collect=lambda place, stop: tuple(found))
    collector = Collector(source, lambda uri: FileName("repo", "a.py"))
    scene = BackgroundScene(tmp_path, collector, warm_ahead=True, anchors=True, snippets=True)
    for typed in ("", "x"):
        scene.engine.enqueue("z")
        await scene.complete(LONG.format(typed))
        assert scene.background.of(Priority.WARMUP) == []  # all is read that there is
    found.append(Snippet("lib.py", "def lib(): ..."))
    scene.engine.enqueue("z")
    await scene.complete(LONG.format("x "))
    await scene.background.asked.wait()
    [ahead] = scene.background.of(Priority.WARMUP)
    interactive = scene.background.of(Priority.INTERACTIVE)
    assert all(shown_text(each).count("lib.py") == 0 for each in interactive)
    assert shown_text(ahead).count("lib.py") == 1
    assert ahead.document != interactive[-1].document
    scene.engine.enqueue(Generation("", Finish.LENGTH))
    await scene.landed()
    scene.engine.enqueue("z")
    await scene.complete(LONG.format("x +"))
    asked = scene.background.of(Priority.INTERACTIVE)[-1]
    # From the prompt that was read, typing only appends.
    assert (asked.document, shown_text(asked).count("lib.py")) == (ahead.document, 1)
    assert shown_text(asked).startswith(shown_text(ahead)[:-4])
    scene.close()


def shown_text(request: GenerationRequest) -> str:
    return "".join(each.text for each in request.prompt.segments if isinstance(each, Text))


async def test_what_nobody_has_said_is_asked_again(slow: BackgroundScene) -> None:
    slow.engine.enqueue(Superseded())
    await slow.complete(LONG.format(""))
    slow.engine.enqueue("zs")
    await slow.complete(LONG.format("y"))
    slow.engine.enqueue("zs")
    await slow.complete(LONG.format("yy"))
    asked = slow.background.of(Priority.INTERACTIVE)
    assert [bool(each.others) for each in asked] == [True, True, False]


def length(asked: GenerationRequest | Prompt) -> int:
    prompt = asked if isinstance(asked, Prompt) else asked.prompt
    return sum(len(each.text) for each in prompt.segments if isinstance(each, Text))


# --- as if accepted ---


async def show(scene: BackgroundScene) -> GenerationRequest:
    scene.engine.enqueue("x + 1")
    await scene.complete(AT.format(""))
    await scene.background.asked.wait()
    return scene.engine.requests[-1]


async def test_the_next_suggestion_is_ready_on_tab(shown: BackgroundScene) -> None:
    supposed = await show(shown)
    assert supposed.priority is Priority.SPECULATIVE
    texts = [each.text for each in supposed.prompt.segments if isinstance(each, Text)]
    prompt = "".join(texts) + supposed.prompt.heal
    assert "return x + 1" in prompt
    shown.engine.enqueue(" + y")
    await shown.landed()
    completion = (await shown.complete(AT.format("x + 1"))).completion
    assert completion is not None
    assert (completion.text, completion.origin) == (" + y", Origin.REUSED)
    assert len(shown.background.of(Priority.INTERACTIVE)) == 1


async def test_typing_through_keeps_it_and_anything_else_ends_it(shown: BackgroundScene) -> None:
    supposed = await show(shown)
    await shown.complete(AT.format("x "))
    assert not supposed.cancel.cancelled
    assert len(shown.engine.requests) == 2
    shown.engine.enqueue("z")
    await shown.complete(AT.format("y + "))
    assert supposed.cancel.cancelled


async def test_what_is_supposed_leaves_the_documents_tree(shown: BackgroundScene) -> None:
    await show(shown)
    trees = shown.completer._preparer._trees
    assert trees is not None
    assert [each.text for each in trees._parsed.values()] == [AT.format("").replace("<CURSOR>", "")]


async def test_nothing_is_supposed_of_silence(shown: BackgroundScene) -> None:
    shown.engine.enqueue("")
    await shown.complete(AT.format(""))
    assert shown.completer._flights.background("s") is None


# --- before a request ---


def snapshot(text: str) -> DocumentSnapshot:
    return DocumentSnapshot(URI, 1, "python", text)


async def test_an_idle_document_is_read_where_it_was_edited(warm: BackgroundScene) -> None:
    text = warm.text = "def f(x):\n    return \n"
    warm.completer.idle(snapshot(text), len(text) - 1)
    await warm.background.asked.wait()
    (request,) = warm.engine.requests
    assert (request.priority, request.prompt.max_tokens) == (Priority.WARMUP, 0)
    texts = "".join(each.text for each in request.prompt.segments if isinstance(each, Text))
    assert texts.startswith("def f(x):\n    return")
    # The next request of the session ends it.
    warm.engine.enqueue("xs")
    real = dataclasses.replace(warm.request(AT.format("")), session=URI)
    assert (await warm.completer.complete(real)).completion is not None
    assert request.cancel.cancelled


async def test_what_was_just_asked_for_is_not_read_again(warm: BackgroundScene) -> None:
    warm.engine.enqueue("x")
    request = dataclasses.replace(warm.request(AT.format("")), session=URI)
    await warm.completer.complete(request)
    for offset in (request.offset, None):
        warm.completer.idle(request.snapshot, offset)
    assert warm.completer._flights.background(URI) is None


async def test_a_document_opened_while_loading_is_read_once_ready(warm: BackgroundScene) -> None:
    warm.engine.state = EngineState.LOADING
    warm.text = "x = 1\n"
    warm.completer.opened(snapshot(warm.text))
    assert warm.completer._flights.background(URI) is None
    warm.engine.state = EngineState.READY
    warm.completer.ready()
    await warm.background.asked.wait()
    assert warm.engine.requests[0].priority is Priority.WARMUP


def test_where_a_document_is_read_whose_cursor_is_not_known() -> None:
    suffix_first = FimTemplate("spm", ("<s>", "{suffix}", "<p>", "{prefix}"))
    prefix_first = FimTemplate("psm", ("<p>", "{prefix}", "<s>", "{suffix}", "<m>"))
    assert unknown_place("x" * 50, suffix_first, 1024) is None
    assert unknown_place("x" * 50, prefix_first, 1024) == 50
    assert unknown_place("x" * 9000, fim.PREFIX_ONLY, 1024) == Window.of(1024).prefix_chars


async def test_all_but_speculation_is_on_unless_switched_off(tmp_path: Path) -> None:
    assert all(dataclasses.astuple(dataclasses.replace(Policy(), speculate=True)))
    assert not Policy().speculate
    assert not any(dataclasses.astuple(PLAIN))
    scene = BackgroundScene(tmp_path)
    scene.engine.enqueue(Generation("x + 1 + val", Finish.DEADLINE))
    await scene.complete(AT.format(""))
    scene.completer.idle(snapshot("x"), 1)
    scene.completer.opened(snapshot("x"))
    assert len(scene.engine.requests) == 1
    assert scene.completer._flights.background("s") is None
    assert scene.completer._flights.background(URI) is None
    scene.close()


@pytest.mark.parametrize(
    ("decode_ms", "n_tokens"),
    [(0.0, CARRY_ON_TOKENS), (15.0, CARRY_ON_TOKENS), (125.0, 12), (900.0, LEAST_TOKENS)],
)
def test_a_slow_model_goes_on_for_less(decode_ms: float, n_tokens: int) -> None:
    assert carry_on_tokens(decode_ms) == n_tokens
