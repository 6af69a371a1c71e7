"""A source text's lines, what each is worth as practice, and the syntax in it.

Owns: telling code from comments, docstrings, imports and licence headers, line by line.

Invariant: pure; offsets are code points, lines count from 0 and end at "\\n" alone. Works
without a syntax tree; then nothing but the lines is known.

Threads: any.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from models.training.grammars import Extent, Function, Syntax, parse
from slm_lsp.context.languages import language_of

CODE, IMPORT, COMMENT, DOCSTRING, CLOSING = 1.0, 0.3, 0.2, 0.15, 0.2
NOTHING = 0.0  # blank lines and licence headers

NAME = re.compile(r"[^\W\d]\w+")
_LICENCE = re.compile(r"copyright|licen[sc]e|\(c\)\s|spdx-|all rights reserved|warrant", re.I)
_CLOSING = re.compile(r"[)\]}>;,\s]*\Z|(?:end|else:|pass|try:)\s*\Z")


@dataclass(frozen=True, slots=True)
class Scope:
    """A function: where its first line starts, and the lines `first` to `last` (excluded) of its
    body behind any docstring."""

    start: int
    first: int
    last: int
    documented: bool


@dataclass(frozen=True, slots=True)
class Outline:
    """What spans are drawn from.

    `starts`: of every line, then the text's length + 1. `worth`: of every line, from 0 to 1.
    `worth_before`: the sum of all lines before each, then of all. `names`: the identifiers in
    each line.
    """

    text: str
    starts: list[int]
    worth: list[float]
    worth_before: list[float]
    names: list[frozenset[str]]
    licence_end: int
    scopes: list[Scope]
    statements: list[Extent]
    blocks: list[Extent]
    arguments: list[Extent]
    identifiers: list[Extent]

    def line_at(self, offset: int) -> int:
        """The line that holds an offset."""
        return min(bisect_right(self.starts, offset), len(self.starts) - 1) - 1

    def end(self, line: int) -> int:
        """Where a line ends, before its line end."""
        return self.starts[line + 1] - 1

    def code_start(self, line: int) -> int:
        """The first character of a line that is not blank; its end if all are."""
        start, end = self.starts[line], self.end(line)
        return end - len(self.text[start:end].lstrip())

    def is_blank(self, line: int) -> bool:
        """Whether a line holds no code at all."""
        return self.code_start(line) == self.end(line)

    def worth_at(self, offset: int) -> float:
        """What the line at an offset is worth."""
        return self.worth[self.line_at(offset)]


def outline(text: str, language: str) -> Outline:
    """The outline of a text in a language; a language nobody knows has lines only."""
    lines = text.split("\n")
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    syntax = parse(text, language)
    worth = [NOTHING if not line or line.isspace() else CODE for line in lines]
    for i, line in enumerate(lines):
        if worth[i] and _CLOSING.match(line.lstrip()):
            worth[i] = CLOSING
    comments = _comment_lines(lines, starts, language, syntax)
    if syntax is not None:
        _lower(worth, starts, syntax.imports, IMPORT)
        _lower(worth, starts, syntax.docstrings, DOCSTRING)
    for i in comments:
        worth[i] = min(worth[i], COMMENT)
    licence_end = _licence_end(lines, worth)
    worth[:licence_end] = [NOTHING] * licence_end
    return Outline(
        text=text,
        starts=starts,
        worth=worth,
        worth_before=list(accumulate(worth, initial=0.0)),
        names=[frozenset(NAME.findall(line)) for line in lines],
        licence_end=licence_end,
        scopes=_scopes(text, starts, syntax, comments) if syntax else [],
        statements=syntax.statements if syntax else [],
        blocks=syntax.blocks if syntax else [],
        arguments=syntax.arguments if syntax else [],
        identifiers=syntax.identifiers if syntax else [],
    )


def _line(starts: list[int], offset: int) -> int:
    return bisect_right(starts, offset) - 1


def _lower(worth: list[float], starts: list[int], extents: Iterable[Extent], to: float) -> None:
    for start, end in extents:
        for line in range(_line(starts, start), _line(starts, max(start, end - 1)) + 1):
            worth[line] = min(worth[line], to)


def _comment_lines(
    lines: list[str], starts: list[int], language: str, syntax: Syntax | None
) -> set[int]:
    """Lines that hold nothing but a comment."""
    if syntax is None:
        marks = language_of(language).line_comments
        return {i for i, line in enumerate(lines) if line.lstrip().startswith(marks)}
    found: set[int] = set()
    for start, end in syntax.comments:
        first, last = _line(starts, start), _line(starts, max(start, end - 1))
        if lines[first][: start - starts[first]].strip():
            first += 1  # behind code
        found.update(range(first, last + 1))
    return found


def _licence_end(lines: list[str], worth: list[float]) -> int:
    """The line behind the comment or docstring that opens the file, if it is about a licence."""
    end = 0
    while end < len(lines) and worth[end] in (NOTHING, COMMENT, DOCSTRING):
        end += 1
    return end if _LICENCE.search("\n".join(lines[:end])) else 0


def _scopes(text: str, starts: list[int], syntax: Syntax, comments: set[int]) -> list[Scope]:
    found = (_scope(text, starts, syntax, comments, each) for each in syntax.functions)
    return [scope for scope in found if scope is not None]


def _scope(
    text: str, starts: list[int], syntax: Syntax, comments: set[int], function: Function
) -> Scope | None:
    top = _line(starts, function.start)
    body, end = function.body
    behind = syntax.documented(function.body)
    documented = behind > body or top - 1 in comments
    first, last = _line(starts, behind), _line(starts, max(behind, end - 1)) + 1
    if behind > body:
        first += 1
    if first == top or first >= last:
        return None
    while top > 0 and text[starts[top - 1] : starts[top]].lstrip().startswith("@"):
        top -= 1  # a decorator
    return Scope(starts[top], first, last, documented)
