"""Runs of n tokens as 64-bit hashes: the common ground of de-duplication and decontamination.

Tokens are identifiers, numbers and single other characters, in code, comments and docstrings
alike, so layout never hides a copy.
Invariant: a hash depends on the tokens alone, never on the process: hash lists can be committed.
The token cache only saves time; one thread at a time.
"""

import re

import numpy as np
from numpy.typing import NDArray

from models.training.document import stable_hash

Hashes = NDArray[np.uint64]

_TOKEN = re.compile(r"[^\W\d]\w*|\d+|[^\w\s]")
_BASE = 0x9E3779B97F4A7C15  # odd, so multiplying by its powers loses nothing modulo 2**64
_MIX = np.uint64(0xBF58476D1CE4E5B9)


class _TokenHashes(dict[str, int]):
    def __missing__(self, token: str) -> int:
        hashed = self[token] = stable_hash(token)
        return hashed


_token_hashes = _TokenHashes()


def token_hashes(text: str) -> Hashes:
    """One hash per token, in order."""
    tokens = _TOKEN.findall(text)
    return np.fromiter(map(_token_hashes.__getitem__, tokens), np.uint64, len(tokens))


def shingle_hashes(tokens: Hashes, n_tokens: int) -> Hashes:
    """One hash per run of n_tokens tokens, in order; none for a shorter text."""
    n_shingles = len(tokens) - n_tokens + 1
    if n_shingles <= 0:
        return np.empty(0, np.uint64)
    sums = np.zeros(n_shingles, np.uint64)
    for i in range(n_tokens):
        sums += tokens[i : i + n_shingles] * np.uint64(pow(_BASE, i, 2**64))
    sums ^= sums >> np.uint64(31)
    sums *= _MIX
    sums ^= sums >> np.uint64(29)
    return sums


def worded_shingles(text: str, n_tokens: int, n_words_min: int) -> Hashes:
    """The distinct hashes, sorted, of those shingles that hold enough identifiers or words."""
    hashes = shingle_hashes(token_hashes(text), n_tokens)
    words = [token[0].isalpha() or token[0] == "_" for token in _TOKEN.findall(text)]
    n_words_before = np.concatenate([[0], np.cumsum(np.array(words, np.int64))])
    n_words = n_words_before[n_tokens:] - n_words_before[: len(hashes)]
    return np.unique(hashes[n_words >= n_words_min])
