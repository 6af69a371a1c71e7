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

COLUMNS = (
    "Model",
    "Budget, ms",
    "Policy",
    "Key to answer p50 / p95 / p99, ms",
    "Text within 100 / 250 / 500 ms",
    "Overrun p99 / max, ms",
    "Tokens read a warm key p50 / p95",
    "Steps a shown character",
    "CPU-s a session",
    "Memory, MB",
)


def main_table(results: Sequence[Mapping[str, Any]]) -> str:
    """All results as one table: a row for each policy of each result."""
    return table(COLUMNS, [cells for result in results for cells in _rows(result)])


def _rows(result: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, policy in result["policies"].items():
        figures = policy["summary"]
        answer, within = figures["answer_censored_ms"], figures["shown_within"]
        read = figures["read_per_keystroke"]["warm"]
        yield [
            named(result),
            f"{result['budget_ms']:g}",
            name,
            " / ".join(number(answer[q]) for q in ("p50", "p95", "p99")),
            " / ".join(f"{within[limit] * 100:.0f} %" for limit in ("100", "250", "500")),
            " / ".join(number(figures["overrun_ms"][q]) for q in ("p99", "max")),
            " / ".join(number(read[q]) for q in ("p50", "p95")),
            number(figures["decode_steps_per_shown_char"], 2),
            number(figures["cpu_s_per_session"], 1),
            number(policy["memory"]["rss_mb"]),
        ]


def named(result: Mapping[str, Any]) -> str:
    """The model, and how the sessions were typed where that is not the usual way."""
    ways = [" cold"] if result.get("cold") else []
    ways += [" fast"] if result.get("pace") == "fast" else []
    return ",".join([result["model"], *ways])


def number(value: float | None, digits: int = 0) -> str:
    """A figure; an en dash where too few keys were answered to know it."""
    return "–" if value is None else f"{value:,.{digits}f}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "".join(_row(cells) for cells in (columns, ["---"] * len(columns), *rows))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency.report")
    parser.add_argument("results", type=Path, nargs="+")
    options = parser.parse_args()
    results = [json.loads(path.read_text(encoding="utf-8")) for path in options.results]
    sys.stdout.write(main_table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
