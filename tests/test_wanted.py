"""How much is wanted where, for whom.

Owns: the cases of `context.wanted`, seen through `extract`, with the tree and without it.

Invariant: who asks by hand is refused within a word only.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.context.extract import extract
from slm_lsp.context.languages import LANGUAGES
from slm_lsp.context.syntax import SyntaxTrees
from slm_lsp.types import CompletionContext, DocumentSnapshot, Trigger, Unwanted, Want

TREES = SyntaxTrees()
QUICK = settings(derandomize=True, deadline=None, max_examples=80, database=None)


def look(fixture: str, language: str, trigger: Trigger, *, tree: bool = True) -> CompletionContext:
    before, cursor, after = fixture.partition("<CURSOR>")
    assert cursor
    TREES.forget("file:///a")
    snapshot = DocumentSnapshot("file:///a", 1, language, before + after)
    return extract(snapshot, len(before), TREES if tree else None, trigger=trigger)


def check(fixture: str, unwanted: Unwanted | None, language: str = "python") -> None:
    """Why nothing comes by itself; whoever asks gets an answer all the same."""
    for tree in (True, False):
        by_itself = look(fixture, language, Trigger.AUTOMATIC, tree=tree)
        assert by_itself.unwanted == unwanted, fixture
        assert (by_itself.want is Want.NOTHING) == (unwanted is not None)
        assert by_itself.trigger is Trigger.AUTOMATIC
        asked = look(fixture, language, Trigger.INVOKED, tree=tree)
        is_within_word = unwanted is Unwanted.INSIDE_WORD
        assert (asked.want is Want.NOTHING) == is_within_word, fixture


WITHIN, BEHIND = Unwanted.INSIDE_WORD, Unwanted.TEXT_BEHIND
ENDED, BARE = Unwanted.STATEMENT_ENDED, Unwanted.NO_CONTEXT


@pytest.mark.parametrize(
    ("fixture", "unwanted"),
    [
        ("total_<CURSOR>sum = one\n", WITHIN),
        # Text on the right.
        ("total = <CURSOR>one\n", BEHIND),
        ("total = <CURSOR> + one(two, three)\n", BEHIND),
        ("f(<CURSOR>, one_value, two_values)\n", BEHIND),
        ("<CURSOR> # one\ntotal = one\n", None),
        ("total = <CURSOR>  # seconds since the start\n", None),
        ("total = find(<CURSOR>)\n", None),
        ("total = f(<CURSOR>, two)\n", None),
        ("print('<CURSOR>', file=out)\n", None),
        ("print('one <CURSOR>two')\n", BEHIND),
        ("# one <CURSOR>of the many words\n", BEHIND),
        ("totals = one + [<CURSOR>]\n", None),
        ("if total <CURSOR>:\n", None),
        # The end of a statement.
        ("total = f(one)<CURSOR>\n", ENDED),
        ("total = one[two]<CURSOR>\n", ENDED),
        ("return {one: two}<CURSOR>\n", ENDED),
        ("f(one)<CURSOR> + two\n", ENDED),
        ("for one in two:\n    pass<CURSOR>\n", ENDED),
        ("for one in two:\n    break<CURSOR>\n", ENDED),
        ("f(\n    one,\n    two)<CURSOR>\n", ENDED),
        # Not yet.
        ("total = f(one) <CURSOR>\n", None),
        ("total = f(g(one)<CURSOR>\n", None),
        ("total = {one: f(two)<CURSOR>\n", None),
        ("total = one<CURSOR>\n", None),
        ("def load(path)<CURSOR>\n", None),
        ("def load(\n    path\n)<CURSOR>\n", None),
        ("if load(path)<CURSOR>\n", None),
        ("class One(Two)<CURSOR>\n", None),
        ("total = 'one)<CURSOR>\n", None),
        ("# one (two)<CURSOR>\n", None),
        ("bypass<CURSOR> = one\n", None),
        # Nothing to go by.
        ("<CURSOR>", BARE),
        ("\n\n<CURSOR>\n", BARE),
        ("{<CURSOR>", BARE),
        ("x = <CURSOR>", None),
        ("return <CURSOR>", BARE),
        ("import <CURSOR>", BARE),
        ("import os\n<CURSOR>", None),
        ("def f(x):\n    <CURSOR>", None),
        ("# one two\n<CURSOR>", None),
        ("<CURSOR>\n\ndef load(path): ...\n", None),
    ],
)
def test_what_comes_by_itself(fixture: str, unwanted: Unwanted | None) -> None:
    check(fixture, unwanted)
    check(fixture.replace("\n", "\r\n"), unwanted)


@pytest.mark.parametrize(
    ("language", "fixture", "unwanted"),
    [
        ("javascript", "let total = one;<CURSOR>\n", ENDED),
        ("javascript", "load(one)<CURSOR>;\n", ENDED),
        ("javascript", "if (one) { two(); }<CURSOR>\n", ENDED),
        ("javascript", "for (let i = 0;<CURSOR>)\n", None),
        ("javascript", "if (total)<CURSOR>\n", None),
        ("javascript", "function load(path)<CURSOR>\n", None),
        ("javascript", "load(path, () => {<CURSOR>});\n", None),
        ("javascriptreact", "const a = <section><CURSOR></section>;\n", None),
        ("typescript", "const total: Map<string<CURSOR>>\n", None),
        ("c", "int main(void)<CURSOR>\n", None),
        ("c", "return load(one)<CURSOR>\n", ENDED),
        ("c", "load(one)<CURSOR>\n", ENDED),
        ("go", "func load(path string)<CURSOR>\n", None),
        ("go", "total := load(path)<CURSOR>\n", ENDED),
        ("java", "public int load(String path)<CURSOR>\n", None),
        ("rust", "fn load(path: &str)<CURSOR>\n", None),
        ("plaintext", "some text (as one says)<CURSOR>\n", None),
        ("markdown", "# One two <CURSOR>three\n", BEHIND),
    ],
)
def test_in_other_languages(language: str, fixture: str, unwanted: Unwanted | None) -> None:
    check(fixture, unwanted, language)


# What the first line changes


@pytest.mark.parametrize(
    ("language", "fixture", "want", "opens"),
    [
        ("python", "def load(a<CURSOR>\n", Want.LINE, ":{(["),
        ("python", "total = <CURSOR>\n", Want.LINE, ":{(["),
        ("python", "if a<CURSOR>\n    b()\n", Want.LINE, ""),
        ("python", "if a:\n    <CURSOR>\n    b()\n", Want.LINE, ":{(["),
        ("python", "if a:\n    <CURSOR>\n        b()\n", Want.LINE, ""),
        ("python", "if a:<CURSOR>\n", Want.BLOCK, ":{([\n"),
        ("python", "if a:\n    <CURSOR>\n", Want.BLOCK, ""),
        ("python", "# a <CURSOR>\n", Want.LINE, ""),
        ("python", "a = 'b <CURSOR>'\n", Want.LINE, ""),
        ("python", "a = <CURSOR>bb\n", Want.LINE, ""),
        ("python", "f(\n    a,\n    <CURSOR>\n)\n", Want.LINE, ":{(["),
        ("python", "a = {\n    <CURSOR>\n}\n", Want.LINE, ":{(["),
        ("javascript", "f(<CURSOR>);\n", Want.LINE, "{(["),
        ("javascript", "f(\n  <CURSOR>\n);\n", Want.LINE, "{(["),
        ("javascript", "f(() => {\n  <CURSOR>\n});\n", Want.BLOCK, ""),
        ("javascript", "if (a) {<CURSOR>\n}\n", Want.BLOCK, "{([\n"),
        ("plaintext", "a = <CURSOR>\n", Want.LINE, ""),
        # Code that is being written, or broken.
        ("python", "def f(:\n    x = (1,\n    <CURSOR>\n", Want.LINE, ":{(["),
        ("javascript", "if (a {{ b();\n  <CURSOR>\n", Want.BLOCK, ""),
    ],
)
def test_what_a_first_line_may_open(language: str, fixture: str, want: Want, opens: str) -> None:
    for tree in (True, False):
        context = look(fixture, language, Trigger.INVOKED, tree=tree)
        assert (context.want, context.opens) == (want, opens)


CODE = st.lists(
    st.sampled_from([*"()[]{}:;,'\"#\n \t", "if x", "def f", "return", "value", "    ", "//"]),
    max_size=14,
).map("".join)


@QUICK
@given(CODE, CODE, st.sampled_from([*LANGUAGES, "plaintext"]), st.sampled_from(Trigger))
def test_every_place_has_an_answer(
    before: str, after: str, language: str, trigger: Trigger
) -> None:
    context = look(f"{before}<CURSOR>{after}", language, trigger, tree=False)
    assert (context.want is Want.NOTHING) == (context.unwanted is not None)
    if trigger is Trigger.INVOKED:
        assert context.unwanted in (None, Unwanted.INSIDE_WORD)
    if context.want is Want.NOTHING or context.in_string or context.in_comment:
        assert not context.opens
