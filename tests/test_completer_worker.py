"""The completer's worker: what runs there, and that nobody waits for it too long.

Owns: the tests that block the worker, cancel requests and close the completer.

Invariant: no sleep; the worker is held and released by events.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from completer_scene import BUDGET_MS, Scene, failing

from slm_lsp.completion import postprocess
from slm_lsp.completion.completer import RESERVE_MS
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.completion.preparing import PARSE_SHARE, Preparer
from slm_lsp.completion.worker import Worker
from slm_lsp.context import extract as extraction
from slm_lsp.context.syntax import SyntaxTrees
from slm_lsp.types import DocumentSnapshot, Generation

if TYPE_CHECKING:
    from slm_lsp.workspace.source import WorkspaceSource


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


async def test_nothing_is_parsed_on_the_loop(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    class Watched(SyntaxTrees):
        def __getattribute__(self, name: str) -> Any:
            threads.append(threading.current_thread())
            return super().__getattribute__(name)

    monkeypatch.setattr("slm_lsp.context.syntax.SyntaxTrees", Watched)
    request = scene.request()
    scene.completer.opened(request.snapshot)
    scene.engine.enqueue("x")
    await scene.completer.complete(request)
    scene.completer.closed(request.snapshot.uri)
    scene.engine.enqueue("x")
    await scene.completer.complete(request)
    assert len(threads) >= 4
    assert {thread.name for thread in threads} == {"slm-context"}


@pytest.mark.parametrize("where", ["worker", "engine"])
async def test_a_cancelled_task_ends_its_request(
    scene: Scene, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def block(*_: Any) -> Any:
        loop.call_soon_threadsafe(reached.set)
        release.wait(10)
        raise RuntimeError("nobody is waiting for this")

    async def wait(_: Any) -> Generation:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    if where == "worker":
        monkeypatch.setattr(extraction, "extract", block)
    else:
        monkeypatch.setattr(scene.engine, "generate", wait)
    task = asyncio.create_task(scene.complete())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    assert scene.cancel.cancelled
    (line,) = scene.lines()
    assert line["reject"] == RejectReason.CANCELLED


@pytest.mark.parametrize("left_ms", [0, RESERVE_MS + 5])
async def test_no_answer_waits_for_a_long_parse(
    scene: Scene, left_ms: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(extraction, "extract", lambda *_: release.wait(10))
    async with asyncio.timeout(1):
        outcome = await scene.complete(budget_ms=left_ms)
    release.set()
    assert outcome.reject is RejectReason.NO_TIME
    assert scene.cancel.cancelled is (left_ms > 0)
    assert scene.engine.requests == []
    assert len(scene.lines()) == 1


@pytest.mark.parametrize("why", ["late", "cancelled"])
async def test_a_parse_is_told_to_stop(
    scene: Scene, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[bool] = []
    original = extraction.extract

    def look(snapshot: Any, offset: int, trees: Any, stop: Callable[[], bool], *more: Any) -> Any:
        answers.append(stop())
        if why == "late":
            scene.clock.advance(BUDGET_MS * PARSE_SHARE + 1e-6)
        else:
            scene.cancel.cancel()
        answers.append(stop())
        return original(snapshot, offset, trees, stop, *more)

    monkeypatch.setattr(extraction, "extract", look)
    scene.engine.enqueue("xs")
    # The text alone still gives an answer.
    assert (await scene.complete()).completion is not None
    assert answers == [False, True]


async def test_nothing_is_collected_while_a_request_is_looked_at(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []
    original = extraction.extract

    def look(*rest: Any) -> Any:
        seen.append(("worker", gc.isenabled()))
        return original(*rest)

    def filtered(*rest: Any) -> Any:
        seen.append(("filters", gc.isenabled()))
        return postprocess_filtered(*rest)

    postprocess_filtered = postprocess.filtered
    generate = scene.engine.generate

    async def generated(request: Any) -> Generation:
        seen.append(("engine", gc.isenabled()))
        return await generate(request)

    monkeypatch.setattr(extraction, "extract", look)
    monkeypatch.setattr(postprocess, "filtered", filtered)
    monkeypatch.setattr(scene.engine, "generate", generated)
    scene.engine.enqueue("xs")
    await scene.complete()
    assert seen == [("worker", False), ("engine", True), ("filters", False)]
    assert gc.isenabled()


def test_it_is_closed_after_its_loop() -> None:
    worker, release = Worker(lambda: None), threading.Event()
    waiting: list[asyncio.Future[bool]] = []

    async def begin() -> None:
        worker.submit(release.wait, 10)
        waiting.append(worker.begin(bool))

    asyncio.run(begin())
    worker.close()
    release.set()
    assert not waiting[0].done()


async def test_a_cancelled_request_leaves_the_queue(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, release = threading.Event(), threading.Event()
    looked_at: list[str] = []
    original = extraction.extract

    def look(snapshot: Any, *rest: Any) -> Any:
        looked_at.append(snapshot.text)
        return original(snapshot, *rest)

    def block(*_: Any) -> None:
        reached.set()
        release.wait(10)

    monkeypatch.setattr(extraction, "extract", look)
    monkeypatch.setattr(Preparer, "_parse", block)
    scene.completer.opened(scene.request().snapshot)
    assert reached.wait(10)
    queued = asyncio.create_task(scene.complete("one<CURSOR>"))
    await asyncio.sleep(0)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    release.set()
    scene.engine.enqueue("x")
    await scene.complete("two<CURSOR>")
    assert looked_at == ["two"]


async def test_parsing_is_caught_up_with_but_gives_way(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_again = threading.Event()
    stopped: list[bool] = []

    class Watched(SyntaxTrees):
        def tree(
            self,
            snapshot: Any,
            stop: Callable[[], bool] | None = None,
            *,
            hurried: bool = False,
        ) -> Any:
            assert stop is not None
            if len(stopped) == 1:  # after the first answer
                asked_again.wait(10)
            stopped.append(stop())
            return super().tree(snapshot, stop, hurried=hurried)

    monkeypatch.setattr("slm_lsp.context.syntax.SyntaxTrees", Watched)
    scene.engine.enqueue("xs")
    scene.engine.enqueue("xs")
    await scene.complete()
    second = asyncio.create_task(scene.complete())
    await asyncio.sleep(0)
    asked_again.set()
    assert (await second).completion is not None
    assert stopped[:3] == [False, True, False]


async def test_a_closed_completer_still_answers(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = scene.request()
    reached, release = threading.Event(), threading.Event()

    def block(*_: Any) -> Any:
        reached.set()
        release.wait(10)

    monkeypatch.setattr(Preparer, "_parse", block)
    scene.completer.opened(request.snapshot)
    assert reached.wait(10)
    queued = asyncio.create_task(scene.completer.complete(request))
    await asyncio.sleep(0)
    scene.completer.close()
    assert (await queued).reject is RejectReason.ENGINE_FAILED
    release.set()
    assert (await scene.complete()).reject is RejectReason.ENGINE_FAILED
    scene.completer.opened(request.snapshot)
    scene.completer.closed(request.snapshot.uri)
    assert len(scene.lines()) == 2


async def test_a_document_that_cannot_be_parsed_is_logged(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(SyntaxTrees, "tree", failing(ValueError("broken grammar")))
    scene.completer.opened(scene.request().snapshot)
    assert (await scene.complete()).reject is RejectReason.INTERNAL_ERROR
    assert sum("broken grammar" in (each.exc_text or "") for each in caplog.records) == 2


async def test_what_cannot_give_way_is_done_before_a_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Workspace:
        is_waiting = False

        def follow(self, _snapshot: DocumentSnapshot) -> None:
            done.append("workspace")

    preparer = Preparer(workspace=cast("WorkspaceSource", Workspace()))
    monkeypatch.setattr(preparer, "_parse", lambda _: done.append("parse"))
    monkeypatch.setattr(preparer, "_index", lambda _: done.append("index"))
    preparer.follow(DocumentSnapshot("file:///a.py", 1, "python", "x"))
    await preparer._worker.begin(int)
    preparer.close()
    assert done == ["workspace", "parse", "index"]


async def test_a_parse_gives_way_once_there_is_an_answer_to_look_at(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    gave_way = threading.Event()
    original = postprocess.filtered

    def parse(preparer: Preparer, _: Any) -> None:
        if wait_until(preparer._worker.is_wanted):
            gave_way.set()

    def filtered(*given: Any) -> Any:
        # The check of the syntax is not asked for yet.
        assert gave_way.wait(10)
        return original(*given)

    monkeypatch.setattr(Preparer, "_parse", parse)
    monkeypatch.setattr(postprocess, "filtered", filtered)
    scene.engine.enqueue("xs")
    assert (await scene.complete()).completion is not None
    assert scene.completer._preparer._worker.is_wanted() is False


async def test_a_parse_that_gave_way_goes_on_after_the_answer(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    gave_way, whole = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    original = postprocess.filtered

    class Slow(SyntaxTrees):
        def tree(self, snapshot: Any, stop: Any = None, *, hurried: bool = False) -> Any:
            if hurried or snapshot.text != "x = \n":
                return super().tree(snapshot, stop, hurried=hurried)
            if gave_way.is_set():
                assert not stop()
                loop.call_soon_threadsafe(whole.set)
            elif wait_until(stop):
                gave_way.set()
            return None

    def filtered(*given: Any) -> Any:
        assert gave_way.wait(10)
        return original(*given)

    monkeypatch.setattr("slm_lsp.context.syntax.SyntaxTrees", Slow)
    monkeypatch.setattr(postprocess, "filtered", filtered)
    scene.engine.enqueue("xs")
    assert (await scene.complete("x = <CURSOR>\n")).completion is not None
    async with asyncio.timeout(10):
        await whole.wait()


async def test_what_is_no_longer_behind_is_not_parsed_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    monkeypatch.setattr(Preparer, "_parse", lambda _, snapshot: parsed.append(snapshot.uri))
    preparer = Preparer()
    for uri in ("file:///closed.py", "file:///kept.py"):
        preparer._behind = DocumentSnapshot(uri, 1, "python", "x")
        preparer.forget("file:///closed.py")
        await preparer._worker.begin(preparer._parse_behind)
    preparer.close()
    assert parsed == ["file:///kept.py"]


def wait_until(true: Callable[[], bool]) -> bool:
    """Whether it came true; a test that goes wrong ends, too."""
    for _ in range(200_000):
        if true():
            return True
        time.sleep(0)  # lets the event loop's thread go on
    return False
