"""A tokenizer that remembers words.

Owns: cutting text where a byte-level tokenizer with GPT-2's words and single digits (llama.cpp's
`smollm`) always cuts, and the tokens of every cut piece seen before.

Invariant: the same tokens as those of the tokenizer underneath. Text in which the cuts would not be
certain goes to that tokenizer as it is. Memory is bounded: a full cache is emptied.

Threads: one at a time; each process has its own.
"""

from __future__ import annotations

import re

from models.training.tokenized import Tokenizer

MAX_PIECES = 500_000
_PUNCTUATION = r"[!-/:-@\[-`{-~]"
# Blanks go with what follows. An apostrophe goes with the letters behind it ("don't"). A word that
# touches other scripts goes with all up to the next blank, as letters of all scripts are one run.
_PIECE = re.compile(
    r"[ \t\r\n]*+(?:"
    r"[A-Za-z]++(?![^\x00-\x7f])"
    r"|[0-9]"
    rf"|{_PUNCTUATION}++(?:(?<=')[A-Za-z]++)?+(?![^\x00-\x7f])"
    r"|[^ \t\r\n]+)"
    r"|[ \t\r\n]+"
)
# White space that joins a run of blanks before it, or that only some regex engines call so.
_UNCERTAIN = re.compile(r"[^\S \t\r\n]")


class RememberingTokenizer:
    """`underneath`, with each piece of text given to it only once."""

    def __init__(self, underneath: Tokenizer) -> None:
        self._underneath = underneath
        self._known: dict[str, tuple[list[int], list[int]]] = {}

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text."""
        return self.encode_with_offsets(text)[0]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[int]]:
        """Token ids, and the code point offset at which each token starts."""
        if _UNCERTAIN.search(text):
            return self._underneath.encode_with_offsets(text)
        ids: list[int] = []
        offsets: list[int] = []
        known = self._known
        for match in _PIECE.finditer(text):
            piece = match.group()
            found = known.get(piece)
            if found is None:
                found = self._learn(piece)
            ids += found[0]
            start = match.start()
            if len(found[1]) == 1:
                offsets.append(start)
            else:
                offsets += [start + offset for offset in found[1]]
        return ids, offsets

    def _learn(self, piece: str) -> tuple[list[int], list[int]]:
        if len(self._known) >= MAX_PIECES:
            self._known.clear()
        found = self._known[piece] = self._underneath.encode_with_offsets(piece)
        return found
