"""All secrets of a text: those of its lines, and private keys over several lines.

Owns: what a line and a text hold, the memory of lines that were looked at, and secrets that are
only being typed.

Invariant: pure but for a bounded memory, which changes no answer. The answer depends on the
text alone. Typing costs one line.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from slm_lsp.secrets import assigned, formats
from slm_lsp.secrets.spans import Secret, disjoint

MAX_LINES_KEPT = 8192
# Longer lines change as a whole with every key typed in them.
MAX_KEPT_CHARS = 400
# Shorter lines hold nothing that could be told from other text.
MIN_LINE_CHARS = 12

KEY_MARK = "PRIVATE KEY"
BEGIN = re.compile(r"-*BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-*")
END = re.compile(r"-*END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-*")
# What is in a key that stands on one line, with its line ends written out.
IN_ONE_LINE = re.compile(r"(?:[A-Za-z0-9+/=]|\\+[rn]|\s)+")
# A line of a key, also as part of a string that spans lines.
BODY = re.compile(
    r"""\s*["'`]?([A-Za-z0-9+/=]{4,})(?:\\+[rn])*["'`]?\s*[+,;.)\\]*\s*"""
    r"""|\s*["'`]?([A-Za-z-]+:\s.*?)["'`]?[\s\\+,;]*|\s*"""
)
# In keys as OpenSSL, OpenSSH and GnuPG write them all lines but the last are as long.
KEY_LINE = re.compile(
    r"""\s*["'`]?([A-Za-z0-9+/]{64}|[A-Za-z0-9+/]{70})(?:\\+[rn])*["'`]?[\s+,;\\]*"""
)
MIN_KEY_LINE_ENTROPY = 4.3
MAX_KEY_LINES = 400
# Behind a mark that begins a key a shorter line is code: `pass`, `return`.
MIN_FIRST_LINE_CHARS = 20


def in_text(text: str, cursor: int | None = None) -> list[Secret]:
    """The secrets of a text, in order; with a cursor also the one that is typed there."""
    lines = text.split("\n")
    found: list[Secret] = []
    at = 0
    for line in lines:
        # Of some 200 lines in a prompt hardly one holds any: what most of them cost counts.
        if len(line) >= MIN_LINE_CHARS and (secrets := in_line(line)):
            found += [each.moved(at) for each in secrets]
        at += len(line) + 1
    if may_span_lines(text):
        found += _keys(lines)
    if cursor is not None:
        begin = text.rfind("\n", 0, cursor) + 1
        typed = formats.begun(text[begin:cursor])
        found += [typed.moved(begin)] if typed else []
    return disjoint(found) if found else found


def may_span_lines(text: str) -> bool:
    """Whether a secret of a text may be of more than one line."""
    return KEY_MARK in text


def in_line(line: str) -> tuple[Secret, ...]:
    """The secrets of one line that is not too short for any."""
    return _looked_at(line) if len(line) > MAX_KEPT_CHARS else _remembered(line)


@lru_cache(MAX_LINES_KEPT)
def _remembered(line: str) -> tuple[Secret, ...]:
    return _looked_at(line)


def _looked_at(line: str) -> tuple[Secret, ...]:
    line = line.removesuffix("\r")
    found = [*formats.in_line(line), *assigned.in_line(line)]
    body = KEY_LINE.fullmatch(line)
    if body and assigned.entropy(body[1]) >= MIN_KEY_LINE_ENTROPY:
        found.append(Secret(body.start(1), body.end(1)))
    return tuple(disjoint(found))


def _keys(lines: Sequence[str]) -> Iterator[Secret]:
    """Private keys between their marks, and what of one is left where a mark is cut off."""
    at = 0
    starts = [at := at + n for n in (0, *(len(line) + 1 for line in lines))]
    for i, line in enumerate(lines):
        for mark in BEGIN.finditer(line):
            body = IN_ONE_LINE.match(line, mark.end())
            if body and body.end() - body.start() > 2:
                yield Secret(starts[i] + body.start(), starts[i] + body.end())
            elif not END.search(line, mark.end()):
                rows = range(i + 1, min(len(lines), i + MAX_KEY_LINES))
                yield from _body(lines, starts, rows, MIN_FIRST_LINE_CHARS)
        if END.search(line) and not BEGIN.search(line):
            yield from _body(lines, starts, range(i - 1, max(-1, i - MAX_KEY_LINES), -1))


def _body(
    lines: Sequence[str], starts: Sequence[int], rows: range, min_first_chars: int = 0
) -> Iterator[Secret]:
    """One secret from the first to the last of the rows that can be part of a key."""
    ends: list[int] = []
    for row in rows:
        body = BODY.fullmatch(lines[row])
        if body is None:
            break
        if body[1] and not ends and len(body[1]) < min_first_chars:
            break
        if body.lastindex:
            ends += [starts[row] + each for each in body.span(body.lastindex)]
    if ends:
        yield Secret(min(ends), max(ends))
