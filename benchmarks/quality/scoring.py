"""What an answer to a problem is worth, and what many of them say together.

Owns: the measures and the form of a row and of a summary.

Invariant: pure. Exact match looks at what would be inserted, never at what it means; whether it
does what the tests ask for is the sandbox's verdict.

Threads: any.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from benchmarks.quality.problems import Problem
from benchmarks.quality.sandbox_worker import PASSED

MAX_SHOWN_CHARS = 2000
Z_95 = 1.959964
# The shares of a summary: the row's key, and its name there.
SHARES = {
    "passed": "pass_at_1",
    "exact_line": "exact_line",
    "exact_middle": "exact_middle",
    "closed": "closed",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What would be inserted at the cursor; `finish` says why it ends there.

    `unfiltered` is what the model wrote where filters stood in between, and `reject` why
    they let nothing through.
    """

    text: str
    finish: str | None
    n_prompt: int = 0
    n_predicted: int = 0
    reject: str | None = None
    unfiltered: str | None = None


def first_line(text: str) -> str:
    """The first line that is not blank, stripped."""
    return next((line.strip() for line in text.split("\n") if line.strip()), "")


def similarity(got: str, expected: str) -> float:
    """Of two texts, 0 to 1: twice the characters that match over all characters."""
    return round(SequenceMatcher(None, got, expected, autojunk=False).ratio(), 3)


def score(problem: Problem, answer: Answer, verdict: str, wall_ms: float) -> dict[str, Any]:
    """One problem's row."""
    got, expected = answer.text, problem.middle
    line, expected_line = first_line(got), first_line(expected)
    row = {
        "name": problem.name,
        "exact_line": line == expected_line,
        "exact_middle": got.rstrip() == expected.rstrip(),
        "similarity_line": similarity(line, expected_line),
        "similarity_middle": similarity(got.rstrip(), expected.rstrip()),
        "passed": verdict == PASSED,
        "verdict": verdict,
        "closed": answer.finish == "eos",
        "finish": answer.finish,
        "n_prompt": answer.n_prompt,
        "n_predicted": answer.n_predicted,
        "wall_ms": round(wall_ms),
        "got": got[:MAX_SHOWN_CHARS],
        "expected": expected[:MAX_SHOWN_CHARS],
    }
    if answer.unfiltered is not None:
        row["exact_line_unfiltered"] = first_line(answer.unfiltered) == expected_line
        row["reject"] = answer.reject
    return row


def wilson(n_hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    z, p = Z_95, n_hits / n
    centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)


def share(n_hits: int, n: int) -> dict[str, Any]:
    """A share in percent, with its interval."""
    return {
        "n": n_hits,
        "percent": round(100 * n_hits / n, 1) if n else None,
        "percent_95": [round(100 * bound, 1) for bound in wilson(n_hits, n)],
    }


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares and means over all rows."""
    n = len(rows)
    found: dict[str, Any] = {"n": n}
    for key, name in SHARES.items():
        found[name] = share(sum(row[key] for row in rows), n)
    for key in ("similarity_line", "similarity_middle", "n_prompt", "n_predicted"):
        found[f"mean_{key}"] = round(sum(row[key] for row in rows) / n, 3) if n else None
    found["wall_s"] = round(sum(row["wall_ms"] for row in rows) / 1e3, 1)
    if any("reject" in row for row in rows):
        unfiltered = sum(row["exact_line_unfiltered"] for row in rows)
        found["exact_line_unfiltered"] = share(unfiltered, n)
        found["silent"] = share(sum(row["reject"] is not None for row in rows), n)
    return found
