"""What of a session stays on the disk, and when it is written.

Invariant: no folder but the test's own, no model and no stream.
Threads: the event loop; the server writes on threads of its own.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from editor import CURSOR, PATIENCE_S
from fake_editor import PATIENT, FakeEditor, GatedEngine

from slm_lsp.completion import ledger as subject
from slm_lsp.completion.ledger import CpuMeter
from slm_lsp.completion.policy import PLAIN
from slm_lsp.completion.session_counts import SessionCounts
from slm_lsp.completion.sessions_file import read_sessions
from slm_lsp.engine.base import EngineStats
from slm_lsp.engine.fake import FakeEngine

SECRET = "sw0rdfish"


def test_a_meter_counts_between_looks() -> None:
    meter = CpuMeter()
    for cpu_s in (0.0, 100.0, 100.0, 103.0):
        meter.look(cpu_s)
    assert meter.spent_s == 3.0
    # Not told after a lost connection; then a new daemon, which has spent 2 s.
    for cpu_s in (0.0, 2.0, 2.5):
        meter.look(cpu_s)
    assert meter.spent_s == 5.5


class Daemon(FakeEngine):
    """Counts its processor time, which is more at every look."""

    def __init__(self) -> None:
        super().__init__()
        self.cpu_s = 50.0

    def stats(self) -> EngineStats:
        self.cpu_s += 0.5
        return replace(super().stats(), cpu_s=self.cpu_s)


async def converse(editor: FakeEditor) -> None:
    """Three requests, two of them with a suggestion; the editor tells what it shows."""
    await editor.start()
    position = await editor.open(f"{SECRET} = {CURSOR}\n", f"file:///{SECRET}/{SECRET}.py")
    for says in (f"{SECRET} + 1", "2", ""):
        editor.engine.enqueue(says)
        await editor.inline(position, f"file:///{SECRET}/{SECRET}.py")
    for method in ("didShowCompletion", "didShowCompletion", "didAcceptCompletion"):
        await editor.notify(f"slm-lsp/{method}", {"text": SECRET})


async def test_a_session_leaves_its_counters(tmp_path: Path) -> None:
    async with FakeEditor(sessions_folder=tmp_path) as editor:
        await converse(editor)
        assert read_sessions(tmp_path, 0.0) == []
        await editor.shutdown()
    [counts] = read_sessions(tmp_path, 0.0)
    assert (counts.n_requests, counts.n_shown, counts.n_accepted) == (3, 2, 1)
    assert (counts.origins, counts.rejects) == ({"model": 2}, {"empty": 1})
    assert (counts.answered_ms.n, counts.suggested_ms.n) == (3, 2)
    assert counts.server_cpu_s > 0
    assert counts.daemon_cpu_s == 0


async def test_nothing_of_the_users_work_is_written(tmp_path: Path) -> None:
    async with FakeEditor(sessions_folder=tmp_path) as editor:
        await converse(editor)
    [name] = os.listdir(tmp_path)
    written = (tmp_path / name).read_text("utf-8")
    assert SECRET not in written + name
    assert "file:" not in written
    assert json.loads(written).keys() == SessionCounts().to_json().keys()


async def test_an_editor_that_hangs_up_leaves_them_too(tmp_path: Path) -> None:
    async with FakeEditor(sessions_folder=tmp_path) as editor:
        await converse(editor)
        editor.exit_code = 0  # no shutdown: the stream has ended
    [counts] = read_sessions(tmp_path, 0.0)
    assert counts.n_requests == 3


async def test_a_session_without_a_request_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    async with FakeEditor(sessions_folder=folder) as editor:
        await editor.start()
        await editor.open("x = ")
    assert not folder.exists()


@pytest.mark.parametrize("where", ["daemon", "inproc"])
async def test_the_daemons_time_counts_from_when_it_is_ready(where: str, tmp_path: Path) -> None:
    daemon = Daemon()
    config = replace(PATIENT, engine=where)
    async with FakeEditor(daemon, config, sessions_folder=tmp_path) as editor:
        await converse(editor)
        await editor.shutdown()
        spent_s = daemon.cpu_s - 50.5
    [counts] = read_sessions(tmp_path, 0.0)
    assert spent_s > 0
    assert counts.daemon_cpu_s == (spent_s if where == "daemon" else 0.0)


async def test_what_was_cancelled_has_no_latency(tmp_path: Path) -> None:
    async with FakeEditor(GatedEngine(), sessions_folder=tmp_path) as editor:
        await editor.start()
        message = editor.inline_message(await editor.open(f"x = {CURSOR}\n"))
        await editor.send(message)
        await editor.engine.asked.wait()
        await editor.notify("$/cancelRequest", {"id": message["id"]})
        await editor.error(message["id"])
    [counts] = read_sessions(tmp_path, 0.0)
    assert (counts.n_requests, counts.rejects) == (1, {"cancelled": 1})
    assert counts.answered_ms.n == 0


def is_kept(folder: Path, n_requests: int) -> bool:
    """Whether that is what the folder's only session says."""
    return [each.n_requests for each in read_sessions(folder, 0.0)] == [n_requests]


async def until(ready: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not ready():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_a_killed_server_has_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "SAVE_EVERY_S", 0.0)
    editor = FakeEditor(sessions_folder=tmp_path, policy=replace(PLAIN, reuse=True))
    async with editor:
        await editor.start()
        position = await editor.open(f"x = {CURSOR}\n")
        editor.engine.enqueue("1")
        for n_requests in (1, 2):
            await editor.inline(position)
            await until(functools.partial(is_kept, tmp_path, n_requests))


async def test_nothing_is_written_while_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "SAVE_EVERY_S", 0.0)
    n_looks = 0

    class Watched(Daemon):
        def stats(self) -> EngineStats:
            nonlocal n_looks
            n_looks += 1
            return super().stats()

    config = replace(PATIENT, engine="daemon")
    async with FakeEditor(Watched(), config, sessions_folder=tmp_path) as editor:
        await converse(editor)
        await until(lambda: any(each.n_accepted for each in read_sessions(tmp_path, 0.0)))
        for name in os.listdir(tmp_path):
            os.unlink(tmp_path / name)
        n_before = n_looks
        await until(lambda: n_looks > n_before + 20)
        assert not os.listdir(tmp_path)
