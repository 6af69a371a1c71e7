"""The look at the syntax in the pipeline: before a text is shown, and before it is remembered.

Owns: what the completer does with the verdict, on time or not, and when it asks for none.

Invariant: the worker and the parsers are the real ones; nothing sleeps.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from completer_scene import BLOCK, Scene
from test_completer_ahead import AT, BackgroundScene, cut_short

from slm_lsp.completion import postprocess
from slm_lsp.completion.completer import SHOWING_MS
from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.policy import PLAIN
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.completion.preparing import Preparer
from slm_lsp.completion.worker import Worker
from slm_lsp.context import excerpt
from slm_lsp.context.syntax import SyntaxTrees
from slm_lsp.engine.base import EngineUnavailable
from slm_lsp.types import Finish, Generation, Origin

GATED = dataclasses.replace(PLAIN, syntax_gate=True)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path, GATED)
    yield made
    made.close()


def text_of(outcome: Outcome) -> str | None:
    return outcome.completion.text if outcome.completion is not None else None


@pytest.mark.parametrize(
    ("says", "shown", "state"),
    [
        ("y = 1", "y = 1", "ok"),
        ("y = 1\n    z = = 2", "y = 1", "cut"),
        ("y = foo(1", "y = foo(1)", "closed"),
        ("= 1", None, "dropped"),
    ],
)
async def test_what_is_shown_and_traced(
    scene: Scene, says: str, shown: str | None, state: str
) -> None:
    scene.engine.enqueue(says)
    outcome = await scene.complete(BLOCK)
    assert text_of(outcome) == shown
    assert outcome.reject is (None if shown else RejectReason.BREAKS_SYNTAX)
    (line,) = scene.lines()
    assert line["syntax"] == state
    assert "syntax" in line["stages_ms"]
    assert scene.trace.rejects == ({} if shown else {"breaks_syntax": 1})


async def test_the_place_is_looked_at_while_the_engine_writes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, excerpts = threading.Event(), []
    around, look, filtered = excerpt.around, Preparer._look_around, postprocess.filtered

    def counted(*given: Any) -> Any:
        excerpts.append(given)
        return around(*given)

    def seen(*given: Any) -> None:
        look(*given)
        looked.set()

    def behind_it(*given: Any) -> Any:
        assert looked.wait(10)
        return filtered(*given)

    monkeypatch.setattr(excerpt, "around", counted)
    monkeypatch.setattr(Preparer, "_look_around", seen)
    monkeypatch.setattr(postprocess, "filtered", behind_it)
    monkeypatch.setattr(Worker, "is_wanted", lambda _: False)
    for _ in range(2):  # the same place is looked at anew for each request
        scene.engine.enqueue("y = 1\n    z = = 2")
        assert text_of(await scene.complete(BLOCK)) == "y = 1"
        looked.clear()
    assert len(excerpts) == 2


async def test_line_ends_are_the_documents(scene: Scene) -> None:
    scene.engine.enqueue("y = 1\n    z = 2\n    z = = 3")
    outcome = await scene.complete("def f(x):\r\n    <CURSOR>\r\n")
    assert text_of(outcome) == "y = 1\r\n    z = 2"


async def test_what_takes_too_long_is_shown_as_it_is(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    original = Preparer._check

    def held(self: Preparer, *rest: Any) -> Any:
        release.wait(10)
        return original(self, *rest)

    monkeypatch.setattr(Preparer, "_check", held)
    scene.engine.enqueue("y = = 1")
    request = scene.request(BLOCK, budget_ms=50.0)
    generate = scene.engine.generate

    async def late(*rest: Any) -> Any:
        scene.clock.advance(50.0 - SHOWING_MS)  # the look has no time left
        return await generate(*rest)

    monkeypatch.setattr(scene.engine, "generate", late)
    outcome = await scene.completer.complete(request)
    release.set()
    assert text_of(outcome) == "y = = 1"
    assert scene.lines()[0]["syntax"] == "unchecked"


async def test_no_one_asks_the_worker_where_there_is_no_tree(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise AssertionError("asked")

    monkeypatch.setattr(Preparer, "check", fail)
    scene.engine.enqueue("y = = 1")
    request = scene.request(BLOCK)
    plain = dataclasses.replace(request.snapshot, language="plaintext")
    outcome = await scene.completer.complete(dataclasses.replace(request, snapshot=plain))
    assert text_of(outcome) == "y = = 1"
    assert "syntax" not in scene.lines()[0]


async def test_it_can_be_switched_off(tmp_path: Path) -> None:
    scene = Scene(tmp_path, PLAIN)
    scene.engine.enqueue("y = = 1")
    assert text_of(await scene.complete(BLOCK)) == "y = = 1"
    assert "syntax" not in scene.lines()[0]
    scene.close()


async def test_the_documents_own_tree_stays(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    original = SyntaxTrees.tree

    def watched(self: SyntaxTrees, snapshot: Any, *rest: Any, **named: Any) -> Any:
        parsed.append(snapshot.text)
        return original(self, snapshot, *rest, **named)

    monkeypatch.setattr(SyntaxTrees, "tree", watched)
    scene.engine.enqueue("y = = 1")
    await scene.complete(BLOCK)
    assert set(parsed) == {BLOCK.replace("<CURSOR>", "")}


# --- what is remembered ---


async def test_what_is_remembered_is_what_was_shown(tmp_path: Path) -> None:
    scene = Scene(tmp_path, dataclasses.replace(GATED, reuse=True))
    scene.engine.enqueue("y = 1\n    z = = 2")
    await scene.complete(BLOCK)
    outcome = await scene.complete("def f(x):\n    y =<CURSOR>\n")
    assert outcome.completion is not None
    assert (outcome.completion.text, outcome.completion.origin) == (" 1", Origin.REUSED)
    scene.close()


async def test_what_is_dropped_is_not_remembered(tmp_path: Path) -> None:
    scene = Scene(tmp_path, dataclasses.replace(GATED, reuse=True))
    for says in ("= 1", "y = 1"):
        scene.engine.enqueue(says)
        outcome = await scene.complete(BLOCK)
    assert text_of(outcome) == "y = 1"
    scene.close()


async def test_what_is_finished_in_the_background_is_looked_at(tmp_path: Path) -> None:
    scene = BackgroundScene(tmp_path, carry_on=True, syntax_gate=True)
    await cut_short(scene, "x + 1 + val")
    scene.engine.enqueue("x + 1 + foo(2")
    await scene.landed()
    assert text_of(await scene.complete(AT.format("x"))) == " + 1 + foo(2)"
    scene.close()


async def test_what_is_supposed_is_looked_at_where_it_would_stand(tmp_path: Path) -> None:
    scene = BackgroundScene(tmp_path, speculate=True, syntax_gate=True)
    scene.engine.enqueue("xs")
    await scene.complete(AT.format(""))
    await scene.background.asked.wait()
    scene.engine.enqueue(" + foo(1")
    await scene.landed()
    assert text_of(await scene.complete(AT.format("xs"))) == " + foo(1)"
    scene.close()


async def test_the_open_files_answer_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, dataclasses.replace(GATED, lexical=True))
    monkeypatch.setattr(Preparer, "_guess", lambda *_: "y = = 1")
    scene.engine.enqueue(EngineUnavailable("gone"))
    outcome = await scene.complete("def f(x):\n    <CURSOR>\n")
    assert text_of(outcome) == "y"
    assert outcome.completion is not None
    assert outcome.completion.origin is Origin.LEXICAL
    scene.close()


async def test_a_completer_that_is_closed_meanwhile_answers(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = scene.engine.generate

    async def closing(*rest: Any) -> Any:
        scene.completer.close()
        return await generate(*rest)

    monkeypatch.setattr(scene.engine, "generate", closing)
    scene.engine.enqueue(Generation("y = 1", Finish.STOP))
    outcome = await asyncio.wait_for(scene.complete(BLOCK), 10)
    assert outcome.reject is RejectReason.ENGINE_FAILED
