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


def test_the_text_of_a_node_is_that_of_its_own_tree() -> None:
    trees, texts = SyntaxTrees(), [f"name_{n} = {'x' * 600}{n}\n" for n in range(3)]
    made = [
        trees.tree(DocumentSnapshot(f"file:///{n}.py", 1, "python", text))
        for n, text in enumerate(texts)
    ]
    for tree, text in zip(made, texts, strict=True):
        assert tree is not None
        assert tree.root_node.text == text.encode()
        assert tree.root_node.children[0].text == text.strip().encode()


@pytest.mark.parametrize(
    "n_bytes", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 7]
)
def test_the_pieces_are_the_text(n_bytes: int) -> None:
    source, pieces, found = bytes(i % 251 for i in range(n_bytes)), Pieces(), b""
    while piece := bytes(pieces.at(source, len(found))):
        found += piece
    assert found == source
