"""`python -m benchmarks.decode`: decoding beside a bare loop, and with drafts beside without.

Bare and ours, and with and without drafts, take turns on one decoder, so that a machine whose
speed drifts treats them alike. Speeds are medians; a ratio is the median of the ratios of two runs
that followed each other. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.decode.bare import BareLoop
from benchmarks.decode.model import beginning, conditions, load
from benchmarks.decode.ours import Ours, Written
from benchmarks.decode.prompts import Place, choose
from slm_lsp.config import Config
from slm_lsp.engine.draft import Odds
from slm_lsp.engine.llama import LlamaDecoder

# What the project promises of the ratios.
TARGETS = {"bare": 0.95, "repeating": 1.3, "other": 0.97}
N_PROMPT = 300
# Milliseconds a token of two runs that followed each other.
Pair = tuple[float, float]
NO_DRAFTS = (
    "random weights repeat neither their prompt nor any code: only the bare loop is compared"
)


def against_bare(decoder: LlamaDecoder, ours: Ours, n_tokens: int, n_repeats: int) -> Any:
    """The bare loop and ours in turn, after one of each that is not counted."""
    bare = BareLoop(decoder)
    text, prompt = beginning(decoder, N_PROMPT)
    pairs: list[Pair] = []
    same = True
    for i in range(n_repeats + 1):
        ours.forget()
        tokens, bare_ms = bare.run(prompt, n_tokens)
        written = ours.run(text, n_tokens, None)
        expected = b"".join(map(decoder.piece, tokens)).decode("utf-8", "replace")
        same = same and written.text == expected.rstrip("\ufffd")
        if i:
            pairs.append((bare_ms, written.ms_per_token))
    ours.forget()
    return {
        "n_prompt": len(prompt),
        "bare_per_s": _per_s([bare_ms for bare_ms, _ in pairs]),
        "ours_per_s": _per_s([ours_ms for _, ours_ms in pairs]),
        "ratio": _ratio(pairs),
        "same_text": same,
        "pairs_ms": [[round(ms, 4) for ms in pair] for pair in pairs],
    }


def with_drafts(ours: Ours, places: list[Place], n_tokens: int, n_repeats: int) -> Any:
    """Each place without drafts and with, in turn; the odds are learned from place to place."""
    odds = Odds()
    rows = []
    for place in places:
        ours.forget()
        ours.run(place.prompt, 2, None)
        runs: list[tuple[Written, Written]] = []
        for i in range(n_repeats):
            if i % 2:
                drafted = ours.run(place.prompt, n_tokens, odds)
                runs.append((ours.run(place.prompt, n_tokens, None), drafted))
            else:
                plain = ours.run(place.prompt, n_tokens, None)
                runs.append((plain, ours.run(place.prompt, n_tokens, odds)))
        rows.append(_row(place, runs))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    n_drafted = sum(row["n_drafted"] for row in rows)
    pairs: list[Pair] = [tuple(pair) for row in rows for pair in row["pairs_ms"]]
    return {
        "plain_per_s": _per_s([plain_ms for plain_ms, _ in pairs]),
        "drafts_per_s": _per_s([drafts_ms for _, drafts_ms in pairs]),
        "ratio": _ratio(pairs),
        "ratio_of_sums": round(sum(p for p, _ in pairs) / sum(d for _, d in pairs), 3),
        "least_ratio": min(row["ratio"] for row in rows),
        "acceptance": round(sum(row["n_accepted"] for row in rows) / max(1, n_drafted), 3),
        "same_text": sum(row["same_text"] for row in rows) / len(rows),
        "places": rows,
    }


def _row(place: Place, runs: list[tuple[Written, Written]]) -> dict[str, Any]:
    pairs = [(plain.ms_per_token, drafted.ms_per_token) for plain, drafted in runs]
    return {
        "place": place.name,
        "repeated": round(place.repeated, 2),
        "ratio": _ratio(pairs),
        "n_drafted": sum(drafted.n_drafted for _, drafted in runs),
        "n_accepted": sum(drafted.n_accepted for _, drafted in runs),
        "n_steps": sum(drafted.n_steps for _, drafted in runs),
        "same_text": all(plain.text == drafted.text for plain, drafted in runs),
        "pairs_ms": [[round(ms, 4) for ms in pair] for pair in pairs],
    }


def _per_s(ms_per_token: list[float]) -> float:
    return round(1e3 / statistics.median(ms_per_token), 2)


def _ratio(pairs: Sequence[Pair]) -> float:
    return round(statistics.median(before / after for before, after in pairs), 3)


def show(name: str, row: dict[str, Any]) -> None:
    """One line of the table."""
    speeds = ", ".join(f"{key} {row[key]:7.2f}" for key in row if key.endswith("_per_s"))
    more = f", accepted {row['acceptance']:.0%}" if "acceptance" in row else ""
    print(
        f"{name:10} {speeds}, ratio {row['ratio']:.3f} (target >= {TARGETS[name]:g}){more}, "
        f"same text: {row['same_text']:.0%}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode", description=__doc__)
    parser.add_argument("--model", default="", help="name of a model, or path of a GGUF file")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=64, help="how many a run writes")
    parser.add_argument("--places", type=int, default=8, help="prompts of either kind")
    parser.add_argument("--threads", type=int, default=0, help="as the setting")
    parser.add_argument("--batch-threads", type=int, default=0, help="as the setting")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    config = replace(
        Config(),
        model=options.model,
        threads=options.threads,
        batch_threads=options.batch_threads,
    )
    decoder = load(config)
    ours = Ours(decoder)
    results = {"bare": against_bare(decoder, ours, options.tokens, options.repeats)}
    show("bare", results["bare"])
    is_random = decoder.info.metadata.get("general.name", "").startswith("random")
    if is_random:
        print(NO_DRAFTS)
    else:
        for name, places in choose(options.places).items():
            results[name] = with_drafts(ours, places, options.tokens, options.repeats)
            show(name, results[name])
    if options.json:
        document = {
            **conditions("decode", config, decoder),
            "n_tokens": options.tokens,
            "repeats": options.repeats,
            "targets": TARGETS,
            "note": NO_DRAFTS if is_random else "",
            "rates": ours.rates(),
            "results": results,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    decoder.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
