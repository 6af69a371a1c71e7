"""One problem's row: how likely the model thought its text, and whether it was right.

Owns: where the cursor stands, and what counts as right.

Invariant: pure. Rows hold numbers and names of problems, no text. The score and what counts as
taken are the gate's own (`completion.confidence`, `completion.verdicts`).

Threads: any.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

from benchmarks.quality.problems import Problem, with_indentation_typed
from slm_lsp.completion.confidence import Certainty, first_line, n_visible
from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.verdicts import visible


def with_line_begun(problem: Problem) -> Problem:
    """The problem with a part of its first line typed; how much depends on its name alone."""
    problem = with_indentation_typed(problem)
    line = problem.middle.partition("\n")[0]
    n_typed = 1 + zlib.crc32(problem.name.encode()) % (len(line) - 1) if len(line) > 1 else 0
    prefix, middle = problem.prefix + line[:n_typed], problem.middle[n_typed:]
    return replace(problem, prefix=prefix, middle=middle)


def row_of(problem: Problem, outcome: Outcome) -> dict[str, Any]:
    """What is measured of one answer."""
    text = outcome.completion.text if outcome.completion else ""
    generation = outcome.generation
    certainty = Certainty.of(generation) if generation is not None else None
    row: dict[str, Any] = {"name": problem.name, "reject": outcome.reject, "score": None}
    if not text or certainty is None:
        return row
    said, expected = visible(first_line(text)), visible(first_line(problem.middle))
    n_same = n_alike(said, expected)
    return row | {
        "score": round(certainty.score(text), 4),
        "exact": said == expected,
        "taken": n_same == len(said) or 2 * n_same >= len(said),
        "n_right_chars": n_same,
        "n_chars": len(said),
    }


def n_alike(a: str, b: str) -> int:
    """How many characters two texts begin with alike."""
    different = (n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
    return next(different, min(len(a), len(b)))


def alternatives_row(problem: Problem, outcome: Outcome) -> dict[str, Any]:
    """Which of the texts shown is right, if one is."""
    expected = visible(first_line(problem.middle))
    said = [visible(first_line(each.text)) for each in outcome.texts]
    right = [n for n, each in enumerate(said) if each == expected]
    return {
        "name": problem.name,
        "n_texts": len(said),
        "right_at": right[0] if right else None,
        "n_visible": n_visible(outcome.texts[0].text) if said else 0,
    }
