"""The sections of a report that are about typed sessions, beside what was promised.

Owns: one function a section, and the goals that it is judged by.

Invariant: pure; a section of nothing is empty.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.latency.figures import coverage
from benchmarks.latency.quantiles import quantile
from benchmarks.latency.report import named, number, table

Result = Mapping[str, Any]

STEP_MARGIN_MS, MAX_OVERRUN_MS = 10.0, 100.0
WARM_GOAL = {"p50": 4, "p95": 16}
PAIRED_GOALS = {"answer_p50": 0.5, "answer_p95": 0.33, "cpu_s": 0.6}
COVERAGE_GOAL = 0.9
PATIENT = "llama.vim-unlimited"
OURS = "ours"


def _each(results: Sequence[Result]) -> Iterator[tuple[Result, str, Result]]:
    """Each policy of each result."""
    for result in results:
        for name, policy in result["policies"].items():
            yield result, name, policy


def _head(result: Result, name: str) -> list[str]:
    return [named(result), f"{result['budget_ms']:g}", name]


HEAD = ("Model", "Budget, ms", "Policy")


def overrun(typed: Sequence[Result]) -> str:
    """By how much answers come after the budget, against one decode step."""
    rows = []
    for result, name, policy in _each(typed):
        late = policy["summary"]["overrun_ms"]
        if name != OURS or late["p99"] is None:
            continue
        steps = [session["work"]["facts"].get("decode_ms") for session in policy["sessions"]]
        step_ms = quantile([step for step in steps if step], 0.5)
        limit_ms = None if step_ms is None else step_ms + STEP_MARGIN_MS
        held = None
        if limit_ms is not None:
            held = late["p99"] <= limit_ms and late["max"] <= MAX_OVERRUN_MS
        figures = [number(ms, 1) for ms in (late["p99"], limit_ms, late["max"])]
        n_judged = policy["summary"]["fates"]["not_overtaken"]["n"]
        rows.append([*_head(result, name), str(n_judged), *figures, verdict(held)])
    columns = ("Keys", "p99, ms", "a decode step + 10 ms", "max, ms (≤ 100)", "")
    return section((*HEAD, *columns), rows)


def fates(typed: Sequence[Result]) -> str:
    """Who was overtaken, and what the others got."""
    rows = []
    for result, name, policy in _each(typed):
        fate = policy["summary"]["fates"]
        cells = [_percent(fate["overtaken"])]
        for group in ("not_overtaken", "paused"):
            found = fate[group]
            times = " / ".join(number(found["answer_ms"][q]) for q in ("p50", "p95"))
            cells += [str(found["n"]), _percent(found["shown_within_budget"]), times]
        rows.append([*_head(result, name), *cells])
    columns = (
        "Overtaken before an answer",
        "Others",
        "with text in the budget",
        "answer p50 / p95, ms",
        "Left alone for the budget",
        "with text in the budget",
        "answer p50 / p95, ms",
    )
    note = (
        "A key is overtaken where the next comes before an answer and before the budget's end. "
        "The others have an answer or were left alone for the budget; the last three columns are "
        "of those left alone, answered or not.\n"
    )
    return section((*HEAD, *columns), rows, note)


def reading(typed: Sequence[Result]) -> str:
    """What the model reads for a key."""
    rows = []
    for result, name, policy in _each(typed):
        read = policy["summary"]["read_per_keystroke"]
        if not read["warm"]["n"]:
            continue
        held = all(read["warm"][q] <= goal for q, goal in WARM_GOAL.items())
        cells = [str(read["warm"]["n"]), _quantiles(read["warm"]), verdict(held)]
        cells += [_quantiles(read["settled"]), _quantiles(read["after_jump"])]
        rows.append([*_head(result, name), *cells])
    columns = ("Warm keys", "p50 / p95 / p99 (≤ 4 / 16)", "", "settled", "after a jump")
    note = (
        "All tokens that were read between a key and the next, whatever for: for cancelled "
        "requests and in the background, too. Warm keys go on in one place; settled are those of "
        "them before which that place had shown a text.\n"
    )
    return section((*HEAD, *columns), rows, note)


def paired(typed: Sequence[Result]) -> str:
    """Ours against the peer in the same sessions."""
    rows = []
    for result in typed:
        for peer, ratios in result["paired"].items():
            if peer == PATIENT:
                continue
            cells = []
            for name, goal in PAIRED_GOALS.items():
                ratio = ratios[name]
                found = result["pooled"][peer].get(name)
                if found:
                    sign = "> " if found["peer_is_bound"] else ""
                    ratio = found["ratio"]
                    cells.append(f"{number(found['ours'])} / {sign}{number(found['peer'])}")
                cells.append(number(ratios[name], 2))
                cells.append(verdict(None if ratio is None else ratio <= goal))
            rows.append([*_head(result, peer), *cells])
    columns = (
        "answer p50, ms",
        "ratio (≤ 0.5)",
        "",
        "answer p95, ms",
        "ratio (≤ 0.33)",
        "",
        "CPU ratio (≤ 0.6)",
        "",
    )
    note = (
        "Times over all keys, ours / the peer's; > where more of its keys were overtaken than "
        "that quantile leaves. Ratios are medians over the sessions. What is judged are the "
        "times over all keys, and the CPU's ratio.\n"
    )
    return section((*HEAD, *columns), rows, note)


def covered(typed: Sequence[Result]) -> str:
    """Of the keys at which there is something to show, those at which it is shown."""
    patient = {r["model"]: r["policies"][PATIENT] for r in typed if PATIENT in r["policies"]}
    rows = []
    for result, name, policy in _each(typed):
        if result["model"] not in patient or name == PATIENT or result.get("cold"):
            continue
        cells = []
        for overtaken in (True, False):
            shown, n_keys = coverage(
                policy["sessions"],
                patient[result["model"]]["sessions"],
                result["budget_ms"],
                overtaken=overtaken,
            )
            cells += [_percent(shown), str(n_keys)]
        rows.append([*_head(result, name), *cells])
    columns = (f"of all (≥ {COVERAGE_GOAL:.0%})", "keys", "of those not overtaken", "keys")
    note = (
        "Of the keys at which the peer without a time limit shows a text, those at which text is "
        "shown within the budget. At fast pace each key waits for its answer.\n"
    )
    return section((*HEAD, *columns), rows, note)


def section(columns: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> str:
    """A table and what its columns mean; empty where nothing was measured."""
    return table(columns, rows) + (f"\n{note}" if note else "") if rows else ""


def _quantiles(figures: Result) -> str:
    return " / ".join(number(figures[q]) for q in ("p50", "p95", "p99"))


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.0f} %"


def verdict(held: bool | None) -> str:
    """Whether a goal was reached; None where that is not known."""
    return "–" if held is None else "held" if held else "missed"
