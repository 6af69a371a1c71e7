"""The filters: each takes a text and its place, and returns what of the text may stay.

Owns: what is cut from the model's text. A filter that leaves nothing rejects the text; which
reason that is called by is said in `postprocess`.

Invariant: pure and total. A filter only ever shortens the text, at its end; but for a word
that was cut and is known.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from slm_lsp.completion import ladder
from slm_lsp.completion.brackets import open_quote, quotes_in, scan, unpaired
from slm_lsp.completion.place import Place
from slm_lsp.secrets.redaction import prints_secret
from slm_lsp.text.whitespace import columns, unix_lines
from slm_lsp.types import Finish, Want

Filter = Callable[[str, Place], str]

# A line shorter than this may well occur twice in a row ("}", "else:", "pass").
MIN_TELLING_CHARS = 8
MAX_REPEATED_LINES = 4
MAX_OVERLAP_CHARS = 400
# Of what stands before the cursor: the line, and a key over several lines that it may be in.
SECRET_LOOK_CHARS = 1200

# Line feed, tab and what is seen as it is: no control characters, no half of a surrogate
# pair, no replacement character, no line end but ours, nothing that turns the direction of
# writing and so hides what code does (Trojan Source, CVE-2021-42574).
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffd-\uffff]"
)


def cut_garbled(text: str, place: Place) -> str:
    """Cut before bytes that are no text, and before control characters."""
    text = unix_lines(text)
    garbled = _UNSEEN.search(text)
    return text[: garbled.start()] if garbled else text


def cut_unfinished(text: str, place: Place) -> str:
    """Cut a text that did not come to its end back to the last boundary, see `ladder`.

    The one case in which text is added: the rest of a word that the open files know.
    """
    if place.finish not in (Finish.DEADLINE, Finish.LENGTH):
        return text
    return ladder.down_to_boundary(text, place)


def cut_to_line(text: str, place: Place) -> str:
    """Cut to one line where no more is wanted, whatever the engine made of its stop rule."""
    return text if place.context.want is Want.BLOCK else text.partition("\n")[0]


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
    return text


def _complete(text: str, place: Place) -> bool:
    """Whether nothing that the text opened is open at its end."""
    return not scan(text, place.language).opened and open_quote(text, place.language) is None


def trim_lines_below(text: str, place: Place) -> str:
    """Cut before the first line that repeats the next line of the document."""
    below = place.below
    if not below:
        return text
    lines = text.split("\n")
    whole = [place.line + place.context.inferred_indent + lines[0], *lines[1:]]
    for i, line in enumerate(whole):
        # What the user has begun may stand elsewhere at another indentation ("return None").
        begun = i == 0 and bool(place.line.strip())
        if _same_line(line, below[0], any_indent=not begun):
            return "\n".join(lines[:i])
    return text


def _same_line(a: str, b: str, *, any_indent: bool) -> bool:
    if a.strip() != b.strip():
        return False
    return a.rstrip() == b.rstrip() or (any_indent and len(a.strip()) >= MIN_TELLING_CHARS)


def drop_repeats(text: str, place: Place) -> str:
    """Cut where lines are repeated that stand just above, in the document or the text."""
    lines = text.split("\n")
    above = [] if place.line.strip() else place.above[-MAX_REPEATED_LINES:]
    seen = [line.strip() for line in (*above, *lines)]
    for i in range(len(above), len(seen)):
        for n in range(1, MAX_REPEATED_LINES + 1):
            again = seen[i : i + n]
            if i >= n and seen[i - n : i] == again and sum(map(len, again)) >= MIN_TELLING_CHARS:
                return "\n".join(_before(lines, i - len(above), place))
    return text


def _before(lines: list[str], at: int, place: Place) -> list[str]:
    """The lines before `at`, without what only opens the block that begins there."""
    whole = [place.line + place.context.inferred_indent + lines[0], *lines[1:]]
    while at > 0 and columns(whole[at]) > columns(whole[at - 1]):
        at -= 1
    return lines[:at]


def drop_secret(text: str, place: Place) -> str:
    """Nothing of a text that would spell a secret, alone or with what stands around it."""
    near = place.before[-SECRET_LOOK_CHARS:] + place.context.inferred_indent
    return "" if prints_secret(near, text, place.rest) else text


def trim_end(text: str, place: Place) -> str:
    """Drop white space at the end."""
    return text.rstrip()
