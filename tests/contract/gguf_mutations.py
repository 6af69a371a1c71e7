"""Model files broken in every way, and a loader in a child of its own that may die of them.

Owns: the changes of a tiny model's header, from a seed, and what became of the child
that loaded one.

Invariant: the process that runs this never maps a broken file; each is loaded by a fork of it.
Threads: one, since it forks.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

import model_files

from slm_lsp.engine.base import ModelLoadError

ODD = (0, 1, 2, 3, 7, 8, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63, 2**64 - 1)
CHILD_S = 20


class Fate(StrEnum):
    """What became of a file."""

    REFUSED = "refused by the check"
    NOT_LOADED = "refused by llama.cpp"
    LOADED = "loaded"
    DIED = "the child died"


def header_bytes(whole: bytes | bytearray) -> int:
    """Where the weights of a tiny model begin, roughly: all before is its header."""
    return whole.index(b"blk.1.ffn_norm.weight") + 200


def keyed(seed: random.Random) -> bytes:
    """A model with other values of its keys."""
    sizes = list(model_files._sizes("llama"))
    changed: dict[str, Any] = {}
    for _ in range(seed.choice([1, 1, 2])):
        key = seed.choice(
            [*sizes, "general.architecture", "tokenizer.ggml.model", "general.alignment"]
            + [f"tokenizer.ggml.{name}_token_id" for name in ("bos", "eos", "unknown", "eot")]
            + ["tokenizer.ggml.scores", "tokenizer.ggml.token_type", "tokenizer.ggml.tokens"]
            + ["llama.rope.scaling.type", "llama.expert_count", "llama.vocab_size", "split.count"]
            + ["llama.attention.key_length", "llama.rope.freq_base", "tokenizer.chat_template"]
        )
        number = seed.choice(ODD) & 0xFFFFFFFF
        texts = ["", "llama", "gpt2", "bert", "qwen2", "mamba", "x" * 5000, "\0", "none", "yarn"]
        lists: list[Any] = [["a"], [1], [0.5], ["a", "a"] * 200, [-1] * 500, [2**31 - 1] * 500]
        changed[key] = seed.choice([None, number, number, seed.choice(texts), 0.0, float("nan")])
        if seed.random() < 0.2:
            changed[key] = seed.choice(lists)
    return model_files.llama(**{key.replace(".", "__"): value for key, value in changed.items()})


def mutated(seed: int) -> bytes:
    """One broken model; a few are as they were."""
    chance = random.Random(seed)
    if chance.random() < 0.4:
        return keyed(chance)
    raw = bytearray(model_files.llama())
    limit = header_bytes(raw)
    # Not in the vocabulary alone, which is most of the header.
    places = [(0, 600), (raw.index(b"output_norm") - 3000, limit), (0, limit)]
    for _ in range(chance.choice([1, 1, 2, 4])):
        low, high = chance.choice(places)
        at = chance.randrange(low, high)
        kind = chance.randrange(6)
        if kind == 0:
            raw[at] = chance.randrange(256)
        elif kind == 1:
            raw[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            raw[at : at + 8] = struct.pack("<Q", chance.choice(ODD))
        elif kind == 3:
            raw[at : at + 4] = struct.pack("<I", chance.choice(ODD) & 0xFFFFFFFF)
        elif kind == 4:
            del raw[at : at + chance.choice([1, 4, 8, 32])]
        else:
            del raw[chance.choice([at, limit + chance.randrange(len(raw) - limit)]) :]
            break
    return bytes(raw)


def fate(path: Path) -> tuple[Fate, str]:
    """Load a file as the daemon does, in a child, and read a prompt with it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            if not os.environ.get("SAY"):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            # It would start a debugger.
            os.environ["GGML_NO_BACKTRACE"] = "1"
            signal.alarm(CHILD_S)
            os.write(writer, _load(path).encode()[:500])
        except Exception as error:
            os.write(writer, f"DIED {error!r}".encode()[:500])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        told = said.read()
    _, status = os.waitpid(pid, 0)
    if status or not told:
        return Fate.DIED, f"status {status}"
    name, _, why = told.partition(" ")
    return Fate[name], why


def _load(path: Path) -> str:
    from slm_lsp.engine.llama import LlamaDecoder
    from slm_lsp.engine.llama_load import check_file
    from slm_lsp.types import Text

    try:
        check_file(path)
    except ModelLoadError as error:
        return f"REFUSED {error}"
    try:
        decoder = LlamaDecoder(path, "broken", n_ctx=256)
        tokens = decoder.tokenize((Text("def f(x):\n    return "),))
        decoder.feed(tokens[:32])
        decoder.close()
    except ModelLoadError as error:
        return f"NOT_LOADED {error}"
    return "LOADED "


def main(first: int, last: int, folder: Path) -> int:
    """Load the models of these seeds; say what each child died of."""
    from collections import Counter

    from slm_lsp.engine.llama_load import start_native

    start_native()
    fates: Counter[Fate] = Counter()
    path = folder / "model.gguf"
    for seed in range(first, last):
        path.write_bytes(mutated(seed))
        found, why = fate(path)
        fates[found] += 1
        if found is Fate.DIED:
            print(f"seed {seed}: {why}", flush=True)
    print({str(key): n for key, n in fates.items()})
    return 1 if fates[Fate.DIED] else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
