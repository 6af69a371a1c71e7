"""What an answer at a hole is worth, and what snippets are worth over all holes.

Owns: the measures, the form of a row and of a summary.

Invariant: pure. An answer is compared by its first line, white space around it aside.

Threads: any.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.quality.paired import Paired, count, mcnemar
from benchmarks.quality.scoring import MAX_SHOWN_CHARS, first_line, share, similarity
from benchmarks.repository.gain import Pair, gain
from benchmarks.repository.holes import Hole
from benchmarks.repository.pipeline import Filled

_NAME = re.compile(r"[^\W\d]\w*")
Row = dict[str, Any]


def score(hole: Hole, filled: Filled) -> Row:
    """One hole's row in one situation."""
    got, expected = first_line(filled.text), first_line(hole.middle)
    return {
        "name": hole.name,
        "repository": hole.repository,
        "file": hole.path,
        "kind": hole.kind,
        "exact": got == expected,
        "similarity": similarity(got, expected),
        "identifiers": identifiers_f1(got, expected),
        "n_prompt": filled.n_prompt,
        "n_prefilled": filled.n_prompt - filled.n_cached,
        "n_snippets": filled.n_snippets,
        "has_definition": filled.has_definition,
        "reject": filled.reject,
        "got": filled.text[:MAX_SHOWN_CHARS],
        "expected": hole.middle,
    }


def identifiers_f1(got: str, expected: str) -> float:
    """How well the names of two lines agree: F1 over both as bags, as CrossCodeEval (2310.11248)
    does; 1 where neither has any."""
    found, wanted = Counter(_NAME.findall(got)), Counter(_NAME.findall(expected))
    n_all = found.total() + wanted.total()
    return round(2 * (found & wanted).total() / n_all, 3) if n_all else 1.0


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Shares and means of one situation."""
    n = len(rows)

    def mean(key: str) -> float | None:
        return round(sum(row[key] for row in rows) / n, 3) if n else None

    return {
        "n": n,
        "exact": share(sum(row["exact"] for row in rows), n),
        "mean_similarity": mean("similarity"),
        "mean_identifiers": mean("identifiers"),
        "mean_n_prompt": mean("n_prompt"),
        "mean_n_prefilled": mean("n_prefilled"),
        "mean_n_snippets": mean("n_snippets"),
        "has_definition": share(sum(row["has_definition"] for row in rows), n),
        "silent": share(sum(row["reject"] is not None for row in rows), n),
    }


def compared(before: Sequence[Row], after: Sequence[Row]) -> dict[str, Any]:
    """What changes from one situation to the other on the holes that both have."""
    first = {row["name"]: row for row in before}
    both = [(first[row["name"]], row) for row in after if row["name"] in first]
    exact = count(
        {a["name"]: a["exact"] for a, _ in both}, {b["name"]: b["exact"] for _, b in both}
    )
    return {
        "n": len(both),
        "exact": {**_gain(both, "exact"), **_counts(exact)},
        "similarity": _gain(both, "similarity"),
        "identifiers": _gain(both, "identifiers"),
        "n_prefilled": _gain(both, "n_prefilled"),
    }


def gains(before: Sequence[Row], after: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """What changes over all holes, over those of each kind, and over those whose definition was
    found."""
    kinds = sorted({row["kind"] for row in after})
    parts = {"all": list(after)}
    parts |= {kind: [row for row in after if row["kind"] == kind] for kind in kinds}
    parts["definition shown"] = [row for row in after if row["has_definition"]]
    return {name: compared(before, part) for name, part in parts.items()}


def _gain(both: Sequence[tuple[Row, Row]], key: str) -> dict[str, Any]:
    found = gain([Pair(a["file"], float(a[key]), float(b[key])) for a, b in both])
    return {name: round(value, 4) for name, value in asdict(found).items()}


def _counts(exact: Paired) -> dict[str, Any]:
    p = mcnemar(exact.only_a, exact.only_b)
    return {"only_before": exact.only_a, "only_after": exact.only_b, "mcnemar_p": round(p, 4)}
