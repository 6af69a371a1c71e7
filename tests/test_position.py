"""Positions, offsets and byte offsets, against a table made one character at a time.

Owns: the reference `Table`, which knows lines and units by walking the text.
Invariant: the reference uses neither a codec nor a regex nor the code under test.
Threads: the test's own.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.text import position as pos
from slm_lsp.text.position import Encoding

PIECES = (
    *("a", "b", " ", "\t", "\n", "\r", "\r\n", "\f", "\v", "\x1c", "\x85", "\u2028", "\u2029"),
    *("é", "e\u0301", "漢", "\ufeff", "😀", "\U0010ffff", "\ud83d", "\ude00", "\x7f", "\u07ff"),
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=16).map("".join)
NUMBERS = st.one_of(st.integers(-2, 20), st.sampled_from([2**31 - 1, -(2**31)]))
ENCODINGS = st.sampled_from(Encoding)
QUICK = settings(derandomize=True, deadline=None, max_examples=100, database=None)


def width(character: str, encoding: Encoding) -> int:
    """Units of one character, by the ranges of the encodings' definitions."""
    code = ord(character)
    if encoding is Encoding.UTF8:
        return 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)
    if encoding is Encoding.UTF16:
        return 1 + (code >= 0x10000)
    return 1


class Table:
    """Every offset of a text with its position; None between a CR and its LF."""

    def __init__(self, text: str, encoding: Encoding) -> None:
        line, character = 0, 0
        self.rows: list[tuple[int, int] | None] = [(0, 0)]
        self.starts = [0]
        for index, one in enumerate(text):
            following = text[index + 1] if index + 1 < len(text) else ""
            if one == "\r" and following == "\n":
                self.rows.append(None)
                continue
            if one in ("\n", "\r"):
                line, character = line + 1, 0
                self.starts.append(index + 1)
            else:
                character += width(one, encoding)
            self.rows.append((line, character))

    def offset_at(self, line: int, character: int) -> int:
        line, character = max(line, 0), max(character, 0)
        if line >= len(self.starts):
            return len(self.rows) - 1
        fits = [
            offset
            for offset, row in enumerate(self.rows)
            if row is not None and row[0] == line and row[1] <= character
        ]
        return max(fits)

    def position_at(self, offset: int) -> tuple[int, int]:
        offset = max(0, min(offset, len(self.rows) - 1))
        row = self.rows[offset] or self.rows[offset - 1]
        assert row is not None
        return row


@QUICK
@given(TEXTS, ENCODINGS, NUMBERS, NUMBERS)
def test_offset_of_any_position(text: str, encoding: Encoding, line: int, character: int) -> None:
    expected = Table(text, encoding).offset_at(line, character)
    assert pos.offset_at(text, (line, character), encoding) == expected


@QUICK
@given(TEXTS, ENCODINGS)
def test_position_of_every_offset(text: str, encoding: Encoding) -> None:
    table = Table(text, encoding)
    for offset in range(-1, len(text) + 2):
        position = pos.position_at(text, offset, encoding)
        assert position == table.position_at(offset)
        assert pos.offset_at(text, position, encoding) == pos.clamp(text, offset)


@QUICK
@given(TEXTS, st.data())
def test_line_starts(text: str, data: st.DataObject) -> None:
    starts = Table(text, Encoding.UTF32).starts
    assert pos.line_starts(text) == starts
    first = data.draw(st.integers(1, len(text) + 1))
    last = data.draw(st.integers(first - 1, len(text) + 1))
    within = [start for start in starts if first <= start <= last]
    assert pos.line_starts_between(text, first, last) == within


@QUICK
@given(TEXTS)
def test_byte_offsets_are_those_of_the_encoded_text(text: str) -> None:
    n_bytes = 0
    for offset, one in enumerate(text):
        assert pos.byte_offset(text, offset) == n_bytes
        n_bytes += width(one, Encoding.UTF8)
    assert n_bytes == len(text.encode("utf-8", "surrogatepass"))
    assert pos.byte_offset(text, len(text) + 5) == n_bytes
    assert pos.byte_offset(text, -1) == 0


@QUICK
@given(TEXTS, st.integers(-1, 40), ENCODINGS)
def test_whole_characters_that_fit(text: str, units: int, encoding: Encoding) -> None:
    n = pos.n_characters(text, units, encoding)
    total = sum(width(one, encoding) for one in text[:n])
    assert total <= max(units, 0)
    assert n == len(text) or total + width(text[n], encoding) > units
    assert pos.n_units(text, encoding) == sum(width(one, encoding) for one in text)


@pytest.mark.parametrize(
    ("text", "position", "encoding", "offset"),
    [
        ("a😀b", (0, 2), Encoding.UTF16, 1),  # in the middle of a surrogate pair
        ("a😀b", (0, 3), Encoding.UTF16, 2),
        ("a😀b", (0, 4), Encoding.UTF8, 1),  # in the middle of a UTF-8 sequence
        ("a😀b", (0, 5), Encoding.UTF8, 2),
        ("a😀b", (0, 2), Encoding.UTF32, 2),
        ("\ud83dx", (0, 1), Encoding.UTF16, 1),  # a lone surrogate is one unit
        ("\ud83dx", (0, 3), Encoding.UTF8, 1),  # and three bytes
        ("\ude00x", (0, 2), Encoding.UTF8, 0),
        ("\ufeffx", (0, 1), Encoding.UTF16, 1),  # a BOM counts as any character
        ("ab\r\ncd", (0, 99), Encoding.UTF16, 2),  # the line's end, before its terminator
        ("ab\r\ncd", (0, 3), Encoding.UTF16, 2),
        ("ab\rcd\n", (1, 99), Encoding.UTF16, 5),
        ("ab\ncd", (1, 99), Encoding.UTF16, 5),
        ("ab\ncd", (2, 0), Encoding.UTF16, 5),
        ("ab\ncd\n", (2, 0), Encoding.UTF16, 6),
        ("ab\ncd", (-1, 1), Encoding.UTF16, 1),
        ("ab\ncd", (1, -1), Encoding.UTF16, 3),
        ("", (3, 3), Encoding.UTF16, 0),
        ("a\fb\vc\x85d\u2028e\u2029f\x1cg", (0, 12), Encoding.UTF16, 12),
        ("a\fb\u2028c", (1, 0), Encoding.UTF16, 5),  # there is no second line
    ],
)
def test_clamping_and_rounding(
    text: str, position: tuple[int, int], encoding: Encoding, offset: int
) -> None:
    assert pos.offset_at(text, position, encoding) == offset


def test_between_cr_and_lf_is_the_lines_end() -> None:
    assert pos.position_at("ab\r\ncd", 3, Encoding.UTF16) == (0, 2)
    assert pos.position_at("ab\r\ncd", 4, Encoding.UTF16) == (1, 0)


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("", ""),
        ("plain", "plain"),
        ("é漢😀", "é漢😀"),
        ("\ud83d" + "\ude00", "😀"),
        ("\ud83d\ud83d" + "\ude00\ude00", "\ud83d😀\ude00"),
        ("\ude00" + "\ud83d", "\ude00\ud83d"),
        ("\udbff" + "\udfff", "\U0010ffff"),
        ("\ud800" + "\udc00", "\U00010000"),
        ("😀\ude00", "😀\ude00"),
    ],
)
def test_surrogates_that_form_a_pair_are_joined(text: str, joined: str) -> None:
    assert pos.join_surrogates(text) == joined


def test_the_encodings_are_the_protocols() -> None:
    assert [str(encoding) for encoding in Encoding] == ["utf-8", "utf-16", "utf-32"]
