"""`python -m benchmarks.engines`: llama.cpp and ctransformers on the same files, in one run.

Both have a model loaded and take turns, so that a machine whose speed drifts treats them alike.
A round is a prompt read in one step, then single tokens; the same tokens and threads for both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.engines.weights import SHAPES, cached
from slm_lsp import __version__
from slm_lsp.config import Config
from slm_lsp.deadline import SYSTEM_CLOCK
from slm_lsp.engine.base import Decoder
from slm_lsp.wiring import load_decoder

LIBRARIES = {"llama.cpp": "llama_cpp_python", "ctransformers": "ctransformers"}
N_CTX = 1024
Times = dict[str, list[float]]


def load(library: str, path: Path, threads: int) -> tuple[Decoder, float]:
    """A decoder, and how long loading took."""
    started_ms = SYSTEM_CLOCK.now_ms()
    config = Config(model=str(path), library=library, context_tokens=N_CTX, threads=threads)
    decoder = load_decoder(config, lambda text, done: None)
    return decoder, SYSTEM_CLOCK.now_ms() - started_ms


def measure(decoder: Decoder, tokens: Sequence[int], n_decode: int) -> tuple[float, list[float]]:
    """The time to read all but the last `n_decode` tokens, and of a step for each of these."""
    decoder.truncate(0)
    n_prompt = len(tokens) - n_decode
    started_ms = SYSTEM_CLOCK.now_ms()
    decoder.feed(tokens[:n_prompt])
    decoder.pick()
    read_ms, steps_ms = SYSTEM_CLOCK.now_ms() - started_ms, []
    for token in tokens[n_prompt:]:
        started_ms = SYSTEM_CLOCK.now_ms()
        decoder.feed([token])
        decoder.pick()
        steps_ms.append(SYSTEM_CLOCK.now_ms() - started_ms)
    return read_ms, steps_ms


def compare(
    name: str, n_rounds: int, n_prompt: int, n_decode: int, threads: int
) -> dict[str, dict[str, float]]:
    """Both libraries on one model."""
    path = cached(name)
    decoders, load_ms = {}, {}
    for library in LIBRARIES:
        decoders[library], load_ms[library] = load(library, path, threads)
    # Which tokens they are makes no difference to the time.
    tokens = [1000 + i for i in range(n_prompt + n_decode)]
    reads: Times = {library: [] for library in LIBRARIES}
    steps: Times = {library: [] for library in LIBRARIES}
    for i in range(n_rounds + 1):
        order = list(LIBRARIES) if i % 2 else list(LIBRARIES)[::-1]
        for library in order:
            read_ms, steps_ms = measure(decoders[library], tokens, n_decode)
            if i:  # the first round has the file's pages to fetch
                reads[library].append(read_ms)
                steps[library] += steps_ms
        print(f"{name}: round {i} of {n_rounds}", file=sys.stderr, flush=True)
    for decoder in decoders.values():
        decoder.close()
    return {
        library: {
            "load_ms": round(load_ms[library], 1),
            "prefill_per_s": round(n_prompt / statistics.median(reads[library]) * 1e3, 1),
            "prefill_ms_p95": round(p95(reads[library]), 1),
            "decode_per_s": round(1e3 / statistics.median(steps[library]), 1),
            "decode_ms_p95": round(p95(steps[library]), 2),
        }
        for library in LIBRARIES
    }


def p95(values: list[float]) -> float:
    """The value that one in twenty exceeds; of few values the largest."""
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def plot(models: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """Both rates of each model, a bar a library."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    chart, panels = plt.subplots(1, 2, figsize=(8, 3))
    for panel, which in zip(panels, ("prefill_per_s", "decode_per_s"), strict=True):
        for n, library in enumerate(LIBRARIES):
            places = [i + 0.4 * n for i in range(len(models))]
            values = [row[library][which] for row in models.values()]
            panel.bar_label(panel.bar(places, values, 0.36, label=library), fmt="%.0f", fontsize=8)
        panel.set_xticks([i + 0.2 for i in range(len(models))], list(models), fontsize=7)
        panel.set_title(which, fontsize=9)
        panel.set_ylabel("tokens/s")
        panel.margins(y=0.15)
    panels[0].legend(fontsize=8)
    chart.tight_layout()
    chart.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--prompt", type=int, default=384, help="tokens read in a round")
    parser.add_argument("--decode", type=int, default=48, help="tokens written in a round")
    parser.add_argument("--threads", type=int, default=0, help="for single tokens; 0: as always")
    parser.add_argument("--json", type=Path, help="write the result here, and a plot as .svg")
    options = parser.parse_args()
    models = {}
    for name in options.models:
        models[name] = compare(
            name, options.rounds, options.prompt, options.decode, options.threads
        )
        print(name, json.dumps(models[name], indent=1))
    if options.json:
        config = Config(threads=options.threads)
        document: dict[str, Any] = {
            "benchmark": "engines",
            "slm_lsp": __version__,
            "python": platform.python_version(),
            "libraries": {name: version(package) for name, package in LIBRARIES.items()},
            "cores": os.cpu_count(),
            "threads": config.n_threads,
            "batch_threads": config.n_threads_batch,
            "n_prompt": options.prompt,
            "n_decode": options.decode,
            "rounds": options.rounds,
            "models": models,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        plot(models, options.json.with_suffix(".svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
