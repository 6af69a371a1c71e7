"""The confidence gate in the pipeline: what is hidden, from whom, and what it learns from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from completer_scene import BUDGET_MS, LINE, Scene
from test_confidence import generation_of

from slm_lsp.completion.bar import Evidence
from slm_lsp.completion.gate import Gate
from slm_lsp.completion.policy import PLAIN, Policy
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.config import Config
from slm_lsp.types import Finish, Generation, Origin, Trigger

BAR = Evidence().bar()
SURE = generation_of(("compute", -0.1), ("(x)", -0.5))
UNSURE = generation_of(("compute", BAR - 1.0), ("(x)", -0.5))
GATED = replace(PLAIN, confidence_gate=True)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path, GATED)
    yield made
    made.close()


@pytest.fixture
def reusing(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path, replace(GATED, reuse=True))
    yield made
    made.close()


def gate_of(scene: Scene) -> Gate:
    assert scene.completer.gate is not None
    return scene.completer.gate


async def ask(
    scene: Scene, says: Generation | None, marked: str = LINE, trigger: Trigger = Trigger.AUTOMATIC
) -> tuple[str | None, RejectReason | None]:
    if says is not None:
        scene.engine.enqueue(says)
    request = replace(scene.request(marked, BUDGET_MS), trigger=trigger)
    outcome = await scene.completer.complete(request)
    return (outcome.completion.text if outcome.completion else None), outcome.reject


async def test_what_is_sure_is_shown_and_what_is_not_is_hidden(scene: Scene) -> None:
    assert await ask(scene, SURE) == ("compute(x)", None)
    assert await ask(scene, UNSURE) == (None, RejectReason.UNSURE)
    shown, hidden = scene.lines()
    assert (shown["score"], shown["bar"]) == (-0.6, BAR)
    assert (hidden["score"], hidden["bar"]) == (BAR - 1.5, BAR)


async def test_who_asks_by_hand_is_shown_it(scene: Scene) -> None:
    assert await ask(scene, UNSURE, trigger=Trigger.INVOKED) == ("compute(x)", None)


async def test_but_is_not_shown_lines_that_are_unlikely(scene: Scene) -> None:
    says = generation_of(("a = 1", -9.0), ("\n    b = 2", -9.0))
    block = "def f(x):\n    <CURSOR>\n"
    assert await ask(scene, says, block, Trigger.INVOKED) == ("a = 1", None)


async def test_without_logprobs_nothing_is_judged(scene: Scene) -> None:
    assert await ask(scene, Generation("compute(x)", Finish.EOS)) == ("compute(x)", None)


async def test_the_switch(tmp_path: Path) -> None:
    assert Policy.of(Config()).confidence_gate
    assert not Policy.of(Config(confidence_gate="off")).confidence_gate
    scene = Scene(tmp_path, PLAIN)
    assert scene.completer.gate is None
    assert await ask(scene, UNSURE) == ("compute(x)", None)
    scene.close()


async def test_memory_judges_as_the_answer_was_judged(reusing: Scene) -> None:
    assert await ask(reusing, UNSURE) == (None, RejectReason.UNSURE)
    assert await ask(reusing, None) == (None, RejectReason.UNSURE)
    assert await ask(reusing, None, trigger=Trigger.INVOKED) == ("compute(x)", None)
    assert len(reusing.engine.requests) == 1


async def test_once_the_unlikely_part_is_typed_the_rest_is_shown(reusing: Scene) -> None:
    assert await ask(reusing, UNSURE) == (None, RejectReason.UNSURE)
    typed = LINE.replace("<CURSOR>", "compute<CURSOR>")
    assert await ask(reusing, None, typed) == ("(x)", None)
    assert len(reusing.engine.requests) == 1


async def test_what_the_open_files_say_is_not_judged(tmp_path: Path) -> None:
    scene = Scene(tmp_path, replace(GATED, lexical=True))
    source = "value = compute(one)\nother = compute(one)\nvalue = compute(<CURSOR>\n"
    gate_of(scene).load(Evidence().with_one(-1.0, False))
    text, _ = await ask(scene, Generation("", Finish.DEADLINE), source)
    assert text is not None
    [line] = scene.lines()
    assert line["origin"] == Origin.LEXICAL
    assert "score" not in line
    scene.close()


# --- learning ---


async def test_typing_past_raises_the_bar_and_hides_what_was_shown(scene: Scene) -> None:
    says = generation_of(("compute(x)", BAR + 0.1))
    assert await ask(scene, says) == ("compute(x)", None)
    n_shown = 0
    while await ask(scene, says) == ("compute(x)", None):
        await ask(scene, SURE, LINE.replace("<CURSOR>", "value<CURSOR>"))
        n_shown += 1
    assert 3 < n_shown < 30
    assert gate_of(scene).bar > BAR


async def test_what_was_hidden_and_typed_all_the_same_lowers_it(scene: Scene) -> None:
    says = generation_of(("compute(x)", BAR - 0.1))
    n_hidden = 0
    while await ask(scene, says) == (None, RejectReason.UNSURE):
        # Behind a whole statement the engine is not asked.
        await ask(scene, None, LINE.replace("<CURSOR>", "compute(x)<CURSOR>"))
        n_hidden += 1
        assert n_hidden < 30
    assert gate_of(scene).bar < BAR


async def test_a_client_that_asks_no_more_is_judged_when_idle(scene: Scene) -> None:
    await ask(scene, generation_of(("compute(x)", BAR + 0.1)))
    request = scene.request(LINE.replace("<CURSOR>", "value<CURSOR>"))
    scene.completer.idle(request.snapshot, None)
    assert gate_of(scene).take_new() == Evidence().with_one(BAR + 0.1, False)


async def test_an_accepted_one_counts_once(scene: Scene) -> None:
    await ask(scene, SURE)
    scene.completer.accepted()
    await ask(scene, SURE, LINE.replace("<CURSOR>", "compute(x)<CURSOR>"))
    assert gate_of(scene).take_new() == Evidence().with_one(-0.6, True)
    assert scene.completer.tally.n_accepted == 1


async def test_what_is_taken_over_is_not_taken_twice(scene: Scene) -> None:
    gate = gate_of(scene)
    earlier = Evidence().with_one(-5.0, True)
    gate.load(earlier)
    assert not gate.has_new
    await ask(scene, SURE)
    scene.completer.accepted()
    assert gate.has_new
    assert gate.take_new() == Evidence().with_one(-0.6, True)
    assert not gate.has_new
    assert gate.take_new() == Evidence()


async def test_a_closed_document_is_not_judged(scene: Scene) -> None:
    await ask(scene, SURE)
    scene.completer.closed("file:///a.py")
    await ask(scene, SURE, LINE.replace("<CURSOR>", "value<CURSOR>"))
    assert not gate_of(scene).has_new


def test_only_what_comes_by_itself_is_hidden() -> None:
    gate = Gate()
    assert gate.hides(Trigger.AUTOMATIC, BAR - 0.1)
    assert not gate.hides(Trigger.AUTOMATIC, BAR)
    assert not gate.hides(Trigger.AUTOMATIC, None)
    assert not gate.hides(Trigger.INVOKED, -100.0)
