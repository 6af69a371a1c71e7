"""The problems: HumanEval-Infilling (Bavarian et al. 2022, MIT, data beside its licence).

Owns: reading a suite and choosing which of its problems are used.

Invariant: the choice depends on the suite, the limit and the seed alone.
"""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "data" / "human-eval-infilling"

SUITES = {
    "single-line": "HumanEval-SingleLineInfilling.jsonl.gz",
    "multi-line": "HumanEval-MultiLineInfilling.jsonl.gz",
    "random-span": "HumanEval-RandomSpanInfilling.jsonl.gz",
    "random-span-light": "HumanEval-RandomSpanInfillingLight.jsonl.gz",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Fill `middle` between `prefix` and `suffix`."""

    name: str
    prefix: str
    middle: str
    suffix: str


def read(suite: str, limit: int | None, seed: int = 0) -> list[Problem]:
    """The suite's problems, shuffled with `seed`; the first `limit` of them."""
    with gzip.open(DATA / SUITES[suite], "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    random.Random(seed).shuffle(rows)
    return [
        Problem(row["task_id"], row["prompt"], row["canonical_solution"], row["suffix"])
        for row in rows[:limit]
    ]


def with_indentation_typed(problem: Problem) -> Problem:
    """The problem as an editor leaves it: the line's indentation stands before the cursor."""
    bare = problem.middle.lstrip(" \t")
    indent = problem.middle[: len(problem.middle) - len(bare)]
    return Problem(problem.name, problem.prefix + indent, bare, problem.suffix)


def at_cursor(problem: Problem) -> Problem:
    """The problem as a file with a line to be written: its line break stays in the file."""
    if not problem.middle.endswith("\n"):
        return problem
    return Problem(problem.name, problem.prefix, problem.middle[:-1], "\n" + problem.suffix)
