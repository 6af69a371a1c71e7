"""Other texts beside the first: who gets them, when, and which are different enough."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from completer_scene import BUDGET_MS, LINE, Scene
from editor import CURSOR
from fake_editor import FakeEditor
from hypothesis import given
from hypothesis import strategies as st
from test_confidence import generation_of

from slm_lsp.completion.alternatives import MAX_BRANCH, is_different, least_sure
from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.policy import PLAIN
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.deadline import Cancelled
from slm_lsp.engine.base import EngineUnavailable, Superseded
from slm_lsp.types import Completion, Finish, Generation, Origin, Trigger

FIRST = generation_of(("comp", -0.1), ("ute", -2.0), ("(x)", -0.5))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


def others(scene: Scene, *answers: str | Generation | Exception) -> None:
    """What the engine answers to jobs for other texts."""
    scene.engine.others = [
        Generation(each, Finish.EOS) if isinstance(each, str) else each for each in answers
    ]


async def ask(
    scene: Scene,
    first: Generation | Exception | None = FIRST,
    marked: str = LINE,
    n_alternatives: int = 2,
    trigger: Trigger = Trigger.INVOKED,
) -> Outcome:
    if first is not None:
        scene.engine.enqueue(first)
    request = scene.request(marked, BUDGET_MS)
    asked = replace(request, trigger=trigger, n_alternatives=n_alternatives)
    return await scene.completer.complete(asked)


def texts(outcome: Outcome) -> list[str]:
    return [each.text for each in outcome.texts]


async def test_they_leave_the_first_text_where_it_is_least_sure(scene: Scene) -> None:
    others(scene, "compare(x)", "x + 1")
    outcome = await ask(scene)
    assert texts(outcome) == ["compute(x)", "compare(x)", "x + 1"]
    assert [(each.branch, each.branch_at) for each in scene.engine.branches] == [(1, 1), (2, 1)]
    [asked] = scene.engine.requests
    for each in scene.engine.branches:
        assert replace(each, branch=0, branch_at=0) == asked  # the deadline is the same one
    [line] = scene.lines()
    assert line["n_alternatives"] == 2
    assert "others" in line["stages_ms"]


async def test_none_where_nobody_asked_by_hand(scene: Scene) -> None:
    others(scene, "compare(x)")
    assert texts(await ask(scene, trigger=Trigger.AUTOMATIC)) == ["compute(x)"]
    assert texts(await ask(scene, n_alternatives=0)) == ["compute(x)"]
    assert not scene.engine.branches


@pytest.mark.parametrize(
    "same", ["compute(x)", "compute( x )", "compute", "compute(x) + 1", "", " \n", ")"]
)
async def test_what_is_not_different_is_left_out(scene: Scene, same: str) -> None:
    others(scene, same, "compare(x)", "x + 1")
    assert texts(await ask(scene)) == ["compute(x)", "compare(x)", "x + 1"]
    assert len(scene.engine.branches) == MAX_BRANCH


async def test_it_ends_where_the_model_has_no_more(scene: Scene) -> None:
    others(scene, *["compute(x)"] * 9)
    assert texts(await ask(scene)) == ["compute(x)"]
    assert len(scene.engine.branches) == MAX_BRANCH


@pytest.mark.parametrize("error", [EngineUnavailable("gone"), Superseded(), Cancelled()])
async def test_the_first_answer_survives_whatever_ends_the_rest(
    scene: Scene, error: Exception
) -> None:
    others(scene, "compare(x)", error)
    assert texts(await ask(scene)) == ["compute(x)", "compare(x)"]


async def test_only_in_time_that_is_left(scene: Scene) -> None:
    others(scene, "compare(x)", "x + 1")
    # The first answer takes nearly all of it, the second takes the rest.
    scene.engine.before_answer = lambda: scene.clock.advance(BUDGET_MS - 20.0)
    assert texts(await ask(scene)) == ["compute(x)", "compare(x)"]
    assert len(scene.engine.branches) == 1


async def test_where_the_first_text_is_filtered_another_one_is_shown(scene: Scene) -> None:
    others(scene, "x + 1", "compare(x)", "y")
    outcome = await ask(scene, Generation(")", Finish.EOS))
    assert texts(outcome) == ["x + 1", "compare(x)", "y"]
    assert outcome.reject is None


async def test_a_document_that_moves_on_meanwhile_keeps_what_fits(scene: Scene) -> None:
    others(scene, "compare(x)", "x + 1")
    typed = LINE.replace(CURSOR, "com")

    def type_on() -> None:
        if scene.engine.branches:
            scene.text = typed

    scene.engine.before_answer = type_on
    outcome = await ask(scene)
    assert texts(outcome) == ["pute(x)", "pare(x)"]
    assert all(each.start == LINE.index("<") + 3 for each in outcome.texts)


async def test_a_document_that_is_another_one_gets_nothing(scene: Scene) -> None:
    others(scene, "compare(x)")
    scene.engine.before_answer = lambda: (
        setattr(scene, "text", None) if scene.engine.branches else None
    )
    outcome = await ask(scene)
    assert (outcome.texts, outcome.reject) == ((), RejectReason.MOVED_ON)


async def test_what_is_remembered_comes_first(tmp_path: Path) -> None:
    scene = Scene(tmp_path, replace(PLAIN, reuse=True))
    assert texts(await ask(scene, n_alternatives=0)) == ["compute(x)"]
    others(scene, "compare(x)", "x + 1")
    outcome = await ask(scene)
    assert texts(outcome) == ["compute(x)", "compare(x)", "x + 1"]
    assert [each.origin for each in outcome.texts] == [Origin.REUSED, Origin.MODEL, Origin.MODEL]
    # An engine that is gone costs the alternatives, not the answer.
    assert texts(await ask(scene, EngineUnavailable("gone"))) == ["compute(x)"]
    scene.close()


# --- what is different ---


def completion(text: str) -> Completion:
    return Completion(text, 0, 0, Origin.MODEL)


@given(st.text("ab \n"), st.text("ab \n"))
def test_different_is_mutual_and_blind_to_white_space(a: str, b: str) -> None:
    assert is_different(completion(a), [completion(b)]) == is_different(
        completion(b), [completion(a)]
    )
    spaced = completion(f" {' '.join(a)}\n")
    assert not is_different(spaced, [completion(a)])
    assert not is_different(completion(a), [completion(a + b)])


def test_the_token_that_is_least_sure_is_one_of_the_first_line() -> None:
    block = generation_of(("\n", -3.0), ("a", -0.5), ("b", -1.0), ("\n", -0.1), ("c", -9.0))
    assert least_sure(block) == 0
    assert least_sure(replace(block, logprobs=(-0.1, *block.logprobs[1:]))) == 2
    assert least_sure(Generation("x", Finish.EOS)) == 0


# --- in an editor ---


async def test_an_editor_gets_several_items_when_it_asks_by_hand() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        position = await editor.open(f"x = {CURSOR}\n")
        editor.engine.enqueue("compute(1)")
        editor.engine.others = [Generation(each, Finish.EOS) for each in ("2", "value")]
        items = await editor.inline(position)
        assert [editor.accept_inline(item) for item in items] == [
            "x = compute(1)\n",
            "x = 2\n",
            "x = value\n",
        ]
        editor.engine.enqueue("compute(1)")
        [_] = await editor.inline(position, invoked=False)
        editor.engine.enqueue("compute(1)")
        [_] = await editor.popup(position)
        assert len(editor.engine.branches) == 2
