"""Counting brackets in pieces of code that need not parse.

Owns: which brackets of a text are open at its end and which close nothing in it.

Invariant: pure, linear in the text; strings on one line are skipped, and a quote that is
never closed on its line counts as an ordinary character.

Threads: any.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CLOSING = {"(": ")", "[": "]", "{": "}"}
OPENING = {close: open_ for open_, close in CLOSING.items()}
TOKENS = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\\n])*`|[()\[\]{}]")


@dataclass(frozen=True, slots=True)
class Balance:
    """`open`: brackets still open, outermost first. `strays`: offsets of closers that
    close nothing within the text."""

    open: str
    strays: tuple[int, ...]

    @property
    def first_stray(self) -> int | None:
        return self.strays[0] if self.strays else None


def scan(text: str) -> Balance:
    """The brackets of `text`; a closer of another kind than the innermost is a stray."""
    open_: list[str] = []
    strays: list[int] = []
    for token in TOKENS.finditer(text):
        char = token.group()
        if char in CLOSING:
            open_.append(char)
        elif char in OPENING:
            if open_ and open_[-1] == OPENING[char]:
                open_.pop()
            else:
                strays.append(token.start())
    return Balance("".join(open_), tuple(strays))
