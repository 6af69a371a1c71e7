"""What was edited between two sources, and nodes that follow it.

Owns: the one replaced span between two versions of a source, and where it is in rows and columns
of bytes, as tree-sitter counts them.

Invariant: pure, but for the tree that is moved. Rows are not counted from the first where that of
a place nearby is known.

Threads: the owner of the tree; without one, any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slm_lsp.text.common import common_prefix, common_suffix

if TYPE_CHECKING:
    from slm_lsp.context.syntax import Tree


@dataclass(frozen=True, slots=True)
class Edit:
    """The one replaced span that turns an old source into a new one, in bytes."""

    start: int
    old_end: int
    new_end: int


def edit_between(old: bytes, new: bytes) -> Edit:
    """The shortest single replacement, cut at code points, that turns `old` into `new`."""
    shorter = min(len(old), len(new))
    start = common_prefix(old, new, shorter)
    while start > 0 and (_inside_code_point(old, start) or _inside_code_point(new, start)):
        start -= 1
    tail = common_suffix(old, new, shorter - start)
    while tail > 0 and _inside_code_point(old, len(old) - tail):
        tail -= 1
    return Edit(start, len(old) - tail, len(new) - tail)


def row_at(source: bytes, at: int, near: tuple[int, int] = (0, 0)) -> int:
    """The row of a place in a source, of which another place and its row are known."""
    known, row = near
    if known <= at:
        return row + source.count(b"\n", known, at)
    return row - source.count(b"\n", at, known)


def apply_edit(tree: Tree, old: bytes, new: bytes, edit: Edit, row: int) -> None:
    """Move the nodes of the tree of `old` to where they are in `new`, in place; the edit begins in
    that row."""
    line = new.rfind(b"\n", 0, edit.start) + 1

    def point(source: bytes, end: int) -> tuple[int, int]:
        breaks = source.count(b"\n", edit.start, end)
        begin = source.rfind(b"\n", edit.start, end) + 1 if breaks else line
        return row + breaks, end - begin

    start = row, edit.start - line
    old_end, new_end = point(old, edit.old_end), point(new, edit.new_end)
    tree.edit(edit.start, edit.old_end, edit.new_end, start, old_end, new_end)


def _inside_code_point(source: bytes, at: int) -> bool:
    return at < len(source) and source[at] & 0xC0 == 0x80
