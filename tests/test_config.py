"""Settings: limits, types, sources and their order, and what is said of a wrong one.

Owns: one case at least for each setting; a new setting without limits fails here.

Invariant: reading settings never raises.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp import config as subject
from slm_lsp.config import FIELDS, Config, apply, from_environment, load, read_file, usable_cores

DEFAULTS: dict[str, Any] = {name: each.default for name, each in FIELDS.items()}
NUMBERS = [name for name, default in DEFAULTS.items() if not isinstance(default, str)]
TEXTS = [name for name, default in DEFAULTS.items() if isinstance(default, str)]
CHOICES = {name: each.metadata["choices"] for name, each in FIELDS.items()}
WHOLE = [name for name in NUMBERS if isinstance(DEFAULTS[name], int)]
QUICK = settings(derandomize=True, deadline=None, max_examples=60, database=None)


def limits(name: str) -> tuple[float, float]:
    return FIELDS[name].metadata["low"], FIELDS[name].metadata["high"]


def rejected(name: str, value: Any, source: str = "somewhere") -> str:
    """The one complaint about a value, which must not have been taken."""
    config, problems = apply(Config(), {name: value}, source)
    assert config == Config()
    (problem,) = problems
    return problem


def test_every_setting_is_documented_and_its_default_is_allowed() -> None:
    for name, each in FIELDS.items():
        assert each.metadata["doc"], name
        assert apply(Config(), {name: each.default}, "") == (Config(), [])
    for name in NUMBERS:
        low, high = limits(name)
        assert low is not None, f"{name} needs limits"
        assert low < high, f"{name} needs limits"


@pytest.mark.parametrize("name", NUMBERS)
def test_limits(name: str) -> None:
    low, high = limits(name)
    for good in (low, high):
        config, problems = apply(Config(), {name: good}, "")
        assert (getattr(config, name), problems) == (good, [])
        assert type(getattr(config, name)) is type(DEFAULTS[name])
    for bad in (low - 1, high + 1, -1e300, 10**5000):
        problem = rejected(name, bad)
        assert f"from {low:g} to {high:g}" in problem
        assert problem.startswith(f"somewhere: {name} must be")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value",
    [True, None, "", "many", "0x10", [], [1], {}, {"a": 1}, math.nan, math.inf, "nan", b"9"],
)
def test_what_is_no_number(name: str, value: Any) -> None:
    problem = rejected(name, value)
    assert name in problem
    assert repr(value) in problem


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers(name: str) -> None:
    low, high = limits(name)
    assert "a whole number" in rejected(name, low + 0.5)
    assert "a whole number" in rejected(name, str(low + 0.5))
    for same in (int(high), float(high), str(int(high)), f" {int(high)} "):
        assert getattr(apply(Config(), {name: same}, "")[0], name) == high


def test_a_number_may_have_a_fraction_where_it_measures() -> None:
    config, problems = apply(Config(), {"automatic_budget_ms": "120.5"}, "")
    assert (config.automatic_budget_ms, problems) == (120.5, [])


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", [None, 1, True, ["a"], {"a": 1}])
def test_what_is_no_text(name: str, value: Any) -> None:
    assert rejected(name, value) == f"somewhere: {name} must be text, not {value!r}"


def test_a_text_that_is_none_of_the_choices() -> None:
    for value in ("Daemon", "", "remote"):
        expected = f"somewhere: engine must be 'daemon' or 'inproc', not {value!r}"
        assert rejected("engine", value) == expected


def test_the_engine_is_in_the_server_where_a_daemon_cannot_be_safe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for present, engine in ((True, "daemon"), (False, "inproc")):
        names = ["AF_UNIX", "SO_PEERCRED"] if present else ["AF_UNIX"]
        monkeypatch.setattr(subject, "socket", SimpleNamespace(**dict.fromkeys(names, 1)))
        assert subject.default_engine() == engine


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("thread", "; did you mean 'threads'?"),
        ("automatic_budget", "; did you mean 'automatic_budget_ms'?"),
        ("colour", ""),
        ("", ""),
        (7, ""),
    ],
)
def test_an_unknown_name(name: Any, hint: str) -> None:
    config, problems = apply(Config(), {name: 1, "threads": 2}, "here")
    assert problems == [f"here: there is no setting {name!r}{hint}"]
    assert config.threads == 2


@pytest.mark.parametrize("values", [[], [1], "threads", 3, None, True])
def test_settings_that_are_no_table(values: Any) -> None:
    config, problems = apply(Config(threads=3), values, "here")
    assert config == Config(threads=3)
    assert problems == ["here: settings must be a table of names and values"]


def test_a_wrong_value_leaves_the_one_before_and_hurts_no_other() -> None:
    config, problems = apply(Config(threads=3), {"threads": -1, "model": "m"}, "here")
    assert (config.threads, config.model) == (3, "m")
    assert problems == ["here: threads must be from 0 to 256, not -1"]


def test_a_long_value_is_shortened() -> None:
    for value in ("x" * 10_000, ["x" * 100] * 10_000, nested(100_000)):
        assert len(rejected("threads", value)) < 1000
    assert len(apply(Config(), {"x" * 10_000: 1}, "here")[1][0]) < 200


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# --- sources ---


def toml(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "config.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_no_file_is_no_problem(tmp_path: Path) -> None:
    assert read_file(tmp_path / "missing.toml") == ({}, [])
    assert load(tmp_path / "missing.toml") == (Config(), [])
    assert load() == (Config(), [])


@pytest.mark.parametrize(
    "text",
    [
        "threads = ",
        "threads = 1\nthreads = 2",
        b"\xff\xfe",
        "threads = " + "9" * 5000,
        "threads = " + "[" * 100_000,
        "\0",
    ],
)
def test_a_file_that_is_no_toml(tmp_path: Path, text: str | bytes) -> None:
    path = toml(tmp_path, text)
    config, problems = load(path, {"SLM_LSP_THREADS": "2"})
    (problem,) = problems
    assert problem.startswith(f"{path}: cannot be read: ")
    assert config == Config(threads=2)


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    assert load(tmp_path)[1] == [f"{tmp_path}: cannot be read: Is a directory"]


def test_a_table_in_the_file_is_no_setting(tmp_path: Path) -> None:
    path = toml(tmp_path, "model = 'm'\n[threads]\nn = 2\n[colour]\nmodel = 'other'\n")
    config, problems = load(path)
    assert config == Config(model="m")
    assert problems == [
        f"{path}: threads must be a whole number from 0 to 256, not {{'n': 2}}",
        f"{path}: there is no setting 'colour'",
    ]


def test_the_environment() -> None:
    environ = {
        "SLM_LSP_THREADS": "2",
        "SLM_LSP_MODEL": "m",
        "SLM_LSP_TRACE": "",
        "SLM_LSP_CACHE_DIR": "/tmp",
        "slm_lsp_batch_threads": "3",
        "PATH": "/bin",
    }
    assert from_environment(environ) == {"threads": "2", "model": "m"}


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_can_come_from_every_source(tmp_path: Path, name: str) -> None:
    text = CHOICES[name][-1] if CHOICES[name] else "text"
    value = text if name in TEXTS else int(limits(name)[1])
    expected = dataclasses.replace(Config(), **{name: type(DEFAULTS[name])(value)})
    path = toml(tmp_path, f"{name} = {value!r}\n")
    assert load(path) == (expected, [])
    assert load(None, {f"SLM_LSP_{name.upper()}": str(value)}) == (expected, [])
    assert load(None, None, {name: value}) == (expected, [])


def test_the_later_source_wins(tmp_path: Path) -> None:
    path = toml(tmp_path, "threads = 1\nbatch_threads = 1\nmodel = 'file'\ntrace = 'file'\n")
    environ = {"SLM_LSP_BATCH_THREADS": "2", "SLM_LSP_MODEL": "environment", "SLM_LSP_TRACE": ""}
    config, problems = load(path, environ, {"model": "option"})
    assert problems == []
    assert (config.threads, config.batch_threads) == (1, 2)
    assert (config.model, config.trace) == ("option", "file")


def test_each_source_is_named_and_a_wrong_value_falls_back(tmp_path: Path) -> None:
    path = toml(tmp_path, "threads = 3\nprompt_tokens = 'x'\n")
    config, problems = load(path, {"SLM_LSP_THREADS": "x"}, {"threads": -4})
    assert config == Config(threads=3)
    assert problems == [
        f"{path}: prompt_tokens must be a whole number from 64 to 65536, not 'x'",
        "environment: threads must be a whole number from 0 to 256, not 'x'",
        "command line: threads must be from 0 to 256, not -4",
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
TABLES = st.dictionaries(st.sampled_from([*FIELDS, "other"]) | st.text(max_size=4), JSON)


@QUICK
@given(JSON | TABLES)
def test_any_options_give_settings_within_their_limits(values: Any) -> None:
    config, problems = apply(Config(), values, "source")
    assert all(problem.startswith("source: ") for problem in problems)
    for name in NUMBERS:
        low, high = limits(name)
        assert low <= getattr(config, name) <= high
        assert type(getattr(config, name)) is type(DEFAULTS[name])
    assert all(isinstance(getattr(config, name), str) for name in TEXTS)
    if isinstance(values, dict):
        taken = sum(getattr(config, name) != DEFAULTS[name] for name in FIELDS)
        assert taken + len(problems) <= len(values)
        assert load(None, None, values)[0] == config


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 64])
def test_threads_are_chosen_by_cores(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "usable_cores", lambda: cores)
    config = Config()
    assert 1 <= config.n_threads <= max(1, cores // 2)
    assert 1 <= config.n_threads_batch <= cores
    assert (Config(threads=5).n_threads, Config(batch_threads=7).n_threads_batch) == (5, 7)


def test_cores_where_affinity_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cores() >= 1
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert usable_cores() == 1
