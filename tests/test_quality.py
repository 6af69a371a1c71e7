"""The quality benchmark without a model: problems, answers, rows, and runs that go on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality import __main__ as quality
from benchmarks.quality.bare import EXTRA_TOKENS, BareModel
from benchmarks.quality.journal import Journal, OtherRun
from benchmarks.quality.problems import (
    AS_GIVEN,
    COLUMN_1,
    SITUATIONS,
    SUITES,
    TYPED,
    Problem,
    read,
    situations,
    task_of,
)
from benchmarks.quality.sandbox_worker import PASSED
from benchmarks.quality.scoring import MAX_SHOWN_CHARS, Answer, first_line, score, summary, wilson
from slm_lsp.config import Config
from slm_lsp.engine.fake import FakeDecoder

LINE = Problem(
    name="Suite/HumanEval/7/L1",
    prefix="def f(x):\n    if x:\n",
    middle="        return x\n",
    suffix="    return 0\n",
    entry_point="f",
    test="def check(candidate):\n    assert candidate(1) == 1\n",
)
SPAN = Problem("Suite/HumanEval/8/1", "def f(x):\n    y = ", "x +\\\n", "1\n")


# --- problems ---


@pytest.mark.parametrize(
    ("situation", "prefix", "middle", "suffix"),
    [
        (TYPED, "def f(x):\n    if x:\n        ", "return x", "\n    return 0\n"),
        (COLUMN_1, "def f(x):\n    if x:\n", "        return x", "\n    return 0\n"),
        (AS_GIVEN, "def f(x):\n    if x:\n", "        return x\n", "    return 0\n"),
    ],
)
def test_where_the_cursor_stands(situation: str, prefix: str, middle: str, suffix: str) -> None:
    placed = SITUATIONS[situation](LINE)
    assert (placed.prefix, placed.middle, placed.suffix) == (prefix, middle, suffix)
    assert placed.program(placed.middle) == LINE.program(LINE.middle)


def test_a_program_is_the_file_its_test_and_the_call() -> None:
    whole = LINE.program(LINE.middle)
    assert whole.startswith("def f(x):\n    if x:\n        return x\n    return 0\n\ndef check(")
    assert whole.endswith("\ncheck(f)\n")


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_only_suites_of_whole_lines_have_two_situations(suite: str) -> None:
    lines = suite in ("single-line", "multi-line")
    assert situations(suite, "both") == ((TYPED, COLUMN_1) if lines else (AS_GIVEN,))
    assert situations(suite, "typed") == ((TYPED,) if lines else (AS_GIVEN,))
    assert situations(suite, "column-1") == ((COLUMN_1,) if lines else (AS_GIVEN,))


def test_a_smaller_limit_chooses_from_what_a_larger_one_does() -> None:
    few, more = (read("single-line", limit) for limit in (30, 120))
    assert len(few) == 30
    assert {problem.name for problem in few} < {problem.name for problem in more}
    assert all(problem.test and problem.entry_point for problem in more)


def test_problems_of_a_task_follow_each_other() -> None:
    tasks = [task_of(problem.name) for problem in read("random-span", 300)]
    changes = sum(a != b for a, b in pairwise(tasks))
    assert changes == len(set(tasks)) - 1
    numbers = [int(task.split("/")[1]) for task in tasks]
    assert numbers != sorted(numbers)


# --- scores ---


def check(got: str, expected: str, **measures: Any) -> None:
    """Score `got` where `expected` was missing; compare what is named."""
    problem = Problem("Suite/HumanEval/1/L1", "", expected, "")
    row = score(problem, Answer(got, "stop"), "AssertionError", 12.3)
    assert {key: row[key] for key in measures} == measures


@pytest.mark.parametrize(
    ("got", "expected", "line", "middle"),
    [
        ("return x", "return x", True, True),
        ("return x  \n", "return x", True, True),
        ("return x", "return  x", False, False),
        ("    return x", "return x", True, False),  # the line is right where it stands wrong
        ("\n  return x", "return x", True, False),
        ("a = 1\nb = 2", "a = 1\nb = 3", True, False),
        ("a = 1\nb = 2", "a = 1", True, False),
        ("", "return x", False, False),
        ("", "\n", True, True),
    ],
)
def test_exact(got: str, expected: str, line: bool, middle: bool) -> None:
    check(got, expected, exact_line=line, exact_middle=middle)


def test_similarity_of_the_line_and_of_the_whole_differ() -> None:
    check("ab\nxxxx", "ab\nyyyy", similarity_line=1.0, similarity_middle=0.429)
    check("abcd", "abxy", similarity_line=0.5, similarity_middle=0.5)
    check("", "ab", similarity_line=0.0, similarity_middle=0.0)


@pytest.mark.parametrize(("finish", "closed"), [("eos", True), ("stop", False), ("length", False)])
def test_only_the_models_own_end_token_closes(finish: str, closed: bool) -> None:
    assert score(LINE, Answer("x", finish), PASSED, 0.0)["closed"] is closed


def test_a_row_says_what_became_of_the_program_and_shows_the_texts() -> None:
    answer = Answer("x" * 3000, "eos", n_prompt=5, n_predicted=7)
    row = score(LINE, answer, PASSED, 12.3)
    assert (row["passed"], row["n_prompt"], row["n_predicted"]) == (True, 5, 7)
    assert len(row["got"]) == MAX_SHOWN_CHARS
    assert row["expected"] == LINE.middle
    assert "reject" not in row
    row = score(LINE, answer, "TypeError", 12.3)
    assert (row["passed"], row["verdict"]) == (False, "TypeError")


def test_what_filters_took_is_kept_beside() -> None:
    answer = Answer("", "stop", reject="duplicate", unfiltered="return x")
    row = score(LINE, answer, "IndentationError", 0.0)
    assert (row["exact_line"], row["exact_line_unfiltered"]) == (False, True)
    found = summary([row, score(LINE, Answer("y", "eos", unfiltered="y"), PASSED, 0.0)])
    assert (found["silent"]["n"], found["exact_line_unfiltered"]["n"]) == (1, 1)


def test_first_line_is_the_first_with_something_on_it() -> None:
    assert first_line("\n \t\n  a = 1 \nb") == "a = 1"
    assert first_line(" \n") == ""


def test_wilson() -> None:
    assert wilson(36, 120) == pytest.approx((0.2252, 0.3872), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_summary_counts_each_measure_by_itself() -> None:
    answers = [("        return x", "eos", PASSED), ("return x", "stop", "SyntaxError")]
    answers += [("pass", "eos", PASSED)] * 2
    rows = [score(LINE, Answer(text, finish), said, 500.0) for text, finish, said in answers]
    found = summary(rows)
    shares = ("pass_at_1", "exact_line", "exact_middle", "closed")
    assert [found[name]["n"] for name in shares] == [3, 2, 1, 3]
    assert found["pass_at_1"]["percent"] == 75.0
    assert (found["n"], found["wall_s"]) == (4, 2.0)


# --- the bare model ---


def ask(
    script: Callable[[str], str] | str, problem: Problem, *, single_line: bool
) -> tuple[Answer, FakeDecoder]:
    decoder = FakeDecoder(script)
    return BareModel(decoder, Config(), single_line=single_line).answer(problem), decoder


@pytest.mark.parametrize(
    ("situation", "text"), [(TYPED, "return x"), (COLUMN_1, "        return x")]
)
def test_inferred_indentation_is_read_and_given_back(situation: str, text: str) -> None:
    # The last space is healed: the model is made to write it again.
    answer, decoder = ask(" return x\nmore", SITUATIONS[situation](LINE), single_line=True)
    assert (answer.text, answer.finish) == (text, "stop")
    assert decoder.texts[-1] == "def f(x):\n    if x:\n       "


def test_a_line_ends_at_its_end_and_a_block_at_the_models() -> None:
    placed = SITUATIONS[TYPED](LINE)
    for script in (" return x\n\n\nmore", " return x"):
        answer, _ = ask(script, placed, single_line=True)
        assert answer.text == "return x"
    answer, _ = ask(" return x\n\n\nmore", placed, single_line=False)
    assert (answer.text, answer.finish) == ("return x\n\n\nmore", "eos")


def test_a_block_has_room_for_twice_what_is_missing() -> None:
    answer, _ = ask("y" * 1000, SPAN, single_line=False)
    n_tokens = 2 * len(SPAN.middle) + EXTRA_TOKENS  # a character is a token here
    assert (answer.finish, answer.n_predicted) == ("length", n_tokens)


def test_a_span_may_begin_inside_a_word_and_gets_no_indentation() -> None:
    span = Problem("Suite/HumanEval/9/1", "def f(value):\n    return va", "lue + va", "lue\n")
    answer, decoder = ask(" value + va", span, single_line=False)
    assert (answer.text, answer.finish) == ("lue + va", "eos")
    assert decoder.texts[-1] == "def f(value):\n    return"


def test_the_next_problem_finds_nothing_of_an_answer() -> None:
    decoder = FakeDecoder(" return x")
    model = BareModel(decoder, Config(), single_line=False)
    answer = model.answer(SITUATIONS[TYPED](LINE))
    assert len(decoder.sequence) == answer.n_prompt
    # Reads only what is new, and writes the same.
    decoder.fed.clear()
    assert model.answer(SITUATIONS[TYPED](LINE)) == answer
    assert decoder.fed[0] == 1


# --- runs ---


@dataclass
class Scripted:
    """A source and judge in one; fails at the `stops_at`th question."""

    stops_at: int | None = None
    asked: list[str] = field(default_factory=list)

    def answer(self, problem: Problem) -> Answer:
        if len(self.asked) == self.stops_at:
            raise KeyboardInterrupt
        self.asked.append(problem.name)
        return Answer(problem.middle, "eos")

    def verdict(self, program: str) -> str:
        return PASSED if "check(" in program else "NameError"

    def close(self) -> None:
        pass


RUN = {"suite": "single-line", "sha256": "0"}
PROBLEMS = [Problem(f"S/HumanEval/{i}/L0", "", "x", "") for i in range(5)]


def test_a_rerun_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    partial = tmp_path / "partial.jsonl"
    stopped, rest = Scripted(stops_at=3), Scripted()
    with pytest.raises(KeyboardInterrupt):
        quality.answer_all(stopped, stopped, Journal(partial, RUN), TYPED, PROBLEMS)
    rows = quality.answer_all(rest, rest, Journal(partial, RUN), TYPED, PROBLEMS)
    assert stopped.asked + rest.asked == [problem.name for problem in PROBLEMS]
    assert [row["name"] for row in rows] == [problem.name for problem in PROBLEMS]
    assert all(row["passed"] for row in rows)


def test_situations_are_kept_apart(tmp_path: Path) -> None:
    partial, source = tmp_path / "partial.jsonl", Scripted()
    quality.answer_all(source, source, Journal(partial, RUN), TYPED, PROBLEMS)
    quality.answer_all(source, source, Journal(partial, RUN), COLUMN_1, PROBLEMS)
    assert Counter(source.asked) == {problem.name: 2 for problem in PROBLEMS}


def test_a_row_that_was_cut_off_is_asked_for_again(tmp_path: Path) -> None:
    partial, first, second = tmp_path / "partial.jsonl", Scripted(), Scripted()
    quality.answer_all(first, first, Journal(partial, RUN), TYPED, PROBLEMS)
    partial.write_text(partial.read_text()[:-10])
    quality.answer_all(second, second, Journal(partial, RUN), TYPED, PROBLEMS)
    assert second.asked == [PROBLEMS[-1].name]
    assert all(map(json.loads, partial.read_text().splitlines()))
    third = Scripted()
    quality.answer_all(third, third, Journal(partial, RUN), TYPED, PROBLEMS)
    assert third.asked == []


def test_rows_of_another_model_are_refused(tmp_path: Path) -> None:
    partial = tmp_path / "partial.jsonl"
    Journal(partial, RUN).add(TYPED, {"name": "a"})
    before = partial.read_text()
    with pytest.raises(OtherRun, match="holds rows of"):
        Journal(partial, {**RUN, "sha256": "1"})
    assert partial.read_text() == before


def test_a_run_that_was_stopped_ends_with_one_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "m.gguf"
    model.write_bytes(b"GGUF")
    result = tmp_path / "result.json"
    sources = [Scripted(stops_at=4), Scripted()]
    asked = [source.asked for source in sources]
    monkeypatch.setattr(quality, "obtain_with_bar", lambda config: None)
    monkeypatch.setattr(BareModel, "load", lambda *_, **__: sources.pop(0))
    options = quality.parse(["--model", str(model), "--limit", "3", "--json", str(result)])
    with pytest.raises(KeyboardInterrupt):
        quality.run(options)
    assert not result.exists()
    quality.run(options)
    assert (len(asked[0]), len(asked[1])) == (4, 2)
    written = json.loads(result.read_text())
    assert {name: each["summary"]["n"] for name, each in written["situations"].items()} == {
        TYPED: 3,
        COLUMN_1: 3,
    }
    # The true middles, run for real.
    assert written["situations"][COLUMN_1]["summary"]["pass_at_1"]["n"] == 3
    assert [path.name for path in tmp_path.iterdir() if "result" in path.name] == ["result.json"]
