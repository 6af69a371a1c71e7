"""The names that matter at a place: those used near the cursor.

Owns: which identifiers of the text before and after it are looked up, and in which order.

Invariant: pure, but for a bounded memory of lines: typing changes one of those that are looked at.
A word that is only half typed is not among them, and typing one more character of it changes
nothing.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from slm_lsp.context.languages import language_of
from slm_lsp.context.lines import group_of
from slm_lsp.text.whitespace import columns
from slm_lsp.workspace.headers import definitions
from slm_lsp.workspace.identifiers import COMMON, MAX_CHARS, MIN_CHARS, in_order

MAX_NAMES = 24
NEAR_LINES = 24
LINES_AFTER = 4
# A call may be open since so many lines.
CALL_LINES = 12
# Of the text that is alike elsewhere.
SIMILAR_LINES = 20
MAX_SIMILAR_WORDS = 40
# Lines and texts of which it is remembered what they name; longer lines change as a whole.
MAX_LINES_KEPT, MAX_KEPT_CHARS, MAX_TEXTS_KEPT = 1024, 400, 16
_WORD_END = re.compile(r"[^\W\d]\w*$")
_CALLED = re.compile(r"([^\W\d][\w$]*)$")
_BRACKET = re.compile(r"[()\[\]{}]")
_STRING = re.compile(r"([\"'`])(?:\\.|(?!\1)[^\\])*\1")
# A name that nobody gives to a second thing by chance: of several words, or a type's.
_DISTINCTIVE = re.compile(r"\w_\w|[a-z0-9][A-Z]|[A-Z][a-z]\w*$")
_NOT_CODE = re.compile(r"(?:#|//|--|\*|/\*)\s")


def names_near(language: str, prefix: str, suffix: str) -> tuple[str, ...]:
    """The names that a completion may have to do with, the most likely first: those of the line
    itself, the last one first, then of the definitions around it, then of the lines above."""
    before = without_open_word(prefix)
    lines = before.rsplit("\n", NEAR_LINES)[-NEAR_LINES:]
    current, above = lines[-1], lines[:-1]
    after = suffix.split("\n", LINES_AFTER)[:LINES_AFTER]
    ordered: dict[str, None] = {}
    for line in (current, *_headers(language, before), *reversed(above), *after[1:]):
        ordered.update(dict.fromkeys(_named(line)))
    return tuple(ordered)[:MAX_NAMES]


def called_at(language: str, prefix: str) -> str:
    """The name of the innermost call that is open at the end of a text; empty where none is."""
    lines = prefix.rsplit("\n", CALL_LINES)[-CALL_LINES:]
    text = "\n".join(_STRING.sub('""', line) for line in lines)
    depth = 0
    for bracket in reversed(list(_BRACKET.finditer(text))):
        at = bracket.start()
        if text[at] in ")]}":
            depth += 1
        elif depth:
            depth -= 1
        elif text[at] == "(":
            # A bracket around a part of an argument is in a call, too.
            match = _CALLED.search(text, max(0, at - MAX_CHARS), at)
            if match is not None and is_telling(match[1]):
                line = text[text.rfind("\n", 0, at) + 1 : at + 1]
                is_defined = any(name == match[1] for name, _ in definitions(language, line))
                return "" if is_defined else match[1]
    return ""


def defined_near(language: str, prefix: str, suffix: str) -> frozenset[str]:
    """The names that the text around a place defines itself."""
    above, _, line = prefix.rpartition("\n")
    return (
        _defined_in(language, above) | _defined_in(language, line) | _defined_in(language, suffix)
    )


def is_telling(name: str) -> bool:
    """Whether a name may be one of this workspace's own."""
    return MIN_CHARS <= len(name) <= MAX_CHARS and name not in COMMON


def is_distinctive(name: str) -> bool:
    """Whether a name by itself says which definition is meant."""
    return _DISTINCTIVE.search(name) is not None


def without_open_word(prefix: str) -> str:
    """A prefix less the word that may not be complete yet."""
    match = _WORD_END.search(prefix[-MAX_CHARS:])
    return prefix[: len(prefix) - len(match.group())] if match is not None else prefix


def similar_to(prefix: str, suffix: str) -> frozenset[str]:
    """The words of the lines around a place, to find lines like them. Only whole lines count,
    so that the same is asked until the line is left."""
    above = prefix.rsplit("\n", 1 + SIMILAR_LINES)[-1 - SIMILAR_LINES : -1]
    below = suffix.split("\n", 1 + SIMILAR_LINES // 2)[1 : 1 + SIMILAR_LINES // 2]
    words: dict[str, None] = {}
    for line in (*reversed(above), *below):
        words.update(dict.fromkeys(_worded(line)))
    return frozenset(list(words)[:MAX_SIMILAR_WORDS])


def _named(line: str) -> tuple[str, ...]:
    """The telling names of a line of code, the last one first."""
    return _names_in(line) if len(line) > MAX_KEPT_CHARS else _names_kept(line)


def _worded(line: str) -> tuple[str, ...]:
    """The telling words of a line, be they of code or not, in order."""
    return _words_in(line) if len(line) > MAX_KEPT_CHARS else _words_kept(line)


def _names_in(line: str) -> tuple[str, ...]:
    if _NOT_CODE.match(line.lstrip()):
        return ()
    return tuple(filter(is_telling, reversed(in_order(_STRING.sub('""', line)))))


def _words_in(line: str) -> tuple[str, ...]:
    return tuple(filter(is_telling, in_order(line)))


_names_kept = lru_cache(MAX_LINES_KEPT)(_names_in)
_words_kept = lru_cache(MAX_LINES_KEPT)(_words_in)


@lru_cache(MAX_TEXTS_KEPT)
def _defined_in(language: str, text: str) -> frozenset[str]:
    return frozenset(name for name, _ in definitions(language, text))


def _headers(language: str, before: str) -> Iterator[str]:
    """The headers of the definitions around the end of a text, innermost first."""
    header = language_of(language).header
    if not header:
        return
    lines = before.split("\n")
    limit = columns(lines[-1]) if lines[-1].strip() else 1 << 30
    for line in reversed(lines[:-1]):
        if limit == 0:
            return
        if line.strip() and (own := columns(line)) < limit:
            limit = own
            if group_of(header, line[:300]) is not None:
                yield line
