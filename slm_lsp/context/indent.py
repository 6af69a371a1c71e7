"""What the indentation of an empty line should be, from the lines around it.

Owns: the inference. Existing code is taken to be valid without the missing line, unless the
lines below say that just this line is missing; what is likely was counted on real code.

Invariant: reads only the stretch of text it is given and returns indentation that a
neighbouring line already has, plus at most one unit or the column of an open bracket.

Threads: any; pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence

from slm_lsp.context.languages import Blocks, Language
from slm_lsp.context.lines import (
    Line,
    begins,
    ends,
    indent_of,
    lines_above,
    opens_block,
    unit_of,
    without_comment,
)
from slm_lsp.context.scan import Literal, Scan, line_start
from slm_lsp.context.suites import indent_between
from slm_lsp.text.whitespace import columns


def infer_indent(language: Language, above: str, found: Scan, below: Sequence[str]) -> str:
    """The indentation a statement between `above` (whole lines) and `below` should have."""
    following = next((line for line in below if line.strip()), "")
    if found.literal is not Literal.CODE:
        end = len(above.rstrip())
        return indent_of(above[line_start(above, end) : end])
    previous = next(lines_above(language, above, len(above), found), None)
    if previous is None:
        return indent_of(following)
    unit = unit_of(language, [*above.split("\n"), *below])
    if found.brackets and _aligns(language, above[found.brackets[-1]], previous):
        return _inside_bracket(language, above, found, following, unit)
    if opens_block(language, previous, found):
        return previous.indent + unit
    if ends(language.continues, previous.last):
        before = above[: previous.start].rstrip()
        already = ends(language.continues, before[line_start(before, len(before)) :])
        return previous.indent if already else previous.indent + unit
    if language.blocks is Blocks.COLON:
        return indent_between(language, above, found, below, unit)
    if language.blocks is Blocks.UNKNOWN and columns(following) > columns(previous.indent):
        return indent_of(following)
    if _brace_is_missing(language, above, found, following):
        return indent_of(above[line_start(above, found.brackets[-1]) :])
    return _statement(language, above, found, previous).indent


def _aligns(language: Language, bracket: str, previous: Line) -> bool:
    """Whether lines in the bracket stand below each other, rather than in a block."""
    if language.blocks is Blocks.COLON:
        return True
    # A statement that ended shows that the bracket was left open by mistake.
    return bracket != "{" and not previous.last.endswith((";", "{"))


def _brace_is_missing(language: Language, above: str, found: Scan, following: str) -> bool:
    """Whether the lines below stand outside of a block that no line closes."""
    if not found.brackets or not following or following.lstrip().startswith((")", "]", "}")):
        return False
    label = begins(language.opener, following) or begins(language.outside, following)
    opener = above[line_start(above, found.brackets[-1]) :]
    return not label and columns(following) <= columns(opener)


def _inside_bracket(language: Language, above: str, found: Scan, following: str, unit: str) -> str:
    at = found.brackets[-1]
    opener = above[line_start(above, at) :].split("\n", 1)[0]
    inner = [line for line in above[at:].split("\n")[1:] if line.strip()]
    hanging = not without_comment(above, at + 1, found).strip()
    if inner:
        unfinished = not following or following.lstrip().startswith((")", "]", "}"))
        if hanging and not unfinished and columns(following) <= columns(opener):
            # The line that closes the bracket is the one that is missing.
            return indent_of(opener)
        last = next(lines_above(language, above, len(above), found))
        # After a finished item the next one stands where the first one stands.
        return indent_of(inner[0]) if last.last.endswith(",") else last.indent
    if columns(following) > columns(opener):
        return indent_of(following)
    if language.blocks is Blocks.COLON and not hanging:
        own = indent_of(opener)
        return own + " " * (at + 1 - line_start(above, at) - len(own))
    return indent_of(opener) + unit


def _statement(language: Language, above: str, found: Scan, last: Line) -> Line:
    """The line on which the statement begins that ends in `last`."""
    if not last.last.endswith((";", "}", ",")):
        return last
    line = last
    for earlier in lines_above(language, above, last.start, found):
        if not begins(language.continued, line.code) and not ends(language.continues, earlier.last):
            break
        line = earlier
    return line
