"""Brackets and quotes in pieces of code that need not parse.

Owns: which brackets of a text are open at its end, which close nothing, and which string is
open at the end of a line.

Invariant: pure, and linear in the text. Strings and comments of the language are skipped; a
quote that nothing closes counts as an ordinary character.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from slm_lsp.context.languages import UNKNOWN, Language

CLOSING = {"(": ")", "[": "]", "{": "}"}
OPENING = {close: open_ for open_, close in CLOSING.items()}


@dataclass(frozen=True, slots=True)
class Balance:
    """`open`: brackets still open, outermost first; `opened`: the offsets of those that the
    text itself opened. `strays`: offsets of closers that close nothing; `reaching`: those
    of them that could close what stands before the text, as nothing was open in it."""

    open: str
    opened: tuple[int, ...]
    strays: tuple[int, ...]
    reaching: str


@dataclass(frozen=True, slots=True)
class Quote:
    """A quotation mark and its offset."""

    at: int
    mark: str


def scan(text: str, language: Language = UNKNOWN, already: str = "") -> Balance:
    """The brackets of `text` behind the open brackets `already`; a closer of another kind
    than the innermost open bracket is a stray."""
    open_, opened = list(already), [-1] * len(already)
    strays: list[int] = []
    reaching = ""
    for at, token in _tokens(text, language):
        if token in CLOSING:
            open_.append(token)
            opened.append(at)
        elif token in OPENING and open_ and open_[-1] == OPENING[token]:
            open_.pop()
            opened.pop()
        elif token in OPENING:
            strays.append(at)
            reaching += "" if open_ else token
    return Balance("".join(open_), tuple(at for at in opened if at >= 0), tuple(strays), reaching)


def unpaired(closers: str, already: str) -> tuple[int, int]:
    """How many of `closers` close nothing of the open brackets `already`, and how many of
    these stay open."""
    open_, n_strays = list(already), 0
    for char in closers:
        if open_ and open_[-1] == OPENING[char]:
            open_.pop()
        else:
            n_strays += 1
    return n_strays, len(open_)


def open_quote(line: str, language: Language = UNKNOWN) -> Quote | None:
    """The quotation mark whose string is open at the end of `line`, which starts in code."""
    brackets = "".join((*CLOSING, *OPENING))
    return next(
        (Quote(at, token) for at, token in _tokens(line, language) if token not in brackets), None
    )


def quotes_in(text: str, mark: str) -> list[int]:
    """Where `mark` stands in `text` without a backslash before it."""
    found, at = [], 0
    while at < len(text):
        if text.startswith(mark, at):
            found.append(at)
            at += len(mark)
        else:
            at += 2 if text[at] == "\\" else 1
    return found


def _tokens(text: str, language: Language) -> Iterator[tuple[int, str]]:
    """The brackets, and the quotes that nothing closes, outside of strings and comments."""
    pattern, strings = _patterns(language)
    at = 0
    # Up to where a mark is known to close nothing: up to there, all of its kind are escaped.
    hopeless: dict[str, int] = {}
    while (found := pattern.search(text, at)) is not None:
        token, at = found.group(), found.end()
        if found.lastgroup == "bracket":
            yield found.start(), token
        elif found.lastgroup == "quote" and found.start() >= hopeless.get(token, 0):
            string = strings[token].match(text, found.start())
            if string is not None:
                at = string.end()
            else:
                line_end = text.find("\n", at) if len(token) == 1 else -1
                hopeless[token] = line_end if line_end >= 0 else len(text)
                yield found.start(), token


@lru_cache(maxsize=64)
def _patterns(language: Language) -> tuple[re.Pattern[str], Mapping[str, re.Pattern[str]]]:
    """What is looked for, and the whole string that each quotation mark may begin."""
    raw = language.raw_quotes
    long = {
        mark: rf"{mark}(?s:.*?){mark}" if mark in raw else rf"{mark}(?s:\\.|(?!{mark})[^\\])*{mark}"
        for mark in language.long_quotes
    }
    short = {
        mark: rf"{mark}[^{mark}\n]*{mark}"
        if mark in raw
        else rf"{mark}(?:\\.|[^{mark}\\\n])*{mark}"
        for mark in language.quotes
    }
    marks = "|".join(
        mark if mark != "'" or not language.prose else r"(?<!\w)'" for mark in (*long, *short)
    )
    parts = [r"'(?:\\[^\n]{1,9}?|[^'\\\n])'"] if language.char_literals else []
    if language.block_comment is not None:
        start, end = map(re.escape, language.block_comment)
        parts.append(rf"{start}(?s:.*?)(?:{end}|\Z)")
    parts += [
        _line_comment(language.line_comments),
        f"(?P<quote>{marks or '(?!)'})",
        r"(?P<bracket>[()\[\]{}])",
    ]
    strings = {mark: re.compile(pattern) for mark, pattern in (long | short).items()}
    return re.compile("|".join(parts)), strings


def _line_comment(starts: Sequence[str]) -> str:
    # With a blank behind it: `#fff` and `https://` begin no comment, and code that was
    # commented out has its brackets in pairs.
    marks = "|".join(f"(?:{re.escape(start)})+" for start in starts) or "(?!)"
    return rf"(?<![\w:])(?:{marks})[/!]?(?=\s|\Z)[^\n]*"
