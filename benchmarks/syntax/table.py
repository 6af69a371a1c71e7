"""Counting the rows, and saying them.

Owns: the figures of a language and of all, the table, and the list of offenders.

Invariant: pure; no text of a file is in a row.

Threads: any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
ALL = "all"
COLUMNS = ("asked", "shown", "added", "unfinished", "below", "indent", "cut", "closed", "dropped")


def summary(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """The figures of each language and of all."""
    languages = dict.fromkeys(row["name"].partition("/")[0] for row in rows)
    found = {
        name: [row for row in rows if row["name"].startswith(f"{name}/")] for name in languages
    }
    return {name: _figures(each) for name, each in {**found, ALL: list(rows)}.items()}


def _figures(rows: Sequence[Row]) -> dict[str, Any]:
    shown = [row for row in rows if row["n_chars"]]
    states = Counter(row["syntax"] for row in rows)
    n_added = sum(row["added"] for row in shown)
    n_unfinished = sum(row["unfinished"] for row in shown)
    times_ms = sorted(row["syntax_ms"] for row in rows if row["syntax_ms"])
    return {
        "asked": len(rows),
        "shown": len(shown),
        "added": n_added,
        "unfinished": n_unfinished,
        "broken": n_added - n_unfinished,
        "sound_share": round(1 - (n_added - n_unfinished) / len(shown), 4) if shown else None,
        "sound_share_strict": round(1 - n_added / len(shown), 4) if shown else None,
        "below": sum(row["repeats_below"] for row in shown),
        "indent": sum(bool(row["misplaced"]) for row in shown),
        "exact": sum(row["exact"] for row in shown),
        **{state: states[state] for state in ("ok", "cut", "closed", "dropped", "unchecked")},
        "syntax_ms_p50": times_ms[len(times_ms) // 2] if times_ms else None,
        "syntax_ms_p99": times_ms[len(times_ms) * 99 // 100] if times_ms else None,
    }


def table(figures: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """All figures as text; `added`, and so what is sound, counts the unfinished too."""
    lines = [
        f"{'gate':5}{'language':12}" + "".join(f"{each:>11}" for each in COLUMNS) + "      sound"
    ]
    for mode, languages in figures.items():
        for name, each in languages.items():
            numbers = "".join(f"{each[column]:>11}" for column in COLUMNS)
            strict = each["sound_share_strict"]
            share = f"{100 * strict:.2f} %" if strict is not None else "-"
            lines.append(f"{mode:5}{name:12}{numbers}{share:>11}")
    return "\n".join(lines)


def offenders(mode: str, rows: Sequence[Row]) -> Iterator[str]:
    """A line for each completion that broke something."""
    for row in rows:
        if not row["n_chars"]:
            continue
        wrong = [name for name in ("repeats_below", "misplaced") if row[name]]
        if row["added"]:
            goes_on = ", unfinished" if row["unfinished"] else ""
            wrong.insert(0, f"errors {row['n_before']} -> {row['n_after']}{goes_on}")
        if wrong:
            yield (
                f"{mode} {row['name']} {row['path']}@{row['offset']} {row['kind']} "
                f"{row['want']} {row['syntax']}: {', '.join(wrong)}"
            )
