"""A tokenizer that cuts text as GPT-2 does and gives every word it meets the next id."""

from __future__ import annotations

import re
from dataclasses import dataclass

WORD = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[^\W\d_]+|\d| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


@dataclass(frozen=True)
class Marks:
    """Control tokens; words start behind them."""

    end: int = 0
    repo_name: int = 1
    file_sep: int = 2
    fim_prefix: int = 3
    fim_suffix: int = 4
    fim_middle: int = 5


MARKS = Marks()
FIRST_WORD = 6


class Words:
    """Words of text as tokens. Long words are cut, as by any vocabulary of limited size."""

    def __init__(self, longest: int = 4) -> None:
        self._longest = longest
        self._ids: dict[str, int] = {}
        self._texts: list[str] = []

    def encode(self, text: str) -> list[int]:
        return self.encode_with_offsets(text)[0]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[int]]:
        ids, offsets = [], []
        for match in WORD.finditer(text):
            for start in range(match.start(), match.end(), self._longest):
                ids.append(self._id(text[start : min(start + self._longest, match.end())]))
                offsets.append(start)
        return ids, offsets

    def decode(self, ids: list[int]) -> str:
        """The text of tokens; a control token stands as its number in angle brackets."""
        return "".join(self._text(i) for i in ids)

    def _id(self, word: str) -> int:
        if word not in self._ids:
            self._ids[word] = FIRST_WORD + len(self._texts)
            self._texts.append(word)
        return self._ids[word]

    def _text(self, i: int) -> str:
        return f"<{i}>" if i < FIRST_WORD else self._texts[i - FIRST_WORD]
