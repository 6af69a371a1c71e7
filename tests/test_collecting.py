"""Snippets on the way into a prompt: no request waits for them, none fails because of them.

Owns: a source whose time is the FakeClock's, and completers between it and a FakeEngine.
Invariant: nothing here waits. Threads: the completer's worker collects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from completer_scene import LINE, Scene
from workspace_scene import WorkspaceScene

from slm_lsp.completion.collecting import COLLECT_MS, Collector
from slm_lsp.completion.completer import Completer
from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.policy import PLAIN
from slm_lsp.config import Config
from slm_lsp.deadline import FakeClock
from slm_lsp.prompt.files import AROUND_CHARS
from slm_lsp.prompt.snippets import most_chars
from slm_lsp.types import CompletionContext, FileName, Segment, Snippet, Text
from slm_lsp.workspace.base import PREFIX_CHARS, SUFFIX_CHARS, PlaceQuery

SNIPPETS = (Snippet("lib.py", "def lib(n): ...\n"), Snippet("big.py", "x = 1\n" * 40))
SHOWN = "lib.py\n# def lib(n): ..."
WITH_SNIPPETS = replace(PLAIN, snippets=True)
NAMES = {"file:///a.py": FileName("repo", "src/a.py")}


class Source:
    """Finds one snippet every `each_ms`; what it is asked is kept."""

    def __init__(self, clock: FakeClock, each_ms: float = 0.0) -> None:
        self.clock, self.each_ms = clock, each_ms
        self.places: list[PlaceQuery] = []
        self.before: Callable[[], Any] = lambda: None

    def collect(self, place: PlaceQuery, stop: Callable[[], bool]) -> tuple[Snippet, ...]:
        self.places.append(place)
        self.before()
        found: list[Snippet] = []
        for snippet in SNIPPETS:
            self.clock.advance(self.each_ms)
            if stop():
                break
            found.append(snippet)
        return tuple(found)


class Asking(Scene):
    """A scene with a source."""

    def __init__(self, folder: Path, each_ms: float = 0.0, policy: Any = WITH_SNIPPETS) -> None:
        super().__init__(folder, policy)
        self.source = Source(self.clock, each_ms)
        self.completer.close()
        self.completer = Completer(
            *(self.engine, Config(), self.trace, lambda _: self.text, policy),
            collector=Collector(self.source, NAMES.__getitem__),
        )

    async def complete(self, fixture: str = LINE, budget_ms: float = 60_000.0) -> Outcome:
        # Loading a grammar takes time on the wall, which is no concern here.
        return await super().complete(fixture, budget_ms)

    def prompt(self) -> str:
        segments: tuple[Segment, ...] = self.engine.requests[-1].prompt.segments
        return "¦".join(part.text for part in segments if isinstance(part, Text))


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    return Asking(tmp_path)


async def test_what_is_found_is_in_the_prompt_and_in_the_trace(asking: Asking) -> None:
    asking.engine.enqueue("xs")
    outcome = await asking.complete()
    asking.close()
    assert outcome.completion is not None
    assert SHOWN in asking.prompt()
    assert asking.prompt().endswith("return")
    (line,) = asking.lines()
    assert line["n_snippets"] == 2
    assert line["n_snippet_chars"] == sum(
        len(s.path) + len(s.text) + AROUND_CHARS for s in SNIPPETS
    )
    assert set(line["stages_ms"]) >= {"context", "snippets", "prompt"}


async def test_the_source_is_told_the_place(asking: Asking) -> None:
    text = "y = 1\n" * 1000
    asking.engine.enqueue("xs")
    await asking.complete(f"{text}x = <CURSOR>\n{text}")
    asking.close()
    (place,) = asking.source.places
    assert (place.uri, place.path, place.language) == ("file:///a.py", "src/a.py", "python")
    assert place.prefix == f"{text}x = "[-PREFIX_CHARS:]
    assert place.suffix == f"\n{text}"[:SUFFIX_CHARS]
    assert place.max_chars == most_chars(Config().prompt_tokens)


async def test_what_comes_late_is_left_out(tmp_path: Path) -> None:
    asking = Asking(tmp_path, each_ms=COLLECT_MS * 0.6)
    asking.engine.enqueue("xs")
    outcome = await asking.complete()
    asking.close()
    assert outcome.completion is not None
    (line,) = asking.lines()
    assert line["n_snippets"] == 1
    assert line["stages_ms"]["snippets"] == pytest.approx(COLLECT_MS * 1.2)


async def test_a_request_that_is_cancelled_collects_no_more(asking: Asking) -> None:
    asking.source.before = lambda: asking.cancel.cancel()
    await asking.complete()
    asking.close()
    assert SHOWN not in asking.prompt()


async def test_a_request_without_time_collects_nothing(tmp_path: Path) -> None:
    asking = Asking(tmp_path)
    collector = Collector(asking.source, NAMES.__getitem__)
    request = asking.request()
    asking.clock.advance(1000.0)
    until = (request.deadline, request.cancel)
    context = CompletionContext("x", "")
    found = collector.add_to(context, request.snapshot, request.offset, 1024, until)
    asking.close()
    assert (found.snippets, found.file, asking.source.places) == ((), NAMES["file:///a.py"], [])


@pytest.mark.filterwarnings("ignore")
async def test_a_source_that_fails_costs_only_the_snippets(asking: Asking) -> None:
    def fail() -> None:
        raise OSError("no index")

    asking.source.before = fail
    for _ in range(2):
        asking.engine.enqueue("xs")
        assert (await asking.complete()).completion is not None
        assert SHOWN not in asking.prompt()
    asking.close()


async def test_the_setting_switches_it_off(tmp_path: Path) -> None:
    asking = Asking(tmp_path, policy=PLAIN)
    asking.engine.enqueue("xs")
    await asking.complete()
    asking.close()
    assert asking.source.places == []
    (line,) = asking.lines()
    assert line["n_snippets"] == 0


def test_a_small_model_has_no_room_for_any(tmp_path: Path) -> None:
    asking = Asking(tmp_path)
    collector = Collector(asking.source, NAMES.__getitem__)
    request = asking.request()
    until = (request.deadline, request.cancel)
    found = collector.add_to(CompletionContext("", ""), request.snapshot, 0, 256, until)
    asking.close()
    assert (found.snippets, asking.source.places) == ((), [])


# --- the workspace's own source ---


async def test_what_a_workspace_defines_is_there_for_the_next_request(tmp_path: Path) -> None:
    files = {"app.py": "", "lib.py": "def make_thing(size: int) -> str:\n    return 'x' * size\n"}
    workspace = WorkspaceScene(tmp_path, files)
    workspace.build()
    (tmp_path / "traces").mkdir()
    scene = Scene(tmp_path / "traces", WITH_SNIPPETS)
    scene.completer.close()
    scene.completer = Completer(
        *(scene.engine, Config(), scene.trace, lambda _: scene.text, scene.completer.policy),
        workspace=workspace.source,
    )
    uri = (workspace.folder / "app.py").as_uri()
    for typed in ("", "4"):
        request = scene.request(f"x = make_thing({typed}<CURSOR>\n", 60_000.0)
        there = replace(request, snapshot=replace(request.snapshot, uri=uri))
        scene.engine.enqueue("z")
        await scene.completer.complete(there)
        # After what was submitted for the time when there is some.
        worker = scene.completer._preparer._worker
        await worker.begin(int)
    scene.close()
    first, last = scene.engine.requests
    assert "def make_thing" not in str(first.prompt.segments)
    shown = "".join(part.text for part in last.prompt.segments if isinstance(part, Text))
    assert shown.startswith("# lib.py\n# def make_thing(size: int) -> str:")
