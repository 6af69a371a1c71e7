"""From the model's text to what may be shown: pure functions, each with a reason.

Owns: the filters and their order. Each takes text and the place it goes to, and returns
the text to go on with or the RejectReason why nothing may be shown.

Invariant: no filter adds text, except `put`, which puts the inferred indentation and the
document's own line ends in. What is returned never repeats what stands behind the cursor.

Threads: the completer's worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from slm_lsp.completion.brackets import CLOSING, Balance, scan
from slm_lsp.types import CompletionContext, Finish


class RejectReason(StrEnum):
    """Why a request shows nothing."""

    INSIDE_WORD = "inside_word"
    EMPTY = "empty"
    UNFINISHED = "unfinished"
    REPEATS_SUFFIX = "repeats_suffix"
    REPEATS_ABOVE = "repeats_above"
    NO_TIME = "no_time"
    LOADING = "loading"
    ENGINE_FAILED = "engine_failed"
    PROMPT_REFUSED = "prompt_refused"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    MOVED_ON = "moved_on"


@dataclass(frozen=True, slots=True)
class Place:
    """Where text goes: its context, and how the generation ended."""

    context: CompletionContext
    finish: Finish

    @property
    def line_suffix(self) -> str:
        """What stands behind the cursor on its line."""
        return self.context.suffix.split("\n", 1)[0].rstrip("\r")


Filter = Callable[[str, Place], str | RejectReason]

# A line shorter than this may well occur twice in a row ("}", "else:", "pass").
MIN_TELLING_CHARS = 8
SUFFIX_LOOKAHEAD_CHARS = 4000
BRACKET_LOOKBACK_CHARS = 2000


def cut_unfinished(text: str, place: Place) -> str | RejectReason:
    """Cut a text that did not come to its end back to the last boundary.

    Whole lines where there are several, else what stands before the last, perhaps
    incomplete, word.
    """
    if place.finish not in (Finish.DEADLINE, Finish.LENGTH):
        return text
    newline = text.rfind("\n")
    if newline > 0 and text[:newline].strip():
        return text[:newline]
    word = len(text)
    while word > 0 and (text[word - 1].isalnum() or text[word - 1] in "_\"'\\"):
        word -= 1
    return text[:word] if text[:word].strip() else RejectReason.UNFINISHED


def cut_garbled(text: str, place: Place) -> str | RejectReason:
    """Cut before bytes that are no text, and before control characters."""
    for i, char in enumerate(text):
        if char == "�" or (char < " " and char not in "\n\t"):
            return text[:i]
    return text


def cut_stray_closer(text: str, place: Place) -> str | RejectReason:
    """Cut before a closing bracket that nothing opened, or that the suffix has already."""
    inside = scan(text)
    if inside.first_stray is None:
        return text
    opened = scan(place.context.prefix[-BRACKET_LOOKBACK_CHARS:]).open
    owed = _closers_ahead(place.context.suffix)
    for at in inside.strays:
        # The suffix closes the innermost open brackets, so only those beyond may be closed here.
        if len(opened) <= len(owed) or not opened:
            return text[:at]
        if CLOSING[opened[-1]] != text[at]:
            return text[:at]
        opened = opened[:-1]
    return text


def _closers_ahead(suffix: str) -> str:
    """Closing brackets that the text behind the cursor begins with, white space aside."""
    found = []
    for char in suffix[:200]:
        if char in ")]}":
            found.append(char)
        elif not char.isspace() and char not in ",;:\"'`":
            break
    return "".join(found)


def trim_line_overlap(text: str, place: Place) -> str | RejectReason:
    """Drop the end of `text` that the rest of the cursor's line repeats."""
    rest = place.line_suffix.strip()
    body = text.rstrip()
    if not rest or not body:
        return text
    before = scan(body)
    for n_chars in range(min(len(rest), len(body)), 0, -1):
        if body.endswith(rest[:n_chars]) and _may_drop(before, body[:-n_chars], rest[:n_chars]):
            trimmed = body[:-n_chars]
            return trimmed if trimmed.strip() else RejectReason.REPEATS_SUFFIX
    return text


def _may_drop(before: Balance, trimmed: str, dropped: str) -> bool:
    """Whether dropping leaves no bracket open that was closed, and is no chance match."""
    telling = len(dropped) >= 3 or not dropped.isalnum()
    return telling and len(scan(trimmed).open) <= len(before.open)


def trim_lines_below(text: str, place: Place) -> str | RejectReason:
    """Cut before the first line that repeats the next line of the suffix."""
    following = place.context.suffix[:SUFFIX_LOOKAHEAD_CHARS].split("\n")[1:]
    below = [line for line in following if line.strip()]
    if not below:
        return text
    line_so_far = place.context.prefix.rpartition("\n")[2] + place.context.inferred_indent
    lines = (line_so_far + text).split("\n")
    for i, line in enumerate(lines):
        if _same_line(line, below[0]):
            kept = "\n".join(text.split("\n")[:i])
            return kept if kept.strip() else RejectReason.REPEATS_SUFFIX
    return text


def _same_line(a: str, b: str) -> bool:
    """Equal lines; short ones only with equal indentation."""
    if a.strip() != b.strip():
        return False
    return len(a.strip()) >= MIN_TELLING_CHARS or a.rstrip() == b.rstrip()


def drop_repeat_above(text: str, place: Place) -> str | RejectReason:
    """Reject a text whose first line repeats the line above; cut where lines repeat."""
    lines = text.split("\n")
    above = place.context.prefix.rstrip("\r\n\t ").rpartition("\n")[2].strip()
    starts_line = not place.context.prefix.rpartition("\n")[2].strip()
    if starts_line and len(above) >= MIN_TELLING_CHARS and lines[0].strip() == above:
        return RejectReason.REPEATS_ABOVE
    for i in range(1, len(lines)):
        same = lines[i].strip()
        if len(same) >= MIN_TELLING_CHARS and same == lines[i - 1].strip():
            return "\n".join(lines[:i])
    return text


def trim_blank_end(text: str, place: Place) -> str | RejectReason:
    """Drop white space at the end; reject what has nothing else."""
    trimmed = text.rstrip()
    return trimmed if trimmed else RejectReason.EMPTY


FILTERS: tuple[Filter, ...] = (
    cut_garbled,
    cut_unfinished,
    cut_stray_closer,
    trim_line_overlap,
    trim_lines_below,
    drop_repeat_above,
    trim_blank_end,
)


def apply(text: str, place: Place) -> str | RejectReason:
    """What may be shown of `text`, or why nothing may."""
    if not text.strip():
        no_time = place.finish is Finish.DEADLINE
        return RejectReason.NO_TIME if no_time else RejectReason.EMPTY
    for each in FILTERS:
        result = each(text, place)
        if isinstance(result, RejectReason):
            return result
        text = result
    return put(text, place.context)


def put(text: str, context: CompletionContext) -> str:
    """`text` as it is inserted: with the inferred indentation and the file's line ends."""
    newline = "\r\n" if "\r\n" in context.prefix[-4000:] or "\r\n" in context.suffix[:400] else "\n"
    text = context.inferred_indent + text
    return text.replace("\n", newline) if newline != "\n" else text
