"""The indentation of an empty line where indentation alone makes the blocks.

Owns: the rules for `Blocks.COLON`, with the words of its one language. Each rule was counted
on the standard library and on single-line infilling problems before it was let in.

Invariant: a pure choice among the indentations of the blocks that are open above the line.

Threads: any; pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from slm_lsp.context.languages import Language
from slm_lsp.context.lines import Line, begins, group_of, indent_of, lines_above
from slm_lsp.context.scan import Scan
from slm_lsp.text.whitespace import columns

_LEAVES = r"(?:return|raise|break|continue|pass)\b"
_DIVIDES = r"(?:elif|else|except|finally)\b"
_ENDS_TRY = r"(?:except|finally)\b"
_FUNCTION = r"(?:async\s+)?def\b"
_OPERATOR = r"\s*(?:[-+*/|&^%@]|//|\*\*|<<|>>)?=(?!=)"
_TARGET = rf"([\w.]+(?:\[[^\]]*\])?){_OPERATOR}"
_CHANGED = rf"(\w+)(?:(?:\[.*\])?{_OPERATOR}|\.(?:append|add|extend|update|insert|remove|pop)\()"
_ASSIGNED = r"((?:\w+\s*,\s*)*\w+)\s*=(?!=)"
_DOCSTRING = r"[rR]?[\"']"
_TOP_LEVEL_BLANK_LINES = 2


@dataclass(frozen=True, slots=True)
class _Gap:
    """The statements above, nearest first, those of them that open the blocks around the
    nearest, innermost first, and the lines below."""

    lines: Sequence[Line]
    blocks: Sequence[Line]
    below: Sequence[str]
    n_blank: int
    unit: Callable[[], str]

    @property
    def following(self) -> str:
        return next((line for line in self.below if line.strip()), "")

    @property
    def adjacent(self) -> bool:
        return bool(self.below) and bool(self.below[0].strip())


def indent_between(
    language: Language, above: str, found: Scan, below: Sequence[str], unit: Callable[[], str]
) -> str:
    """The indentation of a statement between two others, the upper opening no block."""
    lines = list(_to_top_level(lines_above(language, above, len(above), found)))
    n_blank = above[len(above.rstrip()) :].count("\n") - 1
    gap = _Gap(lines, list(_blocks(lines)), below, n_blank, unit)
    begun = begins(_DOCSTRING, lines[0].code)  # a function that is a docstring so far
    if n_blank >= _TOP_LEVEL_BLANK_LINES and not begun:
        return ""
    indent = lines[0].indent
    outer = gap.blocks[0].indent if gap.blocks else indent.removesuffix(unit())
    following = columns(gap.following)
    if following > columns(indent):
        # The line that opens the block below is the one that is missing.
        return indent
    for block in gap.blocks:
        if following > columns(block.indent) and _try_is_open(block, below):
            return block.indent
    if begins(_LEAVES, lines[0].code):
        inside = begins(_DIVIDES, gap.following) and following >= columns(outer)
        indent = indent if inside else outer
    elif following == columns(indent):
        return outer if _divider_is_missing(gap) else indent
    return indent if following >= columns(indent) else _before_dedent(gap, indent)


def _to_top_level(lines: Iterator[Line]) -> Iterator[Line]:
    """The lines up to the first that stands in no block: those above it say nothing."""
    for line in lines:
        yield line
        if line.code and not line.indent:
            return


def _blocks(lines: Sequence[Line]) -> Iterator[Line]:
    """The lines that open the blocks around the first of the lines, innermost first."""
    limit = columns(lines[0].indent)
    for line in lines:
        if line.code and columns(line.indent) < limit:
            limit = columns(line.indent)
            yield line


def _try_is_open(block: Line, below: Sequence[str]) -> bool:
    limit = columns(block.indent)
    dedent = next((line for line in below if line.strip() and columns(line) <= limit), "")
    return begins(r"try\b", block.code) and not begins(_ENDS_TRY, dedent)


def _divider_is_missing(gap: _Gap) -> bool:
    """Whether a line such as `else:` is likely gone between two lines of one indentation."""
    if not gap.adjacent or not gap.blocks:
        return False
    if begins(r"if\b", gap.blocks[0].code):
        # The same variable is seldom set twice in a row, but often in both branches.
        target = group_of(_TARGET, gap.lines[0].code)
        return target is not None and target == group_of(_TARGET, gap.following)
    return begins(r"elif\b", gap.blocks[0].code)


def _before_dedent(gap: _Gap, indent: str) -> str:
    """The choice where the lines below stand left of `indent`."""
    function = next((line for line in gap.blocks if begins(_FUNCTION, line.code)), None)
    if function is None or columns(gap.following) > columns(function.indent):
        goes_with_next = gap.n_blank > 0 and (gap.adjacent or function is not None)
        return indent_of(gap.following) if goes_with_next else indent
    if gap.n_blank > 0 and gap.adjacent:
        return indent_of(gap.following)
    body = function.indent + gap.unit()
    nested = columns(indent) > columns(body)
    return body if nested and (gap.n_blank > 0 or _accumulates(gap.lines, body)) else indent


def _accumulates(lines: Sequence[Line], body: str) -> bool:
    """Whether the last line changes a variable of the function's outermost block: what is
    computed in a loop is used after it."""
    changed = group_of(_CHANGED, lines[0].code)
    if changed is None:
        return False
    limit = columns(body)
    for line in lines:
        if line.code and columns(line.indent) < limit:
            break
        assigned = group_of(_ASSIGNED, line.code) if columns(line.indent) == limit else None
        if assigned is not None and changed in assigned.replace(" ", "").split(","):
            return True
    return False
