"""What is parsed leaves no memory behind, and is what was given."""

from __future__ import annotations

import tracemalloc

import pytest

from slm_lsp.context.pieces import PIECE_BYTES, Pieces
from slm_lsp.context.syntax import SyntaxTrees
from slm_lsp.types import DocumentSnapshot

LINE = "value = other + 1\n"
N_PARSES = 100


def test_parsing_again_and_again_takes_no_memory() -> None:
    trees = SyntaxTrees()

    def parse(n: int) -> None:
        text = f"first = {n}\n" + LINE * 1000
        assert trees.tree(DocumentSnapshot("file:///a.py", n, "python", text)) is not None

    parse(0)
    tracemalloc.start()
    try:
        for n in range(N_PARSES):
            parse(n)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # With the pieces kept it would be all of it. Parts of the tree that are made anew count, too.
    assert grown < N_PARSES * len(LINE) * 1000 / 2


@pytest.mark.parametrize(
    "n_bytes", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 7]
)
def test_the_pieces_are_the_text(n_bytes: int) -> None:
    source, pieces, found = bytes(i % 251 for i in range(n_bytes)), Pieces(), b""
    while piece := bytes(pieces.at(source, len(found))):
        found += piece
    assert found == source
