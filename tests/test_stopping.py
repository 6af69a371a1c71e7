"""Where a generated text ends, by table and, for any rule, by its own beginnings.

Owns: texts with the end marked. Invariant: a marked end holds for the whole text however
far it goes on. Threads: the test's own.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.engine.stopping import stop_at
from slm_lsp.types import StopRule

QUICK = settings(derandomize=True, deadline=None, max_examples=120, database=None)
END = "<END>"

LINE = StopRule(strings=("\n",))
BLOCK = StopRule(strings=("\n\n",), indent_columns=4, max_lines=4)
INDENT = StopRule(indent_columns=4)
FIRST = StopRule(indent_columns=4, line_opens=":(")
TABS = StopRule(indent_columns=8, tab_columns=4)


def check(rule: StopRule, marked: str) -> None:
    """`marked` ends at END; without it, it is incomplete."""
    text = marked.replace(END, "")
    expected = marked.find(END)
    assert stop_at(text, rule) == (expected if expected >= 0 else None), marked


@pytest.mark.parametrize(
    ("rule", "marked"),
    [
        (StopRule(), ""),
        (StopRule(), "a\n\n\nb\n"),
        # strings
        (LINE, "x = 1"),
        (LINE, "x = 1<END>\ny"),
        (LINE, "<END>\n"),
        (StopRule(strings=("ab", "b")), "xxa"),
        (StopRule(strings=("ab", "b")), "xx<END>abb"),
        (StopRule(strings=("abcd", "c")), "ab<END>cd"),
        (StopRule(strings=("a\n)", "\n)x")), "<END>a\n)x"),
        # lines
        (StopRule(max_lines=1), "a"),
        (StopRule(max_lines=1), "a<END>\n"),
        (StopRule(max_lines=2), "a\nb<END>\nc\n"),
        (StopRule(max_lines=2), "\n\r<END>\n"),
        (StopRule(max_lines=0), "a<END>\nb"),
        # indentation: the first line is behind the cursor, blank lines say nothing
        (INDENT, "return"),
        (INDENT, "a\n    b\n     c\n"),
        (INDENT, "a\n   "),
        (INDENT, "a\n   \n\n  \r\n"),
        (INDENT, "a<END>\n   b"),
        (INDENT, "a\n\n<END>\nb"),
        (INDENT, "a\n    b<END>\nc\n    d"),
        (INDENT, "a\n\tb\n"),
        (TABS, "a\n\t    b<END>\n\t   b"),
        (TABS, "a\n\t\tb\n  \t  \tc"),
        (StopRule(indent_columns=0), "a\nb\nc"),
        # a closing bracket belongs to the block, unless the statement goes on behind it
        (INDENT, "a(\n    b\n)"),
        (INDENT, "a(\n    b\n)<END>\n"),
        (INDENT, "a(\n    b\n]);<END>\nc"),
        (INDENT, "a {\n    b\n} else {\n    c\n}<END>\nd"),
        (INDENT, "a {\n    b\n} else {\n    c<END>\nd"),
        (INDENT, "a(\n    b\n):\n    c<END>\nd"),
        (INDENT, "a(\n    b\n)  \r<END>\n"),
        # the first line decides whether there are more
        (FIRST, "x = 1"),
        (FIRST, "x = 1<END>\n    b"),
        (FIRST, "<END>\n    b"),
        (FIRST, "if x:\n    b\n"),
        (FIRST, "if x: \r\n    b<END>\nc"),
        (FIRST, "f(\n    b,\n)<END>\nc"),
        (FIRST, "f(\n    b,\n)"),
        (FIRST, "):<END>\nb"),
        (FIRST, "f(b)<END>\n"),
        (StopRule(indent_columns=4, line_opens=":\n"), "\n    b\n    c<END>\nd"),
        (StopRule(indent_columns=4, line_opens=":\n"), " return 1<END>\n    c"),
        (StopRule(line_opens=""), "a:<END>\nb"),
        # together: what generation meets first
        (BLOCK, "a\n    b<END>\n\nc"),
        (BLOCK, "a\n    b<END>\nc\n\n"),
        (BLOCK, "a\n    b\n    c\n    d<END>\n    e"),
        (BLOCK, "a\n    b\n    c\n)<END>\n    e"),
        (StopRule(strings=("x",), indent_columns=4), "a\n)<END>x\n"),
        (StopRule(strings=("\n)\nq",), indent_columns=4), "a\n)<END>\nq"),
        (StopRule(strings=("a\n", "zz"), indent_columns=4), "<END>a\nzz"),
    ],
)
def test_end_of_text(rule: StopRule, marked: str) -> None:
    check(rule, marked)


ALPHABET = "ab \t\n\r\f)}:{é"
TEXTS = st.text(ALPHABET, max_size=24)
RULES = st.builds(
    StopRule,
    strings=st.lists(st.text(ALPHABET, min_size=1, max_size=4), max_size=3).map(tuple),
    indent_columns=st.none() | st.integers(0, 8),
    max_lines=st.none() | st.integers(0, 4),
    tab_columns=st.sampled_from([1, 4, 8]),
    line_opens=st.none() | st.text(":)\n", max_size=2),
)


@QUICK
@given(RULES, TEXTS, TEXTS)
def test_more_text_changes_nothing_behind_a_hit(rule: StopRule, text: str, more: str) -> None:
    found = stop_at(text, rule)
    if found is not None:
        assert 0 <= found <= len(text)
        assert stop_at(text + more, rule) == found


@QUICK
@given(RULES, TEXTS)
def test_pieces_make_no_difference(rule: StopRule, text: str) -> None:
    answers = (stop_at(text[:n], rule) for n in range(len(text) + 1))
    assert next((each for each in answers if each is not None), None) == stop_at(text, rule)
