"""`python -m benchmarks.quality`: how often a completion is exactly right.

Runs the whole pipeline (context, prompt, engine, post-processing) on HumanEval-Infilling,
greedy and without time pressure, once with the line's indentation already typed, as editors
do it, and once with the cursor at the start of an empty line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import platform
import sys
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from benchmarks.quality.problems import SUITES, Problem, at_cursor, read, with_indentation_typed
from slm_lsp import __version__
from slm_lsp.completion.completer import Completer, Outcome
from slm_lsp.config import Config
from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.oneshot import obtain_with_bar, ready_engine
from slm_lsp.types import CompletionRequest, DocumentSnapshot, Trigger
from slm_lsp.wiring import obtain

BUDGET_MS = 60_000.0
SITUATIONS = ("indentation typed", "cursor at column 1")


def wilson(n_hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    z, p = 1.96, n_hits / n
    centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)


def first_line(text: str) -> str:
    """The first line that is not blank, stripped."""
    return next((line.strip() for line in text.split("\n") if line.strip()), "")


def score(problem: Problem, outcome: Outcome) -> dict[str, Any]:
    """One problem's result."""
    text = outcome.completion.text if outcome.completion else ""
    raw = outcome.generation.text if outcome.generation else ""
    expected, got = first_line(problem.middle), first_line(text)
    return {
        "name": problem.name,
        "exact": got == expected,
        "exact_before_filters": first_line(raw) == expected,
        "exact_middle": text.strip() == problem.middle.strip(),
        "similarity": round(SequenceMatcher(None, got, expected, autojunk=False).ratio(), 3),
        "reject": outcome.reject,
        "finish": outcome.generation.finish if outcome.generation else None,
        "n_prompt": outcome.generation.n_prompt if outcome.generation else 0,
        "n_predicted": outcome.generation.n_predicted if outcome.generation else 0,
        "got": got,
        "expected": expected,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares over all problems."""
    n = len(rows)
    n_exact = sum(row["exact"] for row in rows)
    low, high = wilson(n_exact, n)
    return {
        "n": n,
        "n_exact": n_exact,
        "exact_percent": round(100 * n_exact / n, 1),
        "exact_percent_95": [round(100 * low, 1), round(100 * high, 1)],
        "exact_before_filters_percent": _percent(rows, "exact_before_filters"),
        "exact_middle_percent": _percent(rows, "exact_middle"),
        "mean_similarity": round(sum(row["similarity"] for row in rows) / n, 3),
        "silent_percent": round(100 * sum(row["reject"] is not None for row in rows) / n, 1),
    }


def _percent(rows: list[dict[str, Any]], key: str) -> float:
    return round(100 * sum(bool(row[key]) for row in rows) / len(rows), 1)


async def run(config: Config, problems: list[Problem], situation: str) -> list[dict[str, Any]]:
    """Every problem through one completer."""
    engine = await ready_engine(config)
    completer = Completer(engine, config)
    rows = []
    for i, problem in enumerate(problems):
        prefix, suffix = problem.prefix, problem.suffix
        outcome = await completer.complete(
            CompletionRequest(
                session=problem.name,
                snapshot=DocumentSnapshot(f"file:///{i}.py", i, "python", prefix + suffix),
                offset=len(prefix),
                trigger=Trigger.INVOKED,
                deadline=Deadline.after(BUDGET_MS),
                cancel=CancelToken(),
            )
        )
        rows.append(score(problem, outcome))
        _tick(situation, rows, len(problems))
    completer.close()
    engine.close()
    return rows


def _tick(situation: str, rows: list[dict[str, Any]], n: int) -> None:
    if len(rows) % 10 == 0 or len(rows) == n:
        n_exact = sum(row["exact"] for row in rows)
        print(f"{situation}: {len(rows)}/{n}, {n_exact} exact", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--suite", choices=sorted(SUITES), default="single-line")
    parser.add_argument("--limit", type=int, help="how many problems (default: all)")
    parser.add_argument("--model", default="", help="name or path (default: the default model)")
    parser.add_argument("--quantization", default="")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    config = replace(Config(), model=options.model, quantization=options.quantization)
    obtain_with_bar(config)
    chosen = [at_cursor(problem) for problem in read(options.suite, options.limit)]
    typed = [with_indentation_typed(problem) for problem in chosen]
    result: dict[str, Any] = {
        "benchmark": "quality",
        "suite": options.suite,
        "slm_lsp": __version__,
        "model": obtain(config).path.name,
        "python": platform.python_version(),
        "situations": {},
    }
    for situation, problems in zip(SITUATIONS, (typed, chosen), strict=True):
        rows = asyncio.run(run(config, problems, situation))
        result["situations"][situation] = {"summary": summary(rows), "problems": rows}
        print(situation, json.dumps(summary(rows)))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
