"""The counters of sessions on the disk: their sum, who may read them, how many stay.

Invariant: no folder but the test's own; the clock is the test's.
Threads: the test's.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from platformdirs import user_cache_path

from slm_lsp import cli
from slm_lsp.completion import sessions_file as subject
from slm_lsp.completion.histogram import Histogram
from slm_lsp.completion.session_counts import SessionCounts, total
from slm_lsp.completion.sessions_file import (
    MAX_AGE_S,
    N_KEPT,
    SessionFile,
    default_folder,
    prune,
    read_sessions,
)

NOW_S = 1_800_000_000.0


def histogram_of(*values_ms: float) -> Histogram:
    histogram = Histogram()
    for ms in values_ms:
        histogram.add(ms)
    return histogram


ONE = SessionCounts(
    n_requests=5,
    n_shown=3,
    n_accepted=1,
    origins={"model": 2, "reused": 1},
    rejects={"empty": 2},
    answered_ms=histogram_of(1.0, 10.0, 20.0, 30.0, 200.0),
    suggested_ms=histogram_of(10.0, 20.0, 200.0),
    server_cpu_s=1.5,
    daemon_cpu_s=4.25,
)
OTHER = SessionCounts(
    n_requests=2,
    origins={"reused": 1},
    rejects={"loading": 1},
    answered_ms=histogram_of(2.0, 3.0),
    suggested_ms=histogram_of(3.0),
    server_cpu_s=0.5,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "sessions"


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Files are for everybody, unless a program says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def keep(folder: Path, counts: SessionCounts, written_s: float = NOW_S) -> Path:
    """A session's file, written at that time."""
    before = set(folder.glob("*"))
    file = SessionFile(folder, lambda: written_s)
    file.offer(counts)
    file.flush()
    [path] = set(folder.glob("*")) - before
    os.utime(path, (written_s, written_s))
    return path


# --- the value ---


def test_sessions_add_up() -> None:
    assert total([]) == SessionCounts()
    assert total([ONE, OTHER]) == SessionCounts(
        n_requests=7,
        n_shown=3,
        n_accepted=1,
        origins={"model": 2, "reused": 2},
        rejects={"empty": 2, "loading": 1},
        answered_ms=histogram_of(1.0, 2.0, 3.0, 10.0, 20.0, 30.0, 200.0),
        suggested_ms=histogram_of(3.0, 10.0, 20.0, 200.0),
        server_cpu_s=2.0,
        daemon_cpu_s=4.25,
    )


@pytest.mark.parametrize("counts", [SessionCounts(), ONE, OTHER])
def test_json_and_back(counts: SessionCounts) -> None:
    assert SessionCounts.from_json(json.loads(json.dumps(counts.to_json()))) == counts


WRONG: dict[str, list[Any]] = {
    "format": [0, 99, None, "1"],
    "n_requests": [-1, 1.5, "3", None, True, 10**400],
    "origins": [[], {"model": -1}, {"file:///a.py": 1}, {"a" * 41: 1}],
    "rejects": [None, {"\x1b[2J": 1}, {"": 1}, {"Über": 1}, {f"a{'b' * n}": n for n in range(101)}],
    "answered_ms": [[], {"x": 1}, {"1": "2"}],
    "server_cpu_s": [-0.1, "1", float("nan"), float("inf"), True, 10**400],
    "uri": ["file:///a.py"],
}


@pytest.mark.parametrize("name", WRONG)
def test_json_that_is_no_session(name: str) -> None:
    for value in WRONG[name]:
        with pytest.raises(ValueError):  # noqa: PT011
            SessionCounts.from_json({**ONE.to_json(), name: value})


def test_a_session_lacks_no_field() -> None:
    for name in ONE.to_json():
        rest = {key: value for key, value in ONE.to_json().items() if key != name}
        with pytest.raises(ValueError, match=r"format|missing"):
            SessionCounts.from_json(rest)


# --- the file ---


def test_the_latest_offer_is_what_is_read(folder: Path) -> None:
    file = SessionFile(folder, lambda: NOW_S)
    file.flush()
    assert not folder.exists()
    for counts in (OTHER, ONE):
        file.offer(counts)
        file.flush()
    assert read_sessions(folder, 0.0) == [ONE]
    [path] = folder.iterdir()
    assert path.suffix == ".json"


def test_what_is_written_is_not_written_again(folder: Path) -> None:
    file = SessionFile(folder, lambda: NOW_S)
    file.offer(ONE)
    file.flush()
    [path] = folder.iterdir()
    path.unlink()
    file.flush()
    assert not list(folder.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
@pytest.mark.usefixtures("open_umask")
def test_nobody_else_may_look(folder: Path) -> None:
    folder.mkdir(parents=True)
    path = keep(folder, ONE)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # A half-written one that somebody may read is not filled.
    file = SessionFile(folder, lambda: NOW_S)
    half = file._path.with_suffix(".half")
    half.touch(0o666)
    file.offer(OTHER)
    file.flush()
    assert stat.S_IMODE(file._path.stat().st_mode) == 0o600
    assert not half.exists()


def test_what_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    file = SessionFile(tmp_path / "cache" / "sessions", lambda: NOW_S)
    for counts in (ONE, OTHER):
        file.offer(counts)
        file.flush()
    [record] = caplog.records
    assert "counters are not kept" in record.getMessage()


def test_a_write_that_fails_leaves_the_file_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = SessionFile(folder, lambda: NOW_S)
    file.offer(OTHER)
    file.flush()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        file.offer(ONE)
        file.flush()
    assert read_sessions(folder, 0.0) == [OTHER]
    file.flush()
    assert read_sessions(folder, 0.0) == [ONE]


# --- bounds ---


def test_old_ones_go_with_the_next_sessions_first_write(folder: Path) -> None:
    old = keep(folder, ONE, NOW_S - MAX_AGE_S - 1)
    left = folder / "0123.half"
    left.touch()
    os.utime(left, (NOW_S - MAX_AGE_S - 1,) * 2)
    young = keep(folder, ONE, NOW_S - MAX_AGE_S + 1)
    foreign = folder / "notes.txt"
    foreign.touch()
    os.utime(foreign, (0, 0))
    new = keep(folder, OTHER)
    assert set(folder.iterdir()) == {young, foreign, new}
    assert old not in folder.iterdir()


def test_only_the_newest_stay(folder: Path) -> None:
    folder.mkdir(parents=True)
    for age_s in range(N_KEPT + 3):
        path = folder / f"{age_s}.json"
        path.touch()
        os.utime(path, (NOW_S - age_s,) * 2)
    prune(folder, NOW_S)
    assert {path.stem for path in folder.iterdir()} == {str(each) for each in range(N_KEPT)}


def test_a_date_in_the_future_does_not_stay_for_ever(folder: Path) -> None:
    keep(folder, ONE, NOW_S + MAX_AGE_S + 1)
    prune(folder, NOW_S)
    assert not list(folder.iterdir())


def test_links_and_folders_are_left_alone(folder: Path) -> None:
    (folder / "folder.json").mkdir(parents=True)
    (folder / "link.json").symlink_to("nowhere")
    prune(folder, NOW_S)
    assert read_sessions(folder, 0.0) == []
    assert len(list(folder.iterdir())) == 2


def test_the_command_lines_limit_is_what_is_kept() -> None:
    assert cli.DAYS_KEPT * 86_400 == MAX_AGE_S


# --- reading ---


def test_no_folder_no_sessions(folder: Path) -> None:
    assert read_sessions(folder, 0.0) == []
    prune(folder, NOW_S)


def test_sessions_since(folder: Path) -> None:
    keep(folder, ONE, NOW_S - 100)
    keep(folder, OTHER, NOW_S - 10)
    assert read_sessions(folder, NOW_S - 100) == [OTHER, ONE]
    assert read_sessions(folder, NOW_S - 99) == [OTHER]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b'{"format": 1}',
        json.dumps(ONE.to_json()).encode() + b" " * subject.MAX_FILE_BYTES,
    ],
)
def test_what_is_broken_is_left_out(
    content: bytes, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(folder, ONE)
    (folder / "broken.json").write_bytes(content)
    assert read_sessions(folder, 0.0) == [ONE]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "broken.json" in record.getMessage()


def test_a_name_of_another_version_is_taken(folder: Path) -> None:
    newer = replace(ONE, rejects={"some_new_reason": 3})
    keep(folder, newer)
    assert read_sessions(folder, 0.0) == [newer]


def test_the_folder_is_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == user_cache_path("slm-lsp") / "sessions"


def test_files_are_dated_by_the_systems_clock(folder: Path) -> None:
    file = SessionFile(folder)
    file.offer(ONE)
    file.flush()
    assert read_sessions(folder, time.time() - 3600.0) == [ONE]
