"""What the indentation of an empty line should be, from the lines around it.

Owns: the inference. Existing code is taken to be valid without the missing line, unless the
lines below say that just this line is missing; what is likely was counted on real code.

Invariant: reads only the stretch of text it is given and returns indentation that a
neighbouring line already has, plus at most one unit or the column of an open bracket.

Threads: any; pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from slm_lsp.context.languages import Blocks, Language
from slm_lsp.context.lines import (
    Line,
    begins,
    closes_block,
    ends,
    group_of,
    indent_of,
    lines_above,
    opens_block,
    unit_of,
    without_comment,
)
from slm_lsp.context.scan import Literal, Scan, line_start
from slm_lsp.context.suites import indent_between
from slm_lsp.text.whitespace import columns

_BY_INDENTATION = (Blocks.INDENT, Blocks.NONE, Blocks.UNKNOWN)


def infer_indent(language: Language, above: str, found: Scan, below: Sequence[str]) -> str:
    """The indentation a statement between `above` (whole lines) and `below` should have."""
    following = next((line for line in below if line.strip()), "")
    if found.literal is not Literal.CODE:
        end = len(above.rstrip())
        return indent_of(above[line_start(above, end) : end])
    previous = next(lines_above(language, above, len(above), found), None)
    if previous is None:
        # A line of a comment whose beginning is missing is indented by that.
        return indent_of(following) if not begins(r"\*(?:\s|/|$)", following) else ""
    unit = partial(_unit, language, above, below)  # of all lines; most places do not need it
    opened = ends(language.opener_end, previous.last)  # perhaps within brackets
    if language.blocks is Blocks.WORDS:
        # Its word opens the block, whatever a bracket in a pattern above seemed to.
        opened = opened or opens_block(language, previous, found)
    if found.brackets and not opened and _aligns(language, above[found.brackets[-1]], previous):
        return _inside_bracket(language, above, found, following, unit)
    if opens_block(language, previous, found):
        return _inside_block(language, previous, following, unit)
    if ends(language.continues, previous.last):
        before = above[: previous.start].rstrip()
        already = ends(language.continues, before[line_start(before, len(before)) :])
        return previous.indent if already else previous.indent + unit()
    if language.blocks is Blocks.COLON:
        return indent_between(language, above, found, below, unit)
    if language.blocks in _BY_INDENTATION:
        likely = _by_indentation(language, above, found, below, previous)
        if likely is not None:
            return likely
    if language.blocks is Blocks.BRACES:
        opener = _opener_indent(language, above, found)
        if opener is not None and _brace_is_missing(language, opener, following):
            return opener
    else:
        outer = _outer(language, above, found, previous)
        if outer is not None and _is_over(language, previous, outer, following):
            return outer.indent
    if item := group_of(language.item, previous.code) if language.item else None:
        return previous.indent + " " * len(item)
    return _statement(language, above, found, previous).indent


def _unit(language: Language, above: str, below: Sequence[str]) -> str:
    return unit_of(language, [*above.split("\n"), *below])


def _by_indentation(
    language: Language, above: str, found: Scan, below: Sequence[str], previous: Line
) -> str | None:
    """What the lines below say where indentation alone makes blocks; None if nothing."""
    following = next((line for line in below if line.strip()), "")
    inside = columns(following) - columns(previous.indent)
    n_blank = above[len(above.rstrip()) :].count("\n") - 1
    if following and inside > 0:
        # The line that opens the block below is the one that is missing.
        return previous.indent if language.blocks is Blocks.INDENT else indent_of(following)
    if following and inside < 0 and n_blank > 0 and below[0].strip():
        return indent_of(following)
    if n_blank > 0 and not following and language.blocks is Blocks.INDENT:
        return _paragraph(language, above, found)
    return None


def _paragraph(language: Language, above: str, found: Scan) -> str | None:
    """The indentation of the nearest definition that blank lines set apart, if there is one."""
    for line in lines_above(language, above, len(above), found):
        if above.endswith("\n\n", 0, line.start) and begins(language.header, line.code):
            return line.indent
    return None


def _inside_block(language: Language, opener: Line, following: str, unit: Callable[[], str]) -> str:
    """The indentation of the first line of a block."""
    if language.blocks in _BY_INDENTATION:
        # As far as indentation goes, items of a list may stand below what they belong to.
        listed = begins(language.divider, following) and bool(language.item)
        inside = columns(following) - columns(opener.indent)
        if 0 < inside <= columns(unit()) or (
            listed and inside == 0 and not begins(language.divider, opener.code)
        ):
            return indent_of(following)
    return opener.indent + unit()


def _outer(language: Language, above: str, found: Scan, last: Line) -> Line | None:
    """The line that opens the block around a line."""
    for line in lines_above(language, above, last.start, found):
        if line.code and columns(line.indent) < columns(last.indent):
            return line if opens_block(language, line, found) else None
    return None


def _is_over(language: Language, last: Line, outer: Line, following: str) -> bool:
    """Whether the block that `outer` opens is over after its line `last`: what follows stands
    outside of it, and the line that closes it is the one that is missing."""
    if ends(language.leaves, last.last):
        return not closes_block(language, following) or columns(following) <= columns(outer.indent)
    closed = language.blocks in (Blocks.WORDS, Blocks.TAGS)
    outside = bool(following) and columns(following) <= columns(outer.indent)
    return closed and outside and not closes_block(language, following)


def _aligns(language: Language, bracket: str, previous: Line) -> bool:
    """Whether lines in the bracket stand below each other, rather than in a block."""
    if language.blocks is Blocks.COLON:
        return True
    if language.blocks in (Blocks.INDENT, Blocks.NONE):
        return True
    # A statement that ended shows that the bracket was left open by mistake.
    return bracket != "{" and not previous.last.endswith((";", "{"))


def _opener_indent(language: Language, above: str, found: Scan) -> str | None:
    """The indentation of the statement that opens the innermost bracket; the bracket itself may
    stand in a later line of it, indented as its parameters are."""
    opener: Line | None = None
    if not found.brackets:
        return None
    for line in lines_above(language, above, found.brackets[-1] + 1, found):
        goes_on = opener is None or begins(language.continued, opener.code)
        if not goes_on and not ends(language.continues, line.last):
            break
        opener = line
    return opener.indent if opener is not None else None


def _brace_is_missing(language: Language, opener: str, following: str) -> bool:
    """Whether the lines below stand outside of a block, opened by a statement indented by
    `opener`, that no line closes."""
    if not following or following.lstrip().startswith((")", "]", "}")):
        return False
    label = begins(language.opener, following) or begins(language.outside, following)
    return not label and columns(following) <= columns(opener)


def _inside_bracket(
    language: Language, above: str, found: Scan, following: str, unit: Callable[[], str]
) -> str:
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
    return indent_of(opener) + unit()


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
