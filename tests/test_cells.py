"""Who gives up cells for whom: the policy without a decoder.

Invariant: the cells held never exceed what there are, and the one who asks is never cut.
Threads: the test's own.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slm_lsp.engine.cells import EVICT_TOKENS, Cells


def cells(n_cells: int, **held: int) -> Cells:
    """Cells held by documents, the least recently used first."""
    found = Cells(n_cells)
    for document, n_tokens in held.items():
        found.use(document)
        found.hold(document, n_tokens)
    return found


def test_nobody_is_cut_while_there_is_room() -> None:
    assert cells(1000, a=400, b=400).cuts("b", 200) == []


def test_the_least_recently_used_loses_its_end() -> None:
    assert cells(1000, a=400, b=600).cuts("c", 100) == [("a", 300)]
    assert cells(1000, a=400, b=600).cuts("c", 500) == [("a", 0), ("b", 500)]


def test_room_is_made_for_more_than_one_token() -> None:
    assert cells(1000, a=400, b=600).cuts("b", 1) == [("a", 400 - EVICT_TOKENS)]


def test_a_second_document_is_cut_only_where_the_first_does_not_suffice() -> None:
    assert cells(100, a=10, b=90).cuts("c", 10) == [("a", 0)]
    assert cells(100, a=10, b=90).cuts("c", 11) == [("a", 0), ("b", 90 - EVICT_TOKENS)]


def test_who_asks_is_never_cut_even_as_the_oldest() -> None:
    assert cells(1000, a=400, b=600).cuts("a", 100) == [("b", 500)]


def test_use_changes_the_order() -> None:
    found = cells(1000, a=400, b=600)
    found.use("a")
    assert found.oldest() == "b"
    assert found.cuts("a", 100) == [("b", 500)]
    assert (found.release("b"), found.n_held, found.oldest()) == (600, 400, "a")


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 60)), max_size=40))
def test_what_is_held_never_exceeds_what_there_is(steps: list[tuple[str, int]]) -> None:
    found = Cells(100)
    for document, n_more in steps:
        found.use(document)
        n_own = min(found.held(document), 100 - n_more)
        found.hold(document, n_own)
        for other, n_kept in found.cuts(document, n_more):
            assert other != document
            assert 0 <= n_kept < found.held(other)
            found.hold(other, n_kept)
        found.hold(document, n_own + n_more)
        assert found.n_held <= 100
