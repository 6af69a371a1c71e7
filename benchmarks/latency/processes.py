"""CPU time and memory of a policy's processes, however they were started.

Owns: finding them. A process is ours if its environment holds the mark that the benchmark
gave the first of them; children and daemons inherit it, also those that have detached.

Invariant: only marked processes are ever measured, and only marked ones are ended.

Threads: any.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass

import psutil

MARK = "SLM_LATENCY_BENCHMARK"
END_PATIENCE_S = 5.0


def new_mark() -> str:
    """A value that no other process has."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes: `rss` counts shared pages in each process, `pss` shares them out, and `uss`
    counts what is a process's own."""

    n_processes: int
    rss_mb: float
    pss_mb: float
    uss_mb: float

    def as_json(self) -> dict[str, float]:
        return asdict(self)


def find(marks: Iterable[str]) -> list[psutil.Process]:
    """The living processes with one of the marks. A mark `pid:N` names one by its id."""
    wanted = set(marks)
    found = []
    for process in psutil.process_iter():
        try:
            if f"pid:{process.pid}" in wanted or process.environ().get(MARK) in wanted:
                found.append(process)
        except (psutil.Error, OSError):
            continue  # ended meanwhile, or another user's
    return found


def cpu_s(marks: Iterable[str]) -> float:
    """CPU-seconds that the processes have used until now, with those of ended children."""
    total = 0.0
    for process in find(marks):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
        total += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return total


def memory(marks: Iterable[str], without: Collection[int | None] = ()) -> Memory:
    """What the processes hold now; those with an id in `without` are left out."""
    rss = pss = uss = n = 0
    for process in find(marks):
        if process.pid in without:
            continue
        try:
            full = process.memory_full_info()
        except psutil.Error:
            continue
        n += 1
        rss, uss = rss + full.rss, uss + full.uss
        pss += getattr(full, "pss", full.rss)
    return Memory(n, round(rss / 1e6, 1), round(pss / 1e6, 1), round(uss / 1e6, 1))


def end(marks: Iterable[str]) -> None:
    """End what is left of them, a daemon for example."""
    left = find(mark for mark in marks if not mark.startswith("pid:"))
    for process in left:
        try:
            process.terminate()
        except psutil.Error:
            continue
    _, stubborn = psutil.wait_procs(left, timeout=END_PATIENCE_S)
    for process in stubborn:
        try:
            process.kill()
        except psutil.Error:
            continue
