"""`python -m benchmarks.quality.compare A.json B.json`: is B better than A, on the same problems?

Owns: reading results (finished ones, and the rows of a run under way), and how they are shown.
With `--table`, any number of results as one Markdown table.

Invariant: only problems that both results have are compared, suite and situation alike. What
is shown is made from the rows, not from a result's own summary.

Threads: one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.quality.journal import Row, read_rows
from benchmarks.quality.paired import count, interval, mcnemar
from benchmarks.quality.scoring import summary

MEASURES = {"exact_line": "first line exact", "passed": "pass@1"}
COLUMNS = ("pass_at_1", "exact_line", "exact_middle", "closed")
HEAD = (
    "| model | suite | cursor | n | pass@1 | first line exact | whole middle exact | closed |\n"
    "|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True, slots=True)
class Result:
    """One run: what it was, and its rows by situation."""

    run: dict[str, Any]
    rows: dict[str, list[Row]]

    @property
    def label(self) -> str:
        """The model, and the mode where that is not the bare model."""
        mode = self.run.get("mode", "pipeline")
        return f"{self.run['model']}{'' if mode == 'bare' else f' ({mode})'}"


def load(path: Path) -> Result:
    """A result, or the rows that a run under way has written so far (`.jsonl`)."""
    rows: dict[str, list[Row]] = {}
    if path.suffix == ".jsonl":
        run, listed = read_rows(path)
        for row in listed:
            rows.setdefault(row["situation"], []).append(row)
        return Result(run or {}, rows)
    run = json.loads(path.read_text(encoding="utf-8"))
    return Result(run, {name: each["problems"] for name, each in run["situations"].items()})


def comparison(a: Result, b: Result, situation: str) -> Iterator[str]:
    """Lines that say how B differs from A."""
    for key, name in MEASURES.items():
        in_a = {row["name"]: bool(row[key]) for row in a.rows[situation]}
        in_b = {row["name"]: bool(row[key]) for row in b.rows[situation]}
        found = count(in_a, in_b)
        low, high = interval(in_a, in_b)
        yield (
            f"{situation}, {name}: n {found.n}, both {found.both}, only A {found.only_a}, "
            f"only B {found.only_b}, neither {found.neither}; B - A = {found.points:+.1f} points "
            f"(95 %: {low:+.1f} to {high:+.1f}), McNemar p = "
            f"{mcnemar(found.only_a, found.only_b):.2g}"
        )


def table(results: Sequence[Result], situation: str | None) -> Iterator[str]:
    """Lines of a Markdown table, one row a result and situation."""
    yield HEAD
    for result in results:
        for name, rows in result.rows.items():
            if situation not in (None, name):
                continue
            whole = summary(rows)
            shares = " | ".join(_share(whole[column]) for column in COLUMNS)
            yield f"| {result.label} | {result.run['suite']} | {name} | {whole['n']} | {shares} |"


def _share(found: dict[str, Any]) -> str:
    low, high = found["percent_95"]
    return f"{found['percent']} % ({low} to {high})"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.compare", description=__doc__
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--situation", help="only this one (default: all that the files share)")
    parser.add_argument("--table", action="store_true", help="a Markdown table of all files")
    options = parser.parse_args(arguments)
    results = [load(path) for path in options.files]
    if options.table:
        print("\n".join(table(results, options.situation)))
        return 0
    if len(results) != 2:
        parser.error("two files are compared; several make a --table")
    a, b = results
    if a.run["suite"] != b.run["suite"]:
        parser.error(f"{a.run['suite']} and {b.run['suite']} are different suites")
    shared = [name for name in a.rows if name in b.rows and options.situation in (None, name)]
    if not shared:
        parser.error("the files share no such situation")
    print(f"{a.run['suite']}; A: {a.label}; B: {b.label}")
    for situation in shared:
        print("\n".join(comparison(a, b, situation)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
