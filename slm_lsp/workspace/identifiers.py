"""Identifiers of texts, and how alike two texts are by them.

Owns: what counts as a word of code: for the index (from bytes, quickly) and for comparing.

Invariant: pure functions of their arguments.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Set

MIN_CHARS, MAX_CHARS = 3, 64
# Of one file; the rest of a file that has more is a table of data, mostly.
MAX_WORDS = 3000
_WORD = re.compile(r"[^\W\d]\w*")
_PART = frozenset(b"_$abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
# In lower case; bytes of letters beyond ASCII stay as they are.
_TO_WORDS = bytes(
    bytes((byte,)).lower()[0] if byte in _PART or byte >= 0x80 else 0x20 for byte in range(256)
)
_DIGITS = frozenset(b"0123456789")

# Words that most languages share and that say nothing of a place.
_COMMON_WORDS = (
    "and as assert async await bool break case catch char class const continue def default del do"
    " double elif else enum except export extends false final finally float for from func function"
    " global if implements import in include int interface is lambda let long match namespace new"
    " nil none not null or override package pass private protected pub public raise return self"
    " short static str string struct super switch template this throw throws true try type"
    " typedef typename union unsigned use using var void while with yield"
)
COMMON = frozenset(_COMMON_WORDS.split())


def words_of(source: bytes) -> tuple[str, int]:
    """The different identifiers of a file in lower case, with spaces between them, and their
    number."""
    words = [
        word
        for word in set(source.translate(_TO_WORDS).split())
        if MIN_CHARS <= len(word) <= MAX_CHARS and word[0] not in _DIGITS
    ]
    if len(words) > MAX_WORDS:  # always the same ones
        words = sorted(words)[:MAX_WORDS]
    return b" ".join(words).decode("utf-8", "replace"), len(words)


def in_order(text: str) -> list[str]:
    """All identifiers of a text as they stand."""
    return _WORD.findall(text)


def token_set(text: str) -> frozenset[str]:
    """The different identifiers of a text that most texts do not have."""
    return frozenset(_WORD.findall(text)) - COMMON


def dice(one: Set[str], other: Set[str]) -> float:
    """Alikeness from 0 to 1."""
    n_both = len(one) + len(other)
    return 2 * len(one & other) / n_both if n_both else 0.0


def jaccard(one: Set[str], other: Set[str]) -> float:
    """Alikeness from 0 to 1, that counts what is not shared more than `dice` does."""
    n_shared = len(one & other)
    n_either = len(one) + len(other) - n_shared
    return n_shared / n_either if n_either else 0.0


def contained(one: Set[str], other: Set[str]) -> float:
    """Which part of `one` is in `other`."""
    return len(one & other) / len(one) if one else 1.0
