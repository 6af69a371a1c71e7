"""A small scanner of strings, comments and brackets, for text that no grammar accepts.

Owns: telling, from a bounded stretch of text alone, what is open at its end: a string, a
comment, which brackets. Half-written code is the normal case, and a tree of it says least
just where the cursor is.

Invariant: linear in the text, and never wrong for longer than a line about an ordinary
string, since those end with their line. Knows languages only through `Language`. What is remembered
of the last text makes the next scan shorter, and changes no answer.

Threads: any; pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from slm_lsp.context.languages import Language

_MAX_UNCLOSED = 16
_CLOSES = {")": "(", "]": "[", "}": "{"}


class Literal(StrEnum):
    """What a place in the text is part of."""

    CODE = "code"
    STRING = "string"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class Scan:
    """What a text looks like to its end.

    `literal` is what the end is inside of; `brackets` are the offsets of those still open,
    outermost first; `spans` are the strings, comments and pairs of brackets that cover more
    than one line; `comments` are all comments.
    """

    literal: Literal
    brackets: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    comments: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Begun:
    """A scan up to a place within code, from which it goes on the same whatever follows `text`."""

    text: str
    at: int
    brackets: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    comments: tuple[tuple[int, int], ...]


_NOT_BEGUN = _Begun("", 0, (), (), ())
# Of each language, the last scan but for its last line, which is what typing changes. Replaced as a
# whole, so that any thread may read it.
_begun: dict[str, _Begun] = {}


def scan(language: Language, text: str) -> Scan:
    """Scan the whole text, which starts in code and has `\\n` line ends."""
    begun = _begun.get(language.name, _NOT_BEGUN)
    if not text.startswith(begun.text):
        begun = _NOT_BEGUN
    literal = Literal.CODE
    brackets, spans, comments = list(begun.brackets), list(begun.spans), list(begun.comments)
    # Only what ends before the last line break is the same whatever the last line becomes.
    n_sure, at, is_kept = text.rfind("\n"), begun.at, False
    for match in _pattern(language).finditer(text, begun.at):
        start, end = match.span()
        if end > n_sure and not is_kept:
            _keep(language, text[: n_sure + 1], at, brackets, spans, comments)
            is_kept = True
        at = end
        kind = match.lastgroup
        if kind == "breaker":
            brackets.clear()
            continue
        if kind is None:
            if end == start + 1 and text[start] in language.brackets:
                _bracket(text, start, brackets, spans)
                continue
        elif "comment" in kind:
            comments.append((start, end))
            if end == len(text) and kind != "comment_block":
                literal = Literal.COMMENT
        else:
            literal = _open_string(language, text, start)
        if text.find("\n", start, end) >= 0:
            spans.append((start, end))
    if not is_kept:
        _keep(language, text[: n_sure + 1], at, brackets, spans, comments)
    return Scan(literal, tuple(brackets), tuple(spans), tuple(comments))


def _keep(
    language: Language,
    text: str,
    at: int,
    brackets: list[int],
    spans: list[tuple[int, int]],
    comments: list[tuple[int, int]],
) -> None:
    _begun[language.name] = _Begun(text, at, tuple(brackets), tuple(spans), tuple(comments))


def line_start(text: str, at: int) -> int:
    """Where the line that holds `at` begins."""
    return text.rfind("\n", 0, at) + 1


def logical_starts(text: str, at: int, found: Scan) -> Iterator[int]:
    """Where the lines above `at` begin, nearest first; a string or a pair of brackets over
    several lines counts as one line."""
    spans = list(found.spans)
    while at > 0:
        start = line_start(text, at - 1)
        # They lie in the order of their ends: a popped one cannot matter further up.
        while spans and spans[-1][1] > start:
            first, last = spans.pop()
            if first < start and last <= at:
                start = line_start(text, first)
        yield start
        at = start


def _bracket(text: str, at: int, brackets: list[int], spans: list[tuple[int, int]]) -> None:
    opening = _CLOSES.get(text[at])
    if opening is None:
        brackets.append(at)
        return
    # Brackets that nobody closed are given up when one around them is closed.
    innermost = len(brackets) - 1
    for index in range(innermost, max(innermost - _MAX_UNCLOSED, -1), -1):
        if text[brackets[index]] == opening:
            first = brackets[index]
            del brackets[index:]
            if text.find("\n", first, at) >= 0:
                spans.append((first, at + 1))
            return


def _open_string(language: Language, text: str, start: int) -> Literal:
    near = text[max(start - 2, 0) :]
    if language.open_hole and re.match(language.open_hole, near, re.DOTALL):
        return Literal.CODE
    return Literal.STRING


@lru_cache(maxsize=64)
def _pattern(language: Language) -> re.Pattern[str]:
    # Every alternative begins with a literal character: `re` then skips quickly to the next
    # of them, and all others cost nothing. Loops are unrolled, so that nothing backtracks.
    parts = [*_strings(language)]
    if language.block_comment is not None:
        start, end = language.block_comment
        parts.append(_up_to(start, end, "(?P<comment_block>)", "(?P<comment_open>)"))
    spaced = language.prose or language.spaced_comments
    alone = r"(?=[\s!]|\Z)" if language.prose else ""
    tokens = [
        re.escape(token) + (rf"(?<!\S.{{{len(token)}}})" if spaced else "") + alone
        for token in language.line_comments
    ]
    parts += [rf"{token}(?P<comment_{i}>[^\n]*)" for i, token in enumerate(tokens)]
    if language.breaker:
        parts.append(rf"\n(?P<breaker>)[ \t]*(?:{language.breaker})")
    parts += _pairs(language)
    parts += [re.escape(bracket) for bracket in language.brackets]
    return re.compile("|".join(parts) or r"(?!)", re.DOTALL)


def _pairs(language: Language) -> Iterator[str]:
    """Brackets that are closed in their line with nothing between them that matters: half of all
    brackets in code, which need no look each."""
    begins = [language.brackets, *language.quotes, *language.long_quotes, *language.line_comments]
    begins += [start for start, _ in language.long_strings]
    begins += language.block_comment or ()
    firsts = {"\n", "'"} | {text[0] for text in begins[1:]} | set(language.brackets)
    plain = "[^" + re.escape("".join(sorted(firsts))) + "]*"
    for closing, opening in _CLOSES.items():
        if closing in language.brackets and opening in language.brackets:
            yield re.escape(opening) + plain + re.escape(closing)


def _strings(language: Language) -> Iterator[str]:
    n_open = 0
    for start, end in language.long_strings:
        n_open += 1
        yield _up_to(start, end, "", f"(?P<open_{n_open}>)")
    for quote in language.long_quotes:
        n_open += 1
        if quote in language.raw_quotes:
            yield _up_to(quote, quote, "", f"(?P<open_{n_open}>)")
            continue
        first = quote[0]
        inner = rf"{first}(?!{quote[1:]})" if len(quote) > 1 else rf"{first}(?!)"
        yield (
            rf"{quote}[^{first}\\]*(?:(?:\\.|{inner})[^{first}\\]*)*"
            rf"(?:{quote}|(?P<open_{n_open}>\\?\Z))"
        )
    not_prose = r"(?<!\w.)" if language.prose else ""
    for quote in language.quotes:
        n_open += 1
        if quote in language.raw_quotes:
            inside = rf"[^{quote}\n]*"
        else:
            inside = rf"[^{quote}\\\n]*(?:\\.[^{quote}\\\n]*)*"
        yield rf"{quote}{not_prose}{inside}(?:{quote}|(?P<open_{n_open}>\\?\Z)|(?=\n))"
    if language.char_literals:
        yield r"'(?:\\[^\n]{1,9}?|[^'\\\n])'"


def _up_to(start: str, end: str, closed: str, unclosed: str) -> str:
    """From `start` to the next `end`, or to the end of the text."""
    first, rest = re.escape(end[0]), re.escape(end[1:])
    inner = rf"{first}(?!{rest})" if rest else rf"{first}(?!)"
    inside = rf"[^{first}]*(?:{inner}[^{first}]*)*"
    return rf"{re.escape(start)}{inside}(?:{re.escape(end)}{closed}|\Z{unclosed})"
