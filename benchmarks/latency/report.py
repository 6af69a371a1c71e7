"""`python -m benchmarks.latency.report RESULT.json …`: the README's table of the results.

Owns: which figures the table shows, and how they are written.

Invariant: pure but for reading the files named; prints Markdown on stdout.

Threads: the main thread.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.latency.figures import coverage

COLUMNS = (
    "Model",
    "Budget, ms",
    "Policy",
    "Key to answer p50 / p95 / p99, ms",
    "Text within 100 / 250 / 500 ms",
    "Overrun p99 / max, ms",
    "Tokens read a key p50 / p95",
    "Steps a shown character",
    "CPU-s a session",
    "Memory, MB",
)


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """All results as one table: a row for each policy of each result."""
    lines = [_row(COLUMNS), _row(["---"] * len(COLUMNS))]
    for result in results:
        lines.extend(_row(cells) for cells in _rows(result))
    return "\n".join(lines) + "\n"


def _covered(result: Mapping[str, Any], patient: Sequence[Mapping[str, Any]]) -> str:
    """How many of the keys at which something could be shown each policy shows something at."""
    shares = {
        name: coverage(policy["sessions"], patient, result["budget_ms"])
        for name, policy in result["policies"].items()
    }
    return f"{result['model']}, {result['budget_ms']:g} ms, of keys with a text: {shares}\n"


def _rows(result: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, policy in result["policies"].items():
        figures = policy["summary"]
        answer, within = figures["answer_censored_ms"], figures["shown_within"]
        read = figures["prefilled_per_keystroke"]
        yield [
            result["model"],
            f"{result['budget_ms']:g}",
            name,
            " / ".join(_number(answer[q]) for q in ("p50", "p95", "p99")),
            " / ".join(f"{within[limit] * 100:.0f} %" for limit in ("100", "250", "500")),
            " / ".join(_number(figures["overrun_ms"][q]) for q in ("p99", "max")),
            " / ".join(_number(read[q]) for q in ("p50", "p95")),
            _number(figures["decode_steps_per_shown_char"], 2),
            _number(figures["cpu_s_per_session"], 1),
            _number(policy["memory"]["rss_mb"]),
        ]


def _number(value: float | None, digits: int = 0) -> str:
    """A figure; an en dash where too few keys were answered to know it."""
    return "–" if value is None else f"{value:,.{digits}f}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency.report")
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--unlimited", type=Path, help="result of the policy llama.vim-unlimited")
    options = parser.parse_args()
    results = [json.loads(path.read_text(encoding="utf-8")) for path in options.results]
    sys.stdout.write(table(results))
    if options.unlimited:
        unlimited = json.loads(options.unlimited.read_text(encoding="utf-8"))
        (patient,) = unlimited["policies"].values()
        for result in results:
            sys.stdout.write(_covered(result, patient["sessions"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
