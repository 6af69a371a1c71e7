"""What spans hold of the text they are drawn from, and what outlines know of it."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.training import spans
from models.training.grammars import GRAMMARS, parse
from models.training.outline import CODE, COMMENT, DOCSTRING, IMPORT, NOTHING, Outline, outline
from models.training.spans import KINDS, Span, draw, n_decided

PYTHON = '''# Copyright 2020 Somebody
# Licensed under a licence

import os
from sys import path  # behind code


def area(width, height):
    """The area of a rectangle.

    Of no other shape.
    """
    # multiply
    size = width * height
    if size < 0:
        raise ValueError("negative", width, height)
    return size


class Box:
    @property
    def volume(self):
        total = self.depth * area(self.width, self.height)

        return total
'''
SOURCES = {
    "python": "def f(a, b):\n    x = g(a, b)\n    return x\n",
    "javascript": "function f(a, b) {\n  const x = g(a, b);\n  return x;\n}\n",
    "typescript": "function f(a: number, b: number) {\n  const x = g(a, b);\n  return x;\n}\n",
    "go": "package m\n\nfunc f(a, b int) int {\n\tx := g(a, b)\n\treturn x\n}\n",
    "rust": "fn f(a: u8, b: u8) -> u8 {\n    let x = g(a, b);\n    return x;\n}\n",
    "java": "class A {\n  int f(int a, int b) {\n    int x = g(a, b);\n    return x;\n  }\n}\n",
    "c": "int f(int a, int b) {\n  int x = g(a, b);\n  return x;\n}\n",
    "cpp": "int f(int a, int b) {\n  auto x = g(a, b);\n  return x;\n}\n",
}


def worth_of(lines: Outline, start: str) -> float:
    return lines.worth_at(lines.text.index(start))


def drawn(text: str, language: str, kind: str, n: int = 200) -> list[Span]:
    lines, rng = outline(text, language), Random(1)
    found = (draw(lines, rng, 400, {kind: 1.0}) for _ in range(n))
    return [span for span in found if span is not None]


def test_lines_are_worth_what_they_teach() -> None:
    lines = outline(PYTHON, "python")
    assert worth_of(lines, "# Copyright") == worth_of(lines, "# Licensed") == NOTHING
    assert worth_of(lines, "import os") == worth_of(lines, "from sys") == IMPORT
    assert worth_of(lines, "Of no other shape") == DOCSTRING
    assert worth_of(lines, "# multiply") == COMMENT
    assert worth_of(lines, "size = width") == worth_of(lines, "def area") == CODE


def test_comments_are_known_without_a_tree() -> None:
    lines = outline("# Copyright\n\n# a comment\ncode\n", "cobol")
    assert [lines.worth_at(i) for i in (0, 13, 25)] == [NOTHING, NOTHING, CODE]
    assert not lines.scopes


def test_only_a_header_about_a_licence_is_a_licence_header() -> None:
    assert outline("# what this does\nx = 1\n", "python").licence_end == 0
    assert outline("x = 1\n# copyright\n", "python").licence_end == 0


def test_scopes_are_bodies_behind_docstrings() -> None:
    lines = outline(PYTHON, "python")
    area, volume = lines.scopes
    assert (area.documented, volume.documented) == (True, False)
    assert PYTHON[lines.starts[area.first] :].startswith("    # multiply")
    assert lines.end(area.last - 1) == PYTHON.index("\n\n\nclass")
    assert PYTHON[area.start :].startswith("def area")
    assert PYTHON[volume.start :].lstrip().startswith("@property")


@pytest.mark.parametrize("language", sorted(SOURCES))
def test_every_grammar_knows_functions_statements_arguments_and_names(language: str) -> None:
    text = SOURCES[language]
    syntax = parse(text, language)
    assert syntax is not None
    (function,) = syntax.functions
    body = text[slice(*function.body)]
    assert body.strip(";").endswith("return x")
    assert body in [text[slice(*extent)] for extent in syntax.blocks]
    assert any(text[slice(*extent)].startswith("return x") for extent in syntax.statements)
    assert "a, b" in [text[slice(*extent)] for extent in syntax.arguments]
    assert "g" in [text[slice(*extent)] for extent in syntax.identifiers]


def test_every_language_with_a_grammar_compiles() -> None:
    assert all(parse("", language) is not None for language in GRAMMARS)


def test_offsets_are_code_points() -> None:
    text = "# héé 🎈\nx = g('é', yy)\n"
    syntax = parse(text, "python")
    assert syntax is not None
    assert "'é', yy" in [text[slice(*extent)] for extent in syntax.arguments]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_is_found(kind: str) -> None:
    found = drawn(PYTHON, "python", kind)
    assert len(found) > 100
    assert len({(span.start, span.end) for span in found}) >= 5


def test_the_rest_of_a_line_ends_where_the_line_does() -> None:
    found = drawn(PYTHON, "python", "rest_of_line")
    assert all(PYTHON[span.end] == "\n" for span in found)
    assert all("\n" not in PYTHON[span.start : span.end] for span in found)
    before = Counter(PYTHON[: span.start].rpartition("\n")[2].strip() == "" for span in found)
    assert before[True] > before[False] > 20
    assert any(PYTHON[span.start - 1] == "\n" and PYTHON[span.start] == " " for span in found)


def test_a_part_of_a_line_leaves_some_of_the_line() -> None:
    found = drawn(PYTHON, "python", "line_part")
    assert all(PYTHON[span.end] != "\n" for span in found)
    assert all("\n" not in PYTHON[span.start : span.end] for span in found)


def test_whole_lines_end_with_a_line_that_is_not_blank() -> None:
    found = drawn(PYTHON, "python", "lines")
    assert all(PYTHON[span.end] == "\n" and PYTHON[span.end - 1] != "\n" for span in found)
    assert {PYTHON[span.start : span.end].count("\n") for span in found} >= {0, 1, 2}


def test_blocks_are_whole_bodies() -> None:
    bodies = {PYTHON[span.start : span.end].strip() for span in drawn(PYTHON, "python", "block")}
    assert 'raise ValueError("negative", width, height)' in bodies


def test_functions_with_docstrings_are_drawn_more_often() -> None:
    found = drawn(PYTHON, "python", "rest_of_line", 600)
    scopes = Counter(span.scope.documented for span in found if span.scope)
    assert scopes[True] > 1.5 * scopes[False] > 0


def test_a_name_decides_if_it_is_used_below_and_not_above() -> None:
    lines = outline("old = 1\nnew = old\nprint(new, old)\n", "python")
    assert n_decided(lines, Span(8, 17, "")) == 1
    assert n_decided(lines, Span(0, 7, "")) == 1
    assert n_decided(lines, Span(18, 33, "")) == 0


def test_spans_that_decide_what_follows_are_drawn_more_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "x = 1\n" * 20 + "late = 3\n" + "print(late)\n" * 3

    def n_late(share: float) -> int:
        monkeypatch.setattr(spans, "DECIDED_SHARE", share)
        found = drawn(text, "python", "rest_of_line", 400)
        return sum(text[span.start : span.end].endswith("late = 3") for span in found)

    assert n_late(1.0) > 2 * n_late(0.0) > 0


def test_the_same_state_gives_the_same_span() -> None:
    lines = outline(PYTHON, "python")
    twice = [[draw(lines, Random(seed), 300) for seed in range(50)] for _ in range(2)]
    assert twice[0] == twice[1]
    assert len(set(twice[0])) > 20


def test_a_text_of_nothing_but_a_licence_has_no_span() -> None:
    assert draw(outline("# Copyright\n\n\n", "python"), Random(1), 100) is None


CODE_TEXT = st.lists(
    st.sampled_from([*PYTHON.splitlines(), "", "   ", "x = '🎈é'", "\tif x:", "}", "\x0c"])
).map("\n".join)


@given(
    CODE_TEXT | st.text(max_size=60),
    st.sampled_from(["python", "c", "cobol"]),
    st.integers(0, 9),
    st.sampled_from([1, 20, 300]),
)
def test_no_middle_is_empty_blank_too_long_or_in_the_licence(
    text: str, language: str, seed: int, max_chars: int
) -> None:
    lines = outline(text, language)
    span = draw(lines, Random(seed), max_chars)
    if span is not None:
        assert 0 <= span.start < span.end <= len(text)
        assert span.end - span.start <= max_chars
        assert text[span.start : span.end].strip()
        assert lines.line_at(span.start) >= lines.licence_end
