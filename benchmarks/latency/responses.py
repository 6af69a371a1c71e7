"""What the server said: the item an editor shows of a response, and the lines of its trace.

Owns: the reading of both.

Invariant: pure but for the trace's file, which is read as a whole.

Threads: any.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.latency.client import offset_of
from benchmarks.latency.policy import View
from benchmarks.latency.replay import Shown

Json = dict[str, Any]


def first_item(result: Any, view: View, encoding: str) -> Shown | None:
    """What an editor shows of a response: its first item, None if there is none."""
    items = result.get("items", []) if isinstance(result, Mapping) else (result or [])
    if not items:
        return None
    item = items[0]
    text = item.get("insertText") or item.get("textEdit", {}).get("newText", "")
    text = text if isinstance(text, str) else text.get("value", "")
    span = item.get("range") or item.get("textEdit", {}).get("range")
    if span is None:
        return Shown(view.offset, view.offset, text) if text else None
    start, end = (offset_of(view.text, span[edge], encoding) for edge in ("start", "end"))
    return Shown(start, end, text) if text else None


def prefilled_each(lines: Sequence[Json]) -> tuple[int, ...]:
    """Tokens read for each answered request of a trace; none were for what took no model."""
    each = []
    for line in lines:
        if line.get("n_prompt") is not None:
            each.append(int(line["n_prompt"]) - int(line.get("n_cached") or 0))
        elif line.get("origin"):
            each.append(0)
    return tuple(each)


def outcomes(lines: Sequence[Json]) -> Counter[str]:
    """How many requests ended with each origin or, where nothing was shown, reason."""
    return Counter(str(line.get("origin") or line.get("reject")) for line in lines)


def trace_lines(trace: Path) -> list[Json]:
    """The lines of a trace, a request each, in the order in which they were answered."""
    if not trace.exists():
        return []
    return [json.loads(line) for line in trace.read_text(encoding="utf-8").splitlines() if line]
