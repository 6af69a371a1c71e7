"""The order of a notebook's cells under every change, and what stands before a cell.

Invariant: a list that is changed in the way of the protocol is what the order is held against.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm_lsp.text.document import DocumentStore
from slm_lsp.text.notebook import MAX_PREAMBLE_CHARS, Cell, Notebooks

BOOK = "file:///book.ipynb"


def book(*texts: str, language: str = "python") -> tuple[DocumentStore, Notebooks]:
    """A notebook whose cells are called `0`, `1`, ..."""
    documents = DocumentStore()
    notebooks = Notebooks(documents)
    for index, text in enumerate(texts):
        documents.open(str(index), language, 1, text)
    notebooks.open(BOOK, [Cell(str(index), True) for index in range(len(texts))])
    return documents, notebooks


def test_a_cell_sees_the_cells_before_it_in_order() -> None:
    _, notebooks = book("a = 1\n", "b = 2", "c = 3\n\n\n", "d = 4")
    snapshot = notebooks.snapshot("2")
    assert snapshot.preamble == "a = 1\n\nb = 2\n\n"
    assert snapshot.text == "c = 3\n\n\n"
    assert snapshot.in_notebook
    assert notebooks.snapshot("0").preamble == ""
    assert notebooks.snapshot("3").preamble == "a = 1\n\nb = 2\n\nc = 3\n\n"


def test_text_other_languages_and_what_is_not_open_are_left_out() -> None:
    documents, notebooks = book("a", "# Title", "SELECT 1", "   \n", "gone", "x")
    documents.open("2", "sql", 1, "SELECT 1")
    documents.close("4")
    notebooks.turn(BOOK, [Cell("1", False)])
    assert notebooks.snapshot("5").preamble == "a\n\n"
    notebooks.turn(BOOK, [Cell("1", True), Cell("never there", True)])
    assert notebooks.snapshot("5").preamble == "a\n\n# Title\n\n"


def test_an_edit_of_an_earlier_cell_is_seen_at_once() -> None:
    documents, notebooks = book("a = 1", "b")
    documents.open("0", "python", 2, "a = 2")
    assert notebooks.snapshot("1").preamble == "a = 2\n\n"


def test_typing_in_a_cell_leaves_its_preamble_as_it_is() -> None:
    documents, notebooks = book("x = 1\n" * MAX_PREAMBLE_CHARS, "b")
    before = notebooks.snapshot("1").preamble
    documents.open("1", "python", 2, "b" * 5_000)
    assert notebooks.snapshot("1").preamble == before


def test_the_first_cells_are_left_out_where_it_is_too_much() -> None:
    _, notebooks = book("first = 1", "x = 1\n" * (MAX_PREAMBLE_CHARS // 6), "last = 1", "y")
    preamble = notebooks.snapshot("3").preamble
    assert MAX_PREAMBLE_CHARS - 10 < len(preamble) <= MAX_PREAMBLE_CHARS
    assert preamble.startswith("x = 1\nx = 1\n")
    assert preamble.endswith("x = 1\n\nlast = 1\n\n")


@pytest.mark.parametrize(
    ("uri", "in_notebook"),
    [("file:///a.py", False), ("vscode-notebook-cell:/a.ipynb#W0", True)],
)
def test_a_document_that_is_of_no_notebook(uri: str, in_notebook: bool) -> None:
    documents, notebooks = book("a")
    documents.open(uri, "python", 1, "x")
    assert notebooks.snapshot(uri).preamble == ""
    assert notebooks.snapshot(uri).in_notebook is in_notebook


def test_two_notebooks_do_not_see_each_other() -> None:
    documents, notebooks = book("a", "b")
    for uri, text in (("x", "1"), ("y", "2")):
        documents.open(uri, "python", 1, text)
    notebooks.open("file:///other.ipynb", [Cell("x", True), Cell("y", True)])
    assert notebooks.snapshot("y").preamble == "1\n\n"
    notebooks.close(BOOK)
    assert notebooks.snapshot("1").preamble == ""
    assert notebooks.snapshot("y").preamble == "1\n\n"
    notebooks.close("file:///never opened")


@given(st.lists(st.tuples(st.integers(-2, 9), st.integers(-1, 4), st.integers(0, 3)), max_size=12))
def test_any_splices_keep_the_order(changes: list[tuple[int, int, int]]) -> None:
    documents, notebooks = book("0", "1", "2")
    expected, n_cells = ["0", "1", "2"], 3
    for start, n_deleted, n_new in changes:
        new = [str(n_cells + index) for index in range(n_new)]
        n_cells += n_new
        for uri in new:
            documents.open(uri, "python", 1, uri)
        start = min(max(start, 0), len(expected))
        expected[start : start + max(n_deleted, 0)] = new
        notebooks.splice(BOOK, start, n_deleted, [Cell(uri, True) for uri in new])
    for index, uri in enumerate(expected):
        snapshot = notebooks.snapshot(uri)
        assert snapshot.preamble == "".join(f"{each}\n\n" for each in expected[:index])
    for uri in {str(index) for index in range(n_cells)} - set(expected):
        assert notebooks.snapshot(uri).preamble == ""


def test_a_cell_that_moves_is_deleted_and_inserted() -> None:
    _, notebooks = book("a", "b", "c")
    notebooks.splice(BOOK, 2, 1, [])
    notebooks.splice(BOOK, 0, 0, [Cell("2", True)])
    assert notebooks.snapshot("1").preamble == "c\n\na\n\n"
    notebooks.splice("file:///never opened", 0, 1, [Cell("1", True)])
    assert notebooks.snapshot("1").preamble == "c\n\na\n\n"
