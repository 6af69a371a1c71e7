"""`slm-lsp tune`: what is measured, said, written and left behind.

Invariant: no model is loaded, but in the test marked so; what is measured is made up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tune_scene import GB, candidate, gguf, limits, measured

from slm_lsp.cli import run
from slm_lsp.config import Config
from slm_lsp.deadline import FakeClock
from slm_lsp.registry.cache import cache_root, model_path, publish
from slm_lsp.registry.quantizations import BITS
from slm_lsp.registry.specs import DEFAULT_MODEL, load_specs
from slm_lsp.registry.steps import PullError
from slm_lsp.tune import children, find, machine, session, wording
from slm_lsp.tune.candidate import Candidate
from slm_lsp.tune.children import Child, MeasureError
from slm_lsp.tune.find import FILE_TYPES, FindError, Found, find_file, find_ready
from slm_lsp.tune.measure import WRITE_BEFORE, Trial
from slm_lsp.tune.measurement import SIZES, Measurement, Plan, Turn, to_json
from slm_lsp.tune.recommend import judge, recommended
from slm_lsp.tune.rotation import Entrant, take_turns
from slm_lsp.tune.session import Scope, Session, working_folder
from slm_lsp.tune.table import COLUMNS, columns_within, print_table, row
from slm_lsp.tune.turns import measurement_of, slope_of, spread_of

Captured = pytest.CaptureFixture[str]
PLAN = Plan("model.gguf", "model", 2048, 1024, (1, 2), (1, 2))
SCOPE = Scope(2048, 1024, (1, 2), (1, 2), 8 * GB)


@pytest.fixture(autouse=True)
def _a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SLM_LSP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(machine, "load_average", lambda: 0.0)
    monkeypatch.setattr(machine, "memory_to_be_had", lambda: 8 * GB)
    # What this machine has must not matter.
    for module in ("config", "tune.command"):
        monkeypatch.setattr(f"slm_lsp.{module}.usable_cores", lambda: 2)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)


# --- measuring ---


class FakeSteps:
    """A machine that needs 2 ms a step and 1 ms a token with one thread, half of that with two, and
    a hundredth longer for each token that it holds."""

    def __init__(self, clock: FakeClock, slower: float = 1.0) -> None:
        self.clock, self.slower = clock, slower
        self.n_held = self.n_threads = self.n_batch = 0
        self.used: list[tuple[int, int]] = []

    def use_threads(self, n_threads: int, n_threads_batch: int) -> None:
        self.n_threads, self.n_batch = n_threads, n_threads_batch

    def truncate(self, n_tokens: int) -> int:
        self.n_held = min(self.n_held, n_tokens)
        return self.n_held

    def feed(self, tokens: Sequence[int], n_picks: int = 1) -> None:
        threads = self.n_batch if len(tokens) > 1 else self.n_threads
        before = self.n_held + (len(tokens) - 1) / 2
        self.clock.advance(self.slower * (2 + len(tokens) * (1 + 0.01 * before)) / threads)
        self.n_held += len(tokens)
        self.used.append((len(tokens), threads))

    def pick(self) -> tuple[int, float]:
        return 0, 0.0

    def close(self) -> None: ...


class FakeLoaded:
    """A model on a FakeSteps; what is loaded, timed and freed goes into `log`."""

    def __init__(self, plan: Plan, clock: FakeClock, slower: float, log: list[str]) -> None:
        self.name, self.clock, self.log = plan.name, clock, log
        self.n_turns = 0
        log.append(f"{self.name} loads")
        self.trial = Trial(FakeSteps(clock, slower), plan, clock)

    def turn(self, kind: str, left_ms: float) -> Turn:
        self.log.append(f"{self.name} {kind}")
        if self.name == "broken" and self.n_turns == 1:
            raise MeasureError("a tensor is missing")
        self.n_turns += 1
        turn = self.trial.deep(left_ms) if kind == "deep" else self.trial.round(left_ms)
        return dataclasses.replace(turn, load_ms=5.0, n_ctx=PLAN.n_ctx, rss_bytes=1)

    def close(self) -> None:
        self.log.append(f"{self.name} closes")


def rotated(
    *names: str, is_held: bool = True, slower: float = 1.0, limit_ms: float = 1e6, n_rounds: int = 3
) -> tuple[list[Entrant], list[str], FakeClock, list[str]]:
    """Models that took turns, what happened, and what was reported."""
    clock, log, reports = FakeClock(), list[str](), list[str]()
    entrants = [Entrant(dataclasses.replace(PLAN, name=name), name) for name in names]
    take_turns(
        entrants,
        lambda plan: FakeLoaded(plan, clock, slower, log),
        is_held=is_held,
        n_rounds=n_rounds,
        limit_ms=limit_ms,
        report=lambda text, done: reports.append(text),
    )
    return entrants, log, clock, reports


def figures_of(entrant: Entrant) -> Measurement:
    return measurement_of(entrant.turns, WRITE_BEFORE)


def test_times_are_those_of_each_choice_of_threads() -> None:
    [entrant], _, _, reports = rotated("a")
    found = figures_of(entrant)
    assert found.n_rounds == 3
    assert reports == [*(f"a: round {i} of 3" for i in (1, 2, 3)), "a: a long prompt"]
    for size in SIZES:
        ms = 2 + size * (1 + 0.01 * (size - 1) / 2)
        assert found.step_ms[1][size] == pytest.approx(ms)
        assert found.step_ms[2][size] == pytest.approx(ms / 2)
    assert found.write_ms[1] == pytest.approx(3.0, rel=0.1)
    assert found.write_ms[2] == pytest.approx(found.write_ms[1] / 2)
    # Two threads read the long prompt, one writes behind it.
    assert found.step_slope_ms == pytest.approx(0.005)
    assert found.write_slope_ms == pytest.approx(0.01)


def test_a_slow_model_gets_as_much_as_fits_its_time() -> None:
    [entrant], _, clock, reports = rotated("a", slower=50.0, limit_ms=10_000.0, n_rounds=9)
    found = figures_of(entrant)
    assert found.n_rounds == 1
    assert len(reports) == 2
    assert set(found.step_ms) == set(found.write_ms) == {1, 2}
    assert SIZES[-1] not in found.step_ms[1]
    assert clock.now_ms() < 40_000
    assert Measurement.from_json(json.loads(json.dumps(to_json(found)))).n_rounds == 1


@pytest.mark.parametrize("is_held", [True, False])
def test_models_take_turns(is_held: bool) -> None:
    """Each is loaded once where they are held together; else one at a time is, for each turn."""
    _, log, _, _ = rotated("a", "b", is_held=is_held, n_rounds=2)
    timed = [line for line in log if line.endswith(("round", "deep"))]
    assert timed == ["a round", "b round", "a round", "b round", "a deep", "b deep"]
    if is_held:
        assert log[:4] == ["a loads", "a round", "b loads", "b round"]
        assert log[-4:] == ["a deep", "a closes", "b deep", "b closes"]
        assert len(log) == 10
    else:
        for at in range(0, len(log), 3):
            name = log[at][0]
            assert log[at] == f"{name} loads"
            assert log[at + 2] == f"{name} closes"


def test_what_is_loaded_again_counts_as_time_spent() -> None:
    held, reloaded = (rotated("a", is_held=is_held)[0][0].spent_ms for is_held in (True, False))
    assert reloaded == pytest.approx(held + 3 * 5.0)


def test_one_that_breaks_leaves_the_others_their_turns() -> None:
    entrants, log, _, _ = rotated("a", "broken", "b")
    assert [each.trouble for each in entrants] == ["", "a tensor is missing", ""]
    assert log.count("broken round") == 2
    assert "broken closes" in log
    assert [len(each.turns) for each in entrants] == [4, 1, 4]


def test_a_machine_that_slows_down_treats_all_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, the second would look slower than the first by two thirds."""
    feed = FakeSteps.feed

    def slowing(self: FakeSteps, tokens: Sequence[int], n_picks: int = 1) -> None:
        self.slower = 1.0 + self.clock.now_ms() / 20_000
        feed(self, tokens, n_picks)

    monkeypatch.setattr(FakeSteps, "feed", slowing)
    (a, b), _, clock, _ = rotated("a", "b", n_rounds=7)
    assert clock.now_ms() > 10_000
    first, second = figures_of(a), figures_of(b)
    for threads in (1, 2):
        assert second.write_ms[threads] < 1.15 * first.write_ms[threads]
        assert second.step_ms[threads][64] < 1.15 * first.step_ms[threads][64]


def test_one_disturbed_chunk_makes_no_slope() -> None:
    assert slope_of([10.0, 12.0, 14.0, 16.0]) == pytest.approx(2.0)
    assert slope_of([10.0, 92.0, 14.0, 16.0, 18.0]) == pytest.approx(2.0)
    assert slope_of([5.0, 4.0, 3.0]) == slope_of([5.0]) == slope_of([]) == 0.0


def test_the_spread_is_that_of_the_middle_half() -> None:
    assert spread_of([[10.0, 10.0, 10.0, 10.0, 90.0]]) == 0.0
    assert spread_of([[8.0, 9.0, 10.0, 11.0, 12.0]]) == pytest.approx(0.2)
    assert spread_of([[1.0], []]) == 0.0


def test_threads_to_try() -> None:
    assert machine.thread_counts(1) == (1,)
    assert machine.thread_counts(2) == (1, 2)
    assert machine.thread_counts(10) == (1, 2, 3, 4, 6, 8, 10)
    assert machine.thread_counts(64) == (1, 2, 3, 4, 6, 8, 12, 16)
    assert machine.thread_counts(8, few=True) == (4, 8)


def test_what_other_programs_use_is_what_this_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(total=0.0, own=0.0)
    monkeypatch.setattr(machine, "_busy_s", lambda: clock.total)
    monkeypatch.setattr(machine, "_own_s", lambda: clock.own)
    usage = machine.Usage()
    clock.total, clock.own = 14.0, 8.0
    assert usage.others_ms() == pytest.approx(6000.0)
    round: dict[str, Any] = {"reads": {1: {16: 1.0}}, "writes": {1: (1.0,)}}
    turns = [Turn(**round, took_ms=3000.0, others_ms=6000.0), Turn(took_ms=1000.0)]
    assert measurement_of(turns, WRITE_BEFORE).other_cores == pytest.approx(1.5)
    moment = Turn(**round, took_ms=100.0, others_ms=100.0)
    assert measurement_of([moment], WRITE_BEFORE).other_cores == 0.0


# --- the child ---


def child(program: str) -> tuple[str, ...]:
    """A child that runs this instead of measuring."""
    return sys.executable, "-S", "-c", f"import json, os, sys, time; {program}"


TURN = Turn(reads={1: {16: 1.0}}, writes={1: (2.0, 3.0)}, took_ms=4.0, n_ctx=2048)
SAID = json.dumps({"turn": to_json(TURN)})


@contextlib.contextmanager
def running(program: str) -> Iterator[Child]:
    with contextlib.closing(Child(PLAN, child(program))) as made:
        yield made


def test_what_a_child_says() -> None:
    """Native code may write what it likes between; a turn is answered when it is asked for."""
    program = (
        f"print('native chatter'); print('[1]'); "
        f"[print({SAID!r}, 'got', line, flush=True, sep='\\n') for line in sys.stdin]"
    )
    with running(program) as made:
        assert made.turn("round", 10.0) == TURN
        assert made.turn("deep", 10.0) == TURN


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("print(json.dumps({'failed': 'no such tensor'}))", "^no such tensor$"),
        ("os.kill(os.getpid(), 9)", "killed: too little memory"),
        ("os.kill(os.getpid(), 11)", "llama.cpp crashed .Segmentation fault"),
        ("sys.exit('no module')", "exit status 1: no module"),
        ("print(json.dumps({'turn': {}}))", "exit status 0"),
    ],
)
def test_a_child_that_fails(program: str, says: str) -> None:
    with running(program) as made, pytest.raises(MeasureError, match=says):
        made.turn("round", 10.0)


def test_a_child_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "PATIENCE_S", 0.01)
    with running("time.sleep(600)") as made, pytest.raises(MeasureError, match="it hung"):
        made.turn("round", 1.0)


def test_a_child_ends_with_its_input() -> None:
    with running(f"print({SAID!r}, flush=True); sys.stdin.read()") as made:
        made.turn("round", 10.0)
        assert made._process.poll() is None
        made._end_input()
        assert made._process.wait(20.0) == 0


def test_ctrl_c_ends_the_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    def interrupt(text: str, done: float) -> None:
        if text.startswith("b"):
            raise KeyboardInterrupt

    program = (
        f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); "
        f"print({SAID!r}, flush=True); time.sleep(600)"
    )
    entrants = [Entrant(PLAN, "a"), Entrant(PLAN, "b")]
    with pytest.raises(KeyboardInterrupt):
        take_turns(
            entrants,
            lambda plan: Child(plan, child(program)),
            is_held=True,
            n_rounds=1,
            limit_ms=10.0,
            report=interrupt,
        )
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"reads": {"1": {"16": 0}}},
        {"reads": {"1": [1]}},
        {"writes": {"1": [True]}},
        {"writes": {"x": [1.0]}},
        {"chunks": [float("nan")]},
        {"took_ms": -1},
        {"others_ms": float("inf")},
        {"more": 1},
    ],
)
def test_what_is_no_turn(changed: dict[str, Any]) -> None:
    values = json.loads(json.dumps(to_json(TURN)))
    assert Turn.from_json(values) == TURN
    with pytest.raises(ValueError, match="not a"):
        Turn.from_json({**values, **changed})
    with pytest.raises(ValueError, match="times are missing"):
        measurement_of([Turn(reads={1: {8: 1.0}}, writes={1: (1.0,)})], WRITE_BEFORE)


# --- a session ---


def found_of(path: Path | None, source: Path, **others: Any) -> Found:
    return Found(candidate(**{"file_bytes": 1000, **others, "measured": None}), path, source)


class FakeModel:
    """A model whose rounds take all the time that rounds may take, and whose deep end the rest."""

    def __init__(self, plan: Plan, clock: FakeClock) -> None:
        assert Path(plan.path).exists()
        self.plan, self.clock = plan, clock

    def turn(self, kind: str, left_ms: float) -> Turn:
        took_ms = 0.7 * left_ms if kind == "round" else 0.6 * left_ms
        self.clock.advance(took_ms)
        if "broken" in self.plan.name:
            raise MeasureError("a tensor is missing")
        if kind == "deep":
            return Turn(took_ms=took_ms)
        return Turn({1: {16: 1.0}}, {1: (1.0,)}, took_ms=took_ms)

    def close(self) -> None: ...


def run_session(
    folder: Path, found: list[Found], clock: FakeClock | None = None, **others: Any
) -> tuple[list[Candidate], list[Plan], Session]:
    plans: list[Plan] = []
    clock = clock or FakeClock()

    def load(plan: Plan) -> FakeModel:
        plans.append(plan)
        return FakeModel(plan, clock)

    def requantizer(
        source: Path, target: Path, quantization: str, tick: Callable[[], None]
    ) -> None:
        if quantization == "Q2_K":
            raise PullError("cannot be made")
        target.write_bytes(b"made of " + source.read_bytes())
        tick()

    scope = dataclasses.replace(SCOPE, **others)
    made = Session(folder, scope, lambda text, done: None, load, requantizer, clock)
    return made.run(found), plans, made


def test_what_is_there_is_measured_before_what_must_be_made(tmp_path: Path) -> None:
    file = gguf(tmp_path / "a.gguf")
    found = [
        found_of(None, file, quantization="Q4_0"),
        found_of(file, file),
        found_of(file, file, model="broken"),
        found_of(None, file, quantization="Q2_K"),
        found_of(file, file, model="huge", file_bytes=9 * GB),
    ]
    done, plans, _ = run_session(tmp_path, found)
    # In the order they were given, whatever the order of the work was.
    assert [(each.model, each.quantization) for each in done] == [
        (each.candidate.model, each.candidate.quantization) for each in found
    ]
    assert [plan.path for plan in plans] == [str(file), str(file), str(tmp_path / "0.gguf")]
    assert [each.measured is not None for each in done] == [True, True, False, False, False]
    assert [each.trouble for each in done[2:4]] == ["a tensor is missing", "cannot be made"]
    assert "weights alone take 9.0 GB of memory, and 8.0 GB are to be had" in done[4].trouble
    # A registry's model is made again when it is pulled.
    assert [path.name for path in tmp_path.iterdir()] == ["a.gguf"]


@pytest.mark.parametrize("quick", [False, True])
def test_all_of_it_ends_in_time(quick: bool, tmp_path: Path) -> None:
    file, clock = gguf(tmp_path / "a.gguf"), FakeClock()
    found = [found_of(file, file) for _ in range(12)]
    done, plans, _ = run_session(tmp_path, found, clock, quick=quick, memory_bytes=100 * GB)
    assert len(plans) == 12
    assert all(each.measured is not None for each in done)
    assert clock.now_ms() <= (36_000 if quick else 180_000)


def test_models_are_held_together_only_where_they_fit(tmp_path: Path) -> None:
    file = gguf(tmp_path / "a.gguf")
    found = [found_of(file, file, file_bytes=GB) for _ in range(3)]
    for memory_bytes, n_loads in ((8 * GB, 3), (3 * GB, 6)):
        _, plans, _ = run_session(tmp_path, found, memory_bytes=memory_bytes)
        assert len(plans) == n_loads


def test_what_is_to_be_made_leaves_its_time_to_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = gguf(tmp_path / "a.gguf")
    found = [found_of(file, file), found_of(None, file, quantization="Q4_0")]
    monkeypatch.setattr(session, "TOTAL_MS", session.EACH_MS + session.LEAST_MS)
    done, _, _ = run_session(tmp_path, found)
    assert [each.trouble for each in done] == ["", "not tried: no time was left to make it"]


def test_without_time_or_disk_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = gguf(tmp_path / "a.gguf")
    to_make = found_of(None, file, quantization="Q4_0")
    monkeypatch.setattr(session, "TOTAL_MS", 1000.0)
    done, plans, _ = run_session(tmp_path, [to_make])
    assert (done[0].trouble, plans) == ("not tried: no time was left to make it", [])
    monkeypatch.setattr(session, "TOTAL_MS", 100_000.0)
    monkeypatch.setattr(session, "SPARE_BYTES", 10**18)
    done, plans, _ = run_session(tmp_path, [to_make])
    assert f"on the disk of {tmp_path.parent}, and " in done[0].trouble
    assert not plans


def test_nothing_is_left_behind_and_one_runs_at_a_time(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    (root / ".tune-dead").mkdir(parents=True)
    (root / ".tune-dead" / "0.gguf").touch()

    def interrupted() -> None:
        with working_folder(root) as folder:
            (folder / "0.gguf").touch()
            assert [each.name for each in root.glob(".tune-*/")] == [folder.name]
            with pytest.raises(FindError, match="another"), working_folder(root):
                pass
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [each.name for each in root.iterdir()] == [".tune.lock"]


# --- what is here ---


def put(quantization: str, file_type: int) -> Path:
    """A file of the default model, as a pull leaves it."""
    spec = load_specs()[DEFAULT_MODEL]
    target = model_path(spec, quantization)
    target.parent.mkdir(parents=True, exist_ok=True)
    output = gguf(target.with_name("output"), file_type)
    publish(output, target, spec.source_of(quantization).sha256 or "", quantization)
    return target


def test_a_model_of_the_registry_is_found_in_all_its_quantizations() -> None:
    assert find_ready(load_specs()) == []
    path = put("Q8_0", 7)
    found = {each.candidate.quantization: each for each in find_ready(load_specs())}
    assert list(found) == ["Q8_0", "Q4_0", "Q4_1"]
    assert [each.path for each in found.values()] == [path, None, None]
    assert {each.source for each in found.values()} == {path}
    made = found["Q8_0"].candidate
    assert (made.made_from, made.n_parameters, made.trained_tokens) == ("Q4_1", 1 << 20, 4096)
    assert made.cache_bytes_per_token == 2 * 2 * 64 * 2
    # Widening gives nothing back, narrowing a second time costs.
    quality = {name: each.candidate.quality for name, each in found.items()}
    assert quality["Q8_0"] == quality["Q4_1"] > quality["Q4_0"]


def test_what_is_not_here_says_what_to_do() -> None:
    with pytest.raises(FindError, match=f"slm-lsp models pull {DEFAULT_MODEL}"):
        find_ready(load_specs(), [DEFAULT_MODEL])
    with pytest.raises(FindError, match="no model 'smol'; known are"):
        find_ready(load_specs(), ["smol"])


def test_a_file_is_found_as_it_is_and_as_it_could_be_made(tmp_path: Path) -> None:
    path = gguf(tmp_path / "mine.gguf", file_type=1)
    found = find_file(path, requantized=True)
    assert [each.candidate.quantization for each in found] == ["F16", "Q8_0", "Q4_0"]
    assert found[0].candidate.model == str(path)
    assert found[1].keep_as == cache_root() / "requantized" / "mine.Q8_0.gguf"
    assert found[0].candidate.quality > found[1].candidate.quality > found[2].candidate.quality
    assert len(find_file(path, requantized=False)) == 1
    # Not wider than it is by much: that gains nothing.
    smaller = gguf(tmp_path / "q4.gguf", file_type=2)
    assert [each.candidate.quantization for each in find_file(smaller, True)] == ["Q4_0", "Q8_0"]


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"PK" * 100)
    with pytest.raises(FindError, match="not a GGUF"):
        find_file(tmp_path / "a.gguf", True)
    with pytest.raises(FindError, match=r"cannot read .*missing\.gguf: No such file"):
        find_file(tmp_path / "missing.gguf", True)


def test_what_could_be_obtained_has_no_figures_and_is_sized() -> None:
    specs = load_specs()
    absent = [each for each, _ in find.absent(specs, 2048)]
    assert {"qwen2.5-coder-1.5b", DEFAULT_MODEL} <= {each.model for each in absent}
    for each, own_bytes in find.absent(specs, 2048):
        assert each.measured is None
        assert not each.is_here
        assert own_bytes > each.file_bytes > 0.25 * each.n_parameters
    # These compute with a part of their weights, so time does not go with size.
    assert not {"qwen3-coder-30b", "deepseek-coder-v2-lite"} & {each.model for each in absent}
    put("Q8_0", 7)
    assert DEFAULT_MODEL not in {each.model for each, _ in find.absent(specs, 2048)}


def test_every_type_of_file_has_a_size() -> None:
    assert set(FILE_TYPES.values()) <= set(BITS)


# --- what is said ---


def test_threads_are_spared() -> None:
    """All cores write only where that is needed."""
    slow = candidate(figures=measured(write_ms=30.0, gain=1.8))
    quick = candidate(figures=measured(write_ms=12.0, gain=1.8))
    for each, threads in ((slow, 2), (quick, 1)):
        verdict = judge(each, limits())
        assert verdict is not None
        assert verdict.keeps
        assert (verdict.choice.threads, verdict.choice.batch_threads) == (threads, 2)
    # Threads that gain nothing are left to others.
    flat = judge(candidate(figures=measured(gain=1.05)), limits())
    assert flat is not None
    assert (flat.choice.threads, flat.choice.batch_threads) == (1, 1)
    eight = candidate(figures=measured(8.0, threads=(1, 2, 4, 6, 8), gain=1.5))
    verdict = judge(eight, limits(n_cores=8))
    assert verdict is not None
    assert (verdict.choice.threads, verdict.choice.batch_threads) == (6, 8)


def test_a_prompt_or_a_context_gives_way_where_it_must() -> None:
    # Reading 1,024 tokens takes longer than anybody should wait.
    verdict = judge(candidate(figures=measured(read_ms=5.0)), limits())
    assert verdict is not None
    assert (verdict.keeps, verdict.choice.prompt_tokens) == (True, 768)
    # 4 contexts of 2,048 tokens take 189 MB of the 400; those of 1,024 half of that.
    tight = judge(candidate(), limits(memory_bytes=310_000_000))
    assert tight is not None
    assert (tight.keeps, tight.choice.prompt_tokens, tight.choice.context_tokens) == (
        *(True, 512, 1024),
    )
    none = judge(candidate(), limits(memory_bytes=200_000_000))
    assert none is not None
    assert (none.keeps, none.misses) == (False, "memory")


def said(made: list[Candidate], **others: Any) -> str:
    asked = limits(**others)
    verdicts = [verdict for each in made if (verdict := judge(each, asked)) is not None]
    failed = [each for each in made if each.trouble]
    return "\n".join(wording.explain(verdicts, failed, asked))


def test_the_recommendation_says_why() -> None:
    small = candidate("small", figures=measured(5.0))
    again = candidate("small", "Q4_0", made_from="Q4_1", figures=measured(4.0))
    large = candidate("large", n_parameters=1_500_000_000, figures=measured(60.0))
    text = said([small, again, large])
    assert "Recommended: small Q8_0 with prompts of 1024 tokens, 1 thread to write" in text
    assert "small Q4_0 is faster" in text
    assert "quantized a second time, which costs quality" in text
    assert re.search(r"large Q8_0 would be better but takes \d+ ms for a line", text)
    assert "nothing else was measured" in said([small])
    assert "Prompts are shorter than the 1024 tokens" in said([candidate(figures=measured(5, 5))])
    assert "needs all cores" in said([candidate(figures=measured(30.0, gain=1.8))])


def test_where_nothing_keeps_the_budget_that_is_said() -> None:
    text = said([candidate(figures=measured(60.0))])
    assert "Recommended" not in text
    assert "Nothing here keeps 250 ms for a whole line. Nearest is small Q8_0" in text
    assert "raise `automatic_budget_ms`" in text
    assert "small Q8_0: it broke" in said([candidate(measured=None, trouble="it broke")])


def test_a_better_model_that_is_not_here_is_named_as_an_estimate() -> None:
    absent = candidate("qwen", is_estimate=True, n_parameters=500_000_000)
    text = said([candidate(), absent])
    assert "Recommended: small" in text
    assert "By estimate qwen Q8_0, which is not here, would keep the budget" in text
    assert "`slm-lsp models pull qwen`" in text
    slow = dataclasses.replace(absent, measured=measured(50.0))
    assert "By estimate" not in said([candidate(), slow])


def test_doubts() -> None:
    def doubts(load: float = 0.0, **others: Any) -> list[str]:
        verdict = judge(candidate(figures=measured(**others)), limits())
        assert verdict is not None
        return wording.doubts([verdict], load, limits())

    assert doubts() == []
    assert "kept 1.5 of 2 cores busy" in doubts(other_cores=1.5)[0]
    assert "load 3.0" in doubts(load=3.0)[0]
    assert "far apart" in doubts(spread=0.5)[0]


def test_the_table_shows_names_as_they_are() -> None:
    stream = io.StringIO()
    odd = candidate("[red]odd[/red]")
    guess = candidate("guess", is_estimate=True, figures=measured(50.0))
    verdicts = [verdict for each in (odd, guess) if (verdict := judge(each, limits()))]
    print_table(verdicts, recommended(verdicts), limits(), stream)
    text = stream.getvalue()
    assert "* [red]odd[/red] Q8_0" in text
    assert "~ guess Q8_0" in text
    assert "\x1b" not in text
    assert all(title in text for title in COLUMNS)
    assert row(verdicts[1])[1] == "~no: line"


def test_a_narrow_terminal_shows_what_counts() -> None:
    rows = [["12345678"] * 10, ["1"] * 10]
    assert [columns_within(width, rows) for width in (200, 98, 97, 60, 10)] == [10, 10, 9, 6, 4]


def test_of_many_slow_estimates_a_few_are_shown() -> None:
    made = [candidate()]
    made += [candidate(is_estimate=True, figures=measured(40.0 + i)) for i in range(9)]
    made += [candidate(is_estimate=True, figures=measured(8.0))]
    verdicts = [verdict for each in made if (verdict := judge(each, limits()))]
    shown = wording.shown(verdicts)
    assert shown == [*verdicts[:6], verdicts[-1]]
    assert "4 slower models" in said(made)


def test_a_plot_is_made_or_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slm_lsp.tune.plot import PlotError, save_plot

    verdicts = [verdict for each in (candidate(),) if (verdict := judge(each, limits()))]
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(PlotError, match=r"slm-lsp\[bench\]"):
        save_plot(verdicts, limits(), 1500.0, tmp_path / "a.svg")
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    save_plot(verdicts, limits(), 1500.0, tmp_path / "a.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    with pytest.raises(PlotError, match="cannot be written"):
        save_plot(verdicts, limits(), 1500.0, tmp_path / "missing" / "a.svg")


# --- the command ---


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Measurement]:
    """What is measured of the file whose name contains the key; fast where there is no such key."""
    by_name: dict[str, Measurement] = {}

    class Made:
        def __init__(self, plan: Plan) -> None:
            name = Path(plan.path).name
            self.found = next((each for key, each in by_name.items() if key in name), measured(8.0))

        def turn(self, kind: str, left_ms: float) -> Turn:
            writes = {n: (ms,) for n, ms in self.found.write_ms.items()}
            return Turn(self.found.step_ms, writes, n_ctx=2048, rss_bytes=400_000_000)

        def close(self) -> None: ...

    def requantizer(
        source: Path, target: Path, quantization: str, tick: Callable[[], None]
    ) -> None:
        target.write_bytes(b"made")

    monkeypatch.setattr(session, "Child", Made)
    monkeypatch.setattr(session, "requantize", requantizer)
    return by_name


def settings_text(tmp_path: Path) -> str:
    path = tmp_path / "config" / "slm-lsp" / "config.toml"
    return path.read_text() if path.exists() else ""


def test_without_a_model_it_says_how_to_get_one(capsys: Captured) -> None:
    assert run(["tune"]) == 2
    assert "slm-lsp models pull" in capsys.readouterr().err


def test_what_is_set_already_is_not_written(
    figures: dict[str, Measurement], tmp_path: Path, capsys: Captured
) -> None:
    put("Q8_0", 7)
    figures["Q8_0"] = measured(8.0, gain=1.5)
    assert run(["tune", "--write", "--quick"]) == 0
    captured = capsys.readouterr()
    assert f"* {DEFAULT_MODEL} Q8_0" in captured.out
    assert "Recommended" in captured.out
    # 8 ms a token with one thread, and two are half as fast again.
    assert re.search(r"^ +1 +125 .*\n +2 +188 ", captured.out, re.MULTILINE)
    assert "say so already" in captured.out
    assert captured.err == f"tune: 1 of 1: {DEFAULT_MODEL} Q8_0\n"
    assert settings_text(tmp_path) == ""


def test_settings_are_written_only_if_asked_for(
    figures: dict[str, Measurement], tmp_path: Path, capsys: Captured
) -> None:
    put("Q8_0", 7)
    put("Q4_0", 2)
    figures["Q8_0"] = measured(40.0)
    assert run(["tune", "--quick"]) == 0  # no terminal, so nobody can be asked
    assert "Nothing was written; `slm-lsp tune --write` does." in capsys.readouterr().out
    assert settings_text(tmp_path) == ""
    assert run(["tune", "--quick", "--yes"]) == 0
    assert "Written." in capsys.readouterr().out
    assert settings_text(tmp_path) == 'quantization = "Q4_0"\nbatch_threads = 1\n'
    # A budget that was given is written with what was chosen for it.
    assert run(["tune", "--quick", "--yes", "--budget-ms", "900"]) == 0
    assert settings_text(tmp_path) == (
        'quantization = "Q8_0"\nbatch_threads = 1\nautomatic_budget_ms = 900.0\n'
    )
    capsys.readouterr()
    assert run(["tune", "--quick", "--write", "--budget-ms", "20"]) == 1
    assert "Nothing here keeps 20 ms" in capsys.readouterr().out


def test_a_setting_that_goes_before_the_file_is_named(
    figures: dict[str, Measurement], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    put("Q8_0", 7)
    monkeypatch.setenv("SLM_LSP_BATCH_THREADS", "2")
    assert run(["tune", "--quick", "--write"]) == 0
    assert "the environment sets batch_threads, too" in capsys.readouterr().err


def test_a_quantization_that_must_be_made_is_said(
    figures: dict[str, Measurement], capsys: Captured
) -> None:
    put("Q8_0", 7)
    figures["Q8_0"] = measured(40.0)
    assert run(["tune", "--write"]) == 0
    out = capsys.readouterr().out
    # Q4_1 is what the model is published in, so better than what is made of it.
    assert "Recommended: smollm2-135m Q4_1" in out
    assert "`slm-lsp models pull smollm2-135m --quantization Q4_1`" in out
    assert sorted(each.name for each in cache_root().iterdir()) == [".tune.lock", "models"]


def test_a_file_made_of_the_users_own_is_kept_if_it_is_chosen(
    figures: dict[str, Measurement], tmp_path: Path, capsys: Captured
) -> None:
    path = gguf(tmp_path / "mine.gguf")
    figures["mine"] = measured(40.0)
    assert run(["tune", "--model", str(path)]) == 0
    kept = cache_root() / "requantized" / "mine.Q8_0.gguf"
    assert not kept.exists()
    assert run(["tune", "--model", str(path), "--write"]) == 0
    assert kept.read_bytes() == b"made"
    assert f'model = "{kept}"' in settings_text(tmp_path)


def test_all_figures_go_into_the_file(
    figures: dict[str, Measurement],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    put("Q8_0", 7)
    monkeypatch.setenv("HOME", str(tmp_path))
    path, target = gguf(tmp_path / "mine.gguf"), tmp_path / "figures.json"
    assert run(["tune", "--model", DEFAULT_MODEL, str(path), "--json", str(target)]) == 0
    document = json.loads(target.read_text())
    assert str(tmp_path) not in target.read_text()
    assert "~/mine.gguf" in {each["candidate"]["model"] for each in document["verdicts"]}
    assert document["limits"]["budget_ms"] == 250.0
    measured_here = [e for e in document["verdicts"] if not e["candidate"]["is_estimate"]]
    names = {e["candidate"]["quantization"] for e in measured_here}
    assert names == {"Q8_0", "Q4_0", "Q4_1", "F16"}
    assert any(e["candidate"]["model"] == "qwen2.5-coder-0.5b" for e in document["verdicts"])
    assert document["recommended"]["candidate"]["quantization"] == "F16"
    capsys.readouterr()
    assert run(["tune", "--json", str(tmp_path / "missing" / "a.json")]) == 2
    assert "missing/a.json: No such file" in capsys.readouterr().err


# --- with the real model ---


@pytest.mark.model
def test_the_default_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.delenv("SLM_LSP_CACHE_DIR")
    target = tmp_path / "figures.json"
    # Where it is on a busy machine it keeps no budget; that is no failure.
    assert run(["tune", "--quick", "--model", DEFAULT_MODEL, "--json", str(target)]) in (0, 1)
    document = json.loads(target.read_text())
    assert document["failed"] == []
    here = [each for each in document["verdicts"] if each["candidate"]["is_here"]]
    assert "Q8_0" in {each["candidate"]["quantization"] for each in here}
    for each in here:
        found = Measurement.from_json(each["candidate"]["measured"])
        assert found.n_rounds >= 1
        assert found.rss_bytes > each["candidate"]["file_bytes"]
        assert set(found.step_ms) == set(found.write_ms) == {1, 2}
        assert all(set(SIZES[:3]) <= set(sizes) for sizes in found.step_ms.values())
        assert found.n_ctx == Config().context_tokens
    assert not list(cache_root().glob(".tune-*"))


@pytest.mark.model
def test_types_of_files_are_llama_cpps() -> None:
    import llama_cpp

    for number, name in FILE_TYPES.items():
        prefix = "LLAMA_FTYPE_ALL" if name == "F32" else "LLAMA_FTYPE_MOSTLY"
        assert getattr(llama_cpp, f"{prefix}_{name}") == number
