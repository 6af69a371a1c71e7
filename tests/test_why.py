"""Why there was no suggestion: what is kept of requests, in memory and on the disk, and shown.

Invariant: no folder but the test's own; nothing here waits for a clock.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from completer_scene import Scene
from editor import CURSOR, PATIENCE_S
from fake_editor import FakeEditor, GatedEngine

from slm_lsp import cli, why
from slm_lsp.completion import notes as subject
from slm_lsp.completion.bar import Evidence
from slm_lsp.completion.notes import (
    add_evidence,
    default_folder,
    gate_path,
    read_evidence,
    read_why,
    why_folder,
)
from slm_lsp.completion.policy import PLAIN
from slm_lsp.completion.recent import N_KEPT, Entry, Recent, detail, explained
from slm_lsp.engine.base import EngineStats
from slm_lsp.types import Finish, Generation

SECRET = "sw0rdfish"
URI = f"file:///{SECRET}/{SECRET}.py"
GATED = replace(PLAIN, confidence_gate=True)


# --- what is kept of a request ---


async def test_a_request_leaves_an_entry(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.engine.enqueue(Generation("", Finish.DEADLINE, n_prompt=612, n_cached=12))
    scene.engine.stats = lambda: EngineStats(prefill_ms_per_token=1.5)  # type: ignore[method-assign]
    await scene.complete()
    entry = scene.completer.recent.last("file:///a.py")
    assert entry is not None
    assert (entry.language, entry.want, entry.trigger) == ("python", "line", "automatic")
    assert (entry.reject, entry.origin, entry.budget_ms) == ("no_time", "", 250.0)
    assert detail(entry) == (
        "reading 600 tokens of context takes about 900 ms, the budget was 250 ms"
    )
    shown = explained(entry)
    assert shown["sentence"].startswith("The time to answer ended")
    assert shown["advice"]
    assert "engine" in shown["stages_ms"]
    scene.engine.enqueue("xs")
    await scene.complete()
    shown = explained(scene.completer.recent.last() or Entry())
    assert (shown["origin"], shown["n_chars"]) == ("model", 2)
    assert "sentence" not in shown
    scene.close()


@pytest.mark.parametrize(
    ("entry", "expect"),
    [
        (Entry(reject="no_time", budget_ms=250.0), "the budget was 250 ms"),
        (
            Entry(reject="no_time", n_window=96, prefill_ms_per_token=10.0, budget_ms=100.0),
            "reading up to 96 tokens of context takes up to about 960 ms, the budget was 100 ms",
        ),
        (
            Entry(reject="unfinished", n_predicted=3, decode_ms=50.0, budget_ms=250.0),
            "3 tokens were written, about 50 ms each, the budget was 250 ms",
        ),
        (
            Entry(reject="unsure", score=-6.0, bar=-4.5),
            "the model gave its line 0.25 %, the bar is at 1.1 %",
        ),
        (Entry(reject="moved_on", request_ms=240.4), "the answer took 240 ms"),
        (Entry(reject="empty"), ""),
        (Entry(), ""),
    ],
)
def test_the_numbers_behind_a_reason(entry: Entry, expect: str) -> None:
    assert detail(entry) == expect


async def test_a_language_that_is_not_ours_is_not_named(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    request = scene.request()
    snapshot = replace(request.snapshot, language=SECRET)
    await scene.completer.complete(replace(request, snapshot=snapshot))
    entry = scene.completer.recent.last()
    assert entry is not None
    assert entry.language == "other"
    scene.close()


def test_what_was_given_up_hides_nothing() -> None:
    recent = Recent()
    recent.add("u", Entry(reject="cancelled"))
    assert recent.last("u") == recent.last() == Entry(reject="cancelled")
    recent.add("u", Entry(reject="empty"))
    recent.add("u", Entry(reject="superseded"))
    assert recent.last("u") == recent.last() == Entry(reject="empty")
    assert recent.last("v") is None
    recent.forget("u")
    assert recent.last("u") is None


def test_it_is_bounded() -> None:
    recent = Recent()
    for n in range(3 * N_KEPT):
        recent.add(f"u{n}", Entry(n_chars=n))
    assert [each.n_chars for each in recent.entries()] == [*range(2 * N_KEPT, 3 * N_KEPT)]
    assert recent.last("u0") is None


ENTRY = Entry(
    at_s=1.8e9, language="python", want="line", reject="no_time", stages_ms={"engine": 2.5}
)
WRONG: dict[str, list[Any]] = {
    "language": ["A file.py", 1, None, "a" * 41, "\x1b[2J"],
    "n_prompt": ["1", None, True, float("nan"), 1e13],
    "stages_ms": [[], {"/a": 1.0}, {"a": "b"}, {f"a{'b' * n}": 1.0 for n in range(21)}],
    "uri": ["file:///a.py"],
}


def test_an_entry_to_json_and_back() -> None:
    assert Entry.from_json(json.loads(json.dumps(ENTRY.to_json()))) == ENTRY


@pytest.mark.parametrize("name", WRONG)
def test_json_that_is_no_entry(name: str) -> None:
    for value in WRONG[name]:
        with pytest.raises(ValueError):  # noqa: PT011
            Entry.from_json({**ENTRY.to_json(), name: value})


# --- the command in an editor ---


async def test_an_editor_can_ask() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        run = "workspace/executeCommand"
        assert await editor.call(run, {"command": "slm-lsp.why"}) is None
        position = await editor.open(f"x = {CURSOR}\n", URI)
        editor.engine.enqueue("")
        assert not await editor.inline(position, URI, invoked=False)
        for arguments in ([], [URI], [{"uri": URI}], [{"textDocument": {"uri": URI}}], [None]):
            params = {"command": "slm-lsp.why", "arguments": arguments}
            said = await editor.call(run, params)
            assert (said["reject"], said["trigger"]) == ("empty", "automatic")
            assert said["sentence"].startswith("The model thinks")
        params = {"command": "slm-lsp.why", "arguments": ["file:///other.py"]}
        assert await editor.call(run, params) is None


# --- on the disk ---


async def until(ready: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not ready():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def converse(editor: FakeEditor) -> None:
    """Two requests; the first is shown, and typed past."""
    await editor.start()
    position = await editor.open(f"{SECRET} = {CURSOR}\n", URI)
    sure = Generation(f"{SECRET}()", Finish.EOS, logprobs=(-0.1,), ends=(11,))
    editor.engine.enqueue(sure)
    await editor.inline(position, URI, invoked=False)
    await editor.change({"text": f"{SECRET} = other\n"}, uri=URI)
    position["character"] += 5
    editor.engine.enqueue("")
    await editor.inline(position, URI, invoked=False)


async def test_a_server_that_runs_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "WHY_EVERY_S", 0.0)
    async with FakeEditor(policy=GATED, notes_folder=tmp_path) as editor:
        await converse(editor)
        await until(lambda: [each.reject for each in read_why(tmp_path)] == ["", "empty"])
        # What the gate learnt waits for the end, or for more.
        assert read_evidence(gate_path(tmp_path, "fake")) == Evidence()
    assert read_evidence(gate_path(tmp_path, "fake")) == Evidence().with_one(-0.1, False)


async def test_nothing_of_the_users_work_is_written(tmp_path: Path) -> None:
    async with FakeEditor(policy=GATED, notes_folder=tmp_path) as editor:
        await converse(editor)
    check_private(tmp_path)


def check_private(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == {"why", "gate"}
    for path in files:
        assert SECRET not in path.read_text("utf-8") + str(path.relative_to(folder))
        assert "file:" not in path.read_text("utf-8")
        if os.name == "posix":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_what_was_learnt_is_taken_over(tmp_path: Path) -> None:
    path = gate_path(tmp_path, "fake")
    earlier = Evidence()
    for _ in range(60):
        earlier = earlier.with_one(-4.0, False)
    add_evidence(path, earlier)
    async with FakeEditor(policy=GATED, notes_folder=tmp_path) as editor:
        await editor.start()
        gate = editor.server.completer and editor.server.completer.gate
        assert gate
        await until(lambda: gate.bar == earlier.bar() > Evidence().bar())
        await converse_again(editor)
    assert read_evidence(path) == earlier.with_one(-0.1, False)


async def converse_again(editor: FakeEditor) -> None:
    position = await editor.open(f"{SECRET} = {CURSOR}\n", URI)
    editor.engine.enqueue(Generation(f"{SECRET}()", Finish.EOS, logprobs=(-0.1,), ends=(11,)))
    await editor.inline(position, URI, invoked=False)
    await editor.change({"text": f"{SECRET} = other\n"}, uri=URI)
    position["character"] += 5
    editor.engine.enqueue("")
    await editor.inline(position, URI, invoked=False)


async def test_a_session_without_a_request_leaves_nothing(tmp_path: Path) -> None:
    async with FakeEditor(policy=GATED, notes_folder=tmp_path / "notes") as editor:
        await editor.start()
        await editor.open("x = ")
    assert not (tmp_path / "notes").exists()


async def test_a_cancelled_request_is_noted_too(tmp_path: Path) -> None:
    async with FakeEditor(GatedEngine(), notes_folder=tmp_path) as editor:
        await editor.start()
        message = editor.inline_message(await editor.open(f"x = {CURSOR}\n"))
        await editor.send(message)
        await editor.engine.asked.wait()
        await editor.notify("$/cancelRequest", {"id": message["id"]})
        await editor.error(message["id"])
    assert [each.reject for each in read_why(tmp_path)] == ["cancelled"]


async def test_a_disk_that_takes_nothing_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(subject, "WHY_EVERY_S", 0.0)
    (tmp_path / "file").write_text("where a folder should be")
    async with FakeEditor(policy=GATED, notes_folder=tmp_path / "file") as editor:
        await converse(editor)
        await until(lambda: bool(caplog.records))
        editor.engine.enqueue("x")
        position = await editor.open(f"x = {CURSOR}\n", "file:///b.py")
        await editor.inline(position, "file:///b.py", invoked=False)
    warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert len([each for each in warnings if "not kept" in each.getMessage()]) == 1


def test_two_windows_add_up(tmp_path: Path) -> None:
    path = gate_path(tmp_path, "model")
    one, two = Evidence().with_one(-1.0, True), Evidence().with_one(-6.0, False)
    add_evidence(path, one)
    add_evidence(path, two)
    assert read_evidence(path) == one + two
    assert read_evidence(gate_path(tmp_path, "other")) == Evidence()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"null", b"{}", b"1e999"])
def test_what_is_damaged_counts_as_not_there(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = gate_path(tmp_path, "model")
    path.parent.mkdir()
    path.write_bytes(content)
    assert read_evidence(path) == Evidence()
    assert "ignored" in caplog.text
    # The next session writes a whole one in its place.
    add_evidence(path, Evidence().with_one(-1.0, True))
    assert read_evidence(path) == Evidence().with_one(-1.0, True)
    why_folder(tmp_path).mkdir()
    (why_folder(tmp_path) / "a.json").write_bytes(content)
    assert read_why(tmp_path) == []


# --- on the command line ---


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return default_folder()


def left(cache: Path, name: str, *entries: Entry) -> None:
    """A session's file."""
    why_folder(cache).mkdir(parents=True, exist_ok=True)
    content = {"format": subject.FORMAT, "entries": [each.to_json() for each in entries]}
    (why_folder(cache) / f"{name}.json").write_text(json.dumps(content))


def test_the_command_line_says_why(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["why"]) == 1
    assert "no request without a suggestion" in capsys.readouterr().out
    early = replace(ENTRY, budget_ms=250.0)
    late = replace(ENTRY, at_s=ENTRY.at_s + 2.0, reject="unsure", score=-6.0, bar=-4.5)
    shown = replace(ENTRY, at_s=ENTRY.at_s + 1.0, reject="", origin="model", n_chars=7)
    given_up = replace(ENTRY, at_s=ENTRY.at_s + 3.0, reject="cancelled")
    left(cache, "a", early, given_up)
    left(cache, "b", shown, late)
    assert cli.run(["why"]) == 0
    first, advice, second, other_advice = capsys.readouterr().out.splitlines()
    assert "python, line: The time to answer ended" in first
    assert "(the budget was 250 ms)" in first
    assert "automatic_budget_ms" in advice
    assert "was not sure enough" in second
    assert "confidence_gate" in other_advice
    assert cli.run(["why", "--all", "-n", "3"]) == 0
    out = capsys.readouterr().out
    assert "7 characters shown (model)" in out
    assert "took the request back" in out
    assert "ended before" not in out
    assert cli.run(["why", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["reject"] for each in listed] == ["no_time", "unsure"]


def test_advice_is_not_repeated_line_by_line() -> None:
    lines = list(why.lines_of([ENTRY, ENTRY, ENTRY]))
    assert len(lines) == 4


def test_a_reason_of_another_version_is_shown() -> None:
    [line] = why.lines_of([replace(ENTRY, reject="too_blue")])
    assert "too_blue" in line
