"""A network and a vocabulary small enough for tests."""

from __future__ import annotations

import numpy as np
import torch

from models.training.batches import Batch
from models.training.network import Network, Shape
from models.training.vocabulary import CONTROL, BaseVocabulary, Vocabulary

CONTROLS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<repo_name>",
    "<reponame>",
    "<file_sep>",
    "<filename>",
    "<gh_stars>",
    "<issue_start>",
)
LETTERS = "abcdefghijklmnopqrstuvwxyzĠĊ()=:"
MERGES = (("r", "e"), ("t", "u"), ("re", "tu"), ("retu", "r"), ("retur", "n"), ("Ġ", "return"))
BASE = BaseVocabulary(
    (*CONTROLS, *LETTERS, *(left + right for left, right in MERGES)),
    (*(CONTROL for _ in CONTROLS), *(1 for _ in LETTERS), *(1 for _ in MERGES)),
    MERGES,
)
WHOLE = Vocabulary(BASE, tuple(range(len(BASE.tokens))))
SHAPE = Shape(
    n_vocab=len(BASE.tokens), n_layers=3, d_model=64, n_heads=2, n_kv_heads=1, d_head=32, d_ff=96
)


def network(seed: int = 0) -> Network:
    """A float32 network with random weights."""
    made = Network(SHAPE)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * 0.1 if parameter.dim() > 1 else 1 + noise * 0.1)
    return made


def batch(rows: int = 4, width: int = 16, seed: int = 0) -> Batch:
    """Random tokens, the last quarter of each row being the middle."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(9, SHAPE.n_vocab, (rows, width + 1))
    weights = rng.choice([0.0, 0.3, 1.0, 3.0], (rows, width)).astype(np.float32)
    in_middle = np.zeros((rows, width), np.bool_)
    in_middle[:, -width // 4 :] = True
    return Batch(tokens[:, :-1], tokens[:, 1:], weights, np.full(rows, width), in_middle)
