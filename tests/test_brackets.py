"""Brackets and quotes of code that need not parse.

Owns: the cases of `brackets`, and the law that a text may be scanned in pieces.

Invariant: expectations are written by hand or come from scanning the whole.
"""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.completion.brackets import Quote, open_quote, quotes_in, scan, unpaired
from slm_lsp.context.languages import LANGUAGES, UNKNOWN, language_of

BRACKETS = st.text("()[]{}a", max_size=10)
QUICK = settings(derandomize=True, deadline=None, max_examples=100, database=None)


@pytest.mark.parametrize(
    ("text", "open_", "strays", "reaching"),
    [
        ("", "", (), ""),
        ("f(a[b{c}])", "", (), ""),
        ("f(a[", "([", (), ""),
        ("a) + (b", "(", (1,), ")"),
        ("a)]}", "", (1, 2, 3), ")]}"),
        # A closer of another kind closes nothing, and what it stands in stays open.
        ("(a]", "(", (2,), ""),
        ("(a])", "", (2,), ""),
        ("[(a]", "[(", (3,), ""),
    ],
)
def test_brackets_are_paired(text: str, open_: str, strays: tuple[int, ...], reaching: str) -> None:
    found = scan(text)
    assert (found.open, found.strays, found.reaching) == (open_, strays, reaching)


def test_what_was_open_before_can_be_closed() -> None:
    found = scan("a) + [b", already="{(")
    assert (found.open, found.opened, found.strays) == ("{[", (5,), ())


@pytest.mark.parametrize(
    ("language", "text", "open_"),
    [
        ("python", "f('(', \"[\", '\\'(')", ""),
        ("python", '"""\n( it\'s\n""" + (', "("),
        ("python", "x = 1  # (\ny = (", "("),
        ("python", "x = (1 // 2", "("),
        ("python", "f(# 1) see\n", "("),
        ("python", "it's (", "("),
        ("javascript", "f(`(\n(`, a // (\n", "("),
        ("javascript", "f(/* (\n( */", "("),
        ("javascript", "/// (\n//! (\n//(\n", "("),  # the last is code that was commented out
        ("javascript", "import('http://a') + (", "("),
        ("rust", "fn f<'a>(x: &'a str) -> &'a (", "("),
        ("go", "x := '(' + `(`", ""),
        ("c", "if (c == '\\'' || c == '(') {", "{"),
        ("java", '"""\n(\n"""', ""),
        ("plaintext", "don't (can't", "("),
        ("css", "#a { color: #fff; (", "{("),
        ("markdown", "see https://a.b (", "("),
    ],
)
def test_strings_and_comments_of_each_language(language: str, text: str, open_: str) -> None:
    assert scan(text, language_of(language)).open == open_


@pytest.mark.parametrize(
    ("language", "line", "quote"),
    [
        ("python", "x = 1", None),
        ("python", "f('a'", None),
        ("python", "f('a", Quote(2, "'")),
        ("python", "f(\"it's", Quote(2, '"')),
        ("python", 'f("a\\"', Quote(2, '"')),
        ("python", 'x = """a "b" ', Quote(4, '"""')),
        ("python", "x = ''", None),
        ("python", "# the user's", None),
        ("javascript", "x = `a 'b' ", Quote(4, "`")),
        ("rust", "fn f<'a>(", None),
        ("plaintext", "don't", None),
    ],
)
def test_the_open_quote(language: str, line: str, quote: Quote | None) -> None:
    assert open_quote(line, language_of(language)) == quote


@pytest.mark.parametrize(
    ("text", "mark", "found"),
    [
        ("", '"', []),
        ('a"b"', '"', [1, 3]),
        ('a\\"b"', '"', [4]),
        ('a\\\\"', '"', [3]),
        ('"""a""b"""', '"""', [0, 7]),
        ("\\", '"', []),
    ],
)
def test_quotes_without_a_backslash(text: str, mark: str, found: list[int]) -> None:
    assert quotes_in(text, mark) == found


@pytest.mark.parametrize(
    ("closers", "already", "counts"),
    [
        ("", "", (0, 0)),
        (")", "(", (0, 0)),
        ("]", "(", (1, 1)),
        ("))", "(", (1, 0)),
        ("", "{(", (0, 2)),
    ],
)
def test_unpaired(closers: str, already: str, counts: tuple[int, int]) -> None:
    assert unpaired(closers, already) == counts


@QUICK
@given(BRACKETS, BRACKETS)
def test_a_text_may_be_scanned_in_two_pieces(first: str, second: str) -> None:
    whole, before = scan(first + second), scan(first)
    after = scan(second, already=before.open)
    assert after.open == whole.open
    assert (*before.strays, *(at + len(first) for at in after.strays)) == whole.strays


@QUICK
@given(BRACKETS, BRACKETS)
def test_reaching_closers_are_all_that_matters_to_what_stands_before(
    first: str, second: str
) -> None:
    before, alone = scan(first), scan(second)
    strays, _ = unpaired(alone.reaching, before.open)
    mismatched = len(alone.strays) - len(alone.reaching)
    assert strays + mismatched == len(scan(second, already=before.open).strays)


@QUICK
@given(st.text("()[]{}\"'`\\/*# \na", max_size=30), st.sampled_from([*LANGUAGES.values(), UNKNOWN]))
def test_every_bracket_is_counted_once_or_hidden(text: str, language: object) -> None:
    known = next(each for each in (*LANGUAGES.values(), UNKNOWN) if each is language)
    found = scan(text, known)
    assert len(found.opened) == len(found.open)
    assert all(text[at] in ")]}" for at in found.strays)
    assert "".join(text[at] for at in found.opened) == found.open


@pytest.mark.parametrize("unit", ["(", '"', "'", '"""', "\\", "//", "/*", '"\\', "`a", "(')"])
def test_hostile_text_takes_no_longer_than_its_length(unit: str) -> None:
    text = unit * (20_000 // len(unit))
    for language in (LANGUAGES["python"], LANGUAGES["javascript"], UNKNOWN):
        before_s = time.perf_counter()
        scan(text, language)
        assert time.perf_counter() - before_s < 1.0
