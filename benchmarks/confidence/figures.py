"""What rows say together: how well the score tells right from wrong, and what a bar costs.

Owns: the figures and the tables made of them.

Invariant: pure; made from rows alone, so that they can be made again.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from slm_lsp.completion.bar import EDGES, Evidence

Row = dict[str, Any]


def judged(rows: Sequence[Row]) -> list[Row]:
    """The rows with a text whose score is known."""
    return [row for row in rows if row["score"] is not None]


def auc(rows: Sequence[Row], key: str) -> float | None:
    """How often a right text has a higher score than a wrong one (area under the ROC curve)."""
    right = [row["score"] for row in rows if row[key]]
    wrong = [row["score"] for row in rows if not row[key]]
    if not right or not wrong:
        return None
    wins = float(sum((a > b) + 0.5 * (a == b) for a in right for b in wrong))
    return round(wins / (len(right) * len(wrong)), 3)


def roc(rows: Sequence[Row], key: str) -> list[tuple[float, float]]:
    """Of wrong texts and of right ones the shares that are shown, for every bar."""
    ordered = sorted(rows, key=lambda row: -row["score"])
    n_right = sum(bool(row[key]) for row in rows) or 1
    n_wrong = len(rows) - n_right or 1
    points, right, wrong = [(0.0, 0.0)], 0, 0
    for row in ordered:
        right, wrong = right + bool(row[key]), wrong + (not row[key])
        points.append((wrong / n_wrong, right / n_right))
    return points


def at_bar(rows: Sequence[Row], bar: float) -> Row:
    """What is shown with a bar, how much of it is right, and how much of what is right is lost."""
    shown = [row for row in rows if row["score"] >= bar]
    hidden = [row for row in rows if row["score"] < bar]
    found: Row = {"bar": bar, "shown": share(len(shown), len(rows))}
    for key in ("exact", "taken"):
        n_right = sum(row[key] for row in rows)
        found[key] = share(sum(row[key] for row in shown), len(shown))
        found[f"{key}_hidden"] = share(sum(row[key] for row in hidden), len(hidden))
        found[f"{key}_lost"] = share(sum(row[key] for row in hidden), n_right)
    return found


def by_score(rows: Sequence[Row]) -> list[Row]:
    """The share that is right at each score that the gate tells apart."""
    found = []
    for low, high in bounds_of(EDGES):
        of_it = [row for row in rows if low <= row["score"] < high]
        found.append(
            {
                "from": None if low == float("-inf") else low,
                "n": len(of_it),
                "exact": share(sum(row["exact"] for row in of_it), len(of_it)),
                "taken": share(sum(row["taken"] for row in of_it), len(of_it)),
            }
        )
    return found


def bounds_of(edges: Sequence[float]) -> Iterator[tuple[float, float]]:
    """The ranges between edges."""
    return pairwise([float("-inf"), *edges, float("inf")])


def share(n: float, of: float) -> float | None:
    return round(n / of, 4) if of else None


def summary(rows: Sequence[Row]) -> Row:
    """All figures of one situation."""
    of_all = judged(rows)
    bars = sorted({*EDGES, Evidence().bar()})
    return {
        "n": len(rows),
        "n_judged": len(of_all),
        "auc_exact": auc(of_all, "exact"),
        "auc_taken": auc(of_all, "taken"),
        "by_score": by_score(of_all),
        "bars": [at_bar(of_all, bar) for bar in bars],
    }


def table(found: Row) -> Iterator[str]:
    """Lines of a Markdown table: what each bar shows and loses."""
    yield "| bar | shown | of it exact | of it taken | exact lines lost | taken lost |"
    yield "|---|---|---|---|---|---|"
    for each in found["bars"]:
        cells = (each[key] for key in ("shown", "exact", "taken", "exact_lost", "taken_lost"))
        shares = " | ".join("-" if cell is None else f"{100 * cell:.0f} %" for cell in cells)
        is_default = each["bar"] == Evidence().bar()
        yield f"| {each['bar']:g}{' (default)' if is_default else ''} | {shares} |"
