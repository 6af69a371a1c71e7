"""Figures of recorded sessions: quantiles, shares, ratios.

Owns: what each reported number means.

Invariant: pure; only what a result holds is read, so that figures can be made again.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.latency.fates import fates, is_overtaken, overruns, reading
from benchmarks.latency.quantiles import (
    observed,
    product_limits,
    quantile,
    rounded,
    share,
    spread,
)

WITHIN_MS = (100.0, 250.0, 500.0)


def summary(sessions: Sequence[Mapping[str, Any]], budget_ms: float) -> dict[str, Any]:
    """All figures of one policy's sessions.

    `answer_ms` are times to any answer, of the keys that were answered before the next key
    came; in `answer_censored_ms` the others count as answered later than that. `shown_within`
    are shares of all keys. Overrun is what an answer took longer than the budget; `fates` and
    `read_per_keystroke` see `fates`.
    """
    records = [record for session in sessions for record in session["records"]]
    asked = [record for record in records if record["asked"]]
    answered = [record["answer_ms"] for record in asked if record["answer_ms"] is not None]
    shown = [record["shown_ms"] for record in records if record["shown_ms"] is not None]
    works = [session["work"] for session in sessions]
    each = [tokens for work in works for tokens in work["prefilled_each"]]
    n_new_chars = sum(record["n_new_chars"] for record in records)
    overrun = spread(overruns(records, budget_ms))
    n_sessions, n_records = max(1, len(sessions)), max(1, len(records))
    return {
        "n_sessions": len(sessions),
        "n_keystrokes": len(records),
        "n_asked": len(asked),
        "n_answered": len(answered),
        "n_shown": len(shown),
        "n_accepted_chars": sum(session["n_accepted_chars"] for session in sessions),
        "answer_ms": spread(answered),
        "answer_censored_ms": product_limits(asked, "answer_ms"),
        "shown_ms": spread(shown),
        "shown_within": {
            f"{limit:g}": round(sum(ms <= limit for ms in shown) / n_records, 4)
            for limit in WITHIN_MS
        },
        "fates": fates(records, budget_ms),
        "overrun_ms": {"p99": overrun["p99"], "max": overrun["max"]},
        "prefilled_per_keystroke": {
            "p50": quantile(each, 0.5),
            "p95": quantile(each, 0.95),
            "all_work": round(sum(work["n_prefilled"] for work in works) / n_records, 2),
        },
        "read_per_keystroke": reading(sessions),
        "decode_steps_per_shown_char": _ratio(
            sum(work["n_decoded"] for work in works), n_new_chars
        ),
        "cpu_s_per_session": round(sum(s["cpu_s"] for s in sessions) / n_sessions, 3),
    }


def coverage(
    ours: Sequence[Mapping[str, Any]],
    patient: Sequence[Mapping[str, Any]],
    limit_ms: float,
    *,
    overtaken: bool = True,
) -> tuple[float | None, int]:
    """Of the keys at which a policy without time limit shows something, the share at which
    ours does within the limit, and how many they are. Keys are told by session and place; both
    must have them. Without `overtaken`, keys that the next key came too soon after are left out.
    """
    at = [_by_place(ours), _by_place(patient)]
    both = [
        at[0][place]
        for place, record in at[1].items()
        if place in at[0]
        and record["shown_ms"] is not None
        and (overtaken or not is_overtaken(at[0][place], limit_ms))
    ]
    n_in_time = sum(r["shown_ms"] is not None and r["shown_ms"] <= limit_ms for r in both)
    return share(n_in_time, len(both)), len(both)


def _by_place(sessions: Sequence[Mapping[str, Any]]) -> dict[tuple[int, int], Mapping[str, Any]]:
    """The record of each typed key."""
    return {
        (session["number"], record["place"]): record
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
    return {name: rounded(quantile(values, 0.5), 3) for name, values in rows.items()}


def pooled(
    ours: Sequence[Mapping[str, Any]], peer: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The time to an answer over all keys of the sessions that both have typed. Most keys are
    overtaken, so the peer's quantile may lie beyond all that was observed: then it stands for
    at least as long as some keys could be observed (`peer_is_bound`)."""
    numbers = {session["number"] for session in ours} & {session["number"] for session in peer}
    one, two = (
        [r for s in sessions if s["number"] in numbers for r in s["records"] if r["asked"]]
        for sessions in (ours, peer)
    )
    mine, theirs = (product_limits(records, "answer_ms") for records in (one, two))
    bound_ms = observed(two, "answer_ms")
    rows: dict[str, dict[str, Any]] = {}
    for name in ("p50", "p95"):
        other = bound_ms if theirs[name] is None else theirs[name]
        known = mine[name] is not None and other
        rows[f"answer_{name}"] = {
            "ours": mine[name],
            "peer": other,
            "peer_is_bound": theirs[name] is None,
            "ratio": rounded((mine[name] or 0.0) / (other or 1.0), 3) if known else None,
        }
    return rows


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 3) if whole else None
