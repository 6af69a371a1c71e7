"""The benchmark of the model's certainty: what a row says, and what rows say together."""

from __future__ import annotations

from typing import Any

import pytest
from test_confidence import generation_of

from benchmarks.confidence.figures import at_bar, auc, by_score, roc, summary, table
from benchmarks.confidence.sample import alternatives_row, row_of, with_line_begun
from benchmarks.quality.problems import Problem
from slm_lsp.completion.bar import EDGES
from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.types import Completion, Origin

PROBLEM = Problem("a/1/L2", "def f(x):\n    ", "return x + 1\n", "\n")
SAID = generation_of(("return", -0.5), (" x", -1.0), (" - 1", -2.0), ("\n", -0.1))


def outcome(text: str, *alternatives: str) -> Outcome:
    texts = [Completion(each, 0, 0, Origin.MODEL) for each in (text, *alternatives)]
    return Outcome(texts[0], None, SAID, alternatives=tuple(texts[1:]))


def check(text: str, **expect: Any) -> None:
    row = row_of(PROBLEM, outcome(text))
    assert {key: row[key] for key in expect} == expect


def test_a_row() -> None:
    check("return x - 1", score=-3.5, exact=False, taken=True, n_right_chars=7, n_chars=9)
    check("return x", score=-1.5, exact=False, taken=True)
    check("pass", exact=False, taken=False, n_right_chars=0)
    check("return x+1", exact=True, taken=True)
    silent = row_of(PROBLEM, Outcome(None, RejectReason.EMPTY))
    assert (silent["score"], silent["reject"]) == (None, "empty")


def test_a_row_holds_no_text() -> None:
    row = row_of(PROBLEM, outcome("return x - 1"))
    assert {type(value) for name, value in row.items() if name != "name"} <= {
        *(bool, int, float, type(None))
    }


def test_the_right_one_of_several() -> None:
    assert alternatives_row(PROBLEM, outcome("x", "return x + 1"))["right_at"] == 1
    assert alternatives_row(PROBLEM, outcome("x", "y"))["right_at"] is None


def test_a_line_begun_is_the_same_text() -> None:
    begun = with_line_begun(PROBLEM)
    whole = PROBLEM.prefix + PROBLEM.middle + PROBLEM.suffix
    assert begun.prefix + begun.middle + begun.suffix == whole
    assert PROBLEM.prefix < begun.prefix
    assert begun.middle.strip()
    assert with_line_begun(PROBLEM) == begun
    assert with_line_begun(Problem("n", "", "x\n", "")).middle == "x"


def rows(*scored: tuple[float, bool]) -> list[dict[str, Any]]:
    return [
        {"name": str(n), "score": score, "exact": right, "taken": right}
        for n, (score, right) in enumerate(scored)
    ]


def test_the_area_under_the_curve() -> None:
    assert auc(rows((-1, True), (-2, True), (-3, False)), "exact") == 1.0
    assert auc(rows((-1, False), (-2, True)), "exact") == 0.0
    assert auc(rows((-1, False), (-1, True)), "exact") == 0.5
    assert auc(rows((-1, True)), "exact") is None
    assert roc(rows((-1, True), (-2, False)), "exact") == [(0, 0), (0, 1), (1, 1)]


def test_what_a_bar_shows_and_loses() -> None:
    found = at_bar(rows((-1, True), (-2, False), (-3, True), (-4, False)), -2.5)
    assert found["shown"] == 0.5
    assert found["exact"] == found["exact_hidden"] == found["exact_lost"] == 0.5


def test_the_tables_have_all_bars() -> None:
    found = summary([*rows((-1, True), (-20, False)), {"name": "s", "score": None}])
    assert (found["n"], found["n_judged"]) == (3, 2)
    assert sum(each["n"] for each in by_score(rows((-1, True), (-20, False)))) == 2
    assert len(list(table(found))) == 2 + len(EDGES)
    assert sum("default" in line for line in table(found)) == 1


@pytest.mark.parametrize("n_typed", range(1, 4))
def test_the_names_choose_how_much_is_typed(n_typed: int) -> None:
    lengths = {len(with_line_begun(Problem(f"p{n}", "", "abcd\n", "")).prefix) for n in range(40)}
    assert n_typed in lengths <= {1, 2, 3}
