"""The problems: HumanEval-Infilling (Bavarian et al. 2022, MIT, data beside its licence).

Owns: reading a suite, choosing which of its problems are used and in which order, and where
the cursor stands in them.

Invariant: pure but for reading the data. The choice depends on the suite, the limit and the
seed alone, and a smaller limit chooses from what a larger one does. A problem's prefix, middle
and suffix together are the same text in every situation.

Threads: any.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "data" / "human-eval-infilling"

SUITES = {
    "single-line": "HumanEval-SingleLineInfilling.jsonl.gz",
    "multi-line": "HumanEval-MultiLineInfilling.jsonl.gz",
    "random-span": "HumanEval-RandomSpanInfilling.jsonl.gz",
    "random-span-light": "HumanEval-RandomSpanInfillingLight.jsonl.gz",
}
LINE_SUITES = frozenset({"single-line", "multi-line"})


@dataclass(frozen=True, slots=True)
class Problem:
    """Fill `middle` between `prefix` and `suffix`; `test` defines `check(entry_point)`."""

    name: str
    prefix: str
    middle: str
    suffix: str
    entry_point: str = ""
    test: str = ""

    def program(self, middle: str) -> str:
        """The program that runs through if `middle` does what the test asks for."""
        filled = self.prefix + middle + self.suffix
        return f"{filled}\n{self.test}\ncheck({self.entry_point})\n"


def read(suite: str, limit: int | None, seed: int = 0) -> list[Problem]:
    """The first `limit` of the suite's problems, shuffled with `seed`.

    Those of one task follow each other: they share text, and a model that reads the prefix
    first has its KV still. Tasks come in the shuffled order, so that a part of the problems
    speaks for all.
    """
    with gzip.open(DATA / SUITES[suite], "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    place = {row["task_id"]: i for i, row in enumerate(rows)}
    random.Random(seed).shuffle(rows)
    problems = [
        Problem(
            name=row["task_id"],
            prefix=row["prompt"],
            middle=row["canonical_solution"],
            suffix=row["suffix"],
            entry_point=row["entry_point"],
            test=row["test"],
        )
        for row in rows[:limit]
    ]
    tasks = {task_of(problem.name): i for i, problem in reversed(list(enumerate(problems)))}
    return sorted(problems, key=lambda each: (tasks[task_of(each.name)], place[each.name]))


def task_of(name: str) -> str:
    """The HumanEval task that a problem was made from."""
    return "/".join(name.split("/")[1:3])


def with_indentation_typed(problem: Problem) -> Problem:
    """The problem as an editor leaves it: the line's indentation stands before the cursor."""
    problem = at_cursor(problem)
    bare = problem.middle.lstrip(" \t")
    indent = problem.middle[: len(problem.middle) - len(bare)]
    return replace(problem, prefix=problem.prefix + indent, middle=bare)


def at_cursor(problem: Problem) -> Problem:
    """The problem as a file with a line to be written: its line break stays in the file."""
    if not problem.middle.endswith("\n"):
        return problem
    return replace(problem, middle=problem.middle[:-1], suffix="\n" + problem.suffix)


def as_given(problem: Problem) -> Problem:
    """The problem as the suite has it."""
    return problem


TYPED, COLUMN_1, AS_GIVEN = "indentation typed", "cursor at column 1", "as given"
SITUATIONS: dict[str, Callable[[Problem], Problem]] = {
    TYPED: with_indentation_typed,
    COLUMN_1: at_cursor,
    AS_GIVEN: as_given,
}
CHOICES = {"typed": (TYPED,), "column-1": (COLUMN_1,), "both": (TYPED, COLUMN_1)}


def situations(suite: str, choice: str) -> tuple[str, ...]:
    """Which situations of a suite are run; those that remove no whole lines have only one."""
    return CHOICES[choice] if suite in LINE_SUITES else (AS_GIVEN,)
