"""What a file defines, read off its lines by the language's `header`: quick, and good enough to
find a definition by its name.

Owns: the header expressions, changed so that they search a whole text line by line.

Invariant: one pass over the text. An expression never looks beyond its line, so that the work is
bounded by the length of lines.

Threads: any.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from slm_lsp.context.languages import language_of

# Of one file; more is generated.
MAX_DEFINITIONS = 2000
_MAX_NAME = 100


def definitions(language: str, text: str) -> Iterator[tuple[str, int]]:
    """Names and lines (from 0) of what a text defines, in its order. Lines end at line feeds."""
    expression = _expression(language)
    if expression is None:
        return
    text = f"\n{text}"
    line, at = -1, 0
    for n, found in enumerate(expression.finditer(text)):
        if n == MAX_DEFINITIONS:
            return
        name = next((group for group in found.groups() if group), "")
        start = found.start() + 1
        line, at = line + text.count("\n", at, start), start
        if 0 < len(name) <= _MAX_NAME:
            # `Type::method` and `module.Name` are looked for by their last part.
            yield _last_part(name) if ":" in name or "." in name else name, line


def _last_part(name: str) -> str:
    return re.split(r"::|\.", name)[-1] or name


@functools.cache
def _expression(language: str) -> re.Pattern[str] | None:
    header = language_of(language).header
    # A literal first character lets the search skip from line to line.
    return re.compile(rf"\n[ \t]*(?:{line_bound(header)})", re.MULTILINE) if header else None


def line_bound(pattern: str) -> str:
    """An expression for lines as one that matches the same within one line of a text."""
    parts: list[str] = []
    in_class = False
    at = 0
    while at < len(pattern):
        part = pattern[at : at + 2] if pattern[at] == "\\" else pattern[at]
        at += len(part)
        if part == r"\s":
            part = r" \t\r" if in_class else r"[ \t\r]"
        elif part == r"\S" and not in_class:
            part = r"[^\s]"
        elif part == "[" and not in_class:
            in_class = True
            if pattern[at : at + 1] == "^":
                part, at = r"[^\n", at + 1
            if pattern[at : at + 1] == "]":  # a bracket that is first in a class is a member
                part, at = part + r"\]", at + 1
        elif part == "]":
            in_class = False
        parts.append(part)
    return "".join(parts)
