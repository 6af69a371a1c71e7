"""What became of the keys: overtaken, answered, read for.

Owns: the split of keys into those overtaken by the next key and the rest, and into those typed on
in one place and those that come after a jump.

Invariant: pure; every asked key is either overtaken or not, and every key with a reading belongs to
one of the places' classes (`settled` is a part of `warm`).

Threads: any.

At a typist's pace most keys are overtaken before any budget ends, whatever the policy does. So
there are two views beside that of all keys: `not_overtaken` are those with an answer and those that
were left alone for the budget; that choice depends on the policy, as a fast one answers before it
would be overtaken. `paused` are those after which nothing was typed for the budget, answered or
not; that hardly depends on the policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.latency.quantiles import product_limits, quantile, share

Record = Mapping[str, Any]
JUMPS = ("switch", "move")


def fates(records: Sequence[Record], budget_ms: float) -> dict[str, Any]:
    """The figures of the keys at which a policy asked."""
    asked = [record for record in records if record["asked"]]
    overtaken = [record for record in asked if is_overtaken(record, budget_ms)]
    rest = [record for record in asked if not is_overtaken(record, budget_ms)]
    return {
        "overtaken": share(len(overtaken), len(asked)),
        "not_overtaken": _answers(rest, budget_ms),
        "paused": _answers([r for r in asked if r["open_ms"] >= budget_ms], budget_ms),
    }


def is_overtaken(record: Record, budget_ms: float) -> bool:
    """Whether the next key came before an answer, and before the budget's end."""
    return record["answer_ms"] is None and record["open_ms"] < budget_ms


def overruns(records: Sequence[Record], budget_ms: float) -> list[float]:
    """By how much each key's answer came after the budget. Where none came before the next key,
    it is late by at least the time that it had."""
    return [
        max(0.0, (r["open_ms"] if r["answer_ms"] is None else r["answer_ms"]) - budget_ms)
        for r in records
        if r["asked"] and not is_overtaken(r, budget_ms)
    ]


def _answers(records: Sequence[Record], budget_ms: float) -> dict[str, Any]:
    n_shown = sum(r["shown_ms"] is not None for r in records)
    n_in_time = sum(r["shown_ms"] is not None and r["shown_ms"] <= budget_ms for r in records)
    answer = product_limits(records, "answer_ms")
    return {
        "n": len(records),
        "shown": share(n_shown, len(records)),
        "shown_within_budget": share(n_in_time, len(records)),
        "answer_ms": {name: answer[name] for name in ("p50", "p95")},
    }


# --- reading ---


def reading(sessions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Tokens read after a key and before the next, for whatever reason, by the key's class."""
    tokens: dict[str, list[int]] = {"warm": [], "settled": [], "after_jump": []}
    for session in sessions:
        for record, names in classes(session["records"]):
            if record.get("n_read") is not None:
                for name in names:
                    tokens[name].append(record["n_read"])
    return {
        name: {
            "n": len(each),
            **{f"p{q * 100:g}": quantile(each, q) for q in (0.5, 0.95, 0.99)},
            "mean": round(sum(each) / len(each), 2) if each else None,
        }
        for name, each in tokens.items()
    }


def classes(records: Sequence[Record]) -> Iterator[tuple[Record, tuple[str, ...]]]:
    """Each key with its classes. `warm` are those that go on where the key before was typed;
    `settled` those of them before which the place had shown a text, so that all of its prompt
    was read once; `after_jump` are the jumps themselves and the key after each."""
    since_jump, has_shown = 0, False
    for record in records:
        if record["kind"] in JUMPS:
            since_jump, has_shown = 0, False
        if since_jump >= 2:
            yield record, ("warm", "settled") if has_shown else ("warm",)
        else:
            yield record, ("after_jump",)
        since_jump += 1
        has_shown = has_shown or record["shown_ms"] is not None
