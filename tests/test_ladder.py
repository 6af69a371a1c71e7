"""Where a text is cut that its deadline ended: line, expression, word, nothing.

Owns: the ladder case by case, in three languages.

Invariant: pure; what a user should see, whatever rule does it.
"""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.completion import ladder
from slm_lsp.completion.brackets import scan
from slm_lsp.completion.place import Place
from slm_lsp.context.languages import language_of
from slm_lsp.types import CompletionContext, Finish

WORDS = {"impo": "rt", "resp": "onse", "value": "", "self": None}


def place_of(fixture: str, language: str) -> Place:
    before, cursor, after = fixture.partition("<CURSOR>")
    assert cursor
    context = CompletionContext(before, after)
    return Place.of(context, Finish.DEADLINE, language_of(language))


def check(language: str, fixture: str, says: str, expect: str) -> None:
    place = dataclasses.replace(place_of(fixture, language), end_of_word=WORDS.get)
    assert ladder.down_to_boundary(says, place).rstrip() == expect


@pytest.mark.parametrize(
    ("fixture", "says", "expect"),
    [
        # Whole lines.
        ("<CURSOR>", "a = 1\nb = 2\nc = ", "a = 1\nb = 2"),
        ("<CURSOR>", "a = f(\n    1,\n    2", "a = f"),
        ("<CURSOR>", "a = 1\nb = f(\n    1,\n    2", "a = 1"),
        ("<CURSOR>", "a = 1\nif a:\n    b", "a = 1"),
        ("<CURSOR>", "a = 1\nb = a +\n  c", "a = 1"),
        ("<CURSOR>", 'a = 1\nb = """\nlong', "a = 1"),
        # An expression.
        ("x = <CURSOR>", "one + tw", "one"),
        ("x = <CURSOR>", "one and tw", "one"),
        ("x = <CURSOR>", "f(one)[0].na", "f(one)[0]"),
        ("x = <CURSOR>", "f(one, tw", "f"),
        ("x = f(<CURSOR>)", "one, g(tw", "one, g"),
        ("x = <CURSOR>", "'text", ""),
        ("x = <CURSOR>", "'text'", "'text'"),
        ("if <CURSOR>", "one in tw", "one"),
        # A statement without its block is none.
        ("<CURSOR>", "if one == tw", ""),
        ("<CURSOR>", "for one in tw", ""),
        # A word, where it is known.
        ("x = <CURSOR>", "resp", "response"),
        ("x = <CURSOR>", "one + resp", "one + response"),
        ("x = re<CURSOR>", "sp", "sponse"),
        ("x = <CURSOR>", "value", "value"),
        ("x = f(<CURSOR>)", "resp", "response"),
        ("x = <CURSOR>", "g(resp", "g"),
        # Nothing.
        ("x = <CURSOR>", "self", ""),
        ("x = <CURSOR>", "unkno", ""),
        ("<CURSOR>", "impo", ""),
        ("x = <CURSOR>", "(", ""),
    ],
)
def test_python(fixture: str, says: str, expect: str) -> None:
    check("python", fixture, says, expect)


@pytest.mark.parametrize(
    ("fixture", "says", "expect"),
    [
        ("function f() {\n  <CURSOR>\n}\n", "a();\n  b(c", "a();"),
        ("function f() {\n  <CURSOR>\n}\n", "a();\n  if (b) {\n    c", "a();"),
        ("<CURSOR>\n", "if (b) {\n  c();\n}\nd", "if (b) {\n  c();\n}"),
        ("function f() {\n  <CURSOR>\n}\n", "if (b) {\n    c", ""),
        ("const x = <CURSOR>;\n", "y.map(z => z", "y.map"),
        ("const x = <CURSOR>\n", "y ? z : resp", "y ? z : response"),
        ("const x = <CURSOR>\n", "new Fo", ""),
        ("<CURSOR>\n", "i++\nj", "i++"),
    ],
)
def test_javascript(fixture: str, says: str, expect: str) -> None:
    check("javascript", fixture, says, expect)


@pytest.mark.parametrize(
    ("fixture", "says", "expect"),
    [
        ("func f() {\n\t<CURSOR>\n}\n", "x := g()\n\treturn x + va", "x := g()"),
        ("func f() {\n\t<CURSOR>\n}\n", "x := g()\n\tfor i := range x", "x := g()"),
        ("func f() {\n\t<CURSOR>\n}\n", "for i := range x", ""),
        ("func f() {\n\treturn <CURSOR>\n}\n", "a.b(c), ni", "a.b(c)"),
        ("func f() {\n\treturn <CURSOR>\n}\n", "&T{a: 1", "&T"),
    ],
)
def test_go(fixture: str, says: str, expect: str) -> None:
    check("go", fixture, says, expect)


@settings(derandomize=True, deadline=None, max_examples=300, database=None)
@given(
    st.lists(
        st.sampled_from(["a", "if", " ", "\n", "(", ")", "[", "]", "{", "}", ":", "+", "'", ","]),
        max_size=16,
    ).map("".join)
)
def test_what_is_left_is_a_beginning_with_nothing_open(says: str) -> None:
    place = place_of("x = <CURSOR>\n", "python")
    left = ladder.down_to_boundary(says, place)
    assert says.startswith(left)
    assert not scan(left, place.language).opened
