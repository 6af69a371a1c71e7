"""White space as the document has it: where the first line begins, tabs or blanks, how wide.

Owns: the document's style, as far as the lines near the cursor show one.

Invariant: pure and total; only white space is changed, and only where lines begin and end. Text
that may hold white space for its own sake is left alone: strings, comments, prose.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from slm_lsp.completion.place import Place
from slm_lsp.context.lines import begins, indent_of, unit_of
from slm_lsp.text.whitespace import columns

DEFAULT_STEP_COLUMNS = 4
_BLANKS_AT_END = re.compile(r"[ \t]+(?=\n)")


def fit_start(text: str, place: Place) -> str:
    """Let the first line begin where the document has its lines, and add no second blank."""
    lead = indent_of(text)
    body = text[len(lead) :]
    if not body or body.startswith("\n") or _is_prose(place):
        return text
    line = place.line
    if line.strip() and not lead:
        return text
    if line.strip():
        aligned = line[-1:] != " " or line[-2:-1] == " "
        return text if aligned or body.startswith(place.language.line_comments) else body
    here = line + place.context.inferred_indent
    if _continues(here + lead, body, place):
        return (indent_of(place.above[-1]) + _unit(place))[len(here) :] + body
    if not lead or columns(here + lead) in _levels(place):
        return text
    first, *inner = body.split("\n")
    if all(each.startswith(here + lead) or not each.strip() for each in inner):
        inner = [each[len(lead) :] for each in inner]
    return "\n".join([first, *inner])


def _continues(indent: str, body: str, place: Place) -> bool:
    """Whether a text goes on with the statement that the line above begins, and would not
    stand deeper than that; where the line above goes on itself, the next stands below it."""
    if not place.above or not begins(place.language.continued, body):
        return False
    last = place.above[-1]
    begun = not begins(place.language.continued, last) and not _opens_block(last)
    same = columns(indent) == columns(last) and indent_of(last).startswith(indent)
    return begun and same and not last.rstrip().endswith((";", "}", ","))


def _levels(place: Place) -> set[int]:
    """The columns at which a line may begin, by the lines above."""
    above = place.above or [""]
    levels = {columns(above[-1])}
    if above[-1].rstrip().endswith((":", "{", "(", "[")):
        levels.add(columns(indent_of(above[-1]) + _unit(place)))
    limit = min(levels)
    for line in reversed(above[:-1]):
        if limit == 0:  # nothing is left of that, and the lines above may be many
            break
        if columns(line) < limit:
            limit = columns(line)
            levels.add(limit)
    return levels


def fit_indentation(text: str, place: Place) -> str:
    """Let the lines behind the first be indented by what the document is indented by."""
    if "\n" not in text or _is_prose(place) or any(q in text for q in place.language.long_quotes):
        return text
    first, *inner = _BLANKS_AT_END.sub("", text).split("\n")
    unit = style_of(place)
    if unit == "\t":
        inner = _with_tabs(first, inner, place)
    elif unit:
        inner = [_expanded(line, unit) for line in inner]
        inner = _scaled(first, inner, unit, place)
    return "\n".join([first, *inner])


def style_of(place: Place) -> str:
    """One step of the document's indentation; empty if there is none, or more than one."""
    near = place.before.split("\n") + place.after.split("\n")
    kinds = {line[0] for line in near if _is_indented(line)}
    if len(kinds) != 1:
        return ""
    if kinds == {"\t"}:
        # Some indent with tabs and align with blanks.
        return "" if any(re.match(r"\t+ +[^\s*]", line) for line in near) else "\t"
    unit = _unit(place)
    return unit if unit.isspace() and "\t" not in unit else ""


def _is_indented(line: str) -> bool:
    # The lines of a block comment begin with a blank and a star.
    return line[:1] in (" ", "\t") and bool(line.strip()) and not line.lstrip().startswith("*")


def _unit(place: Place) -> str:
    return unit_of(place.language, [*place.before.split("\n"), *place.after.split("\n")])


def _is_prose(place: Place) -> bool:
    context = place.context
    return context.in_string or context.in_comment or place.language.prose


def _opens_block(line: str) -> bool:
    return line.rstrip().endswith((":", "{"))


def _expanded(line: str, unit: str) -> str:
    indent = indent_of(line)
    return indent.replace("\t", unit) + line[len(indent) :]


def _with_tabs(first: str, inner: Sequence[str], place: Place) -> list[str]:
    """Lines with a tab for each step that they have in blanks."""
    width = next((columns(each) for each in inner if _is_indented(each)), 0)
    level = place.context.indent.count("\t") + _opens_block(place.line + first)
    step = width // level if width and level and not width % level else DEFAULT_STEP_COLUMNS
    fitted = []
    for line in inner:
        indent = indent_of(line)
        is_star = line.lstrip().startswith("*")
        n_tabs = max(1, round(columns(indent, step) / step))
        fitted.append(line if " " not in indent or is_star else "\t" * n_tabs + line.lstrip())
    return fitted


def _scaled(first: str, inner: Sequence[str], unit: str, place: Place) -> list[str]:
    """Lines with steps of the document's width, where all steps of the text have another."""
    whole = place.whole([first, *inner])
    base = columns(whole[0])
    lines = [line for line in whole if line.strip()]
    steps = {
        columns(line) - columns(above) for above, line in pairwise(lines) if _opens_block(above)
    }
    widths = [columns(line) - base for line in inner if line.strip()]
    step = steps.pop() if len(steps) == 1 else 0
    if step <= 0 or step == len(unit) or any(width % step for width in widths):
        return list(inner)
    return [
        " " * max(0, base + (columns(line) - base) // step * len(unit)) + line.lstrip()
        if line.strip()
        else line
        for line in inner
    ]
