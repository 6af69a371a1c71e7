"""The scanner: brackets that need no look are found like all others.

Owns: the law that skipping whole pairs of brackets changes nothing of what is found.

Invariant: held against the same scanner without that. Threads: the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm_lsp.context import scan as scanning
from slm_lsp.context.languages import Language, language_of
from slm_lsp.context.scan import Literal, Scan, scan

LANGUAGES = ["python", "javascript", "rust", "lua", "ruby", "html", "shellscript", "markdown", "?"]
# What may stand between brackets and matter, with brackets around it half the time.
MARKS = [*"\"'`#$\\\n x", "'''", '"""', "//", "/*", "*/", "--", "[[", "]]", "<!--", "-->", "(", ")"]
PAIRS = st.sampled_from(["()", "[]", "{}"])
TEXTS = st.recursive(
    st.lists(st.sampled_from(MARKS), max_size=3).map("".join),
    lambda inner: st.builds("{0[0]}{1}{0[1]}{2}".format, PAIRS, inner, inner),
    max_leaves=6,
)


def without_pairs(language: Language, text: str) -> Scan:
    """What is found if each bracket is looked at."""
    scanning._begun.clear()
    with (
        mock.patch.object(scanning, "_pairs", return_value=()),
        mock.patch.object(scanning, "_pattern", scanning._pattern.__wrapped__),
    ):
        return scan(language, text)


@pytest.mark.parametrize("name", LANGUAGES)
@given(TEXTS)
def test_pairs_change_nothing(name: str, text: str) -> None:
    language = language_of(name)
    alone = without_pairs(language, text)
    scanning._begun.clear()
    assert scan(language, text) == alone


@pytest.mark.parametrize("name", LANGUAGES)
@given(TEXTS, TEXTS, st.integers(0, 30), st.booleans())
def test_what_was_scanned_before_changes_nothing(
    name: str, text: str, typed: str, at: int, anew: bool
) -> None:
    language = language_of(name)
    later = text[: min(at, len(text))] + typed + ("" if anew else text[at:])
    scanning._begun.clear()
    alone = scan(language, later)
    scanning._begun.clear()
    scan(language, text)
    assert scan(language, later) == alone
    # And once more, as it is remembered now.
    assert scan(language, later) == alone


def test_typing_has_the_last_lines_scanned_alone() -> None:
    python = language_of("python")
    pattern = scanning._pattern(python)
    above = "".join(f"f_{n}(a[{n}], ')')\n" for n in range(50))
    read: list[int] = []

    class Watched:
        def finditer(self, text: str, at: int) -> Iterator[re.Match[str]]:
            read.append(len(text) - at)
            return pattern.finditer(text, at)

    scanning._begun.clear()
    with mock.patch.object(scanning, "_pattern", return_value=Watched()):
        for typed in ("", "x", "x(", "x(\n", "x(\n    y", "x(\n    y\n"):
            is_open = len(typed) > 1
            assert scan(python, above + typed).brackets == (len(above) + 1,) * is_open
    assert read[0] == len(above)
    assert max(read[1:]) < 40


def test_pairs_are_skipped() -> None:
    python = language_of("python")
    text = "a(b)[c] = {}  # (\nd("
    assert scan(python, text) == Scan(Literal.CODE, (len(text) - 1,), (), ((14, 17),))
    found = [match.group() for match in scanning._pattern(python).finditer(text)]
    assert found == ["(b)", "[c]", "{}", "# (", "("]
