"""What is measured of the index: the child that builds it, and a source that asks it.

Invariant: the child is the one that the server starts, with its priority; times of a source are
those of its calls on one thread, as on the completer's worker.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from slm_lsp.context.languages import language_of_path
from slm_lsp.types import DocumentSnapshot
from slm_lsp.workspace.builds import command
from slm_lsp.workspace.files import read_source
from slm_lsp.workspace.source import WorkspaceSource

COLLECT_MS = 10.0
MAX_CHARS = 2000
LONG_LINES = 10_000


@dataclass
class Child:
    """One run of the child."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    told: dict[str, Any]


def start(
    root: Path, index: Path, changed: list[str] | None
) -> tuple[subprocess.Popen[bytes], float]:
    """Begin to build; the time of the beginning comes with it."""
    began = time.perf_counter()
    child = subprocess.Popen(command(root, index), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write(json.dumps(changed).encode())
    child.stdin.close()
    return child, began


def ended(child: subprocess.Popen[bytes], began: float) -> Child:
    """Wait for a child's end."""
    assert child.stdout is not None
    told = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"the index was not built: exit status {child.returncode}")
    cpu_s = usage.ru_utime + usage.ru_stime
    rss_mb = usage.ru_maxrss / 1024
    return Child(time.perf_counter() - began, cpu_s, rss_mb, json.loads(told))


@dataclass
class Times:
    """Milliseconds of the calls of a source."""

    follow: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    advance: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    n_shown_first: int = 0
    n_shown_again: int = 0


def timed(samples: list[float], call: Callable[..., Any], *args: Any) -> Any:
    began = time.perf_counter()
    result = call(*args)
    samples.append((time.perf_counter() - began) * 1e3)
    return result


def until(ms: float) -> Callable[[], bool]:
    end = time.perf_counter() + ms / 1e3
    return lambda: time.perf_counter() > end


def ask(source: WorkspaceSource, snapshot: DocumentSnapshot, offset: int, times: Times) -> None:
    """Ask at one place, let the source prepare the rest, and ask again."""
    place = source.place(snapshot, offset, MAX_CHARS)
    times.n_shown_first += len(timed(times.first, source.collect, place, until(COLLECT_MS)))
    timed(times.advance, source.advance)
    times.n_shown_again += len(timed(times.again, source.collect, place, until(COLLECT_MS)))


def documents(root: Path, n_documents: int, rng: random.Random) -> Iterator[DocumentSnapshot]:
    """Files of the tree as an editor would show them."""
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    for path in rng.sample(paths, min(n_documents, len(paths))):
        source = read_source(path)
        if source is not None and source[1]:
            yield DocumentSnapshot(path.as_uri(), 1, language_of_path(path.name), source[1])


def places(root: Path, indexes: Path, n_places: int, seed: int) -> Times:
    """Times at random places of random files, ten a file, the documents before still known."""
    rng, times = random.Random(seed), Times()
    source = WorkspaceSource(indexes, [root])
    for snapshot in documents(root, max(1, n_places // 10), rng):
        timed(times.follow, source.follow, snapshot)
        for _ in range(10):
            ask(source, snapshot, rng.randrange(len(snapshot.text)), times)
    return times


def typing_in_a_long_file(root: Path, indexes: Path, n_edits: int, seed: int) -> Times:
    """Times in a file of 10,000 lines with an edit before each question."""
    rng, times = random.Random(seed), Times()
    text = ""
    for snapshot in documents(root, 400, rng):
        text += snapshot.text if snapshot.language == "python" else ""
        if text.count("\n") > LONG_LINES:
            break
    source = WorkspaceSource(indexes, [root])
    uri = (root / "long.py").as_uri()
    offset = len(text) // 2
    for n in range(n_edits):
        typed = "xyz = "[n % 6]
        text = text[:offset] + typed + text[offset:]
        offset += 1
        snapshot = DocumentSnapshot(uri, n, "python", text)
        timed(times.follow, source.follow, snapshot)
        ask(source, snapshot, offset, times)
    return times


def rss_mb() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20
