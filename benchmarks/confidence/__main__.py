"""`python -m benchmarks.confidence --json FILE`: how good a judge of its own texts the model is.

Runs HumanEval-Infilling through the whole pipeline, the gate left out, and compares how likely
the model thought its lines with whether they were right: what each bar would show and lose. The
plot is drawn beside FILE; `--draw FILE` draws it again from a result.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.confidence import figures
from benchmarks.confidence.plots import plot
from benchmarks.confidence.sample import alternatives_row, row_of, with_line_begun
from benchmarks.quality.pipeline import Pipeline
from benchmarks.quality.problems import Problem, read, with_indentation_typed
from slm_lsp import __version__
from slm_lsp.cli import UsageError
from slm_lsp.completion.alternatives import N_MOST
from slm_lsp.config import Config
from slm_lsp.oneshot import obtain_with_bar
from slm_lsp.wiring import obtain

TICK_PROBLEMS = 20
SITUATIONS: dict[str, Callable[[Problem], Problem]] = {
    "empty line": with_indentation_typed,
    "line begun": with_line_begun,
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.confidence", description=__doc__)
    parser.add_argument("--limit", type=int, default=240, help="problems a situation")
    parser.add_argument("--alternatives", type=int, default=120, help="problems with alternatives")
    parser.add_argument("--model", default="", help="name or path (default: the default model)")
    parser.add_argument("--quantization", default="")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the result here, and the plot beside it")
    parser.add_argument("--draw", type=Path, metavar="FILE", help="only draw a result's plot")
    return parser.parse_args(arguments)


def collect(
    name: str, problems: Sequence[Problem], row: Callable[[Problem], dict[str, Any]]
) -> list[dict[str, Any]]:
    """A row for each problem."""
    rows = []
    for n, problem in enumerate(problems, 1):
        rows.append(row(problem))
        if n % TICK_PROBLEMS == 0 or n == len(problems):
            print(f"{name}: {n}/{len(problems)}", file=sys.stderr, flush=True)
    return rows


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The whole result. Raises UsageError."""
    config = replace(
        Config(),
        model=options.model,
        quantization=options.quantization,
        threads=options.threads,
        batch_threads=options.threads,
        max_block_lines=1,  # of a block, the first line is all that is judged
    )
    obtain_with_bar(config)
    result: dict[str, Any] = {
        "benchmark": "confidence",
        "slm_lsp": __version__,
        "model": obtain(config).path.name,
        "python": platform.python_version(),
        "situations": {},
    }
    with closing(Pipeline(config)) as pipeline:
        for name, place in SITUATIONS.items():
            problems = [place(each) for each in read("single-line", options.limit)]
            rows = collect(name, problems, lambda each: row_of(each, pipeline.outcome(each)))
            result["situations"][name] = {"summary": figures.summary(rows), "rows": rows}
        problems = [with_line_begun(each) for each in read("single-line", options.alternatives)]
        rows = collect(
            "alternatives",
            problems,
            lambda each: alternatives_row(each, pipeline.outcome(each, N_MOST)),
        )
        result["alternatives"] = {"summary": of_alternatives(rows), "rows": rows}
    return result


def of_alternatives(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Where the right line is among those shown."""
    n = len(rows)
    return {
        "n": n,
        "first_right": figures.share(sum(row["right_at"] == 0 for row in rows), n),
        "one_right": figures.share(sum(row["right_at"] is not None for row in rows), n),
        "mean_n_texts": figures.share(sum(row["n_texts"] for row in rows), n),
    }


def main() -> int:
    options = parse(None)
    if options.draw is not None:
        plot(json.loads(options.draw.read_text("utf-8")), options.draw.with_suffix(".svg"))
        return 0
    try:
        result = run(options)
    except UsageError as error:
        print(f"benchmarks.confidence: {error}", file=sys.stderr)
        return 2
    for name, situation in result["situations"].items():
        print(f"\n{name}: {situation['summary']['n_judged']} lines")
        print("\n".join(figures.table(situation["summary"])))
    print("\nalternatives:", json.dumps(result["alternatives"]["summary"]))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        plot(result, options.json.with_suffix(".svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
