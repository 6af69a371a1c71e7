"""What of a text stands behind the cursor already: on its line, and on the lines below.

Owns: the comparison with the suffix. What stands above is `repetition`'s.

Invariant: pure and total; text is only cut, at its end. Likeness that is not equality counts for
telling lines only, and not where lines like these follow each other in the document.

Threads: any.
"""

from __future__ import annotations

import re
from itertools import takewhile

from slm_lsp.completion.brackets import open_quote, scan, unpaired
from slm_lsp.completion.likeness import MIN_TELLING_CHARS, alike, bare, is_telling
from slm_lsp.completion.place import Place
from slm_lsp.text.whitespace import columns

MAX_OVERLAP_CHARS = 400
# How far below a line may be that the text goes on with.
MAX_LINES_BELOW = 4
_CLOSERS = ")]}:"


def trim_line_overlap(text: str, place: Place) -> str:
    """Drop what the rest of the cursor's line repeats: the end of the text, or all of it
    from where the end of a statement stands a second time."""
    rest, body = place.rest.strip(), text.rstrip()
    if not rest or not body:
        return text
    open_before = scan(place.before, place.language).open
    if rest[-1] in ":;{" and open_before[-1:] not in ("(", "["):
        for found in re.finditer(re.escape(rest), body):
            if _complete(body[: found.start()], place):
                return body[: found.start()]
    behind = scan(place.after, place.language).reaching

    def n_unpaired(candidate: str) -> int:
        now = scan(candidate, place.language, open_before)
        return len(now.strays) + sum(unpaired(behind, now.open))

    for n_chars in range(min(len(rest), len(body), MAX_OVERLAP_CHARS), 0, -1):
        kept, dropped = body[:-n_chars], rest[:n_chars]
        # One or two letters are too likely to be the same by chance.
        telling = n_chars >= 3 or not dropped.isalnum()
        if telling and body.endswith(dropped) and n_unpaired(kept) <= n_unpaired(body):
            return kept
    at = _spelled_otherwise(body, rest)
    return text if at is None or n_unpaired(body[:at]) > n_unpaired(body) else body[:at]


def _spelled_otherwise(body: str, rest: str) -> int | None:
    """Where the end of a text says what stands behind the cursor, in other white space or quotes,
    or the text as a whole with a word more."""
    # The brackets that would close a second time are gone already.
    wanted = bare(rest).rstrip(_CLOSERS)
    if not is_telling(wanted) or len(rest) > MAX_OVERLAP_CHARS:
        return None
    if alike(body, rest):
        return 0
    starts = range(max(0, len(body) - 2 * len(rest)), len(body))
    at = next((i for i in starts if bare(body[i:]).rstrip(_CLOSERS) == wanted), None)
    if at is not None and bare(rest[0]):
        # The comma before it belongs to what stays.
        return len(body) - len(body[at:].lstrip(" ,;"))
    return at


def _complete(text: str, place: Place) -> bool:
    """Whether nothing that the text opened is open at its end."""
    return not scan(text, place.language).opened and open_quote(text, place.language) is None


def trim_lines_below(text: str, place: Place) -> str:
    """Cut before the first line that repeats the next line of the document, or where two lines
    repeat two that follow soon in the same block."""
    below = place.below
    if not below:
        return text
    lines = text.split("\n")
    whole = place.whole(lines)
    near = [each.rstrip() for each in below[: MAX_LINES_BELOW + 1]]
    for i, line in enumerate(whole):
        # What the user has begun may stand elsewhere at another indentation ("return None").
        begun = i == 0 and bool(place.line.strip())
        if _same_line(line, below[0], any_indent=not begun):
            return "\n".join(lines[:i])
        if _says_the_same(line, below[0], place, begun=begun) or _goes_on(whole[i : i + 2], near):
            return "\n".join(lines[:i])
    return text


def _same_line(a: str, b: str, *, any_indent: bool) -> bool:
    if a.strip() != b.strip():
        return False
    return a.rstrip() == b.rstrip() or (any_indent and len(a.strip()) >= MIN_TELLING_CHARS)


def _says_the_same(line: str, below: str, place: Place, *, begun: bool) -> bool:
    """Whether a line is the next one in other words."""
    if columns(line) != columns(below) or not alike(line, below):
        return False
    if begun and bare(line) != bare(below):
        return False
    after = place.below[1:2] or [""]
    return not alike(below, after[0]) and not alike((place.above or [""])[-1], below)


def _goes_on(pair: list[str], near: list[str]) -> bool:
    """Whether two lines follow each other among the lines below, in the same block."""
    if len(pair) < 2 or not all(map(is_telling, pair)):
        return False
    pair = [line.rstrip() for line in pair]
    near = list(takewhile(lambda line: columns(line) >= columns(pair[0]), near))
    return any(near[i : i + 2] == pair for i in range(1, len(near)))
