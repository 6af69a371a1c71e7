"""What the open files themselves say about the text at the cursor, without a model.

Owns: when a match is strong enough to be shown: the rest of a line whose beginning stands
before the cursor, or the rest of the only word that begins as the one at the cursor.

Invariant: pure but for the index, which is only read. Every text that is returned stands in
an open file.

Threads: that of the index.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from slm_lsp.completion.token_index import MIN_WORD_CHARS, Match, TokenIndex
from slm_lsp.completion.tokens import END_OF_LINE, TOKEN, codes_of

# Fewer tokens than three are found everywhere ("self.", "(x,").
MIN_TOKENS = 3
# What a whole new line will be, three tokens above it do not tell: most are "):" and the like.
MIN_TOKENS_NEW_LINE = 6
# Longer matches tell no more, and looking for them costs time.
MAX_CONTEXT_TOKENS = 24
CONTEXT_CHARS = 600
# A suggestion of one letter costs more to read than to type.
MIN_SHOWN_CHARS = 2

_WORD_AT_END = re.compile(r"[^\W\d]\w*\Z")
# Three brackets and commas in a row are no match, however often they occur.
_TELLING = re.compile(r"\w{2}")


@dataclass(frozen=True, slots=True)
class Cursor:
    """What is before a cursor: the end of the text, in whole tokens, and the begun word."""

    context: str
    tokens: tuple[str, ...]
    word: str
    new_line: bool
    spaced: bool

    @classmethod
    def of(cls, before: str) -> Cursor:
        """Look at the last CONTEXT_CHARS of the text before the cursor."""
        near = before[-CONTEXT_CHARS:]
        if len(before) > CONTEXT_CHARS:
            near = near[near.find("\n") + 1 :]
        found = _WORD_AT_END.search(near)
        word = found.group() if found else ""
        whole = near[: len(near) - len(word)]
        # The end of the cursor's own line has not been typed.
        codes = "".join(map(codes_of, whole.split("\n")))[:-1]
        tokens = TOKEN.findall(whole)[-MIN_TOKENS:]
        return cls(
            context=codes[-MAX_CONTEXT_TOKENS:],
            tokens=tuple(tokens),
            word=word,
            new_line=not word and codes.endswith(END_OF_LINE),
            spaced=whole[-1:].isspace(),
        )


def guess(index: TokenIndex, uri: str, text: str, offset: int) -> str:
    """What an open file goes on with where it reads like the text before the cursor, to the
    end of the line; or the rest of the word. Empty where nothing is likely."""
    before = text[max(0, offset - CONTEXT_CHARS - 1) : offset]
    cursor = Cursor.of(before)
    match = _find(index, uri, text.count("\n", 0, offset), cursor)
    said = _continuation(match, cursor).split("\n", 1)[0].rstrip() if match else ""
    if not said and match is None:
        said = rest_of_word(index, cursor.word) or ""
    return said if len(said.strip()) >= MIN_SHOWN_CHARS else ""


def rest_of_word(index: TokenIndex, beginning: str) -> str | None:
    """The rest of the only word that the `beginning` can become; None if that is not sure."""
    if len(beginning) < MIN_WORD_CHARS:
        return None
    longer = index.words_from(beginning, 2)
    return longer[0][len(beginning) :] if len(longer) == 1 else None


def end_of_word(index: TokenIndex, beginning: str) -> str | None:
    """What makes a word of a `beginning` that a model was cut off in; None if that is not
    sure. A word that nothing continues is whole."""
    if not index.is_word(beginning):
        return rest_of_word(index, beginning)
    return None if index.words_from(beginning, 1) else ""


def _find(index: TokenIndex, uri: str, row: int, cursor: Cursor) -> Match | None:
    if not any(map(_TELLING.search, cursor.tokens)):
        return None

    def fits(match: Match) -> bool:
        if not cursor.word:
            return True
        token = match.document.token_at(match.at)
        said = token.group() if token else ""
        return said.startswith(cursor.word) and len(said) > len(cursor.word)

    n_tokens = MIN_TOKENS_NEW_LINE if cursor.new_line else MIN_TOKENS
    return index.longest_match(uri, row, cursor.context, fits, n_tokens)


def _continuation(match: Match, cursor: Cursor, n_chars: int = 0) -> str:
    """The text behind a match: its line's rest and, up to `n_chars`, the lines below."""
    token = match.document.token_at(match.at)
    row = match.document.row_at(match.at)
    line = match.document.lines[row]
    begin = token.start() + len(cursor.word) if token else len(line.rstrip())
    if not cursor.word and not cursor.spaced:
        begin = len(line[:begin].rstrip())
    said = line[begin:]
    for below in match.document.lines[row + 1 :]:
        if len(said) >= n_chars:
            break
        said += "\n" + below
    return said
