"""Figures of recorded sessions: quantiles, shares, ratios.

Owns: what each reported number means.

Invariant: pure. Quantiles are of the nearest rank, so that each is a value that was measured.

Threads: any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

WITHIN_MS = (100.0, 250.0, 500.0)
QUANTILES = (0.5, 0.95, 0.99)

Record = Mapping[str, Any]


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values do not exceed (nearest rank)."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def product_limit(events: Sequence[tuple[float, bool]], share: float) -> float | None:
    """The quantile of times of which some are only known to be longer (Kaplan and Meier 1958).

    Each event is a time and whether it ended there (True) or was cut off (False). None where
    more than 1 - share of the distribution lies beyond what was observed.
    """
    left, n_left = 1.0, len(events)
    # At the same time, what ended comes before what was cut off.
    for time_ms, ended in sorted(events, key=lambda event: (event[0], not event[1])):
        if ended:
            left *= 1.0 - 1.0 / n_left
            if 1.0 - left >= share - 1e-12:
                return time_ms
        n_left -= 1
    return None


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """p50, p95, p99 and the largest."""
    row: dict[str, float | None] = {
        f"p{share * 100:g}": _rounded(quantile(values, share)) for share in QUANTILES
    }
    row["max"] = _rounded(max(values, default=None))
    return row


def summary(sessions: Sequence[Mapping[str, Any]], budget_ms: float) -> dict[str, Any]:
    """All figures of one policy's sessions.

    `answer_ms` are times to any answer, of the keys that were answered before the next key
    came; in `answer_censored_ms` the others count as answered later than that. `shown_within`
    are shares of all keys. Overrun is what an answer took longer than the budget.
    """
    records = [record for session in sessions for record in session["records"]]
    asked = [record for record in records if record["asked"]]
    answered = [record["answer_ms"] for record in asked if record["answer_ms"] is not None]
    shown = [record["shown_ms"] for record in records if record["shown_ms"] is not None]
    works = [session["work"] for session in sessions]
    each = [tokens for work in works for tokens in work["prefilled_each"]]
    n_new_chars = sum(record["n_new_chars"] for record in records)
    overrun = spread([max(0.0, answer - budget_ms) for answer in answered])
    n_sessions, n_records = max(1, len(sessions)), max(1, len(records))
    return {
        "n_sessions": len(sessions),
        "n_keystrokes": len(records),
        "n_asked": len(asked),
        "n_answered": len(answered),
        "n_shown": len(shown),
        "n_accepted_chars": sum(session["n_accepted_chars"] for session in sessions),
        "answer_ms": spread(answered),
        "answer_censored_ms": censored(asked),
        "shown_ms": spread(shown),
        "shown_within": {
            f"{limit:g}": round(sum(ms <= limit for ms in shown) / n_records, 4)
            for limit in WITHIN_MS
        },
        "overrun_ms": {"p99": overrun["p99"], "max": overrun["max"]},
        "prefilled_per_keystroke": {
            "p50": quantile(each, 0.5),
            "p95": quantile(each, 0.95),
            "all_work": round(sum(work["n_prefilled"] for work in works) / n_records, 2),
        },
        "decode_steps_per_shown_char": _ratio(
            sum(work["n_decoded"] for work in works), n_new_chars
        ),
        "cpu_s_per_session": round(sum(s["cpu_s"] for s in sessions) / n_sessions, 3),
    }


def censored(asked: Sequence[Record]) -> dict[str, float | None]:
    """Quantiles of the time to an answer, with the unanswered cut off at the next key."""
    events = [
        (record["open_ms"], False) if record["answer_ms"] is None else (record["answer_ms"], True)
        for record in asked
    ]
    return {f"p{share * 100:g}": _rounded(product_limit(events, share)) for share in QUANTILES}


def coverage(
    ours: Sequence[Mapping[str, Any]], patient: Sequence[Mapping[str, Any]], limit_ms: float
) -> float | None:
    """Of the keys at which a policy without time limit shows something, the share at which
    ours does within the limit. Keys are told by session and place; both must have them."""
    at = [_by_place(ours), _by_place(patient)]
    both = [place for place in at[1] if place in at[0] and at[1][place] is not None]
    if not both:
        return None
    times = [at[0][place] for place in both]
    return round(sum(ms is not None and ms <= limit_ms for ms in times) / len(both), 4)


def _by_place(sessions: Sequence[Mapping[str, Any]]) -> dict[tuple[int, int], float | None]:
    """When each typed key showed something."""
    return {
        (session["number"], record["place"]): record["shown_ms"]
        for session in sessions
        for record in session["records"]
        if record["kind"] == "type"
    }


def paired(
    ours: Sequence[Mapping[str, Any]], peer: Sequence[Mapping[str, Any]], budget_ms: float
) -> dict[str, float | None]:
    """Medians over sessions of ours divided by the peer's in the same session."""
    rows: dict[str, list[float]] = {"answer_p50": [], "answer_p95": [], "cpu_s": []}
    theirs = {session["number"]: session for session in peer}
    for session in ours:
        other = theirs.get(session["number"])
        if other is None:
            continue
        one, two = summary([session], budget_ms), summary([other], budget_ms)
        for name in ("p50", "p95"):
            pair = one["answer_censored_ms"][name], two["answer_censored_ms"][name]
            if pair[0] is not None and pair[1]:
                rows[f"answer_{name}"].append(pair[0] / pair[1])
        if two["cpu_s_per_session"]:
            rows["cpu_s"].append(one["cpu_s_per_session"] / two["cpu_s_per_session"])
    return {name: _rounded(quantile(values, 0.5), 3) for name, values in rows.items()}


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 3) if whole else None


def _rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)
