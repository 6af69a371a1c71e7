"""From a snapshot and an offset to a `CompletionContext`.

Owns: choosing the stretch of text that is looked at.

Invariant: total: any text and any offset give a context. Looks at no more than
`MAX_BEFORE` + `MAX_AFTER` characters around the cursor, besides the tree; without a tree the
text alone answers.

Threads: the owner of the `SyntaxTrees`; without one, any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slm_lsp.context import enclosing
from slm_lsp.context.foreign import is_magic, stretch_at, without_magic
from slm_lsp.context.indent import infer_indent
from slm_lsp.context.languages import Blocks, Language, language_of
from slm_lsp.context.lines import (
    Line,
    indent_of,
    lines_above,
    opens_block,
    unit_of,
)
from slm_lsp.context.scan import Literal, Scan, scan
from slm_lsp.context.syntax import SyntaxTrees, encode, nodes_at, part_of
from slm_lsp.context.wanted import Here, wanted
from slm_lsp.text.position import byte_offset
from slm_lsp.text.whitespace import unix_lines
from slm_lsp.types import CompletionContext, DocumentSnapshot, Trigger

if TYPE_CHECKING:
    from slm_lsp.context.syntax import Tree

MAX_BEFORE = 5_500
# The text before the cursor begins at one of so many places, so that typing only appends to it.
STEP_BEFORE = 1_000
MAX_AFTER = 4_000


@dataclass(frozen=True, slots=True)
class _Place:
    """The cursor and the bounded text around it, with `\\n` line ends.

    `above` are whole lines, `line` and `rest` are the cursor's line before and after it,
    `below` the lines after that.
    """

    above: str
    line: str
    rest: str
    below: tuple[str, ...]

    @property
    def before(self) -> str:
        return self.above + self.line

    @property
    def blank(self) -> bool:
        return not self.line.strip() and not self.rest.strip()


@dataclass(frozen=True, slots=True)
class _Tree:
    """A tree together with the cursor's place in it, in bytes.

    `last_code` is the end of what is not white space before the cursor: an empty line
    belongs to no node, its blocks are among those of the statement before it.
    """

    tree: Tree
    source: bytes
    at: int
    last_code: int


def extract(
    snapshot: DocumentSnapshot,
    offset: int,
    trees: SyntaxTrees | None,
    stop: Callable[[], bool] | None = None,
    trigger: Trigger = Trigger.INVOKED,
) -> CompletionContext:
    """What the syntax around `offset` says; `stop` bounds the wait for the tree. What comes
    by itself is wanted at fewer places than what somebody asks for."""
    text = snapshot.text
    offset = min(max(offset, 0), len(text))
    context = _around(snapshot, offset, trees, stop, trigger)
    return replace(context, prefix=snapshot.preamble + text[:offset], suffix=text[offset:])


def _around(
    snapshot: DocumentSnapshot,
    offset: int,
    trees: SyntaxTrees | None,
    stop: Callable[[], bool] | None,
    trigger: Trigger,
) -> CompletionContext:
    """The context, but for prefix and suffix."""
    language = language_of(snapshot.language)
    inner = stretch_at(language, snapshot.text, offset)
    if inner is not None and inner.start <= offset <= inner.end:
        part = replace(
            snapshot,
            uri=part_of(snapshot.uri, inner.language),
            language=inner.language,
            text=snapshot.text[inner.start : inner.end],
        )
        return _around(part, offset - inner.start, trees, stop, trigger)
    text = snapshot.text
    magic = is_magic(snapshot, text[text.rfind("\n", 0, offset) + 1 : offset + MAX_AFTER])
    context = _of_text(language, without_magic(snapshot), offset, trees, stop, trigger)
    # What hides a magic line is a comment; what stands there is none.
    return replace(context, in_comment=False) if magic else context


def _of_text(
    language: Language,
    snapshot: DocumentSnapshot,
    offset: int,
    trees: SyntaxTrees | None,
    stop: Callable[[], bool] | None,
    trigger: Trigger,
) -> CompletionContext:
    """The context in a text that is all in one language, but for prefix and suffix."""
    text = snapshot.text
    at = _parse(snapshot, offset, trees, stop)
    place = _look(language, text, offset, at)
    found = scan(language, place.before)
    literal = _literal(language, place, found, at)
    found = replace(found, literal=literal)
    inferred = ""
    if place.blank and not place.line:
        inferred = infer_indent(language, place.above, found, place.below)
    indent = indent_of(place.line) + inferred
    opener = _opener(language, place, found)
    block_indent = _block_indent(language, place, opener, indent)
    around = (place.above, place.line, place.rest, place.below)
    decided = wanted(Here(language, trigger, found, *around, opener, indent))
    return CompletionContext(
        prefix="",
        suffix="",
        indent=indent,
        inferred_indent=inferred,
        block_indent=block_indent,
        scope=_scope(language, place, found, at, block_indent),
        in_string=literal is Literal.STRING,
        in_comment=literal is Literal.COMMENT,
        want=decided.want,
        unwanted=decided.unwanted,
        opens=decided.opens,
        trigger=trigger,
        language=snapshot.language,
    )


def _parse(
    snapshot: DocumentSnapshot,
    offset: int,
    trees: SyntaxTrees | None,
    stop: Callable[[], bool] | None,
) -> _Tree | None:
    if trees is None:
        return None
    tree = trees.tree(snapshot, stop, hurried=stop is not None)
    if tree is None:
        return None
    at = byte_offset(snapshot.text, offset)
    near = snapshot.text[max(0, offset - MAX_BEFORE) : offset]
    last_code = at - len(encode(near[len(near.rstrip()) :]))
    return _Tree(tree, trees.source(snapshot.text), at, last_code)


def _look(language: Language, text: str, offset: int, at: _Tree | None) -> _Place:
    start = _whole_line(text, _first_seen(offset), offset)
    start += _literal_at_start(language, text, start, offset, at)
    before = text[start:offset]
    if start > 0 and text[start - 1] not in "\r\n":
        # White space within a line too long to be seen whole is no indentation.
        before = before.lstrip(" \t")
    after = text[offset : offset + MAX_AFTER]
    if before.endswith("\r") and after.startswith("\n"):
        before = before[:-1]
    before, after = unix_lines(before), unix_lines(after)
    cut = before.rfind("\n") + 1
    rest, *below = after.split("\n")
    if below and offset + MAX_AFTER < len(text):
        below.pop()
    return _Place(before[:cut], before[cut:], rest, tuple(below))


def _first_seen(offset: int) -> int:
    start = max(0, offset - MAX_BEFORE)
    return start + -start % STEP_BEFORE


def _whole_line(text: str, start: int, offset: int) -> int:
    if start == 0:
        return 0
    line = text.find("\n", start - 1, offset) + 1
    return line or start


def _literal_at_start(
    language: Language, text: str, start: int, offset: int, at: _Tree | None
) -> int:
    """How many characters from `start` on belong to a string or comment that began before;
    a scan must not start inside of one."""
    if start == 0 or at is None:
        return 0
    near = encode(text[start:offset])
    start_byte = at.at - len(near)
    nodes = nodes_at(at.tree, start_byte)
    around = enclosing.literal_around(language, nodes, start_byte)
    if around is None or around.end_byte >= at.at:
        return 0
    return len(near[: around.end_byte - start_byte].decode(errors="replace"))


def _literal(language: Language, place: _Place, found: Scan, at: _Tree | None) -> Literal:
    if at is not None and (language.strings or language.comments):
        nodes = nodes_at(at.tree, at.at)
        line_byte = at.at - len(encode(place.line))
        verdict = enclosing.literal_at(language, nodes, at.at, line_byte, place.before)
        if verdict is not None:
            return verdict
    return found.literal


def _opener(language: Language, place: _Place, found: Scan) -> Line | None:
    """The line, up to the cursor, that opens a block just before it."""
    if found.literal is not Literal.CODE:
        return None
    line = next(lines_above(language, place.before, len(place.before), found), None)
    return line if line is not None and opens_block(language, line, found) else None


def _block_indent(language: Language, place: _Place, opener: Line | None, indent: str) -> str:
    if opener is None or not place.line.strip():
        return indent
    return opener.indent + unit_of(language, [*place.above.split("\n"), *place.below])


def _scope(
    language: Language, place: _Place, found: Scan, at: _Tree | None, block_indent: str
) -> tuple[str, ...]:
    lines = [*place.above.split("\n"), place.line]
    if at is None or not language.scopes:
        return enclosing.scope_in_lines(language, lines, block_indent)
    # Indentation says nothing within a string or brackets.
    flat = found.literal is not Literal.CODE or bool(found.brackets)
    line_byte = 0 if flat else at.at - len(encode(place.line))
    here = at.last_code if language.blocks is Blocks.COLON else at.at
    nodes = nodes_at(at.tree, here)
    names = enclosing.scope_in_tree(language, nodes, at.source, here, block_indent, line_byte)
    inner = nodes[:-1] or nodes  # the root has an error wherever there is one
    if not nodes[-1].is_error and not any(node.has_error for node in inner):
        return names
    # A grammar may make something else of a definition that is being written.
    return max(names, enclosing.scope_in_lines(language, lines, block_indent), key=len)
