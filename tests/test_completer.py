"""The pipeline: one Outcome and one trace line for every request, whatever happens.

Owns: what the engine is asked, and what becomes of each of its answers and failures.

Invariant: no model and no sleep; the worker is the real one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from completer_scene import BLOCK, BUDGET_MS, LINE, Scene, failing

from slm_lsp.completion.collecting import Collector
from slm_lsp.completion.completer import RESERVE_MS
from slm_lsp.completion.policy import PLAIN
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.config import Config
from slm_lsp.deadline import Cancelled
from slm_lsp.engine.base import EngineUnavailable, PromptError, Superseded
from slm_lsp.prompt import fim
from slm_lsp.prompt.budget import CHARS_PER_TOKEN
from slm_lsp.trace import KEYS
from slm_lsp.types import (
    Completion,
    EngineState,
    FileName,
    FimTemplate,
    Finish,
    Generation,
    ModelInfo,
    Origin,
    Snippet,
    Start,
    StopRule,
    Text,
    Trigger,
)
from slm_lsp.workspace.base import PlaceQuery

STAGES = (
    *("context.extract.extract", "prompt.fim.choose_template", "prompt.anchor.drop"),
    *("prompt.fim.build", "completion.postprocess.filtered", "completion.reuse.refit"),
)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


async def test_a_completion_and_its_trace_line(scene: Scene) -> None:
    scene.engine.enqueue(Generation("x + 1", Finish.STOP, 10, 4, 3, 12.5, 40.1234, (-0.5,)))
    outcome = await scene.complete()
    assert outcome.reject is None
    at = len("def f(x):\n    return ")
    assert outcome.completion == Completion("x + 1", at, at, Origin.MODEL)
    (line,) = scene.lines()
    stages = line.pop("stages_ms")
    assert set(stages) == {"prepare", "context", "prompt", "engine", "finish"}
    assert line == {
        **{"session": "s", "version": 7, "trigger": "automatic", "want": "line"},
        **{"origin": "model", "reject": None, "n_chars": 5, "finish": "stop"},
        **{"n_prompt": 10, "n_cached": 4, "n_predicted": 3, "ttft_ms": 12.5},
        **{"engine_ms": 40.123, "request_ms": 0.0, "n_window": 1024, "n_typed_chars": 11},
        **{"n_snippets": 0, "n_snippet_chars": 0},
    }


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (EngineUnavailable("gone"), RejectReason.ENGINE_FAILED),
        (Cancelled(), RejectReason.CANCELLED),
        (Superseded(), RejectReason.SUPERSEDED),
        (PromptError("too long"), RejectReason.PROMPT_REFUSED),
        (Generation("", Finish.DEADLINE), RejectReason.NO_TIME),
        (Generation("val", Finish.DEADLINE), RejectReason.UNFINISHED),
        (Generation(" ", Finish.EOS), RejectReason.EMPTY),
        (Generation(")", Finish.EOS), RejectReason.STRAY_CLOSER),
        (RuntimeError("a bug"), RejectReason.INTERNAL_ERROR),
        (KeyError("a bug"), RejectReason.INTERNAL_ERROR),
        (RecursionError(), RejectReason.INTERNAL_ERROR),
        (MemoryError(), RejectReason.INTERNAL_ERROR),
    ],
)
async def test_each_end_has_its_reason_and_its_line(
    scene: Scene, answer: Generation | Exception, reason: RejectReason
) -> None:
    scene.engine.enqueue(answer)
    outcome = await scene.complete()
    assert (outcome.completion, outcome.reject) == (None, reason)
    (line,) = scene.lines()
    assert (line["reject"], line["origin"], line["n_chars"]) == (reason, None, 0)
    assert scene.trace.rejects == {reason: 1}
    # The next request is none the worse for it.
    scene.engine.enqueue("xs")
    assert (await scene.complete()).completion is not None
    assert len(scene.lines()) == 2


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (EngineState.LOADING, RejectReason.LOADING),
        (EngineState.FAILED, RejectReason.ENGINE_FAILED),
        (EngineState.CLOSED, RejectReason.ENGINE_FAILED),
    ],
)
async def test_an_engine_that_is_not_ready_is_not_asked(
    scene: Scene, state: EngineState, reason: RejectReason
) -> None:
    scene.engine.state, scene.engine.info, scene.engine.failure = state, None, "no such file"
    outcome = await scene.complete()
    assert (outcome.reject, outcome.detail) == (reason, "no such file")
    assert scene.engine.requests == []
    assert scene.lines()[0]["detail"] == "no such file"


NOWHERE = {
    "na<CURSOR>me = 1\n": RejectReason.INSIDE_WORD,
    "<CURSOR>name = 1\n": RejectReason.TEXT_BEHIND,
    "name = f(1)<CURSOR>\n": RejectReason.STATEMENT_ENDED,
    "<CURSOR>\n": RejectReason.NO_CONTEXT,
}


@pytest.mark.parametrize(("fixture", "reason"), NOWHERE.items())
async def test_where_nothing_is_wanted_nothing_is_asked(
    tmp_path: Path, fixture: str, reason: RejectReason
) -> None:
    scene = Scene(tmp_path, replace(PLAIN, lexical=True))
    for state in (EngineState.READY, EngineState.LOADING):
        scene.engine.state = state
        outcome = await scene.complete(fixture)
        assert outcome.reject is reason
    assert scene.engine.requests == []
    assert [line["want"] for line in scene.lines()] == ["nothing", "nothing"]
    scene.close()


@pytest.mark.parametrize("fixture", NOWHERE)
async def test_who_asks_by_hand_is_answered(scene: Scene, fixture: str) -> None:
    scene.engine.enqueue("x")
    request = replace(scene.request(fixture), trigger=Trigger.INVOKED)
    outcome = await scene.completer.complete(request)
    refused = (RejectReason.INSIDE_WORD, RejectReason.NO_CONTEXT)
    asked = NOWHERE[fixture] not in refused
    assert (len(scene.engine.requests), outcome.completion is not None) == (asked, asked)


class Others:
    """A source that finds one text in another file, or none."""

    def __init__(self, *found: Snippet) -> None:
        self._found = found

    def collect(self, place: PlaceQuery, stop: Callable[[], bool]) -> tuple[Snippet, ...]:
        return self._found

    def close(self) -> None: ...


OTHER = Snippet("b.py", "def area(width, height): ...\n")


@pytest.mark.parametrize(
    ("fixture", "found", "knows_files", "is_asked"),
    [
        ("<CURSOR>", (), True, False),
        ("\n \t<CURSOR>\r\n\n", (), True, False),
        ("<CURSOR>", (OTHER,), False, False),
        ("<CURSOR>", (OTHER,), True, True),
        ("\n<CURSOR>\n", (OTHER,), True, True),
        ("#<CURSOR>", (), True, True),
    ],
)
async def test_in_an_empty_file_only_other_files_are_something_to_go_on(
    tmp_path: Path, fixture: str, found: tuple[Snippet, ...], knows_files: bool, is_asked: bool
) -> None:
    collector = Collector(Others(*found), lambda uri: FileName("repo", "a.py"))
    scene = Scene(tmp_path, replace(PLAIN, snippets=True), collector)
    files = ("{files}", "{path}\n", "{prefix}") if knows_files else ()
    template = FimTemplate("t", ("{prefix}",), files_layout=files, file=("{text}",))
    scene.engine.info = ModelInfo("m", 4096, template=template)
    scene.engine.enqueue("import b")
    request = replace(scene.request(fixture), trigger=Trigger.INVOKED)
    outcome = await scene.completer.complete(request)
    assert outcome.reject is (None if is_asked else RejectReason.EMPTY_FILE)
    assert len(scene.engine.requests) == is_asked
    assert (scene.lines()[0]["want"] == "nothing") is not is_asked
    scene.close()


async def test_behind_a_bracket_a_text_may_not_begin_with_a_line_break(scene: Scene) -> None:
    scene.engine.enqueue("x)")
    scene.engine.enqueue("y")
    await scene.complete("def f(x):\n    return len(<CURSOR>\n")
    await scene.complete("def f(x):\n    return x + <CURSOR>\n")
    starts = [request.prompt.start for request in scene.engine.requests]
    assert starts == [Start.TEXT, Start.ANY]


async def test_what_is_trifling_by_itself_is_not_remembered_as_silence(tmp_path: Path) -> None:
    scene = Scene(tmp_path, replace(PLAIN, reuse=True))
    for _ in range(2):
        scene.engine.enqueue("x")
    assert (await scene.complete()).reject is RejectReason.TRIFLE
    request = replace(scene.request(), trigger=Trigger.INVOKED)
    assert (await scene.completer.complete(request)).completion is not None
    scene.close()


async def test_the_models_own_control_texts_are_cut(scene: Scene) -> None:
    template = FimTemplate("own", ("<A>", "{suffix}", "<B>", "{prefix}"), ("<C>",))
    assert scene.engine.info is not None
    scene.engine.info = replace(
        scene.engine.info, template=template, specials=frozenset(("<A>", "<B>", "<C>"))
    )
    for special in ("<A>", "<B>", "<C>"):
        scene.engine.enqueue("total" + special)
        outcome = await scene.complete()
        assert outcome.completion is not None
        assert outcome.completion.text == "total"


async def test_the_engine_must_leave_time_for_the_answer(scene: Scene) -> None:
    scene.engine.enqueue("x")
    await scene.complete()
    (asked,) = scene.engine.requests
    assert asked.deadline.remaining_ms() == BUDGET_MS - RESERVE_MS
    assert asked.deadline.clock is scene.clock
    assert (asked.session, asked.cancel) == ("s", scene.cancel)


async def test_a_line_and_a_block_end_differently(scene: Scene) -> None:
    for fixture in (LINE, BLOCK):
        scene.engine.enqueue("x")
        await scene.complete(fixture)
    line, block = (request.prompt for request in scene.engine.requests)
    assert (block.max_tokens, block.stop.indent_columns) == (Config().max_block_tokens, 4)
    assert (block.stop.max_lines, block.stop.line_opens) == (Config().max_block_lines, None)
    # A line may turn out to open a block.
    assert (line.max_tokens, line.stop.indent_columns) == (Config().max_block_tokens, 5)
    assert (line.stop.max_lines, line.stop.line_opens) == (Config().max_block_lines, ":{([")
    scene.engine.enqueue("x")
    await scene.complete("# what it <CURSOR>\n")
    comment = scene.engine.requests[-1].prompt
    assert (comment.max_tokens, comment.stop) == (
        Config().max_line_tokens,
        StopRule(strings=("\n",)),
    )


@pytest.mark.parametrize(
    ("fixture", "latest", "shown", "start"),
    [
        ("return <CURSOR>\n", "return \n", "x + 1", 7),
        ("return <CURSOR>\n", "return x \n", "+ 1", 9),
        ("return <CURSOR>\n", "return y\n", None, 0),
        ("return <CURSOR>\n", "", None, 0),
        ("return <CURSOR>\n", None, None, 0),
    ],
)
async def test_the_document_moved_on(
    scene: Scene, fixture: str, latest: str | None, shown: str | None, start: int
) -> None:
    scene.engine.before_answer = lambda: setattr(scene, "text", latest)
    scene.engine.enqueue("x + 1")
    request = replace(scene.request(fixture), trigger=Trigger.INVOKED)
    outcome = await scene.completer.complete(request)
    if shown is None:
        assert (outcome.completion, outcome.reject) == (None, RejectReason.MOVED_ON)
        assert outcome.generation is not None
    else:
        assert outcome.completion is not None
        assert (outcome.completion.text, outcome.completion.start) == (shown, start)


async def test_the_template_is_chosen_once_a_model(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[ModelInfo] = []

    def choose(info: ModelInfo) -> Any:
        chosen.append(info)
        return fim.PREFIX_ONLY

    monkeypatch.setattr(fim, "choose_template", choose)
    first, second = ModelInfo("one", 4096), ModelInfo("two", 4096)
    for info in (first, first, second, second):
        scene.engine.info = info
        scene.engine.enqueue("x")
        await scene.complete()
    assert chosen == [first, second]


@pytest.mark.parametrize(("n_ctx", "prompt_tokens"), [(4096, 1024), (512, 65_536), (160, 1024)])
async def test_the_prompt_fits(scene: Scene, n_ctx: int, prompt_tokens: int) -> None:
    scene.completer.config = Config(prompt_tokens=prompt_tokens)
    scene.engine.info = ModelInfo("small", n_ctx)
    scene.engine.enqueue("x")
    # A long document, which is parsed in real time.
    await scene.complete("value = compute(1)\n" * 2000 + "<CURSOR>" + "\nx = 1" * 2000, 1e4)
    prompt = scene.engine.requests[0].prompt
    texts = [segment.text for segment in prompt.segments if isinstance(segment, Text)]
    n_tokens = sum(map(len, texts)) / CHARS_PER_TOKEN
    assert 0 < n_tokens <= prompt_tokens
    assert n_tokens + prompt.max_tokens <= max(n_ctx, prompt.max_tokens + 1)


@pytest.mark.parametrize("error", [ValueError, RecursionError])
@pytest.mark.parametrize("stage", STAGES)
async def test_a_failing_stage_loses_no_request(
    scene: Scene,
    stage: str,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(f"slm_lsp.{stage}", failing(error("secret of the document")))
    scene.engine.enqueue("xs")
    outcome = await scene.complete()
    assert (outcome.reject, outcome.detail) == (RejectReason.INTERNAL_ERROR, error.__name__)
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[0] is error
    assert "secret" not in scene.path.read_text("utf-8")
    assert len(scene.lines()) == 1


async def test_every_documented_key_is_used(tmp_path: Path) -> None:
    scene = Scene(tmp_path, replace(PLAIN, confidence_gate=True, syntax_gate=True))
    sure = Generation("x", Finish.EOS, logprobs=(-0.1,), ends=(1,))
    for answer in (sure, PromptError("too long")):
        scene.engine.enqueue(answer)
        scene.engine.others = [Generation("y", Finish.EOS)]
        request = replace(scene.request(), trigger=Trigger.INVOKED, n_alternatives=1)
        await scene.completer.complete(request)
    scene.close()
    assert {key for line in scene.lines() for key in line} == set(KEYS)
    scene.close()
