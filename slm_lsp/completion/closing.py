"""Quotes and brackets of a text against those of the document.

Owns: what would close something a second time, and the end of a string over several lines.

Invariant: pure and total. Text is only cut, at its end, but for the mark that closes a string
which the text itself opened.

Threads: any.
"""

from __future__ import annotations

import re

from slm_lsp.completion.brackets import open_quote, quotes_in, scan, unpaired
from slm_lsp.completion.place import Place
from slm_lsp.types import Finish

# What a string stands behind.
_BEFORE_STRING = re.compile(r"(?:^|[\n=(\[{,:+]|\breturn)[ \t]*(?:\$|\b[A-Za-z]{1,2})?\Z")


def cut_stray_quote(text: str, place: Place) -> str:
    """In a string that is closed behind the cursor, cut before what would close it."""
    quote = open_quote(place.line, place.language) if place.context.in_string else None
    if quote is None or len(quotes_in(place.rest, quote.mark)) % 2 == 0:
        return text
    end = _closed_at(text, place.line[quote.at :], quote.mark)
    return text if end is None else text[: max(0, end - len(quote.mark))]


def _closed_at(text: str, opened: str, mark: str) -> int | None:
    """Where the string that `opened` begins has been closed by `text`."""
    ends = [at + len(mark) - len(opened) for at in quotes_in(opened + text, mark)[1:]]
    return next((end for end in ends if end > 0), None)


def cut_stray_closer(text: str, place: Place) -> str:
    """Cut before a closing bracket that nothing opened, or that stands behind the cursor.

    A bracket of the document may be closed only if that leaves no closing bracket behind
    the cursor without its partner that had one.
    """
    if place.context.in_comment:
        return text
    begin, before, after = 0, place.before, place.after
    if place.context.in_string:
        quote = open_quote(place.line, place.language)
        closed = _closed_at(text, place.line[quote.at :], quote.mark) if quote else None
        if quote is None or closed is None:
            return text  # all of it stays inside the string
        begin, before = closed, before[: len(before) - len(place.line) + quote.at]
    code = text[begin:]
    strays = scan(code, place.language).strays
    if not strays:
        return text
    open_before = scan(before, place.language).open
    behind = scan(after, place.language).reaching
    n_lost, _ = unpaired(behind, open_before)
    for at in strays:
        now = scan(code[: at + 1], place.language, open_before)
        if now.strays or unpaired(behind, now.open)[0] > n_lost:
            return text[: begin + at]
    return text


def close_quote(text: str, place: Place) -> str:
    """Close a string over several lines that the text opened and would leave open.

    A line break ends most of what a model writes, but not a string that may hold one: all that
    follows in the document would become part of it.
    """
    if place.context.in_string or place.context.in_comment:
        return text
    if place.finish in (Finish.DEADLINE, Finish.LENGTH):
        return text
    quote = open_quote(text, place.language)
    if quote is None or quote.mark not in place.language.long_quotes:
        return text
    if not _BEFORE_STRING.search(text[: quote.at]):
        return text  # it rather ends a string that began far above
    if len(quotes_in(place.after, quote.mark)) % 2:
        return text  # it is closed further down
    body = text.rstrip()
    if not body[quote.at + len(quote.mark) :].strip():
        return text[: max(0, text.rfind("\n", 0, quote.at))]
    if "\n" not in body[quote.at :]:
        return body + quote.mark
    whole = place.line + place.context.inferred_indent + text
    start = len(whole) - len(text) + quote.at
    line = whole[whole.rfind("\n", 0, start) + 1 :]
    return f"{body}\n{line[: len(line) - len(line.lstrip())]}{quote.mark}"
