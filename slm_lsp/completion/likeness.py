"""When two lines say the same.

Owns: what is left of a line where spelling does not count, and which lines are too short or too
common for their likeness to mean anything.

Invariant: pure. Lines that differ in a word or a number are never alike: a series (`x`, `y`, `z`)
is what programs are made of.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# A line shorter than this may well occur twice in a row ("}", "else:", "pass").
MIN_TELLING_CHARS = 8
# Of lines with fewer words, one word more makes another statement.
MIN_ALIKE_WORDS = 5

_SPELLING = re.compile(r"[\s\"'`,;]")
_WORDS = re.compile(r"\w+")
_LETTERS = re.compile(r"[^\W\d_]{2}")


def bare(line: str) -> str:
    """A line without white space, quotes, commas and semicolons."""
    return _SPELLING.sub("", line)


def is_telling(line: str) -> bool:
    """Whether it means something that a line occurs twice: not for brackets and numbers."""
    return len(line.strip()) >= MIN_TELLING_CHARS and bool(_LETTERS.search(line))


def alike(a: str, b: str) -> bool:
    """Whether two telling lines say the same in other spelling, or one says a word more."""
    if not is_telling(a) or not is_telling(b):
        return False
    return bare(a) == bare(b) or _one_word_more(_WORDS.findall(a), _WORDS.findall(b))


def _one_word_more(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether the longer of two lists is the other with one more in it that is no number."""
    longer, shorter = (a, b) if len(a) > len(b) else (b, a)
    if len(longer) != len(shorter) + 1 or len(shorter) < MIN_ALIKE_WORDS:
        return False
    at = next((i for i, word in enumerate(shorter) if longer[i] != word), len(shorter))
    return longer[at + 1 :] == shorter[at:] and not longer[at][:1].isdigit()
