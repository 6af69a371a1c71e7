"""How often the engine is asked: reuse of what was shown, and of what is being written.

Owns: the completer with a memory; nothing in the background but where a test says so.

Invariant: engine calls are counted; no sleep, and no time but on the FakeClock.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from completer_scene import Scene

from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.policy import PLAIN
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.types import Finish, Generation, GenerationRequest, Origin, Trigger

AT = "def f(x):\n    return {}<CURSOR>\n"


class HeldEngine(FakeEngine):
    """Works on every request until it is released, and can tell what it has written."""

    def __init__(self) -> None:
        super().__init__()
        self.release = asyncio.Event()
        self.asked = asyncio.Event()
        self.so_far: str | None = None

    def partial(self, session: str) -> str | None:
        return self.so_far

    async def generate(self, request: GenerationRequest) -> Generation:
        generation = await super().generate(request)
        self.asked.set()
        await self.release.wait()
        return generation


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
        "def f(x):\n    <CURSOR>return\n",
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


async def test_silence_is_remembered_until_the_text_changes(scene: Scene) -> None:
    for says in ("", "x"):
        scene.engine.enqueue(says)
    assert shown(await scene.complete(AT.format(""))) is RejectReason.EMPTY
    assert shown(await scene.complete(AT.format(""))) is RejectReason.REMEMBERED_EMPTY
    assert len(scene.engine.requests) == 1
    assert shown(await scene.complete(AT.format("1 + "))) == ("x", Origin.MODEL)
    assert scene.lines()[1]["reject"] == "remembered_empty"


async def test_silence_for_want_of_time_is_not_remembered(scene: Scene) -> None:
    scene.engine.enqueue(Generation("", Finish.DEADLINE))
    scene.engine.enqueue("x")
    assert shown(await scene.complete(AT.format(""))) is RejectReason.NO_TIME
    assert shown(await scene.complete(AT.format(""))) == ("x", Origin.MODEL)


async def test_who_asks_by_hand_is_not_given_a_cut_text(scene: Scene) -> None:
    scene.engine.enqueue(Generation("x + 1 + val", Finish.DEADLINE))
    scene.engine.enqueue("x + 1 + value")
    await scene.complete(AT.format(""))
    assert shown(await scene.complete(AT.format(""))) == ("x + 1", Origin.REUSED)
    request = dataclasses.replace(scene.request(AT.format("")), trigger=Trigger.INVOKED)
    assert shown(await scene.completer.complete(request)) == ("x + 1 + value", Origin.MODEL)


@pytest.mark.parametrize(
    ("typed", "so_far", "n_asked"),
    [
        ("x", "x + ", 1),
        ("x + ", "x", 1),
        ("", None, 1),
        ("y", "x + ", 2),
        # Nothing is known: the latest wins.
        ("x", None, 2),
        ("x", "", 2),
    ],
)
async def test_a_request_under_way_is_waited_for_where_it_agrees(
    scene: Scene, typed: str, so_far: str | None, n_asked: int
) -> None:
    engine = HeldEngine()
    scene.completer.engine = scene.engine = engine
    engine.so_far = so_far
    for says in ("x + 1", "other"):
        engine.enqueue(says)
    first = asyncio.create_task(scene.complete(AT.format("")))
    await engine.asked.wait()
    engine.asked.clear()
    second = asyncio.create_task(scene.complete(AT.format(typed)))
    if n_asked == 2:
        await engine.asked.wait()
    else:
        await asyncio.sleep(0)
    assert len(engine.requests) == n_asked
    engine.release.set()
    await first
    expected = ("x + 1"[len(typed) :], Origin.REUSED) if n_asked == 1 else ("other", Origin.MODEL)
    assert shown(await second) == expected


async def test_what_was_waited_for_may_turn_out_different(scene: Scene) -> None:
    engine = HeldEngine()
    scene.completer.engine = scene.engine = engine
    engine.so_far = "x"
    for says in ("x + 1", "other"):
        engine.enqueue(says)
    first = asyncio.create_task(scene.complete(AT.format("")))
    await engine.asked.wait()
    second = asyncio.create_task(scene.complete(AT.format("x - ")))
    await asyncio.sleep(0)
    assert len(engine.requests) == 1
    engine.release.set()
    await first
    assert shown(await second) == ("other", Origin.MODEL)


async def test_nobody_waits_past_the_deadline(scene: Scene) -> None:
    engine = HeldEngine()
    scene.completer.engine = scene.engine = engine
    engine.enqueue("x + 1")
    first = asyncio.create_task(scene.complete(AT.format("")))
    await engine.asked.wait()
    assert shown(await scene.complete(AT.format(""), budget_ms=0)) is RejectReason.NO_TIME
    engine.release.set()
    assert shown(await first) == ("x + 1", Origin.MODEL)
    assert len(engine.requests) == 1


async def test_switched_off_it_asks_every_time(tmp_path: Path) -> None:
    scene = Scene(tmp_path, PLAIN)
    for says in ("x", "x", ""):
        scene.engine.enqueue(says)
        await scene.complete(AT.format(""))
    assert len(scene.engine.requests) == 3
    scene.close()
