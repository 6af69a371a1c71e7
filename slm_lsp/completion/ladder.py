"""Where a text that did not come to its end may be cut: the ladder of outputs.

Owns: the boundaries, from the longest piece that is worth showing to the shortest: whole
lines, then an expression, then a word, then nothing.

Invariant: pure and total. At a boundary the file parses no worse than without the text, as
far as brackets, quotes, operators and words that want something behind them can tell. Half
a word is left only where the open files know the whole one, which is then put in its place.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from slm_lsp.completion.brackets import open_quote, scan
from slm_lsp.completion.place import Place
from slm_lsp.context.languages import Blocks
from slm_lsp.context.wanted import WANTS_BLOCK

QUOTES = "\"'`"
# Of an expression that long, no earlier boundary would say much.
MAX_BOUNDARIES = 48

_WORD_AT_END = re.compile(r"\w+\Z")
# The end of a name, a number, a string or brackets.
_OPERAND_END = re.compile(r"(?:(?<=\w)(?!\w)|(?<=[)\]}\"'`]))")
# Words that something has to follow, in one language or another.
_WANTS_MORE = re.compile(
    r"(?<![\w.])(?:and|as|async|await|case|catch|class|const|def|defer|del|delete|do|elif|else|"
    r"except|extends|finally|fn|for|from|func|function|go|if|impl|implements|import|in|instanceof|"
    r"interface|is|lambda|let|match|new|not|of|or|raise|struct|switch|throw|try|typeof|until|use|"
    r"var|while|with|yield)\Z"
)
_LINE_WANTS_MORE = re.compile(r"(?:[-+*/%=<>&|^~?.,(\[{\\@]|(?<![:\w]):)\Z")
_ENDS_ITSELF = re.compile(r"(?:\+\+|--|\*/|/>)\Z")


def down_to_boundary(text: str, place: Place) -> str:
    """The longest piece of a cut `text` that may stand by itself."""
    if place.context.in_comment or place.context.in_string:
        return _prose(text, place)
    return _whole_lines(text, place) or _expression(text, place)


def _prose(text: str, place: Place) -> str:
    newline = text.rfind("\n")
    if newline > 0 and text[:newline].strip():
        return text[:newline]
    return text[: whole_words(text, place)]


def _whole_lines(text: str, place: Place) -> str:
    """Lines before the last, perhaps incomplete, one; empty where none are whole."""
    at = text.rfind("\n")
    while at > 0 and text[:at].strip():
        lines = text[:at].rstrip()
        last = (place.line + lines).rpartition("\n")[2]
        if is_closed(lines, place) and not _line_wants_more(last, place):
            return text[:at]
        at = text.rfind("\n", 0, at)
    return ""


def _line_wants_more(line: str, place: Place) -> bool:
    """Whether something has to follow a line on the next."""
    line = line.rstrip()
    if _ENDS_ITSELF.search(line):
        return False
    colon = place.language.blocks is not Blocks.BRACES and line.endswith(":")
    return colon or bool(_LINE_WANTS_MORE.search(line) or _WANTS_MORE.search(line))


def _expression(text: str, place: Place) -> str:
    """The longest piece that ends with an operand and leaves nothing open."""
    end = whole_words(text, place)
    piece = text[end:]
    if _WORD_AT_END.fullmatch(piece):
        begun = _WORD_AT_END.search(place.line + text)
        rest = place.end_of_word(begun.group()) if begun else None
        if rest is not None and _stands(text + rest, place):
            return text + rest
    return next(expressions(text, place), "")


def expressions(text: str, place: Place) -> Iterator[str]:
    """The pieces, longest first, that end with an operand and need nothing behind them."""
    end = whole_words(text, place)
    ends = [each.start() for each in _OPERAND_END.finditer(text, 0, end) if each.start() > 0]
    for at in reversed(ends[-MAX_BOUNDARIES:]):
        if at <= end and text[:at].strip() and _stands(text[:at], place):
            yield text[:at]


def _stands(text: str, place: Place) -> bool:
    """Whether a piece that ends with an operand needs nothing behind it."""
    first, _, last = (place.line + text).rpartition("\n")
    begun_before = not first and bool(place.line.strip())
    if not begun_before and WANTS_BLOCK.match(last):
        return False
    return is_closed(text, place) and not _WANTS_MORE.search(last)


def is_closed(text: str, place: Place) -> bool:
    """Whether nothing that the text opened is open at its end."""
    if scan(text, place.language).opened:
        return False
    return open_quote(text, place.language) is None


def whole_words(text: str, place: Place) -> int:
    """Where the last word begins, or the end if there is no word at the end."""
    end = len(text)
    if text.endswith(tuple(QUOTES)) and open_quote(place.line + text, place.language) is None:
        return end
    while end > 0 and (text[end - 1].isalnum() or text[end - 1] in "_\\" + QUOTES):
        end -= 1
    return end
