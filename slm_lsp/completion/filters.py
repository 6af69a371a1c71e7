"""The filters that every text goes through: what is no text, where it ends, what is too little.

Owns: the form of a filter, and those that need to know of the place no more than where it ends.
A filter that leaves nothing rejects the text; which reason that is called by is said in
`postprocess`, and the other filters stand in modules by what they look at.

Invariant: pure and total. A filter only ever shortens the text, at its end; but for a word
that was cut and is known, and for those that `indentation` and `closing` say of themselves.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from slm_lsp.completion import ladder
from slm_lsp.completion.brackets import scan
from slm_lsp.completion.place import Place
from slm_lsp.engine.stopping import stop_at
from slm_lsp.prompt.fim import stop_rule
from slm_lsp.secrets.redaction import prints_secret
from slm_lsp.text.whitespace import unix_lines
from slm_lsp.types import Finish, Trigger, Want

Filter = Callable[[str, Place], str]

# Of what stands before the cursor: the line, and a key over several lines that it may be in.
SECRET_LOOK_CHARS = 1200

# Line feed, tab and what is seen as it is: no control characters, no half of a surrogate
# pair, no replacement character, no line end but ours, nothing that turns the direction of
# writing and so hides what code does (Trojan Source, CVE-2021-42574), nothing without a width but
# what joins letters and parts of emoji.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064"
    "\u2066-\u2069\ud800-\udfff\ufeff\ufffd-\uffff]"
)
_LONE_PUNCTUATION = re.compile(r"[,;:.]{1,2}")


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
    kept = ladder.down_to_boundary(text, place)
    first, line_break, _ = text.partition("\n")
    if len(kept) >= len(first) or not line_break or place.context.want is Want.BLOCK:
        return kept
    # Where a line was wanted it is there, whatever was to follow it.
    return first if not scan(first, place.language).opened else kept


def cut_to_wanted(text: str, place: Place) -> str:
    """Cut to the line or block that is wanted, whatever the engine made of its stop rule."""
    end = stop_at(text, stop_rule(place.context, None))
    return text if end is None else text[:end]


def drop_secret(text: str, place: Place) -> str:
    """Nothing of a text that would spell a secret, alone or with what stands around it."""
    near = place.before[-SECRET_LOOK_CHARS:] + place.context.inferred_indent
    return "" if prints_secret(near, text, place.rest) else text


def trim_end(text: str, place: Place) -> str:
    """Drop white space at the end."""
    return text.rstrip()


def drop_trifle(text: str, place: Place) -> str:
    """Drop what is sooner typed than read, unless somebody asked or it closes what is open."""
    said = text.strip()
    if place.context.trigger is Trigger.INVOKED:
        return text
    # A closing bracket or quote that is still there closes one of the document.
    closers = "\"'`)]}" if place.context.in_string else ")]}"
    is_little = len(said) < 2 and said not in closers
    return "" if is_little or _LONE_PUNCTUATION.fullmatch(said) else text
