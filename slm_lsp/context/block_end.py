"""Where a generated block ends, as the syntax has it.

Owns: finding, in a tree with the text in it, the end of the definition around the cursor, and
the second definition of a text that stands in none.

Invariant: reads a tree, broken or not, and answers with a line's end in the text, or nothing.

Threads: the owner of the tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slm_lsp.context.languages import Language
from slm_lsp.context.syntax import nodes_at

if TYPE_CHECKING:
    from slm_lsp.context.syntax import Node, Tree

# A definition may be wrapped: in its decorators, in `export`, in what it is assigned to.
_MAX_WRAPPED = 3


def block_end(language: Language, tree: Tree, start: int, end: int) -> int | None:
    """The byte at which the text from `start` to `end` leaves the block it was asked for.

    A text within a definition leaves it where that ends. At the top level, where no block was
    begun, one definition is a block, and so are the statements before one.
    """
    path = nodes_at(tree, start)
    for index, node in enumerate(path[:-1]):
        if node.type not in language.scopes or node.start_byte >= start:
            continue
        if not start < node.end_byte:
            continue
        whole = node
        for outer in path[index + 1 : -1]:
            if outer.start_point.row == node.start_point.row and not outer.is_error:
                whole = outer
        return whole.end_byte if whole.end_byte < end else None
    return _first_item(language, tree.root_node, start, end)


def _first_item(language: Language, root: Node, start: int, end: int) -> int | None:
    """Where the first definition among the nodes of the text ends, or those before it do."""
    last: Node | None = None  # what is no comment, and no definition
    for node in root.named_children:
        if node.end_byte <= start or node.start_byte >= end:
            continue
        if node.start_byte < start:
            # What the user has begun: a statement of one line that the text ends, or a block.
            last = node
            continue
        if _defines(language, node):
            cut = last if last is not None else node
            return cut.end_byte if cut.end_byte < end else None
        if node.type not in language.comments:
            last = node
    return None


def _defines(language: Language, node: Node) -> bool:
    row = node.start_point.row
    for _ in range(_MAX_WRAPPED):
        if node.type in language.scopes:
            return True
        inner = [each for each in node.named_children if each.type not in language.comments]
        if not inner or (inner[0].start_point.row != row and len(inner) < 2):
            return False
        node = inner[-1]
    return node.type in language.scopes
