"""What is around a place: the definitions, and whether it is in a string or a comment.

Owns: reading this off the tree's nodes, and saying when the tree is too broken there to be
believed; the names of enclosing definitions can also be read off the lines.

Invariant: a verdict of None means "ask the text"; broken code never raises. Names come
outermost first.

Threads: the owner of the tree; functions over lines: any.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from slm_lsp.context.languages import Blocks, Language, Scope
from slm_lsp.context.lines import group_of
from slm_lsp.context.scan import Literal
from slm_lsp.text.whitespace import columns

if TYPE_CHECKING:
    from slm_lsp.context.syntax import Node

_MAX_HEADER_CHARS = 300
_CLOSERS = (")", "]", "}")
_NAME = re.compile(r"[\w$.:~#]+")


def literal_at(
    language: Language, nodes: Sequence[Node], at: int, line_byte: int, before: str
) -> Literal | None:
    """What the place is part of, from the tree; None if the tree is broken in this line.

    `nodes` hold the byte before `at`, innermost first; `line_byte` is where the line begins,
    and `before` is the text that ends at the place.
    """
    verdict: Literal | None = None
    line_is_sound = False
    for node in nodes:
        if node.is_error or node.is_missing:
            return verdict
        if verdict is None:
            verdict = _verdict(language, node, at, before)
        if not line_is_sound and node.start_byte <= line_byte:
            if node.has_error:
                return None
            line_is_sound = True
    return verdict or Literal.CODE


def literal_around(language: Language, nodes: Sequence[Node], at: int) -> Node | None:
    """The outermost string or comment that begins before the place and ends after it."""
    outermost = None
    for node in nodes:
        literal = node.type in language.strings or node.type in language.comments
        if literal and node.start_byte < at < node.end_byte:
            outermost = node
    return outermost


def scope_in_tree(
    language: Language,
    nodes: Sequence[Node],
    source: bytes,
    at: int,
    indent: str,
    line_byte: int,
) -> tuple[str, ...]:
    """The names of the definitions around the place, read from `source`.

    A node's own `text` is what it was when it was parsed, perhaps an edit ago. Where
    indentation makes blocks, a definition counts that is indented less than `indent` or
    begins in the place's own line.
    """
    names: list[str] = []
    for index, node in enumerate(nodes):
        scope = language.scopes.get(node.type)
        if scope is None or not _in_body(language, node, scope, source, at):
            continue
        if language.blocks is Blocks.COLON and not (
            node.start_point.column < len(indent) or node.start_byte >= line_byte
        ):
            continue
        parent = nodes[index + 1] if index + 1 < len(nodes) else None
        if name := _name(node, parent, scope, source):
            names.append(name)
    return tuple(reversed(names))


def scope_in_lines(language: Language, above: Sequence[str], indent: str) -> tuple[str, ...]:
    """The names of the definitions around a line with this indentation, from the lines
    above it that are indented less and less."""
    names: list[str] = []
    limit = columns(indent)
    for line in reversed(above):
        if limit == 0:
            break
        if not line.strip() or columns(line) >= limit:
            continue
        # A brace on a line of its own belongs to the line above it.
        limit = columns(line) + (line.strip() == "{")
        name = group_of(language.header, line[:_MAX_HEADER_CHARS]) if language.header else None
        if name is not None:
            names.append(name)
    return tuple(reversed(names))


def _verdict(language: Language, node: Node, at: int, before: str) -> Literal | None:
    kind = node.type
    if not node.start_byte < at:
        return None
    # Not every grammar counts what closes a hole as a part of it.
    if kind in language.holes and (at < node.end_byte or not before.endswith(_CLOSERS)):
        return Literal.CODE
    if at < node.end_byte and kind in language.strings:
        return Literal.STRING
    if kind in language.comments:
        # At its end one is still in a line comment, though a grammar may count the line break.
        closed = language.block_comment is not None and before.endswith(language.block_comment[1])
        over = before.endswith(("\n", "\r")) or closed
        return None if at >= node.end_byte and over else Literal.COMMENT
    return None


def _in_body(language: Language, node: Node, scope: Scope, source: bytes, at: int) -> bool:
    if not scope.body:
        # White space behind a node belongs to nobody, but one does not leave by it.
        return source.find(b"\n", node.start_byte, at) >= 0 and at <= node.end_byte
    body = _child(node, scope.body)
    if body is None or not node.start_byte < at:
        return False
    if language.blocks is Blocks.COLON:
        colon = body.prev_sibling
        return at >= (body.start_byte if colon is None else colon.end_byte)
    unclosed = body.child_count > 0 and body.child(body.child_count - 1).is_missing
    return body.start_byte < at and (at < body.end_byte or unclosed)


def _child(node: Node, name: str) -> Node | None:
    """The child in a field, or the first of a type."""
    child = node.child_by_field_name(name)
    if child is not None:
        return child
    return next((each for each in node.named_children if each.type == name), None)


def _name(node: Node, parent: Node | None, scope: Scope, source: bytes) -> str | None:
    for field in scope.names:
        owner = parent if field.startswith("^") else node
        named = _child(owner, field.lstrip("^")) if owner is not None else None
        # In C a name is wrapped in what makes it a pointer, an array or a function.
        while named is not None and (inner := named.child_by_field_name("declarator")) is not None:
            named = inner
        if named is not None:
            text = source[named.start_byte : named.end_byte].decode(errors="replace")
            match = _NAME.search(text)
            return match.group() if match else None
    return None
