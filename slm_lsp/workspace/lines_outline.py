"""The outline of a text, read off its lines and their indentation.

Owns: what is known of a file where no grammar reads it: definitions by the language's
`header`, with their signatures, what is said of them, their fields and what they are in.

Invariant: total and linear in the text; indentation is believed.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Set

from slm_lsp.context.languages import Language, language_of
from slm_lsp.context.outline import Definition, Outline
from slm_lsp.text.whitespace import columns
from slm_lsp.workspace.headers import definitions
from slm_lsp.workspace.import_lines import imports_of

MAX_SIGNATURE_CHARS = 400
MAX_DOC_CHARS = 160
_MAX_HEADER_LINES = 12
_MAX_COMMENT_LINES = 30
_HOLDER = re.compile(
    r"\b(?:class|struct|interface|enum|trait|union|record|impl|object|protocol|extension)\b"
)
_FIELD = re.compile(
    r"(?:[\w<>\[\].,*&?$]+[ \t]+)*[*&]*(?P<name>[\w$]+)\??[ \t]*(?:[:=,;\[]|$)|(?P<first>\w+)[ \t]"
)
_OWN = re.compile(r"(?:self|this)\.(?P<name>\w+)[ \t]*(?::[^=\n]+)?=(?!=)(?P<first>)")
_NO_FIELD = re.compile(
    r"[)\]}{@#/*\"'.]|(?:return|if|for|while|else|try|catch|with|pass|break|continue|raise|throw|"
    r"assert|import|from|case|switch|yield|await|print|del|public:|private:|protected:)\b"
)
_MARKS = re.compile(
    r"^(?:/\*+|\*+/?|//[/!]?|--|#+|[rRbuU]?(?:\"\"\"|'''|\"|'))\s*|\s*(?:\*+/|\"\"\"|''')\s*$"
)
_OPENED, _CLOSED = frozenset("([{"), frozenset(")]}")


def outline_of(language: str, text: str, stop: Callable[[], bool] = lambda: False) -> Outline:
    """The outline of a text."""
    known, lines = language_of(language), text.split("\n")
    around: list[Definition] = []
    found: list[Definition] = []
    # Of each scope the lines that define something in it.
    inner: dict[tuple[str, ...], set[int]] = {}
    for name, line in definitions(language, text):
        if stop():
            break
        width = columns(lines[line])
        while around and (around[-1].end_line < line or columns(lines[around[-1].line]) >= width):
            around.pop()
        scope = tuple(each.name for each in around)
        definition = _definition(known, lines, name, line, scope)
        found.append(definition)
        around.append(definition)
        inner.setdefault(scope, set()).add(line)
    said = _said(known, lines)
    fields: list[Definition] = []
    for holder in found:
        if stop():
            break
        fields += _fields(lines, holder, inner.get((*holder.scope, holder.name), set()) | said)
    return Outline(tuple(sorted(found + fields, key=lambda each: each.line)), imports_of(text))


def _definition(
    language: Language, lines: Sequence[str], name: str, line: int, scope: tuple[str, ...]
) -> Definition:
    signature, last = _signature(lines, line)
    kind = "class" if _HOLDER.search(signature.partition("(")[0]) else "function"
    doc = _doc_below(lines, last) or _doc_above(language, lines, line)
    return Definition(name, kind, line, _end(lines, line, last), signature, doc, scope)


def _signature(lines: Sequence[str], line: int) -> tuple[str, int]:
    """A header up to its body, in one line, and the line it ends in."""
    parts: list[str] = []
    depth, last = 0, line
    for last in range(line, min(len(lines), line + _MAX_HEADER_LINES)):
        part = lines[last].strip()
        for at, char in enumerate(part):
            if char == "{" and depth == 0:
                return _joined([*parts, part[:at]]), last
            depth += (char in _OPENED) - (char in _CLOSED)
        parts.append(part)
        if depth <= 0:
            break
    return _joined(parts), last


def _joined(parts: Sequence[str]) -> str:
    text = re.sub(r"([(\[]) | (?=[)\]])", r"\1", " ".join(parts))
    return text[:MAX_SIGNATURE_CHARS].rstrip(" =;")


def _end(lines: Sequence[str], line: int, last: int) -> int:
    """The last line of a definition: the one before the next that is indented no more."""
    width = columns(lines[line])
    for at in range(last + 1, len(lines)):
        if lines[at].strip() and columns(lines[at]) <= width:
            closes = lines[at].lstrip()[:1] in _CLOSED
            opens = lines[at].lstrip()[:1] == "{"
            if not opens:
                return at if closes else at - 1
    return len(lines) - 1


def _doc_below(lines: Sequence[str], last: int) -> str:
    """The first line of a string that stands first in a body."""
    for line in lines[last + 1 : last + 3]:
        if re.match(r"\s*[rRbuU]?(?:\"\"\"|''')", line):
            said = _plain(line)
            at = lines.index(line, last + 1)
            return said or (_plain(lines[at + 1]) if at + 1 < len(lines) else "")
        if line.strip():
            break
    return ""


def _doc_above(language: Language, lines: Sequence[str], line: int) -> str:
    """The first line of the comment right above."""
    at = line - 1
    while at >= 0 and lines[at].lstrip()[:1] in ("@", "[") and line - at < 8:
        at -= 1
    first = at + 1
    marks = (*language.line_comments, "/*", "*")
    while at >= 0 and line - at < _MAX_COMMENT_LINES and lines[at].lstrip().startswith(marks):
        first, at = at, at - 1
    for each in lines[first : min(line, first + 3)]:
        if each.lstrip().startswith(marks) and (said := _plain(each)):
            return said
    return ""


def _plain(line: str) -> str:
    text = _MARKS.sub("", _MARKS.sub("", line.strip()))
    return text.strip()[:MAX_DOC_CHARS]


def _said(language: Language, lines: Sequence[str]) -> frozenset[int]:
    """The lines within strings of several lines."""
    found: set[int] = set()
    closing = ""
    for at, line in enumerate(lines):
        if closing:
            found.add(at)
            closing = "" if closing in line else closing
        else:
            odd = [quote for quote in language.long_quotes if line.count(quote) % 2]
            closing = odd[0] if odd else ""
    return frozenset(found)


def _fields(lines: Sequence[str], holder: Definition, other: Set[int]) -> list[Definition]:
    """What a class holds beside what is defined in it, which is in `other` lines."""
    if holder.kind != "class":
        return []
    scope = (*holder.scope, holder.name)
    body = range(_signature(lines, holder.line)[1] + 1, min(holder.end_line + 1, len(lines)))
    first = next((at for at in body if lines[at].strip()[:1] not in ("", "{")), None)
    if first is None:
        return []
    width, fields = columns(lines[first]), dict[str, Definition]()
    for at in body:
        text = lines[at].strip()
        if at in other or not text:
            continue
        own = _OWN.match(text)
        is_direct = columns(lines[at]) == width and not _NO_FIELD.match(text)
        named = own or (_FIELD.match(text) if is_direct and "(" not in text[:40] else None)
        if named is not None:
            name = named["name"] or named["first"]
            key = name if own else text
            fields.setdefault(key, Definition(name, "field", at, at, text.rstrip(";,"), "", scope))
    return list(fields.values())
