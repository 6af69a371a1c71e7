"""What of a document has to be parsed to see what a text at the cursor does to its syntax.

Owns: leaving out the lines far from the cursor: whole siblings of the nodes around it. A text
that breaks a file of 10,000 lines costs the parser 100 ms to see in the file, 1 ms in an excerpt.

Invariant: every node around the cursor keeps its first and last line, so brackets and blocks are
open and closed as in the document. Reads positions and kinds of nodes only; a tree that is an
edit old does.

Threads: the owner of the tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slm_lsp.text.whitespace import unix_lines

if TYPE_CHECKING:
    from slm_lsp.context.syntax import Node, Tree

# Below that there is nothing to gain.
SMALL_BYTES = 1_200
# What stays on either side of what is on the way to the cursor, if it is no longer.
NEAR_BYTES = 300
# A node with fewer children may need each of them: it is no list of statements.
_MIN_CHILDREN = 6
# Of a broken node with more children, not each is looked at.
_MAX_BROKEN = 3_000
# How many siblings are looked at to find one that ends its line.
_MAX_STEPS = 12
# How much is looked at in turn for what is not white space.
_STRETCH_BYTES = 4_096
_ENDS_LINE = re.compile(rb"[ \t]*[,;]?[ \t\r]*(?:\n|\Z)")

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The text before and behind the cursor, with `\\n` line ends and lines left out."""

    before: str
    after: str


def around(tree: Tree, source: bytes, at: int) -> Excerpt:
    """The excerpt for the byte offset `at`."""
    if len(source) <= SMALL_BYTES:
        return _excerpt(source, at, ())
    head_end = _code_before(source, at)
    first, last = max(0, head_end - 1), _code_behind(source, at) + 1
    here = source.rfind(b"\n", 0, head_end) + 1, max(source.find(b"\n", at), at)
    dropped: list[Span] = []
    pending = [tree.root_node]
    while pending:
        node = pending.pop()
        if node.end_byte - node.start_byte <= NEAR_BYTES:
            continue
        if node.has_error and node.child_count <= _MAX_BROKEN:
            spans, inner = _of_broken(node, source, first, last)
        elif node.child_count < _MIN_CHILDREN:
            spans, inner = [], node.children
        else:
            begin, end = _on_way(node, first, last)
            spans = list(_far(node, source, begin, end))
            inner = [each for i in range(begin, end) if (each := _child(node, i)) is not None]
        dropped += (each for each in spans if each[1] <= here[0] or each[0] > here[1])
        pending += inner
    return _excerpt(source, at, sorted(dropped))


def _code_before(source: bytes, at: int) -> int:
    """The end of what is not white space before `at`."""
    while at > 0:
        near = source[max(0, at - _STRETCH_BYTES) : at]
        code = near.rstrip()
        at += len(code) - len(near)
        if code:
            break
    return at


def _code_behind(source: bytes, at: int) -> int:
    """The beginning of what is not white space from `at` on."""
    while at < len(source):
        near = source[at : at + _STRETCH_BYTES]
        code = near.lstrip()
        at += len(near) - len(code)
        if code:
            break
    return at


def _excerpt(source: bytes, at: int, dropped: list[Span] | tuple[()]) -> Excerpt:
    def kept(start: int, end: int) -> str:
        pieces = []
        for first, last in dropped:
            if start <= first and last <= end:
                pieces.append(source[start:first])
                start = last
        pieces.append(source[start:end])
        return unix_lines(b"".join(pieces).decode(errors="replace"))

    return Excerpt(kept(0, at), kept(at, len(source)))


def _child(node: Node, index: int) -> Node | None:
    return node.child(index) if 0 <= index < node.child_count else None


def _touches(node: Node, first: int, last: int) -> bool:
    return node.end_byte > first and node.start_byte < last


def _on_way(node: Node, first: int, last: int) -> Span:
    """The children that touch the stretch from the last code before the cursor to the first
    behind it; where there are none, an empty range between its neighbours."""
    cursor = node.walk()
    begin = cursor.goto_first_child_for_byte(first)
    if begin is None:
        return node.child_count, node.child_count
    end = begin
    while cursor.node is not None and cursor.node.start_byte < last:
        end += 1
        if not cursor.goto_next_sibling():
            break
    return begin, end


def _of_broken(node: Node, source: bytes, first: int, last: int) -> tuple[list[Span], list[Node]]:
    """The lines of sound children that are not near, and the children to go on with. What is
    broken stays: it may hold the other half of a pair."""
    spans: list[Span] = []
    inner: list[Node] = []
    is_list = node.child_count >= _MIN_CHILDREN
    for child in node.children:
        if child.has_error or _touches(child, first, last):
            inner.append(child)
        elif (
            is_list
            and child.is_named
            and not _says_language(child)
            and not _touches(child, first - NEAR_BYTES, last + NEAR_BYTES)
        ):
            start, end = _line_start(source, child), _line_end(source, child)
            if start is not None and end is not None:
                spans.append((start, end))
    return spans, inner


def _far(node: Node, source: bytes, begin: int, end: int) -> Iterator[Span]:
    """Whole lines of the children before `begin` and from `end` on, without the nearest."""
    n = node.child_count
    is_list = any(
        each is not None and each.type == ","
        for each in (_child(node, begin - 1), _child(node, end))
    )
    n_header = next(
        (i for i in range(min(begin, _MAX_STEPS), 0, -1) if _says_language(_child(node, i - 1))), 0
    )
    first = _first_line(node, source, range(n_header, min(begin, n_header + _MAX_STEPS)))
    last = _last_line(node, source, _beyond(node, begin - 1, -1), 0)
    if first is not None and last is not None and first < last:
        yield first, last
    first = _first_line(node, source, range(_beyond(node, end, 1), n)[:_MAX_STEPS])
    last = _last_line(node, source, n - 1, end)
    final = _child(node, n - 2) if n - 2 >= end else None
    if is_list and final is not None and final.type != ",":
        last = _line_start(source, final)  # what closes the list may want no comma before it
    if first is not None and last is not None and first < last:
        yield first, last


def _says_language(node: Node | None) -> bool:
    """Whether what follows is another language without the node: `<?php`."""
    return node is not None and node.child_count == 0 and node.type.endswith("_tag")


def _beyond(node: Node, index: int, step: int) -> int:
    """The first child, going by `step`, that is no longer near."""
    n_near = 0
    while 0 <= index < node.child_count:
        child = _child(node, index)
        assert child is not None
        if not child.is_extra:  # comments end no statement
            n_near += child.end_byte - child.start_byte
        if n_near > NEAR_BYTES:
            break
        index += step
    return index


def _first_line(node: Node, source: bytes, indices: range) -> int | None:
    """Where the first of the children begins its line; what belongs to the header stands in it,
    and so does a brace."""
    for index in indices:
        child = _child(node, index)
        if child is not None and child.is_named:
            start = _line_start(source, child)
            if start is not None:
                return start
    return None


def _last_line(node: Node, source: bytes, index: int, least: int) -> int | None:
    """Behind the line that the last of the children down to `index` ends."""
    for each in range(index, max(least - 1, index - _MAX_STEPS), -1):
        child = _child(node, each)
        if child is None or not child.is_named or child.end_byte == child.start_byte:
            continue
        end = _line_end(source, child)
        if end is not None:
            return end
    return None


def _line_start(source: bytes, node: Node) -> int | None:
    """Where a node's line starts, if the node begins it."""
    start = source.rfind(b"\n", 0, node.start_byte) + 1
    return start if not source[start : node.start_byte].strip() else None


def _line_end(source: bytes, node: Node) -> int | None:
    """Behind the line that a node ends, if it does."""
    if source[node.end_byte - 1 : node.end_byte] == b"\n":
        return node.end_byte
    ends = _ENDS_LINE.match(source, node.end_byte)
    return ends.end() if ends is not None else None
