"""`python -m benchmarks.speed`: prefill and decode rates of the default model's quantizations.

The quantizations take turns, so that a machine whose speed drifts treats them alike; medians
of the rounds are reported, and ratios to the default quantization round by round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from slm_lsp import __version__
from slm_lsp.config import Config
from slm_lsp.engine.speed import Speed, measure
from slm_lsp.registry.specs import DEFAULT_MODEL, load_specs
from slm_lsp.wiring import obtain

N_PROMPT = 384
N_DECODE = 48


def run(n_rounds: int) -> dict[str, list[Speed]]:
    """Every quantization once a round."""
    spec = load_specs()[DEFAULT_MODEL]
    speeds: dict[str, list[Speed]] = {each.name: [] for each in spec.quantizations}
    for i in range(n_rounds):
        for name, measured in speeds.items():
            config = replace(Config(), quantization=name)
            path = obtain(config).path
            measured.append(measure(config, path, name, N_PROMPT, N_DECODE))
            print(f"round {i + 1}: {name} {measured[-1]}", file=sys.stderr, flush=True)
    return speeds


def summary(speeds: dict[str, list[Speed]]) -> dict[str, Any]:
    """Medians, and the median ratio to the first (the default) within the same round."""
    default = next(iter(speeds.values()))
    rows = {}
    for name, measured in speeds.items():
        rows[name] = {
            "prefill_per_s": round(statistics.median(s.prefill_per_s for s in measured), 1),
            "decode_per_s": round(statistics.median(s.decode_per_s for s in measured), 1),
            "load_ms": round(statistics.median(s.load_ms for s in measured), 1),
            "prefill_ratio": _ratio([s.prefill_per_s for s in measured], default, "prefill_per_s"),
            "decode_ratio": _ratio([s.decode_per_s for s in measured], default, "decode_per_s"),
        }
    return rows


def _ratio(rates: list[float], default: list[Speed], which: str) -> float:
    bases: list[float] = [getattr(base, which) for base in default]
    pairs = zip(rates, bases, strict=True)
    return round(statistics.median(rate / base for rate, base in pairs), 3)


def plot(rows: dict[str, Any], path: Path) -> None:
    """Both rates of each quantization."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    chart, panels = plt.subplots(1, 2, figsize=(7, 2.8))
    for panel, which in zip(panels, ("prefill_per_s", "decode_per_s"), strict=True):
        bars = panel.bar(list(rows), [row[which] for row in rows.values()])
        panel.bar_label(bars, fmt="%.0f")
        panel.set_title(f"{DEFAULT_MODEL}: {which}", fontsize=9)
        panel.set_ylabel("tokens/s")
        panel.margins(y=0.15)
    chart.tight_layout()
    chart.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the result here, and a plot as .svg")
    options = parser.parse_args()
    rows = summary(run(options.rounds))
    for name, row in rows.items():
        print(name, json.dumps(row))
    if options.json:
        config = Config()
        document = {
            "benchmark": "speed",
            "slm_lsp": __version__,
            "model": DEFAULT_MODEL,
            "cores": os.cpu_count(),
            "threads": config.n_threads,
            "batch_threads": config.n_threads_batch,
            "n_prompt": N_PROMPT,
            "n_decode": N_DECODE,
            "rounds": options.rounds,
            "quantizations": rows,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        plot(rows, options.json.with_suffix(".svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
