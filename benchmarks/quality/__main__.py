"""`python -m benchmarks.quality`: how often a model fills in what is missing.

Runs HumanEval-Infilling, greedy and without time pressure: the bare model on this project's
prompt, or (`--pipeline`) everything up to what a user would be shown. With `--json FILE` a
run that was stopped goes on where it was: its rows are in FILE.partial.jsonl.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from benchmarks.quality.bare import BareModel
from benchmarks.quality.journal import Journal, OtherRun
from benchmarks.quality.pipeline import Pipeline
from benchmarks.quality.problems import CHOICES, SITUATIONS, SUITES, Problem, read, situations
from benchmarks.quality.sandbox import Sandbox
from benchmarks.quality.scoring import Answer, score, summary
from slm_lsp import __version__
from slm_lsp.cli import UsageError
from slm_lsp.config import Config
from slm_lsp.engine.base import ModelLoadError
from slm_lsp.oneshot import obtain_with_bar
from slm_lsp.wiring import obtain

TICK_PROBLEMS = 20


class Source(Protocol):
    """Where answers come from."""

    def answer(self, problem: Problem) -> Answer: ...

    def close(self) -> None: ...


class Judge(Protocol):
    """Says whether a program does what it should."""

    def verdict(self, program: str) -> str: ...


def answer_all(
    source: Source, judge: Judge, journal: Journal, situation: str, problems: Sequence[Problem]
) -> list[dict[str, Any]]:
    """A row for each problem; those that the journal has are not asked for again."""
    rows: list[dict[str, Any]] = []
    for problem in problems:
        row = journal.row(situation, problem.name)
        if row is None:
            started_s = time.monotonic()
            answer = source.answer(problem)
            verdict = judge.verdict(problem.program(answer.text))
            row = score(problem, answer, verdict, 1e3 * (time.monotonic() - started_s))
            journal.add(situation, row)
        rows.append(row)
        if len(rows) % TICK_PROBLEMS == 0 or len(rows) == len(problems):
            _tick(situation, rows, len(problems))
    return rows


def _tick(situation: str, rows: list[dict[str, Any]], n: int) -> None:
    n_exact = sum(row["exact_line"] for row in rows)
    n_passed = sum(row["passed"] for row in rows)
    said = f"{situation}: {len(rows)}/{n}, {n_exact} exact lines, {n_passed} passed"
    print(said, file=sys.stderr, flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--suite", choices=sorted(SUITES), default="single-line")
    parser.add_argument("--limit", type=int, help="how many problems (default: all)")
    parser.add_argument("--situation", choices=sorted(CHOICES), default="both")
    parser.add_argument("--model", default="", help="name or path (default: the default model)")
    parser.add_argument("--quantization", default="")
    parser.add_argument("--pipeline", action="store_true", help="with all filters, as shown")
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args(arguments)


def describe(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """What a run is: rows of runs that differ in any of it do not belong together."""
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "benchmark": "quality",
        "suite": options.suite,
        "mode": "pipeline" if options.pipeline else "bare",
        "slm_lsp": __version__,
        "model": model.name,
        "sha256": digest,
        "python": platform.python_version(),
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The whole result. Raises UsageError, ModelLoadError or OtherRun."""
    config = replace(Config(), model=options.model, quantization=options.quantization)
    obtain_with_bar(config)
    result = describe(options, obtain(config).path)
    partial = Path(f"{options.json}.partial.jsonl") if options.json else None
    journal = Journal(partial, result)
    problems = read(options.suite, options.limit)
    source: Source
    if options.pipeline:
        source = Pipeline(config)
    else:
        source = BareModel.load(config, single_line=options.suite == "single-line")
    result = {**result, "situations": {}}
    with closing(source), Sandbox() as sandbox:
        for name in situations(options.suite, options.situation):
            placed = [SITUATIONS[name](problem) for problem in problems]
            rows = answer_all(source, sandbox, journal, name, placed)
            result["situations"][name] = {"summary": summary(rows), "problems": rows}
            print(name, json.dumps(summary(rows)), flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    journal.remove()
    return result


def main() -> int:
    try:
        run(parse(None))
    except (UsageError, ModelLoadError, OtherRun) as error:
        print(f"benchmarks.quality: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
