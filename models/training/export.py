"""`python -m models.training.export`: from a checkpoint to GGUF files that llama.cpp loads.

Owns: nothing but the command line; `weights` knows the format.

Invariant: the exported rounding is the one that training saw (`four_bits`).

Threads: the main one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from models.training import checkpoint, vocabulary, weights
from models.training.network import Shape


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.training.export", description=__doc__)
    add = parser.add_argument
    add("--base", type=Path, required=True, help="GGUF of the base model, for its vocabulary")
    add("--checkpoint", type=Path, help="default: the base's own weights, with the new vocabulary")
    add("--mix", choices=sorted(weights.MIXES), default="shipped")
    add("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    words = vocabulary.load(options.base)
    shape = Shape(len(words.kept))
    if options.checkpoint:
        state, progress = checkpoint.load(options.checkpoint, torch.device("cpu"))
        exact = {name: value.numpy() for name, value in state["exact"].items()}
        print(f"{options.checkpoint}: {progress.n_seen:,} tokens seen")
    else:
        exact = weights.read(options.base, words, shape)
    weights.write(options.out, exact, words, shape, options.mix)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
