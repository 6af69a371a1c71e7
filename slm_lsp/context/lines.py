"""Statements as lines: indentation, code without comments, what opens a block.

Owns: walking upwards from a place over a bounded text, one statement at a time, and the
unit of indentation. Columns count a tab to the next multiple of eight.

Invariant: knows nothing of cursors; reads a text with `\\n` line ends and its `Scan`.

Threads: any; pure functions.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from slm_lsp.context.languages import Blocks, Language
from slm_lsp.context.scan import Scan, logical_starts

_MAX_UNIT = 8
# Where so many blocks have the same step, and none another, the lines below say nothing new.
_ENOUGH_VOTES = 16
# Lines of which it is remembered what they say; longer ones change with every key typed in them.
MAX_LINES_KEPT, MAX_KEPT_CHARS = 4096, 400
_compiled = lru_cache(maxsize=512)(re.compile)


@dataclass(frozen=True, slots=True)
class Line:
    """One statement, which may cover several lines of text.

    `start` is where it begins, with the white space `indent`; `code` is its first line and
    `last` its last line, both without a comment and so empty where there is nothing else.
    """

    start: int
    indent: str
    code: str
    last: str


def indent_of(line: str) -> str:
    """The blanks and tabs a line begins with."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def begins(pattern: str, line: str) -> bool:
    """Whether a line begins with the pattern; never with an empty one."""
    return bool(pattern) and _compiled(pattern).match(line.lstrip()) is not None


def ends(pattern: str, line: str) -> bool:
    """Whether the pattern is found in a line; never an empty one."""
    return bool(pattern) and _compiled(pattern).search(line) is not None


def group_of(pattern: str, line: str) -> str | None:
    """The first group of a pattern with which the line begins."""
    match = _compiled(pattern).match(line.lstrip())
    return next((group for group in match.groups() if group), None) if match else None


def lines_above(language: Language, text: str, at: int, found: Scan) -> Iterator[Line]:
    """The statements above `at`, nearest first, without blank lines."""
    end = at
    for start in logical_starts(text, at, found):
        lines, end = text[start:end].rstrip(), start
        if not lines.strip() or begins(language.outside, lines):
            continue
        bottom = start + lines.rfind("\n") + 1
        last = without_comment(text, bottom, found)
        code = last if bottom == start else without_comment(text, start, found)
        yield Line(start, indent_of(lines), code.strip(), last)


def without_comment(text: str, start: int, found: Scan) -> str:
    """What stands in the line from `start` on, but for a comment it begins or ends with."""
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    index = bisect_left(found.comments, (start, 0))
    if index > 0 and found.comments[index - 1][1] > start:
        start = min(found.comments[index - 1][1], end)
    for first, last in found.comments[index:]:
        if first >= end:
            break
        if not text[last:end].strip():
            end = first
    return text[start:end].rstrip()


def opens_block(language: Language, line: Line, found: Scan) -> bool:
    """Whether a block begins after the line."""
    if language.blocks is Blocks.COLON:
        return line.last.endswith(":") and not found.brackets and begins(language.opener, line.code)
    if ends(language.one_liner, line.last):
        return False
    if ends(language.opener_end, line.last):
        return True
    if language.blocks is Blocks.BRACES:
        label = line.last.endswith(":") and begins(language.opener, line.last)
        hole = line.last.endswith("${")  # of a template string
        return (line.last.endswith("{") and not hole) or label
    if language.blocks is Blocks.UNKNOWN:
        return line.last.endswith((":", "{"))
    return begins(language.opener, line.code)


def closes_block(language: Language, line: str) -> bool:
    """Whether a line ends the block above it, perhaps to begin another."""
    return begins(language.closer, line) or begins(language.divider, line)


def unit_of(language: Language, lines: Sequence[str]) -> str:
    """One step of indentation, as most blocks in the lines have it."""
    votes: Counter[str] = Counter()
    smallest = before = ""
    is_opened = is_listed = False
    for line in lines:
        said = _said(language, line) if len(line) > MAX_KEPT_CHARS else _remembered(language, line)
        if said is None:
            continue
        own = said.indent
        if is_opened and len(own) > len(before) and own.startswith(before):
            unit = own[len(before) :]
            votes[unit] += 1
            if votes[unit] == _ENOUGH_VOTES == votes.total():
                return unit
        # A line after a comma may stand anywhere.
        if own and not is_listed and (not smallest or len(own) < len(smallest)):
            smallest = own
        before, is_opened, is_listed = own, said.opens, said.lists
    if votes:
        return votes.most_common(1)[0][0]
    if smallest.startswith("\t"):
        return "\t"
    return smallest if 1 < len(smallest) <= _MAX_UNIT else language.unit


class _Said(NamedTuple):
    """What a line says of the indentation of the next: `lists` where that may stand anywhere."""

    indent: str
    opens: bool
    lists: bool


def _said(language: Language, line: str) -> _Said | None:
    """None of a line that may stand anywhere itself."""
    stripped = line.strip()
    if not stripped or (language.outside and begins(language.outside, stripped)):
        return None
    is_labelled = language.blocks is Blocks.BRACES and ":" in stripped
    if is_labelled and begins(language.opener, stripped):
        return None
    return _Said(indent_of(line), _opens(language, line), stripped.endswith(","))


# Of the lines around a place, typing changes one.
_remembered = lru_cache(MAX_LINES_KEPT)(_said)


def _opens(language: Language, line: str) -> bool:
    """Whether what stands deeper below a line may do so because a block or bracket is opened."""
    said = line.rstrip()
    if said.endswith((":", "{", "(", "[")) or ends(language.opener_end, said):
        return True
    return language.blocks is Blocks.WORDS and begins(language.opener, line)
