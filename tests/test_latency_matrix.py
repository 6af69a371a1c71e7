"""The driver on a clock of its own with parts that only say they ran; its parts; its report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from latency_scene import record, session

from benchmarks.latency import corpus, matrix
from benchmarks.latency.coldstart import figures
from benchmarks.latency.document import document
from benchmarks.latency.figures import summary
from benchmarks.latency.fleet import each_more
from benchmarks.latency.matrix import Matrix, run_child, write_report
from benchmarks.latency.parts import Part, Plan, parts

MODELS = ("default", "random-0.5b", "/models/random-1.5b.gguf")


class Machine:
    """Runs parts: each takes `slowness` times what was expected, unless it `stops` or `fails`."""

    def __init__(self, folder: Path, slowness: float = 1.0) -> None:
        self.now_s = 1000.0
        self.ran: list[str] = []
        self.limits: dict[str, float] = {}
        self.said: list[str] = []
        self.fails: set[str] = set()
        self._slowness = slowness
        self.matrix = Matrix(folder, self.run, lambda: self.now_s, self.said.append)

    def run(self, part: Part, path: Path, limit_s: float) -> int:
        self.ran.append(part.name)
        self.limits[part.name] = limit_s
        self.now_s += part.seconds * self._slowness
        failed = part.name in self.fails
        path.write_text(json.dumps({"complete": not failed}))
        return int(failed)

    def go(self, todo: list[Part], limit_s: float) -> list[str]:
        self.matrix.run(todo, limit_s, lambda: self.said.append("reported"))
        return self.ran


def part(name: str, seconds: float) -> Part:
    return Part(name, "module", (), seconds)


def test_parts_run_in_their_order_and_are_reported_each(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.go([part("a", 60), part("b", 60)], 600) == ["a", "b"]
    assert machine.said.count("reported") == 2
    assert machine.said[0] == "a: about 1.0 min; all 2 parts 2.0 min of 10.0 min left"
    assert machine.limits["a"] == 60 * matrix.PATIENCE + matrix.GRACE_S


def test_what_is_whole_is_left_out_and_what_is_not_is_run_again(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"complete": true}')
    (tmp_path / "b.json").write_text('{"complete": false}')
    machine = Machine(tmp_path)
    assert machine.go([part("a", 60), part("b", 60)], 600) == ["b"]
    assert Machine(tmp_path).go([part("a", 60), part("b", 60)], 600) == []


def test_no_part_is_begun_that_would_not_end_in_time(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    todo = [part("a", 60), part("long", 120), part("short", 30)]
    # What is short enough still runs.
    assert machine.go(todo, 100) == ["a", "short"]
    assert machine.matrix.left == ["long"]
    assert machine.said[-1] == "no time for: long"
    assert Machine(tmp_path).go(todo, 0) == []


def test_a_slow_machine_is_expected_to_stay_slow(tmp_path: Path) -> None:
    machine = Machine(tmp_path, slowness=3.0)
    # After the first, which took 180 s, a part is expected to take (180 + 60) / (60 + 60) times
    # as long as it says, which is too long for what is left.
    assert machine.go([part("a", 60), part("b", 60)], 290) == ["a"]
    assert machine.matrix.left == ["b"]


def test_a_part_that_fails_is_named_and_the_others_run(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.fails = {"a"}
    assert machine.go([part("a", 60), part("b", 60)], 600) == ["a", "b"]
    assert machine.matrix.failed == ["a"]
    assert machine.said[-1] == "failed: a"


def test_a_child_gets_its_file_and_is_ended_when_its_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "child.py").write_text(
        "import pathlib, sys, threading\n"
        "pathlib.Path(sys.argv[-1]).write_text(' '.join(sys.argv[1:-1]))\n"
        "'wait' in sys.argv and threading.Event().wait()\n"
        "sys.exit(3 * ('bad' in sys.argv))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path = tmp_path / "result.json"
    assert run_child(Part("a", "child", ("x",), 1), path, 60.0) == 0
    assert path.read_text() == "x --json"
    assert run_child(Part("a", "child", ("bad",), 1), path, 60.0) == 3
    assert run_child(Part("a", "child", ("wait",), 1), path, 0.3) == -15


# --- the parts ---


def plan(minutes: float = 60.0) -> Plan:
    return Plan(MODELS, corpus.sources(), minutes, 200, ("--peer-python", "p"))


def test_every_model_and_budget_is_there_warm_and_cold() -> None:
    found = parts(plan())
    names = [each.name for each in found]
    assert len(set(names)) == len(names)
    for model in ("default", "random-0.5b", "random-1.5b"):
        for budget_ms in (100, 250, 500):
            assert f"latency-{model}-{budget_ms}" in names
            assert f"latency-{model}-{budget_ms}-cold" in names
        assert f"coldstart-{model}" in names
    assert "fleet-default" in names
    # What most goals are about comes first.
    assert names[:2] == ["latency-random-0.5b-250", "latency-random-0.5b-unlimited"]
    # They fit into the hour.
    assert sum(each.seconds for each in found) < 58 * 60


def test_a_part_names_its_model_as_the_program_takes_it() -> None:
    arguments = {each.name: each.arguments for each in parts(plan())}
    assert "--model" not in arguments["latency-default-250"]
    assert arguments["coldstart-random-0.5b"][:2] == ("--model", "random-0.5b")
    assert arguments["latency-random-1.5b-100"][:2] == ("--model", "/models/random-1.5b.gguf")
    both = " ".join(arguments["latency-random-0.5b-250"])
    assert "--policy" not in both
    assert both.endswith("--may-lack-peer --sessions 6 --keystrokes 200 --peer-python p")
    assert "--policy ours" in " ".join(arguments["latency-default-500"])
    assert "--cold" in arguments["latency-default-500-cold"]


def test_less_time_makes_fewer_sessions() -> None:
    whole, third = ({each.name: each for each in parts(plan(minutes))} for minutes in (60.0, 20.0))
    name = "latency-default-250"
    assert "--sessions 1" in " ".join(third[name].arguments)
    assert third[name].seconds < whole[name].seconds / 2
    assert whole.keys() == third.keys()


# --- figures and the report ---


def case(text_ms: float | None) -> dict[str, Any]:
    return {"initialized_ms": 100.0, "text_ms": text_ms, "model_ms": text_ms}


def test_the_figures_of_a_start() -> None:
    found = figures([case(300.0), case(None), case(200.0), case(700.0)], 500.0)
    assert (found["n"], found["n_silent"], found["goal_ms"]) == (4, 1, 500.0)
    assert found["text_ms"] == {"median": 300.0, "max": 700.0}
    assert found["after_initialized_ms"] == {"median": 200.0, "max": 600.0}
    assert figures([], None)["model_ms"] == {"median": None, "max": None}


def test_what_each_further_server_adds() -> None:
    one = {"n_servers": 1, "all": {"rss_mb": 100.0, "pss_mb": 90.0, "uss_mb": 80.0}}
    many = {"n_servers": 8, "all": {"rss_mb": 450.0, "pss_mb": 160.0, "uss_mb": 80.0}}
    assert each_more(one, many) == {"rss_mb": 50.0, "pss_mb": 10.0, "uss_mb": 0.0}
    assert each_more(one, one) == {"rss_mb": 0.0, "pss_mb": 0.0, "uss_mb": 0.0}


def pool(ours: float, peer: float, peer_is_bound: bool = False) -> dict[str, Any]:
    return {"ours": ours, "peer": peer, "peer_is_bound": peer_is_bound, "ratio": ours / peer}


def latency_result(**more: Any) -> dict[str, Any]:
    """Ours answers late at one key; nothing else is there."""
    keys = [record("switch", n_read=90), record(n_read=40)]
    keys += [record(place=i, answer_ms=271.0, shown_ms=240.0, n_read=4) for i in range(3)]
    entries = [session(keys, facts={"decode_ms": 20.0})]
    policy = {
        "summary": summary(entries, 250.0),
        "memory": {"rss_mb": 9.0},
        "sessions": entries,
    }
    conditions = {"slm_lsp": "1", "python": "3", "cores": 2, "model": "m", "budget_ms": 250.0}
    return {
        **conditions,
        "complete": True,
        "policies": {"ours": policy, "peer": policy},
        "paired": {"peer": {"answer_p50": 0.4, "answer_p95": 0.6, "cpu_s": None}},
        "pooled": {
            "peer": {
                "answer_p50": pool(ours=10.0, peer=40.0),
                "answer_p95": pool(ours=20.0, peer=50.0, peer_is_bound=True),
            }
        },
        **more,
    }


def test_the_report_says_what_was_held(tmp_path: Path) -> None:
    cold = {"complete": True, "model": "m", "cases": {"no daemon": figures([case(300.0)], 2500.0)}}
    size = {"rss_mb": 100.0, "pss_mb": 90.0, "uss_mb": 80.0}
    held = {"n_servers": 1, "all": size, "server": size, "daemons": size}
    servers = {"1": held, "8": held, "each_more": {"rss_mb": 61.0, "pss_mb": 1.0}}
    results = {
        "latency-m-250": latency_result(left_out={"other": "501"}),
        "coldstart-m": cold,
        "ablation-m": {"variants": {}},
        "fleet-m": {"complete": False, "model": "m", "servers": servers},
    }
    for name, result in results.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    write_report(tmp_path)
    text = (tmp_path / "latency.md").read_text()
    assert text == document(results)
    assert "slm-lsp 1, Python 3, 2 cores." in text
    assert "Cut short: fleet-m." in text
    assert "ablation" not in text  # it has a report of its own
    assert "latency-m-250: other is left out: 501." in text
    assert "| m | 250 | ours | 3 | 21.0 | 30.0 | 21.0 | held |" in text
    assert "| m | 250 | ours | 40 % | 3 | 100 % | 271 / 271 | 0 | – | – / – |" in text
    assert "| 3 | 4 / 4 / 4 | held |" in text
    peer = "| m | 250 | peer | 10 / 40 | 0.40 | held | 20 / > 50 | 0.60 | missed | – | – |"
    assert peer in text
    no_daemon = "| m | no daemon | 100 / 100 | 300 / 300 | 300 / 300 | 200 / 200 | 2,500 | held, "
    no_daemon += "the model's held |"
    assert no_daemon in text
    assert "| m | each more (≤ 60) missed | 61.0 | 1.0 |" in text
    assert "Shown where something can be" not in text  # there is no peer without limit


def test_coverage_is_reported_where_there_is_a_peer_without_limit() -> None:
    patient = latency_result()["policies"]["ours"]
    unlimited = latency_result(policies={"llama.vim-unlimited": patient}, paired={}, pace="fast")
    text = document({"latency-m-250": latency_result(), "latency-m-unlimited": unlimited})
    assert "| m | 250 | ours | 100 % | 3 | 100 % | 3 |" in text
    assert "| m, fast | 250 | llama.vim-unlimited | 40 % |" in text


def test_an_empty_folder_gives_an_empty_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["matrix", "--out", str(tmp_path / "out"), "--minutes", "0"]
    monkeypatch.setattr(sys, "argv", asked)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    assert matrix.main() == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["latency.md"]
