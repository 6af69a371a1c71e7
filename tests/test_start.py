"""What a text may begin with, by the cursor's line.

Owns: the places. What the engine makes of it is in test_run.py and test_kv.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from slm_lsp.context.extract import extract
from slm_lsp.prompt.start import start_of
from slm_lsp.types import CompletionContext, DocumentSnapshot, Start, Want


def check(marked: str, expect: Start, language: str = "python") -> None:
    before, cursor, after = marked.partition("<CURSOR>")
    assert cursor
    snapshot = DocumentSnapshot("file:///a", 1, language, before + after)
    assert start_of(extract(snapshot, len(before), None)) is expect


@pytest.mark.parametrize(
    "marked",
    ["<CURSOR>", "a\n<CURSOR>", "a\n \t<CURSOR> \r\nb", "foo(\n    <CURSOR>\n)\n"],
)
def test_a_blank_line_wants_no_other_line(marked: str) -> None:
    check(marked, Start.NO_BREAK)


@pytest.mark.parametrize(
    ("marked", "language"),
    [
        ("x = foo(<CURSOR>\n", "python"),
        ("x = foo(<CURSOR>", "python"),
        ("x = foo( \t<CURSOR>\r\ny = 1\r\n", "python"),
        ("x = [foo(<CURSOR>]\n", "python"),
        ("x = [<CURSOR>\n", "python"),
        ("x = '(' + foo(<CURSOR>\n", "python"),
        ("let x = vec![<CURSOR>\n", "rust"),
        ("if (<CURSOR>\n", "c"),
        ("foo(<CURSOR>;\n", "javascript"),
        ("foo(<CURSOR>\n", "unheard-of"),
    ],
)
def test_behind_a_bracket_there_is_text(marked: str, language: str) -> None:
    check(marked, Start.TEXT, language)


@pytest.mark.parametrize(
    ("marked", "language"),
    [
        ("x = foo(<CURSOR>)\n", "python"),
        ("x = foo(bar(<CURSOR>))\n", "python"),
        ("x = rows[ <CURSOR> ]\n", "python"),
        ("def foo(<CURSOR>):\n    pass\n", "python"),
        ("x = foo(<CURSOR>) + bar(y)\n", "python"),
        ("if (<CURSOR>) {\n}\n", "c"),
        ("import (<CURSOR>)\n", "go"),
    ],
)
def test_in_a_closed_bracket_there_is_no_line_break(marked: str, language: str) -> None:
    check(marked, Start.NO_BREAK, language)


@pytest.mark.parametrize(
    ("marked", "language"),
    [
        ("x = foo(a<CURSOR>\n", "python"),
        ("x = foo(a, <CURSOR>\n", "python"),
        ("x = {<CURSOR>\n", "python"),
        ("if (x) {<CURSOR>\n", "c"),
        ("x = foo(<CURSOR> # why\n", "python"),
        ("x = foo(<CURSOR>a, b)\n", "python"),
        ("x = 'foo(<CURSOR>\n", "python"),
        ("# foo(<CURSOR>\n", "python"),
        ("import (<CURSOR>\n", "go"),
        ("const ( <CURSOR>\n", "go"),
    ],
)
def test_elsewhere_anything_may_come(marked: str, language: str) -> None:
    check(marked, Start.ANY, language)


def test_a_block_may_begin_with_a_line_break() -> None:
    context = CompletionContext("x = foo(", "", want=Want.BLOCK)
    assert start_of(context) is Start.ANY
    assert start_of(replace(context, want=Want.LINE)) is Start.TEXT
    assert start_of(replace(context, suffix=")")) is Start.NO_BREAK
