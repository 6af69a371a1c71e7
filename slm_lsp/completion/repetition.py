"""What a text says a second time: lines, parts of a line, and what stands above in the document.

Owns: the loops that a small model falls into, and the copies that it takes for an answer.

Invariant: pure and total; text is only cut, at its end. What is often the same is no repetition:
brackets, rows of numbers, lines of a table that the document has begun.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from slm_lsp.completion.likeness import MIN_TELLING_CHARS, bare, is_telling
from slm_lsp.completion.place import Place
from slm_lsp.context.lines import begins
from slm_lsp.text.whitespace import columns

MAX_REPEATED_LINES = 4
# So many equal lines in a row are a loop, however short they are.
MIN_LOOP_LINES = 3
# A part of a line that stands there so often is a loop: if the text ends in it, and anyway.
MIN_LOOP_PARTS = 4
MIN_SURE_LOOP_PARTS = 20
MAX_LOOP_CHARS = 40
# How far above a text may have been taken from.
MAX_ECHO_LINES = 12
# The lines that a file has once.
_ONCE = re.compile(r"\s*(?:import|from|#\s*include|use|using|require)\b")

_LOOP = re.compile(rf"(?P<part>[^\n]{{1,{MAX_LOOP_CHARS}}}?)(?P=part){{{MIN_LOOP_PARTS - 2},}}")
_LETTER = re.compile(r"[^\W\d_]")
_NAME = re.compile(r"\b[^\W\d]")
_OPEN_END = re.compile(r"[\s,;.:(\[{+*/=<>|&-]+\Z")


def drop_repeats(text: str, place: Place) -> str:
    """Cut where lines are repeated that stand just above, in the document or the text."""
    lines = text.split("\n")
    above = [] if place.line.strip() else place.above[-MAX_REPEATED_LINES:]
    if _is_table(above):
        above = []
    seen = [line.strip() for line in (*above, *lines)]
    for i in range(len(above), len(seen)):
        if any(_is_again(seen, i, n) for n in range(1, MAX_REPEATED_LINES + 1)):
            return "\n".join(_before(lines, i - len(above), place))
    at = _loop_of_lines(place.whole(lines))
    return text if at is None else "\n".join(_before(lines, at, place))


def _is_again(seen: Sequence[str], i: int, n: int) -> bool:
    """Whether the `n` lines at `i` stand just before them already."""
    again = seen[i : i + n]
    if i < n or sum(map(len, again)) < MIN_TELLING_CHARS or not _same(again, seen[i - n : i]):
        return False
    # Rows of numbers may be equal.
    is_named = any(_LETTER.search(line) for line in again)
    return is_named or _same(again, seen[max(0, i - 2 * n) : i - n])


def _same(a: Sequence[str], b: Sequence[str]) -> bool:
    return list(map(bare, a)) == list(map(bare, b))


def _is_table(above: Sequence[str]) -> bool:
    """Whether the document itself has the same line twice in a row."""
    return len(above) > 1 and bare(above[-1]) == bare(above[-2]) != ""


def _loop_of_lines(whole: Sequence[str]) -> int | None:
    """Where the second of several equal lines stands, however short they are."""
    for i in range(len(whole) - MIN_LOOP_LINES + 1):
        run = whole[i : i + MIN_LOOP_LINES]
        if len(set(run)) == 1 and _LETTER.search(run[0]):
            return i + 1
    return None


def _before(lines: list[str], at: int, place: Place) -> list[str]:
    """The lines before `at`, without what only opens the block that begins there."""
    whole = place.whole(lines)
    while at > 0 and columns(whole[at]) > columns(whole[at - 1]):
        at -= 1
    return lines[:at]


def cut_loop(text: str, place: Place) -> str:
    """Cut behind the first of the equal parts that a line goes on and on with."""
    for found in _LOOP.finditer(text):
        part = found["part"]
        if not _NAME.search(part) or not re.search(r"\W", part):
            continue  # a row of numbers, a rule of dashes, one long number
        # What a bracket or anything else comes behind was meant.
        left = text[found.end() :].rstrip()
        runs_out = part.startswith(left)
        n_parts = (found.end() - found.start()) // len(part) + bool(left)
        if n_parts >= (MIN_LOOP_PARTS if runs_out else MIN_SURE_LOOP_PARTS):
            return _OPEN_END.sub("", text[: found.start() + len(part)])
    return text


def cut_echo(text: str, place: Place) -> str:
    """Drop a text that only copies: lines from just above in the same block, or the beginning of
    a file that the model was shown."""
    lines = [line.rstrip() for line in place.whole(text.split("\n")) if line.strip()]
    if len(lines) < 2 or not all(map(is_telling, lines[:2])) or place.line.strip():
        return text
    above = [line.rstrip() for line in place.above[-MAX_ECHO_LINES:]]
    margin = columns(lines[0])
    left = [i for i, line in enumerate(above) if columns(line) < margin]
    above = above[left[-1] + 1 :] if left else above
    if any(above[i : i + len(lines)] == lines for i in range(len(above) - len(lines) + 1)):
        return ""
    return "" if any(_begins(each.text, lines[:2]) for each in place.context.snippets) else text


def _begins(snippet: str, lines: list[str]) -> bool:
    head = [line.rstrip() for line in snippet.split("\n", 8)[:8] if line.strip()]
    return head[: len(lines)] == lines


def cut_again_defined(text: str, place: Place) -> str:
    """Cut before a line that defines or imports once more what the same block has already."""
    if place.context.in_string or place.context.in_comment:
        return text
    lines = text.split("\n")
    for i, line in enumerate(place.whole(lines)):
        # Without parameters it may be a namespace, which goes on where it is opened again.
        once = _ONCE.match(line) or ("(" in line and begins(place.language.header, line))
        if once and is_telling(line) and line.rstrip() in _block_above(place, columns(line)):
            return "\n".join(_before(lines, i, place))
    return text


def _block_above(place: Place, margin: int) -> set[str]:
    """The lines at `margin` that belong to the same block as the cursor."""
    found = set()
    for line in reversed(place.above):
        if columns(line) < margin:
            break
        if columns(line) == margin:
            found.add(line.rstrip())
    return found
