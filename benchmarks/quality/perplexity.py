"""`python -m benchmarks.quality.perplexity FILE...`: how well a model predicts plain source text.

Owns: scoring every token of a text from left to right, without any sentinel.

Invariant: every token of a text is scored once, the first one behind the model's start token.
The figure is nats per byte of UTF-8, so that models with different vocabularies compare.

Threads: one.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from slm_lsp.config import Config
from slm_lsp.engine.llama import LlamaDecoder
from slm_lsp.oneshot import obtain_with_bar
from slm_lsp.types import Text
from slm_lsp.wiring import obtain

WINDOW_TOKENS = 1024
# Behind the first window, no token is predicted from fewer than half a window.
STEP_TOKENS = WINDOW_TOKENS // 2
CHUNK_TOKENS = 256


def windows(n_tokens: int, size: int, step: int) -> Iterator[tuple[int, int, int]]:
    """(start, first, end): tokens `first` to `end` are scored in a window from `start`."""
    first, end = 1, min(size, n_tokens)
    while first < n_tokens:
        yield max(0, end - size), first, end
        first, end = end, min(end + step, n_tokens)


class TextScorer(LlamaDecoder):
    """A model that tells the log-probability of every token, not of the last alone."""

    def nats(self, text: str) -> tuple[float, int]:
        """Minus the log-probability of `text`, and its number of tokens."""
        tokens = self.tokenize([Text(text)])
        if not self.vocabulary.adds_bos:
            tokens = [self.vocabulary.start, *tokens]
        found = 0.0
        for start, first, end in windows(len(tokens), WINDOW_TOKENS, STEP_TOKENS):
            found += self._window_nats(tokens[start:end], first - start)
        return found, len(tokens) - 1

    def nats_behind(self, prompt: Sequence[int], text: Sequence[int]) -> list[float]:
        """Minus the log-probability of each token of a text behind a prompt."""
        tokens = [*prompt, *text]
        self.truncate(0)
        found: list[float] = []
        for at in range(0, len(tokens) - 1, CHUNK_TOKENS):
            chunk = tokens[at : min(at + CHUNK_TOKENS, len(tokens) - 1)]
            scored = [i for i in range(len(chunk)) if at + i + 1 >= len(prompt)]
            self._feed_scored(chunk, scored)
            found += [-self._logprob(i, tokens[at + i + 1]) for i in scored]
        return found

    def _window_nats(self, tokens: list[int], first: int) -> float:
        self.truncate(0)
        found, n_fed = 0.0, len(tokens) - 1
        for at in range(0, n_fed, CHUNK_TOKENS):
            chunk = tokens[at : min(at + CHUNK_TOKENS, n_fed)]
            scored = [i for i in range(len(chunk)) if at + i + 1 >= first]
            self._feed_scored(chunk, scored)
            for i in scored:
                found -= self._logprob(i, tokens[at + i + 1])
        return found

    def _feed_scored(self, chunk: list[int], scored: list[int]) -> None:
        n_tokens = len(chunk)
        self._batch.n_tokens = n_tokens
        self._batch_tokens[:n_tokens] = chunk
        self._batch_positions[:n_tokens] = range(self._n_past, self._n_past + n_tokens)
        self._batch_logits[:n_tokens] = 0
        self._batch_logits[scored] = 1
        code = self._native.llama_decode(self._context, self._batch)
        if code != 0:
            raise RuntimeError(f"llama_decode failed with code {code}")
        self._n_past += n_tokens

    def _logprob(self, i: int, token: int) -> float:
        numpy, address = self._np, self._logits_at(self._context, i)
        array = (ctypes.c_float * self.info.n_vocab).from_address(address)
        row = numpy.ctypeslib.as_array(array)
        top = row.max()
        return float(row[token] - top) - math.log(float(numpy.exp(row - top).sum()))


def read_texts(files: Sequence[Path], text_json: Path | None) -> list[tuple[str, str]]:
    """Names and texts: whole files, and the objects of a JSON Lines file by their `text`."""
    texts = [(str(path), path.read_text(encoding="utf-8")) for path in files]
    if text_json is not None:
        lines = text_json.read_text(encoding="utf-8").split("\n")
        objects = [json.loads(line) for line in lines if line.strip()]
        texts += [(f"{text_json}:{i}", each["text"]) for i, each in enumerate(objects, 1)]
    return [(name, text) for name, text in texts if text]


def measure(model: str, quantization: str, texts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The figures of one model over all texts."""
    config = replace(Config(), model=model, quantization=quantization)
    obtain_with_bar(config)
    path = obtain(config).path
    scorer = TextScorer(
        path,
        path.name,
        n_ctx=WINDOW_TOKENS,
        n_threads_batch=config.n_threads_batch,
        n_sequences=1,
    )
    rows: list[dict[str, Any]] = []
    for name, text in texts:
        nats, n_tokens = scorer.nats(text)
        n_bytes = len(text.encode("utf-8", "replace"))
        rows.append({"name": name, "nats": round(nats, 2), "bytes": n_bytes, "tokens": n_tokens})
        print(f"{path.name}: {name}: {nats / n_bytes:.4f} nats per byte", file=sys.stderr)
    scorer.close()
    total = {key: sum(row[key] for row in rows) for key in ("nats", "bytes", "tokens")}
    return {
        "model": path.name,
        "nats_per_byte": round(total["nats"] / total["bytes"], 5),
        "perplexity_per_token": round(math.exp(total["nats"] / total["tokens"]), 3),
        "bytes_per_token": round(total["bytes"] / total["tokens"], 3),
        "bytes": total["bytes"],
        "texts": rows,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.perplexity", description=__doc__
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--text-json", type=Path, help="JSON Lines, each with a `text`")
    parser.add_argument("--model", action="append", help="name or path; may be given again")
    parser.add_argument("--quantization", default="")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args(arguments)
    texts = read_texts(options.files, options.text_json)
    if not texts:
        parser.error("there is no text to score")
    results = [measure(model, options.quantization, texts) for model in options.model or [""]]
    for result in results:
        print(json.dumps({key: value for key, value in result.items() if key != "texts"}))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
