"""The server's own work for one request: everything but the engine.

A 10,000-line Python file, an edit before each request, as a client sends it: the edit is
applied to the document, a snapshot is taken, parsed incrementally, the context extracted, the
prompt built, an answer post-processed and its syntax looked at; the time that the engine takes
for it is left out. Beside the whole, how long the event loop itself was kept busy. Between two
requests there is as much time as between two keys: what the worker catches up with then, and the
look at the open files that goes on while a model would be working, are not waited for.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.workspace import measure as building
from benchmarks.workspace import tree
from slm_lsp.completion.completer import Completer
from slm_lsp.config import Config
from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.lsp.stdio import SWITCH_INTERVAL_S
from slm_lsp.text.document import DocumentStore, Edit
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


def source() -> str:
    """About N_LINES lines of valid Python."""
    n_functions = N_LINES // FUNCTION.count("\n")
    return "import os\n" + "".join(FUNCTION.format(i=i) for i in range(n_functions))


async def run(
    n_requests: int, root: Path | None, indexes: Path | None
) -> tuple[list[float], list[float]]:
    """Milliseconds of each request, and of the part of it that held the loop. With `root` the
    file is in a workspace whose index is in `indexes`."""
    store = DocumentStore()
    uri = "file:///big.py" if root is None else (root / "big.py").as_uri()
    workspace = None if root is None else WorkspaceSource(indexes, (root,))
    document = store.open(uri, "python", 0, source())
    engine = Working()
    completer = Completer(engine, Config(), workspace=workspace)
    completer.opened(document.snapshot())
    rng = random.Random(0)
    total_ms, loop_ms = [], []
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
        total_ms.append((time.perf_counter() - started - engine.spent_s) * 1e3)
        loop_ms.append(held_ms)
    completer.close()
    return total_ms, loop_ms


def measure(
    n_requests: int, root: Path | None = None, indexes: Path | None = None
) -> tuple[list[float], list[float]]:
    """Run on an event loop of its own, in threads that take turns as the server's do; the first
    requests, which parse, are not counted."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    total_ms, loop_ms = asyncio.run(run(n_requests + 20, root, indexes))
    return total_ms[20:], loop_ms[20:]


def measure_indexed(n_requests: int, n_files: int) -> tuple[list[float], list[float]]:
    """The same in a workspace of `n_files` files that is indexed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        root, indexes = folder / "project", folder / "workspace"
        tree.make(root, n_files)
        child = building.start(root, index_path(indexes, root), None)
        building.ended(*child)
        return measure(n_requests, root, indexes)
