"""The server's own work for one request: everything but the engine.

A 10,000-line Python file, an edit before each request, as a client sends it: the edit is
applied to the document, a snapshot is taken, parsed incrementally, the context extracted, the
prompt built, an answer post-processed and its syntax looked at; the time that the engine takes
for it is left out. Beside the whole, how long the event loop itself was kept busy. Between two
requests there is as much time as between two keys: what the worker catches up with then, and the
look at the open files that goes on while a model would be working, are not waited for.

Where the time goes is told from the requests at which a line is wanted, which do all of this:
the stages of their traces, and what is left of them. Handing work to a thread that has slept as
long, and back, is measured alone: a request does that twice.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.workspace import measure as building
from benchmarks.workspace import tree
from slm_lsp.completion.completer import Completer
from slm_lsp.config import Config
from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.lsp.stdio import SWITCH_INTERVAL_S
from slm_lsp.text.document import DocumentStore, Edit
from slm_lsp.trace import Span, Trace
from slm_lsp.types import CompletionRequest, Generation, GenerationRequest, Trigger
from slm_lsp.workspace.source import WorkspaceSource
from slm_lsp.workspace.store import index_path

N_LINES = 10_000
KEY_S = 0.12
# What a fast model takes for a few tokens; meanwhile the worker catches up.
ENGINE_S = 0.04
FUNCTION = '''
def step_{i}(items: list[int], limit: int = {i}) -> int:
    """Add up what is left of the items below the limit."""
    total = 0
    for item in items:
        if item < limit:
            total += item * {i}

    return total

'''


class Working(FakeEngine):
    """Takes the time that a model takes; `spent_s` is all of it."""

    spent_s = 0.0

    async def generate(self, request: GenerationRequest) -> Generation:
        started = time.perf_counter()
        await asyncio.sleep(ENGINE_S)
        self.spent_s += time.perf_counter() - started
        return await super().generate(request)


class Kept(Trace):
    """Keeps the lines that a trace would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def write(self, span: Span) -> None:
        self.lines.append(span.line())


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds of each request, of the part of it that held the loop, and its trace."""

    total_ms: list[float] = field(default_factory=list)
    loop_ms: list[float] = field(default_factory=list)
    traces: list[dict[str, Any]] = field(default_factory=list)

    def from_(self, n: int) -> Measured:
        """Without the first `n` requests."""
        return Measured(self.total_ms[n:], self.loop_ms[n:], self.traces[n:])


def source() -> str:
    """About N_LINES lines of valid Python."""
    n_functions = N_LINES // FUNCTION.count("\n")
    return "import os\n" + "".join(FUNCTION.format(i=i) for i in range(n_functions))


async def run(n_requests: int, root: Path | None, indexes: Path | None) -> Measured:
    """Type and ask. With `root` the file is in a workspace whose index is in `indexes`."""
    store = DocumentStore()
    uri = "file:///big.py" if root is None else (root / "big.py").as_uri()
    workspace = None if root is None else WorkspaceSource(indexes, (root,))
    document = store.open(uri, "python", 0, source())
    engine, trace, measured = Working(), Kept(), Measured(traces=[])
    completer = Completer(engine, Config(), trace, workspace=workspace)
    completer.opened(document.snapshot())
    rng = random.Random(0)
    line = 5_000
    for version in range(n_requests):
        if version % 20 == 0:  # jump to another function's empty line
            line = 2 + rng.randrange(900) * FUNCTION.count("\n") + 7
        typed = "total"[version % 5] if version % 5 else "\n    "
        await asyncio.sleep(KEY_S)
        engine.enqueue("value = items[0]")
        engine.spent_s, started = 0.0, time.perf_counter()
        store.change(uri, version, [Edit((line, 0), (line, 0), typed)])
        request = CompletionRequest(
            session=uri,
            snapshot=store.snapshot(uri),
            offset=document.offset_at((line, len(typed))),
            trigger=Trigger.AUTOMATIC,
            deadline=Deadline.after(250.0),
            cancel=CancelToken(),
        )
        held_ms = (time.perf_counter() - started) * 1e3
        await completer.complete(request)
        measured.total_ms.append((time.perf_counter() - started - engine.spent_s) * 1e3)
        measured.loop_ms.append(held_ms)
    completer.close()
    measured.traces.extend(trace.lines)
    return measured


def measure(n_requests: int, root: Path | None = None, indexes: Path | None = None) -> Measured:
    """Run on an event loop of its own, in threads that take turns as the server's do; the first
    requests, which parse, are not counted."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return asyncio.run(run(n_requests + 20, root, indexes)).from_(20)


def measure_indexed(n_requests: int, n_files: int) -> Measured:
    """The same in a workspace of `n_files` files that is indexed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        root, indexes = folder / "project", folder / "workspace"
        tree.make(root, n_files)
        child = building.start(root, index_path(indexes, root), None)
        building.ended(*child)
        return measure(n_requests, root, indexes)


def shares(measured: Measured) -> dict[str, float]:
    """Where the time of a request for a line goes, medians in milliseconds."""
    rows: dict[str, list[float]] = {}
    for total_ms, trace in zip(measured.total_ms, measured.traces, strict=True):
        stages = trace["stages_ms"]
        if trace.get("want") != "line" or "syntax" not in stages:
            continue
        context, snippets = stages["context"], stages.get("snippets", 0.0)
        row = {
            "all": total_ms,
            "context": context,
            "snippets": snippets,
            "prompt": stages["prompt"],
            "to the worker and back": stages["prepare"] - context - snippets - stages["prompt"],
            "syntax of the text, to the worker and back": stages["syntax"],
            "filters": stages["finish"] - stages["syntax"],
        }
        row["edit, snapshot, and the rest"] = total_ms - sum(list(row.values())[1:])
        for name, spent_ms in row.items():
            rows.setdefault(name, []).append(spent_ms)
    return {name: round(statistics.median(values), 3) for name, values in rows.items()}


async def hand_over(n: int) -> Sequence[float]:
    """Milliseconds of work that does nothing, on a thread that has slept between two keys."""
    loop, spent_ms = asyncio.get_running_loop(), []
    with ThreadPoolExecutor(1) as thread:
        for _ in range(n):
            await asyncio.sleep(KEY_S)
            started = time.perf_counter()
            await loop.run_in_executor(thread, int)
            spent_ms.append((time.perf_counter() - started) * 1e3)
    return spent_ms
