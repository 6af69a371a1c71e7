"""Files read in a process beside the one that writes the index."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from workspace_scene import WorkspaceScene

from slm_lsp.workspace import indexing
from slm_lsp.workspace.beside import BATCH, read_beside

PATHS = [Path(f"{n}") for n in range(10 * BATCH + 3)]
NUMBERS = list(range(len(PATHS)))
HERE = os.getpid()


def number(path: Path) -> int:
    return int(path.name)


def number_unless_late(path: Path) -> int:
    """In the other process an end in the middle of the work."""
    if os.getpid() != HERE and number(path) == 5 * BATCH:
        os._exit(1)
    return number(path)


def test_all_is_read_in_order() -> None:
    assert list(read_beside(number, PATHS)) == NUMBERS
    assert list(read_beside(number, PATHS[:1])) == [0]
    assert list(read_beside(number, [])) == []
    assert multiprocessing.active_children() == []


@pytest.mark.skipif(
    multiprocessing.get_start_method() != "fork", reason="the other process has another HERE"
)
def test_what_a_process_that_ended_left_is_read_here() -> None:
    assert list(read_beside(number_unless_late, PATHS)) == NUMBERS
    assert multiprocessing.active_children() == []


def test_who_wants_no_more_leaves_no_process() -> None:
    found = read_beside(number, PATHS)
    assert next(found) == 0
    assert len(multiprocessing.active_children()) == 1
    found.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


BUILDER = """
import multiprocessing, sys
from pathlib import Path
from slm_lsp.workspace.beside import read_beside
found = read_beside(str, [Path("x" * 2000)] * 100_000)
next(found)
print(multiprocessing.active_children()[0].pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_of_a_builder_that_was_killed_no_process_is_left() -> None:
    command, pipe = [sys.executable, "-c", BUILDER], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as builder:
        assert builder.stdout is not None
        reader = psutil.Process(int(builder.stdout.readline()))
        builder.send_signal(signal.SIGKILL)
    with contextlib.suppress(psutil.NoSuchProcess):
        reader.wait(timeout=20)
    assert not reader.is_running()


def rows(scene: WorkspaceScene) -> list[object]:
    connection = sqlite3.connect(scene.index)
    found = connection.execute(
        "select path, language, n_words, name, line from files left join definitions on file = id"
    ).fetchall()
    words = connection.execute("select rowid from words where words match 'shared'").fetchall()
    connection.close()
    return [*sorted(found, key=str), len(words)]


def test_an_index_is_the_same_either_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"lib/m{n}.py": f"def shared(n):\n    return thing_{n}\n" for n in range(40)}
    files["broken.py"] = "x = 1\0\n"
    scenes = []
    for n_files in (10**6, 1):
        monkeypatch.setattr(indexing, "N_FOR_A_PROCESS", n_files)
        scenes.append(WorkspaceScene(tmp_path / str(n_files), files))
        assert scenes[-1].build().n_written == 41
    assert rows(scenes[0]) == rows(scenes[1])
    assert rows(scenes[0])[-1] == 40
