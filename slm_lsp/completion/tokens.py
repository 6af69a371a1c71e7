"""The tokens of one document, line by line, kept up to date by edits.

Owns: what a token is, in any language, and a document as one string with a character a
token, in which a run of tokens is found at the speed of `str.rfind`.

Invariant: after any sequence of updates it equals a fresh one of the same text. No secret is in
its lines: placeholders stand for them. An update costs the lines that changed and a few passes of
`str` over the text; in a file that holds a private key, all lines.

Threads: one at a time.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from zlib import crc32

from slm_lsp.secrets.redaction import redact_lines
from slm_lsp.secrets.search import KEY_MARK
from slm_lsp.text.common import common_prefix, common_suffix

# A word or number, a string that ends on its line, a run of operator characters, or any one
# other character.
TOKEN = re.compile(
    r"""\w+|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[-+*/%=<>!&|^~:?.@#$\\]+|[^\w\s]"""
)
WORD = re.compile(r"[^\W\d]\w*")
END_OF_LINE = "\n"
# Such a line is data or minified; nobody types it again.
MAX_LINE_CHARS = 2000
STOP_EVERY_LINES = 256
# A token's character is a hash of it, above the surrogates: no vocabulary that would grow.
_FIRST_CODE = 0xE000
_N_CODES = 0x110000 - _FIRST_CODE


def never() -> bool:
    return False


def code_of(token: str) -> str:
    """The character that stands for a token."""
    return chr(_FIRST_CODE + crc32(token.encode("utf-8", "replace")) % _N_CODES)


def codes_of(line: str) -> str:
    """A line's tokens, one character each, and its end."""
    if len(line) > MAX_LINE_CHARS:
        return END_OF_LINE
    return "".join(map(code_of, TOKEN.findall(line))) + END_OF_LINE


@dataclass(frozen=True, slots=True)
class Change:
    """Lines that an update took out and put in."""

    removed: Sequence[str]
    added: Sequence[str]


class DocumentTokens:
    """See the module. It begins as the empty text, which has one empty line."""

    __slots__ = ("_starts", "_text", "codes", "lines", "rows")

    def __init__(self) -> None:
        self._text = ""
        self.lines: list[str] = [""]
        self.rows: list[str] = [END_OF_LINE]
        self.codes = END_OF_LINE
        self._starts: list[int] | None = None

    @property
    def n_tokens(self) -> int:
        return len(self.codes)

    def update(self, text: str, stop: Callable[[], bool] = never) -> Change | None:
        """Follow the document to `text`; None, and nothing done, if `stop` said so."""
        old = self._text
        if old == text:
            return Change((), ())
        shorter = min(len(old), len(text))
        begin = tail = 0
        # The lines of a key can be told from others by its marks only.
        if KEY_MARK not in text and KEY_MARK not in old:
            begin = common_prefix(old, text, shorter)
            tail = common_suffix(old, text, shorter - begin)
        first = old.count("\n", 0, begin)
        last = first + old.count("\n", begin, len(old) - tail)
        line_end = text.find("\n", len(text) - tail)
        changed = text[text.rfind("\n", 0, begin) + 1 : line_end if line_end >= 0 else len(text)]
        whole = changed.split("\n")
        lines: list[str] = []
        rows: list[str] = []
        for at in range(0, len(whole), STOP_EVERY_LINES):
            if at + STOP_EVERY_LINES <= len(whole) and stop():
                return None
            some = redact_lines(whole[at : at + STOP_EVERY_LINES])
            lines += some
            rows += map(codes_of, some)
        removed = self.lines[first : last + 1]
        self.lines[first : last + 1] = lines
        self.rows[first : last + 1] = rows
        self._text, self.codes, self._starts = text, "".join(self.rows), None
        return Change(removed, lines)

    def start_of(self, row: int) -> int:
        """Where a line's tokens begin in `codes`; its length behind the last line."""
        starts = self._row_starts()
        return starts[max(0, min(row, len(starts) - 1))]

    def row_at(self, at: int) -> int:
        """The line that the token at `at` belongs to."""
        return bisect_right(self._row_starts(), at) - 1

    def token_at(self, at: int) -> re.Match[str] | None:
        """The token in its line; None for the line's end."""
        row = self.row_at(at)
        n_before = at - self._row_starts()[row]
        return next(islice(TOKEN.finditer(self.lines[row]), n_before, None), None)

    def _row_starts(self) -> list[int]:
        if self._starts is None:
            self._starts = list(accumulate(map(len, self.rows), initial=0))
        return self._starts
