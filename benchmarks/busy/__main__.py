"""`python -m benchmarks.busy`: reading and writing while other processes take the cores.

An engine that chooses its threads and one that always reads with all of them take turns beside
0, 1, 2 … processes that do nothing but count. The kernel shares the cores fairly, so of two cores
a process of two threads keeps two thirds beside one other. What matters is how much slower than
that share we become: threads that wait for one that is not running fall far below it.
Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.decode.model import beginning, conditions, load
from benchmarks.decode.ours import BUDGET_MS, STOP
from slm_lsp.config import Config
from slm_lsp.deadline import SYSTEM_CLOCK, CancelToken, Deadline
from slm_lsp.engine.base import EngineStats
from slm_lsp.engine.kv import KvCache
from slm_lsp.engine.llama import LlamaDecoder
from slm_lsp.engine.run import Run
from slm_lsp.engine.threads import ThreadChoice
from slm_lsp.types import GenerationRequest, Prompt, Text

COUNT = "n = 0\nwhile True: n += 1"
# For the kernel to spread what has just begun.
SETTLE_S = 0.5
POLICIES = ("chosen", "all threads")


class AllThreads(ThreadChoice):
    """No choice."""

    def choose(self) -> int:
        return self.n_all


class Reader:
    """A sequence of its own on the decoder; `chooses` its threads or uses all for reading."""

    def __init__(self, decoder: LlamaDecoder, chooses: bool) -> None:
        self._decoder = decoder
        self._kv = KvCache(decoder, SYSTEM_CLOCK, EngineStats())
        if not chooses:
            self._kv._threads = AllThreads(decoder.n_batch_threads)

    def run(self, text: str, n_tokens: int) -> dict[str, float]:
        """Read `text` and write behind it; both in tokens a second, and the threads used."""
        kv = self._kv
        kv.use("bench")
        kv.cut(0)
        self._decoder.use_batch_threads(kv._n_threads)
        started = time.perf_counter()
        read = self._generate(Prompt((Text(text),), max_tokens=0))
        read_s = time.perf_counter() - started
        written = self._generate(Prompt((Text(text),), STOP, max_tokens=n_tokens))
        assert written.ttft_ms is not None
        write_s = (written.total_ms - written.ttft_ms) / 1e3
        kv.cut(0)
        return {
            "read_per_s": read.n_prompt / read_s,
            "write_per_s": (written.n_predicted - 1) / write_s,
            "read_threads": kv._n_threads,
        }

    def _generate(self, prompt: Prompt) -> Any:
        request = GenerationRequest(
            "bench", prompt, Deadline.after(BUDGET_MS), CancelToken(), document="bench"
        )
        return Run(self._kv, request, SYSTEM_CLOCK).finish()


@contextmanager
def busy(n_processes: int) -> Iterator[None]:
    """Other processes that want a core each."""
    others = [subprocess.Popen([sys.executable, "-c", COUNT]) for _ in range(n_processes)]
    try:
        time.sleep(SETTLE_S)
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measure(
    decoder: LlamaDecoder, counts: list[int], n_prompt: int, n_tokens: int, n_repeats: int
) -> list[dict[str, Any]]:
    """One row for each number of busy processes; a first run of each is not counted."""
    text, _ = beginning(decoder, n_prompt)
    readers = {name: Reader(decoder, name == POLICIES[0]) for name in POLICIES}
    for reader in readers.values():
        reader.run(text, n_tokens)
    rows = []
    for n_busy in counts:
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in POLICIES}
        with busy(n_busy):
            for i in range(n_repeats + 1):
                for name in POLICIES if i % 2 else reversed(POLICIES):
                    run = readers[name].run(text, n_tokens)
                    if i:
                        runs[name].append(run)
        medians = {name: medians_of(found) for name, found in runs.items()}
        rows.append({"n_busy": n_busy, **medians, "runs": runs})
        print(json.dumps({key: rows[-1][key] for key in ("n_busy", *POLICIES)}), file=sys.stderr)
    return rows


def medians_of(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {key: round(statistics.median(run[key] for run in runs), 2) for key in runs[0]}


def table(rows: list[dict[str, Any]], n_cores: int, n_threads: int) -> str:
    """Speeds beside the share of the cores that is left."""
    idle = rows[0]
    columns = (
        *("Busy processes", "Share of the cores left", "Reading, tokens/s", "of idle"),
        *("with all threads", "of idle", "Writing, tokens/s", "of idle"),
    )
    lines = [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    for row in rows:
        share = min(1.0, n_cores / (n_threads + row["n_busy"]))
        cells = [str(row["n_busy"]), f"{share:.2f}"]
        for name, key in (*((name, "read_per_s") for name in POLICIES), ("chosen", "write_per_s")):
            cells += [f"{row[name][key]:.0f}", f"{row[name][key] / idle[name][key]:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.busy", description=__doc__)
    parser.add_argument("--model", default="", help="name of a model, or path of a GGUF file")
    parser.add_argument("--busy", type=int, nargs="*", default=[0, 1, 2], help="0 comes first")
    parser.add_argument("--prompt", type=int, default=256, help="tokens to read")
    parser.add_argument("--tokens", type=int, default=24, help="tokens to write")
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    if options.busy[:1] != [0]:
        parser.error("--busy: the first must be 0, which the others are compared with")
    config = replace(Config(), model=options.model)
    decoder = load(config)
    sizes = (options.prompt, options.tokens, options.repeats)
    rows = measure(decoder, options.busy, *sizes)
    print(table(rows, os.cpu_count() or 1, decoder.n_batch_threads))
    if options.json:
        document = {
            **conditions("busy", config, decoder),
            "sizes": dict(zip(("prompt", "tokens", "repeats"), sizes, strict=True)),
            "rows": rows,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    decoder.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
