"""Keys and sessions as they lie in a latency result, for tests of its figures.

Invariant: every field is there; what is not named is that of a key overtaken after 100 ms.
Threads: any.
"""

from __future__ import annotations

from typing import Any


def record(kind: str = "type", place: int = 0, **values: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "kind": kind,
        "place": place,
        "asked": True,
        "answer_ms": None,
        "shown_ms": None,
        "n_chars": 0,
        "n_new_chars": 0,
        "open_ms": 100.0,
    }
    return {**base, **values}


def session(records: list[dict[str, Any]], number: int = 0, **work: Any) -> dict[str, Any]:
    done = {"prefilled_each": [], "n_prefilled": 0, "n_decoded": 0, **work}
    return {
        "number": number,
        "n_accepted_chars": 7,
        "cpu_s": 2.0,
        "work": done,
        "records": records,
    }
