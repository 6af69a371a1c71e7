"""What two versions of a text have in common at their ends.

Owns: the search. It halves what is left and compares whole slices, so that the loop over characters
or bytes runs in C: an edit in a file of 10,000 lines is found in a few comparisons.

Invariant: pure; works alike on str (lengths in code points) and bytes.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import AnyStr


def common_prefix(a: AnyStr, b: AnyStr, limit: int) -> int:
    """How much of their beginnings is equal, at most `limit`, which is no more than either has."""
    same = _comparison(a, b)
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if same(low, low, middle - low):
            low = middle
        else:
            high = middle - 1
    return low


def common_suffix(a: AnyStr, b: AnyStr, limit: int) -> int:
    """How much of their ends is equal, at most `limit`, which is no more than either has."""
    same = _comparison(a, b)
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if same(len(a) - middle, len(b) - middle, middle - low):
            low = middle
        else:
            high = middle - 1
    return low


def _comparison(a: AnyStr, b: AnyStr) -> Callable[[int, int, int], bool]:
    """Whether so much from one offset in `a` and from another in `b` is equal; of bytes nothing is
    copied for it, which in a large file took longer than comparing."""
    if isinstance(a, bytes) and isinstance(b, bytes):
        whole, view = a, memoryview(b)
        return lambda i, j, n: whole.startswith(view[j : j + n], i)
    return lambda i, j, n: a[i : i + n] == b[j : j + n]
