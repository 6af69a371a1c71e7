"""A source text that is tokenized once and read in pieces.

Owns: the tokens of one document and where each starts.

Invariant: `piece(start, end)` is the tokenization of `text[start:end]` on its own, as if the rest
of the document did not exist. Tokens are only reused between two places where any GPT-2 style
pre-tokenizer splits whatever stands before and behind: at white space behind a character that is
none.

Threads: any.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Protocol

_BLANK = " \t\r\n"
# Less than this is encoded directly: looking for places to split at would cost more.
_SHORT_CHARS = 40


class Tokenizer(Protocol):
    """What examples need of a tokenizer; neither call ever yields a control token."""

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text."""
        ...

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[int]]:
        """Token ids, and the code point offset at which each token starts."""
        ...


class TokenizedText:
    """The tokens of a text, kept so that pieces of it need little work."""

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        self.text = text
        self._tokenizer = tokenizer
        self._ids, self._starts = tokenizer.encode_with_offsets(text)

    def n_tokens(self, start: int, end: int) -> int:
        """About as many tokens as `text[start:end]` has."""
        return bisect_left(self._starts, end) - bisect_left(self._starts, start)

    def offset_before(self, end: int, n_tokens: int) -> int:
        """Where the token starts that is `n_tokens` before `end`; 0 if there are fewer."""
        at = bisect_left(self._starts, end) - n_tokens
        return self._starts[at] if at > 0 else 0

    def offset_after(self, start: int, n_tokens: int) -> int:
        """Where the token starts that is `n_tokens` after `start`; the end if there are fewer."""
        at = bisect_left(self._starts, start) + n_tokens
        return self._starts[at] if at < len(self._starts) else len(self.text)

    def piece(self, start: int, end: int) -> list[int]:
        """Token ids of `text[start:end]`."""
        return self.piece_with_offsets(start, end)[0]

    def piece_with_offsets(self, start: int, end: int) -> tuple[list[int], list[int]]:
        """Token ids of `text[start:end]`, and where in `text` each starts."""
        if end - start >= _SHORT_CHARS:
            first, last = self._split_after(start, end), self._split_before(start, end)
            low, high = bisect_left(self._starts, first), bisect_left(self._starts, last)
            if first < last and self._starts_at(low, first) and self._starts_at(high, last):
                head, tail = self._fresh(start, first), self._fresh(last, end)
                return (
                    [*head[0], *self._ids[low:high], *tail[0]],
                    [*head[1], *self._starts[low:high], *tail[1]],
                )
        return self._fresh(start, end)

    def _fresh(self, start: int, end: int) -> tuple[list[int], list[int]]:
        if start == end:
            return [], []
        ids, starts = self._tokenizer.encode_with_offsets(self.text[start:end])
        return ids, [start + at for at in starts]

    def _starts_at(self, index: int, offset: int) -> bool:
        if index == len(self._starts):
            return offset == len(self.text)
        return self._starts[index] == offset

    def _splits(self, at: int) -> bool:
        return self.text[at] in _BLANK and not self.text[at - 1].isspace()

    def _split_after(self, start: int, end: int) -> int:
        at = start + 1
        while at < end and not self._splits(at):
            at += 1
        return at

    def _split_before(self, start: int, end: int) -> int:
        if end == len(self.text):
            return end
        at = end
        while at > start + 1 and not self._splits(at):
            at -= 1
        return at
