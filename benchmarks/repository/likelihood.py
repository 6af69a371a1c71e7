"""`python -m benchmarks.repository.likelihood`: how likely the model finds what is missing.

For each hole of `benchmarks.repository` the log-probability of the true text behind the prompt that
the pipeline makes, with snippets and without, in nats. A small model seldom writes a whole line
exactly, so this tells apart what exact matches cannot: which snippets, formats and shares help.
Rows are written as they come; a run that is stopped has those that it wrote.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.quality.perplexity import TextScorer
from benchmarks.repository import packages, sources
from benchmarks.repository.gain import Pair, gain
from benchmarks.repository.holes import choose
from benchmarks.repository.pipeline import WITHOUT, Pipeline
from slm_lsp.config import Config
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.oneshot import obtain_with_bar
from slm_lsp.types import Prompt, Text
from slm_lsp.wiring import obtain

CONTEXT_TOKENS = 2048


def nats_of(scorer: TextScorer, prompt: Prompt, text: str) -> tuple[float, int]:
    """Minus the log-probability of a text and its line end, and its tokens. The first token, which
    holds the prompt's end where that is healed, does not count then."""
    tokens = scorer.tokenize([Text(f"{prompt.heal}{text}\n")])
    nats = scorer.nats_behind(scorer.tokenize(prompt.segments), tokens)
    counted = nats[1:] if prompt.heal else nats
    return sum(counted), len(counted)


def summary(rows: Sequence[dict[str, Any]], situations: Sequence[str]) -> dict[str, Any]:
    """For each situation the nats a token, and the gain a hole against the first of them."""
    first, found = situations[0], {}
    for name in situations:
        n_tokens = sum(row[name]["tokens"] for row in rows)
        pairs = [Pair(row["file"], -row[first]["nats"], -row[name]["nats"]) for row in rows]
        change = gain(pairs)
        found[name] = {
            "nats_per_token": round(sum(row[name]["nats"] for row in rows) / max(1, n_tokens), 4),
            "gain_per_hole": [round(each, 3) for each in (change.mean, change.low, change.high)],
            "p": round(change.p, 4),
            "mean_n_prompt": round(sum(row[name]["n_prompt"] for row in rows) / max(1, len(rows))),
        }
    return found


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All rows and their summary."""
    config = replace(Config(), model=options.model, prompt_tokens=options.prompt_tokens)
    obtain_with_bar(config)
    model = obtain(config)
    names = options.source or [sources.DEFAULT]
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        repositories = {name: packages.read(name).copied(folder) for name in packages.PACKAGES}
        holes = choose(list(repositories.values()), options.limit)[options.skip :]
        chosen = {
            name: stack.enter_context(closing(sources.SOURCES[name](repositories)))
            for name in names
        }
        n_threads = options.threads or 1
        scorer = TextScorer(
            *(model.path, model.name),
            n_ctx=CONTEXT_TOKENS,
            n_threads=n_threads,
            n_threads_batch=n_threads,
            n_sequences=1,
        )
        stack.callback(scorer.close)
        engine = FakeEngine(replace(scorer.info, template=model.template))
        pipeline = stack.enter_context(closing(Pipeline(config, chosen, repositories, engine)))
        for hole in holes:
            row: dict[str, Any] = {"name": hole.name, "file": hole.path, "kind": hole.kind}
            for situation in (WITHOUT, *names):
                pipeline.fill(hole, situation)
                prompt = engine.requests[-1].prompt
                nats, n_tokens = nats_of(scorer, prompt, hole.middle)
                n_prompt = len(scorer.tokenize(prompt.segments))
                row[situation] = {"nats": round(nats, 3), "tokens": n_tokens, "n_prompt": n_prompt}
            rows.append(row)
            print(json.dumps(row), flush=True)
    return {"summary": summary(rows, (WITHOUT, *names)), "holes": rows}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.repository.likelihood", description=__doc__
    )
    parser.add_argument("--limit", type=int, help="how many holes (default: all)")
    parser.add_argument("--skip", type=int, default=0, help="leave out so many of them")
    parser.add_argument("--source", choices=sorted(sources.SOURCES), action="append")
    parser.add_argument("--model", default="", help="name or path (default: the default model)")
    parser.add_argument("--prompt-tokens", type=int, default=Config().prompt_tokens)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    result = run(options)
    print(json.dumps(result["summary"], indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
