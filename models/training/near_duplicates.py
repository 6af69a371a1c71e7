"""Drops documents that nearly repeat an earlier one.

MinHash over 5-token shingles: 64 permutations, 16 bands of 4 rows to find candidates, and the
share of equal signature values (an estimate of Jaccard similarity, about 0.05 off) to decide.
Invariant: of two near duplicates the one that comes first stays, so order is priority.
Holds one signature per document kept; one thread at a time.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from models.training.shingles import Hashes, shingle_hashes

SIMILARITY = 0.8
_SHINGLE_TOKENS = 5
_N_BANDS = 16
_N_ROWS = 4
_N_PERMUTATIONS = _N_BANDS * _N_ROWS
_CHUNK = 4096  # shingles hashed at once: 64 rows of them stay in the cache

Signature = NDArray[np.uint32]

_random = np.random.default_rng(20240229)
_FACTORS = _random.integers(1, 2**63, (_N_PERMUTATIONS, 1), np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS = _random.integers(0, 2**63, (_N_PERMUTATIONS, 1), np.uint64)


def signature(tokens: Hashes) -> Signature | None:
    """The MinHash signature of a token sequence; None when it is shorter than one shingle."""
    shingles = shingle_hashes(tokens, _SHINGLE_TOKENS)
    if not len(shingles):
        return None
    lowest = np.full(_N_PERMUTATIONS, np.iinfo(np.uint64).max, np.uint64)
    for start in range(0, len(shingles), _CHUNK):
        permuted = shingles[start : start + _CHUNK] * _FACTORS + _OFFSETS
        np.minimum(lowest, permuted.min(axis=1), out=lowest)
    return (lowest >> np.uint64(32)).astype(np.uint32)


def similarity(one: Signature, other: Signature) -> float:
    """An estimate of the Jaccard similarity of the two texts' shingle sets."""
    return float(np.mean(one == other))


class SeenDocuments:
    """The signatures of the documents kept so far, indexed by band."""

    def __init__(self) -> None:
        self._signatures: list[Signature] = []
        self._bands: dict[bytes, list[int]] = {}

    def admit(self, tokens: Hashes) -> bool:
        """Whether the document repeats none seen before; if so it is remembered."""
        signed = signature(tokens)
        if signed is None:
            return True
        keys = list(_band_keys(signed))
        candidates = {i for key in keys for i in self._bands.get(key, ())}
        if any(similarity(signed, self._signatures[i]) >= SIMILARITY for i in candidates):
            return False
        for key in keys:
            self._bands.setdefault(key, []).append(len(self._signatures))
        self._signatures.append(signed)
        return True


def admitted(token_sequences: Iterable[Hashes]) -> list[bool]:
    """For each token sequence in order: whether it repeats none admitted before it."""
    seen = SeenDocuments()
    return [seen.admit(tokens) for tokens in token_sequences]


def _band_keys(signed: Signature) -> Iterator[bytes]:
    for band in range(_N_BANDS):
        yield bytes([band]) + signed[band * _N_ROWS : (band + 1) * _N_ROWS].tobytes()
