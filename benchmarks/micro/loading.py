"""`python -m benchmarks.micro.loading MODEL...`: what the start of a model spends its time on.

Each run is a process of its own, with the file in the system's cache of pages; the stages are
those of a daemon that starts, up to its first request. The median of several runs counts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.latency import options

N_THREADS = 2
DAEMON_CONTEXT = 4096


def stages(path: Path) -> Iterator[tuple[str, float]]:
    """Start the model of a file; each stage's name and its seconds."""
    last_s = time.perf_counter()

    def since() -> float:
        nonlocal last_s
        before_s, last_s = last_s, time.perf_counter()
        return last_s - before_s

    found: list[tuple[str, float]] = []
    import llama_cpp  # noqa: F401
    import numpy  # noqa: F401

    from slm_lsp.deadline import SYSTEM_CLOCK
    from slm_lsp.engine import llama, warm_up
    from slm_lsp.engine.base import EngineStats
    from slm_lsp.engine.kv import KvCache

    yield "imports", since()

    def time_call(module: Any, name: str, before: str, after: str) -> None:
        # The call itself is the real one. It is never put back: the process ends with the run.
        call = getattr(module, name)

        def wrapped(*args: Any, **named: Any) -> Any:
            found.append((before, since()))
            result = call(*args, **named)
            found.append((after, since()))
            return result

        setattr(module, name, wrapped)

    time_call(llama, "load_model", "library", "weights")
    time_call(llama, "open_context", "vocabulary", "context")
    decoder = llama.LlamaDecoder(
        path, "m", n_ctx=DAEMON_CONTEXT, n_threads=N_THREADS, n_threads_batch=N_THREADS
    )
    yield from found
    yield "order of the vocabulary", since()
    warm_up.warm_up(KvCache(decoder, SYSTEM_CLOCK, EngineStats()), SYSTEM_CLOCK)
    yield "warm-up", since()


def measured(path: Path, n_runs: int) -> dict[str, float]:
    """The median of each stage, in ms, the whole with all that lies between."""
    runs = []
    for _ in range(n_runs):
        command = [sys.executable, "-m", "benchmarks.micro.loading", "--once", str(path)]
        started_s = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        runs.append({**json.loads(done.stdout), "whole": time.perf_counter() - started_s})
    return {name: round(median(run[name] for run in runs) * 1e3) for name in runs[0]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro.loading", description=__doc__)
    parser.add_argument("models", nargs="*", default=[""], help="names or GGUF files")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once is not None:
        print(json.dumps(dict(stages(given.once))))
        return 0
    paths = [options.model_file(model) for model in given.models]
    result = {"benchmark": "loading", "models": {p.name: measured(p, given.runs) for p in paths}}
    print(json.dumps(result, indent=1))
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
