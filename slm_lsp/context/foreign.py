"""What of a text is not in the text's own language: stretches of others, and magic lines.

Owns: finding the code fence, script or style element or notebook cell of another language
that the cursor is in, and hiding the lines that a notebook's own syntax makes.

Invariant: looks at no more than `MAX_LOOK` characters on either side, by the patterns of
`Language.embedded` alone. Hiding changes no length and no line.

Threads: any; pure functions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from slm_lsp.context.languages import Embedded, Language, language_of
from slm_lsp.types import DocumentSnapshot

MAX_LOOK = 30_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """`start`..`end` of a text is in another language, given by its id."""

    language: str
    start: int
    end: int


def stretch_at(language: Language, text: str, offset: int) -> Stretch | None:
    """The stretch of another language that holds the offset."""
    if not language.embedded:
        return None
    start = max(0, offset - MAX_LOOK)
    if _at_start_only(language) and (start or not _events(language).match(text, 0, offset)):
        return None  # a search would try it at every character
    begun: tuple[Embedded, re.Match[str]] | None = None
    for match in _events(language).finditer(text, start, offset):
        index = int((match.lastgroup or "_0")[1:])
        opens = (match.lastgroup or "").startswith("o")
        if opens:
            begun = language.embedded[index], match
        elif begun is not None and begun[0].closes == language.embedded[index].closes:
            begun = None
    if begun is None:
        return None
    embedded, match = begun
    named = embedded.language or _compiled(embedded.opens).match(text, match.start())
    name = named if isinstance(named, str) else named["language"] if named else ""
    closed = _compiled(embedded.closes).search(text, offset, offset + MAX_LOOK)
    return Stretch(name, match.end(), closed.start() if closed else len(text))


def without_magic(snapshot: DocumentSnapshot) -> DocumentSnapshot:
    """The snapshot with the magic lines of a notebook's cell as comments of the same length."""
    language = language_of(snapshot.language)
    if not snapshot.in_notebook or not language.magic:
        return snapshot
    mark = language.line_comments[0]

    def hidden(match: re.Match[str]) -> str:
        line = match.group()
        at = len(line) - len(line.lstrip(" \t"))
        return line[:at] + mark + line[at + len(mark) :]

    return replace(snapshot, text=_compiled(language.magic).sub(hidden, snapshot.text))


def is_magic(snapshot: DocumentSnapshot, line: str) -> bool:
    """Whether a line of the document is such a line."""
    magic = language_of(snapshot.language).magic
    return snapshot.in_notebook and bool(magic) and _compiled(magic).match(line) is not None


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.MULTILINE | re.IGNORECASE)


@lru_cache(maxsize=64)
def _at_start_only(language: Language) -> bool:
    """Whether stretches of other languages begin where the text does, as a notebook's cells do."""
    return all(each.opens.startswith(r"\A") for each in language.embedded)


@lru_cache(maxsize=64)
def _events(language: Language) -> re.Pattern[str]:
    """Whatever begins or ends a stretch; the group says which of the language's it is."""
    parts = []
    for index, each in enumerate(language.embedded):
        # A group of that name may be there only once.
        opens = re.sub(r"\(\?P<\w+>", "(?:", each.opens)
        parts.append(rf"(?P<o{index}>{opens})")
    for index, each in enumerate(language.embedded):
        parts.append(rf"(?P<c{index}>{each.closes})")
    return _compiled("|".join(parts))
