"""Conversions between LSP positions, offsets and byte offsets.

Owns: what a line is (ended by \\n, \\r\\n or \\r only; never by form feed, VT, U+0085 or
U+2028, which `str.splitlines` also splits at) and what a `character` counts.
Invariant: pure and total. Every (line, character) has an offset: past the line's end is
the line's end, past the last line is the end of text, negative is 0, inside a character
is that character's start. Lone surrogates count 3 bytes or 1 UTF-16 unit and never raise.
Threads: any; nothing here holds state.
"""

from __future__ import annotations

import re
from enum import StrEnum
from itertools import islice

Position = tuple[int, int]
"""(line, character), both from 0, `character` in the client's units."""

_LINE_END = re.compile(r"\r\n?|\n")
_SURROGATE_PAIR = re.compile(r"[\ud800-\udbff][\udc00-\udfff]")


class Encoding(StrEnum):
    """What one unit of a position's `character` is; the values are the protocol's own."""

    UTF8 = "utf-8"
    UTF16 = "utf-16"
    UTF32 = "utf-32"


def n_units(text: str, encoding: Encoding) -> int:
    """Length of `text` in units of `encoding`."""
    if encoding is Encoding.UTF32 or text.isascii():
        return len(text)
    if encoding is Encoding.UTF8:
        return len(text.encode("utf-8", "surrogatepass"))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def n_characters(text: str, units: int, encoding: Encoding) -> int:
    """Number of whole characters at the start of `text` that fit into `units`."""
    low, high = 0, max(0, min(units, len(text)))
    if encoding is Encoding.UTF32 or text.isascii():
        return high
    # Halving keeps the counting in C: a loop over the characters of a minified file's
    # only line would take tens of milliseconds.
    while low < high:
        middle = (low + high + 1) // 2
        size = n_units(text[low:middle], encoding)
        if size <= units:
            low, units = middle, units - size
        else:
            high = middle - 1
    return low


def line_starts(text: str) -> list[int]:
    """Offsets at which the lines of `text` start; the first is always 0."""
    return [0, *(end.end() for end in _LINE_END.finditer(text))]


def line_starts_between(text: str, first: int, last: int) -> list[int]:
    """Those line starts s > 0 of `text` with `first` <= s <= `last`.

    Whether a line starts at s depends on the characters at s - 1 and s alone, so only
    the range and one character either side of it are looked at.
    """
    ends = _LINE_END.finditer(text, max(0, first - 1), last + 1)
    return [end.end() for end in ends if first <= end.end() <= last]


def line_end(text: str, start: int, stop: int) -> int:
    """End, before its terminator, of the line that takes up `start`..`stop` with it."""
    if stop > start and text[stop - 1] == "\n":
        stop -= 1
    if stop > start and text[stop - 1] == "\r":
        stop -= 1
    return stop


def offset_in_line(text: str, start: int, end: int, character: int, encoding: Encoding) -> int:
    """Offset of `character` in the line whose text, without terminator, is `start`..`end`."""
    # A character takes at least one unit, so no more of a long line need be copied.
    line = text[start : min(end, start + max(0, character))]
    return start + n_characters(line, character, encoding)


def offset_at(text: str, position: Position, encoding: Encoding) -> int:
    """Offset of `position` in `text`, found without a line index: linear in the text."""
    line, character = position
    start = 0
    if line > 0:
        before = next(islice(_LINE_END.finditer(text), line - 1, None), None)
        if before is None:
            return len(text)
        start = before.end()
    after = _LINE_END.search(text, start)
    end = after.start() if after else len(text)
    return offset_in_line(text, start, end, character, encoding)


def position_at(text: str, offset: int, encoding: Encoding) -> Position:
    """Position of `offset` in `text`, found without a line index: linear in the text.

    Between the \\r and \\n of one terminator no position exists: it is the line's end.
    """
    offset = clamp(text, offset)
    line = text.count("\n", 0, offset) + text.count("\r", 0, offset) - text.count("\r\n", 0, offset)
    start = 1 + max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset))
    return line, n_units(text[start:offset], encoding)


def clamp(text: str, offset: int) -> int:
    """The nearest offset at or before `offset` that lies in `text` and has a position."""
    offset = max(0, min(offset, len(text)))
    return offset - 1 if offset and text[offset - 1 : offset + 1] == "\r\n" else offset


def byte_offset(text: str, offset: int) -> int:
    """Offset in the UTF-8 encoding of `text`, where a lone surrogate takes 3 bytes."""
    if text.isascii():  # which Python knows of each text
        return max(0, min(offset, len(text)))
    return n_units(text[: max(0, offset)], Encoding.UTF8)


def join_surrogates(text: str) -> str:
    """`text` with every high surrogate that a low one follows joined to one character.

    UTF-16 cannot tell the two forms apart, so a client in UTF-16 sees one character.
    """
    if text.isascii():
        return text
    try:
        text.encode("utf-8")  # refuses surrogates, several times faster than a regex search
    except UnicodeEncodeError:
        return _SURROGATE_PAIR.sub(_join_pair, text)
    return text


def _join_pair(pair: re.Match[str]) -> str:
    high, low = map(ord, pair[0])
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
