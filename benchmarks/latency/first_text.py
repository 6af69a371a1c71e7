"""From the start of a server to its first text, for an editor whose user waits for one.

Owns: the places that are asked about, the asking, and the times.

Invariant: a fresh server for each measurement, asked for one place. One request at a time: the
next is sent REPEAT_S after the last, or as soon as that has been answered, whichever is later,
until the model has said something.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.latency import processes
from benchmarks.latency.client import LspClient, position
from benchmarks.latency.home import Home
from benchmarks.latency.ours import AUTOMATIC, INLINE, editor
from benchmarks.latency.policy import View
from benchmarks.latency.responses import first_item, trace_lines

REPEAT_S = 0.05
PATIENCE_S = 20.0
LEXICAL = "lexical"
# Lines of modules, and how much of them stands before the cursor: places where a small model
# has something to say. What follows in the line is deleted.
PLACES = (
    ("queue", "            raise ValueError(\"'timeout", "            raise ValueError("),
    ("csv", "        self.fieldnames = fieldnames", "        self.fieldnames = "),
    ("sched", "            self._queue", "            self."),
    ("heapq", "        pos = childpos", "        pos = "),
    ("string", "        return self.", "        return "),
    ("queue", "            self.not_empty.notify()", "            self.not_empty."),
    ("calendar", "        s = ''.join(", "        s = ''."),
    ("difflib", "        self.matching_blocks = ", "        self."),
)


@dataclass(slots=True)
class FirstText:
    """Milliseconds from the start of the process; None for what did not come. `text_ms` is of
    any origin, `model_ms` of one that is not lexical."""

    place: str
    initialized_ms: float = 0.0
    text_ms: float | None = None
    model_ms: float | None = None
    origin: str | None = None
    n_asked: int = 0
    rejects: dict[str, int] | None = None


def place(texts: Mapping[str, str], number: int) -> View:
    """One of the places, in turns."""
    module, line, kept = PLACES[number % len(PLACES)]
    text = texts[module]
    start = text.index(f"\n{line}") + 1
    end = text.index("\n", start)
    text = text[:start] + kept + text[end:]
    return View(f"file:///coldstart/{module}.py", text, start + len(kept), modified=True)


async def first_text(
    command: Sequence[str],
    settings: Mapping[str, Any],
    home: Home,
    view: View,
    patience_s: float = PATIENCE_S,
) -> FirstText:
    """Start a server, open a file at once, ask until the model has said something, and end it."""
    trace = home.folder / f"trace-{processes.new_mark()}.jsonl"
    found = FirstText(view.uri.rsplit("/", 1)[-1])
    started = time.perf_counter()
    client = LspClient(command, home.env())
    try:
        await client.start(editor({**settings, "trace": str(trace)}))
        found.initialized_ms = _since_ms(started)
        item = {"uri": view.uri, "languageId": "python", "version": 0, "text": view.text}
        client.notify("textDocument/didOpen", {"textDocument": item})
        while found.model_ms is None and _since_ms(started) < patience_s * 1e3:
            earliest = asyncio.get_running_loop().time() + REPEAT_S
            shown = await _ask(client, view)
            found.n_asked += 1
            if shown:
                _note(found, _since_ms(started), trace_lines(trace)[-1:])
            if found.model_ms is None:
                await asyncio.sleep(earliest - asyncio.get_running_loop().time())
    finally:
        await client.stop()
    reasons = (line.get("reject") for line in trace_lines(trace))
    found.rejects = dict(Counter(reason for reason in reasons if reason))
    return found


async def _ask(client: LspClient, view: View) -> bool:
    params = {
        "textDocument": {"uri": view.uri},
        "position": position(view.text, view.offset, client.encoding),
        "context": {"triggerKind": AUTOMATIC},
    }
    shown = first_item(await client.call(INLINE, params), view, client.encoding)
    return shown is not None and bool(shown.text.strip())


def _note(found: FirstText, now_ms: float, lines: Sequence[Mapping[str, Any]]) -> None:
    """A text has come; the trace's last line says from where, as one request is answered at a
    time and is traced before its answer is sent."""
    origin = lines[0].get("origin") if lines else None
    if found.text_ms is None:
        found.text_ms, found.origin = now_ms, origin
    if origin != LEXICAL:
        found.model_ms = now_ms


def _since_ms(started: float) -> float:
    return round((time.perf_counter() - started) * 1e3, 1)
