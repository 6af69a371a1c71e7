"""How often the engine is asked: reuse of what was shown, and of what is being written.

Owns: the completer with a memory; nothing in the background but where a test says so.

Invariant: engine calls are counted; no sleep, and no time but on the FakeClock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from completer_scene import Scene

from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.policy import PLAIN
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.types import Finish, Generation, Origin, Trigger

AT = "def f(x):\n    return {}<CURSOR>\n"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path, dataclasses.replace(PLAIN, reuse=True))
    yield made
    made.close()


def shown(outcome: Outcome) -> tuple[str, Origin] | RejectReason | None:
    completion = outcome.completion
    return (completion.text, completion.origin) if completion else outcome.reject


async def test_typing_through_asks_once(scene: Scene) -> None:
    scene.engine.enqueue("x + 1")
    assert shown(await scene.complete(AT.format(""))) == ("x + 1", Origin.MODEL)
    # Typed, some of it deleted, typed again.
    for typed in ("x", "x ", "x +", "x ", "x", "", "x + "):
        outcome = await scene.complete(AT.format(typed))
        assert shown(outcome) == ("x + 1"[len(typed) :], Origin.REUSED)
        assert outcome.completion is not None
        assert outcome.completion.start == len("def f(x):\n    return " + typed)
    assert len(scene.engine.requests) == 1
    assert [line["origin"] for line in scene.lines()] == ["model"] + ["reused"] * 7


@pytest.mark.parametrize(
    "fixture",
    [
        "def f(x):\n    return y<CURSOR>\n",
        "def f(x):\n    return x + 1<CURSOR>\n",
        "def g(x):\n    return x<CURSOR>\n",
        "def f(x):\n    return x<CURSOR>\n\n\n",
        "def f(x):\n    <CURSOR>\n    return\n",
    ],
)
async def test_anything_else_asks_again(scene: Scene, fixture: str) -> None:
    for says in ("x + 1", "other"):
        scene.engine.enqueue(says)
    await scene.complete(AT.format(""))
    await scene.complete(fixture)
    assert len(scene.engine.requests) == 2


async def test_moving_to_and_fro(scene: Scene) -> None:
    for says in ("x + 1", "pass"):
        scene.engine.enqueue(says)
    await scene.complete(AT.format(""))
    await scene.complete("def f(x):\n    <CURSOR>\n")
    assert shown(await scene.complete(AT.format(""))) == ("x + 1", Origin.REUSED)
    assert len(scene.engine.requests) == 2


async def test_a_closed_document_is_forgotten(scene: Scene) -> None:
    for says in ("x + 1", "x + 2"):
        scene.engine.enqueue(says)
    await scene.complete(AT.format(""))
    scene.completer.closed("file:///a.py")
    assert shown(await scene.complete(AT.format(""))) == ("x + 2", Origin.MODEL)
    assert scene.engine.abandoned == ["file:///a.py"]


async def test_silence_is_remembered_until_the_text_changes(scene: Scene) -> None:
    for says in ("", "xs"):
        scene.engine.enqueue(says)
    assert shown(await scene.complete(AT.format(""))) is RejectReason.EMPTY
    assert shown(await scene.complete(AT.format(""))) is RejectReason.REMEMBERED_EMPTY
    assert len(scene.engine.requests) == 1
    assert shown(await scene.complete(AT.format("1 + "))) == ("xs", Origin.MODEL)
    assert scene.lines()[1]["reject"] == "remembered_empty"


async def test_silence_for_want_of_time_is_not_remembered(scene: Scene) -> None:
    scene.engine.enqueue(Generation("", Finish.DEADLINE))
    scene.engine.enqueue("xs")
    assert shown(await scene.complete(AT.format(""))) is RejectReason.NO_TIME
    assert shown(await scene.complete(AT.format(""))) == ("xs", Origin.MODEL)


async def test_who_asks_by_hand_is_not_given_a_cut_text(scene: Scene) -> None:
    scene.engine.enqueue(Generation("x + 1 + val", Finish.DEADLINE))
    scene.engine.enqueue("x + 1 + value")
    await scene.complete(AT.format(""))
    assert shown(await scene.complete(AT.format(""))) == ("x + 1", Origin.REUSED)
    request = dataclasses.replace(scene.request(AT.format("")), trigger=Trigger.INVOKED)
    assert shown(await scene.completer.complete(request)) == ("x + 1 + value", Origin.MODEL)


async def test_switched_off_it_asks_every_time(tmp_path: Path) -> None:
    scene = Scene(tmp_path, PLAIN)
    for says in ("x", "x", ""):
        scene.engine.enqueue(says)
        await scene.complete(AT.format(""))
    assert len(scene.engine.requests) == 3
    scene.close()
