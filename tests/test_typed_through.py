"""What is remembered of a place, and how it is found again.

Owns: the laws of `TypedThrough`: what it returns continues the text as the answer did.

Invariant: pure; no engine.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.completion.typed_through import AFTER_CHARS, BEFORE_CHARS, TypedThrough

QUICK = settings(derandomize=True, deadline=None, max_examples=150, database=None)
TEXT = st.text("ab\n", max_size=8)
BEFORE, AFTER, SAID = "def f(x):\n    return ", "\n\ng(1)\n", "x + 1"


def remembering(said: str = SAID, *, complete: bool = True) -> TypedThrough:
    memory = TypedThrough()
    memory.remember("a", BEFORE + AFTER, len(BEFORE), said, complete=complete)
    return memory


def rest(memory: TypedThrough, before: str, after: str = AFTER, uri: str = "a") -> str | None:
    found = memory.lookup(uri, before + after, len(before))
    return found.text if found else None


def test_typing_along_and_back_again() -> None:
    memory = remembering()
    for n_typed in (0, 1, 2, 4, 3, 1, 0, 4):
        assert rest(memory, BEFORE + SAID[:n_typed]) == SAID[n_typed:]


@pytest.mark.parametrize(
    ("before", "after", "uri"),
    [
        (BEFORE + "y", AFTER, "a"),
        (BEFORE + SAID, AFTER, "a"),
        (BEFORE[:-1], AFTER, "a"),
        (BEFORE.replace("f", "h"), AFTER, "a"),
        (BEFORE, "\n" + AFTER, "a"),
        (BEFORE, AFTER.replace("g", "h"), "a"),
        (BEFORE, AFTER, "b"),
    ],
)
def test_any_other_text_around_is_another_place(before: str, after: str, uri: str) -> None:
    assert rest(remembering(), before, after, uri) is None


def test_an_edit_out_of_the_window_changes_nothing() -> None:
    memory = TypedThrough()
    before, after = "#" * BEFORE_CHARS + "x = ", "\n" + "#" * AFTER_CHARS
    memory.remember("a", "1\n" + before + after, 2 + len(before), "1", complete=True)
    assert rest(memory, "other\n" + before, after + "more") == "1"
    assert rest(memory, before.replace("#x", "!x"), after) is None


def test_silence_is_remembered_for_its_place_only() -> None:
    memory = remembering("")
    assert rest(memory, BEFORE) == ""
    assert rest(memory, BEFORE + "x") is None


def test_a_rest_with_nothing_to_see_is_no_answer() -> None:
    memory = remembering("x  ")
    assert rest(memory, BEFORE) == "x  "
    assert rest(memory, BEFORE + "x") is None


def test_a_cut_text_gives_way_to_a_longer_one_and_to_a_whole_one() -> None:
    memory = remembering("x", complete=False)
    memory.remember("a", BEFORE + AFTER, len(BEFORE), SAID, complete=True)
    memory.remember("a", BEFORE + AFTER, len(BEFORE), "x +", complete=False)
    assert rest(memory, BEFORE) == SAID
    memory.remember("a", BEFORE + "x" + AFTER, len(BEFORE) + 1, " +", complete=False)
    assert rest(memory, BEFORE + "x") == SAID[1:]


def test_the_least_recently_used_is_forgotten_and_so_is_a_closed_document() -> None:
    memory = TypedThrough(max_entries=3)
    for i in range(3):
        memory.remember("a", f"{i} = ", 4, "one", complete=True)
    assert memory.lookup("a", "0 = ", 4) is not None
    memory.remember("b", "3 = ", 4, "one", complete=True)
    assert len(memory) == 3
    assert memory.lookup("a", "1 = ", 4) is None
    assert memory.lookup("a", "0 = ", 4) is not None
    memory.forget("a")
    assert memory.lookup("a", "0 = ", 4) is None
    assert memory.lookup("b", "3 = ", 4) is not None


@QUICK
@given(TEXT, TEXT, TEXT.filter(str.strip), TEXT)
def test_it_always_says_the_same(before: str, after: str, said: str, typed: str) -> None:
    memory = TypedThrough()
    memory.remember("a", before + after, len(before), said, complete=True)
    found = memory.lookup("a", before + typed + after, len(before) + len(typed))
    expected = said.startswith(typed) and bool(said[len(typed) :].strip())
    if expected:
        assert found is not None
    if found is not None and found.n_typed == len(typed):
        assert typed + found.text == said
