"""What is measured is kept: result files, going on where a run was stopped, peers that cannot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.latency.infill import InfillError
from benchmarks.latency.options import is_random, label
from benchmarks.latency.policy import Answer, Show, View, Work
from benchmarks.latency.replay import Change
from benchmarks.latency.results import ResultFile, is_complete, read
from benchmarks.latency.run import Progress, run
from benchmarks.latency.sessions import Event, Kind, Passage, Session
from benchmarks.latency.typist import Habits

HABITS = Habits(real=False, accepts=False)


def session(number: int) -> Session:
    events = (Event(Kind.SWITCH, 0.0), Event(Kind.TYPE, 1.0, 0, 0, "1"))
    return Session(number, ("a.py",), ("x = 1\n",), (Passage(0, 4, "1"),), events)


class Stub:
    """Answers every key at once; `fails` at the start of that session, or `cannot` start."""

    def __init__(
        self, name: str, fails: int | None = None, cannot: bool = False, reads: int = 2
    ) -> None:
        self.name = name
        self.log: list[str] = []
        self._fails, self._cannot, self._reads = fails, cannot, reads
        self._show: Show = lambda answer: None

    async def start(self) -> None:
        self.log.append("start")
        if self._cannot:
            raise InfillError("501")

    async def begin(self, show: Show) -> None:
        self._show = show
        if self._fails == self.log.count("begin"):
            raise RuntimeError("stopped")
        self.log.append("begin")

    def opened(self, view: View) -> None: ...

    def changed(self, view: View, change: Change) -> None:
        self._show(Answer(None))

    def moved(self, view: View) -> None:
        self._show(Answer(None))

    async def end(self) -> Work:
        return Work(read_each=tuple(range(7, 7 + self._reads)))

    async def stop(self) -> None:
        self.log.append("stop")

    def marks(self) -> Sequence[str]:
        return ()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.latency.typist.FAST_SETTLE_MS", 0.0)
    monkeypatch.setattr("benchmarks.latency.processes.find", lambda marks: [])


async def test_a_run_that_was_stopped_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    file = ResultFile(path, {"model": "m"})
    sessions = [session(0), session(1), session(2)]
    ours = Stub("ours", fails=2)
    with pytest.raises(RuntimeError, match="stopped"):
        await run(sessions, [ours, Stub("peer")], HABITS, 250.0, Progress(save=file.save))
    assert ours.log == ["start", "begin", "begin", "stop"]
    left = read(path)
    assert not is_complete(path)
    assert [len(left["policies"][name]["sessions"]) for name in ("ours", "peer")] == [2, 2]

    done = {name: policy["sessions"] for name, policy in file.earlier()["policies"].items()}
    again = [Stub("ours"), Stub("peer")]
    result = await run(sessions, again, HABITS, 250.0, Progress(done, save=file.save))
    assert [stub.log for stub in again] == [["start", "begin", "stop"]] * 2
    numbers = [entry["number"] for entry in result["policies"]["ours"]["sessions"]]
    assert numbers == [0, 1, 2]
    assert result["policies"]["ours"]["summary"]["n_sessions"] == 3
    assert set(result["paired"]) == {"peer"}

    file.save(result, complete=True)
    whole = Stub("ours")
    done = {"ours": file.earlier()["policies"]["ours"]["sessions"]}
    assert (await run(sessions, [whole], HABITS, 250.0, Progress(done)))["policies"]
    assert whole.log == []


async def test_what_was_read_is_noted_with_each_key() -> None:
    result = await run([session(0)], [Stub("ours"), Stub("peer", reads=1)], HABITS, 250.0)
    records: dict[str, Any] = {
        name: policy["sessions"][0]["records"] for name, policy in result["policies"].items()
    }
    assert [record["n_read"] for record in records["ours"]] == [7, 8]
    # As many figures as keys, or none at all.
    assert [record["n_read"] for record in records["peer"]] == [None, None]
    assert "read_each" not in result["policies"]["ours"]["sessions"][0]["work"]


async def test_a_peer_that_cannot_start_is_left_out_where_that_is_allowed() -> None:
    ours, peer = Stub("ours"), Stub("peer", cannot=True)
    progress = Progress(may_lack_peer=True)
    result = await run([session(0)], [ours, peer], HABITS, 250.0, progress)
    assert result["left_out"] == {"peer": "501"}
    assert list(result["policies"]) == ["ours"]
    assert result["paired"] == {}
    assert peer.log == ["start", "stop"]
    with pytest.raises(InfillError):
        await run([session(0)], [ours, Stub("peer", cannot=True)], HABITS, 250.0)


def test_a_result_under_other_conditions_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    saved = ResultFile(path, {"model": "m", "threads": None}).save({"policies": {}})
    assert saved == {"model": "m", "threads": None, "complete": False, "policies": {}}
    assert json.loads(path.read_text()) == saved
    assert ResultFile(path, {"model": "m", "threads": None}).earlier() == saved
    assert ResultFile(path, {"model": "m", "threads": 2}).earlier() == {}
    assert ResultFile(None, {"model": "m"}).earlier() == {}
    assert list(tmp_path.iterdir()) == [path]


def test_a_result_that_is_not_there_or_broken_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    assert (read(path), is_complete(path)) == ({}, False)
    for text in ("{", "[]"):
        path.write_text(text)
        assert read(path) == {}


def test_random_weights_are_told_by_the_name_of_a_file_too() -> None:
    assert is_random("random-0.5b")
    assert is_random("/somewhere/random-1.5b.gguf")
    assert not is_random("smollm2-135m")
    assert [label(name) for name in ("", "random-0.5b", "/a/random-0.5b.gguf")] == [
        "default",
        "random-0.5b",
        "random-0.5b",
    ]
