"""From the model's text to what may be shown: the order of the filters, and the reasons.

Owns: why nothing is shown, and how a text is put into the document.

Invariant: pure and total. No text is added but the end of a word or string (`filters`,
`closing`) and, by `put`: the inferred indentation, the document's own line ends, and the line
break that belongs before a closing bracket. What is returned does not repeat what stands behind
the cursor.

Threads: any; called on the event loop.
"""

from __future__ import annotations

from enum import StrEnum

from slm_lsp.completion import closing, drift, filters, indentation, overlap, repetition
from slm_lsp.completion.brackets import CLOSING
from slm_lsp.completion.place import Place
from slm_lsp.types import CompletionContext, Finish


class RejectReason(StrEnum):
    """Why a request shows nothing."""

    # No text was asked for, or none came.
    INSIDE_WORD = "inside_word"
    TEXT_BEHIND = "text_behind"
    STATEMENT_ENDED = "statement_ended"
    NO_CONTEXT = "no_context"
    EMPTY_FILE = "empty_file"
    SECRET_FILE = "secret_file"
    LEFT_OUT = "left_out"
    PAUSED = "paused"
    NO_TIME = "no_time"
    EMPTY = "empty"
    REMEMBERED_EMPTY = "remembered_empty"
    LOADING = "loading"
    ENGINE_FAILED = "engine_failed"
    PROMPT_REFUSED = "prompt_refused"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    INTERNAL_ERROR = "internal_error"
    # A filter left nothing of the text, or the document no place for it.
    GARBLED = "garbled"
    SPECIAL_TOKEN = "special_token"
    DRIFT = "drift"
    UNFINISHED = "unfinished"
    STRAY_QUOTE = "stray_quote"
    STRAY_CLOSER = "stray_closer"
    REPEATS_REST = "repeats_rest"
    REPEATS_BELOW = "repeats_below"
    REPEATS_ABOVE = "repeats_above"
    DEFINED_ALREADY = "defined_already"
    PROMPT_ECHO = "prompt_echo"
    LOOP = "loop"
    COMMENT_ONLY = "comment_only"
    UNCLOSED_QUOTE = "unclosed_quote"
    TRIFLE = "trifle"
    SECRET = "secret"
    UNSURE = "unsure"
    BREAKS_SYNTAX = "breaks_syntax"
    MOVED_ON = "moved_on"


FILTERS: tuple[tuple[filters.Filter, RejectReason], ...] = (
    (filters.cut_garbled, RejectReason.GARBLED),
    (drift.cut_specials, RejectReason.SPECIAL_TOKEN),
    (drift.cut_drift, RejectReason.DRIFT),
    (filters.cut_unfinished, RejectReason.UNFINISHED),
    (filters.cut_to_wanted, RejectReason.EMPTY),
    (indentation.fit_start, RejectReason.EMPTY),
    (indentation.fit_indentation, RejectReason.EMPTY),
    (closing.cut_stray_quote, RejectReason.STRAY_QUOTE),
    (closing.cut_stray_closer, RejectReason.STRAY_CLOSER),
    (overlap.trim_line_overlap, RejectReason.REPEATS_REST),
    (overlap.trim_lines_below, RejectReason.REPEATS_BELOW),
    (repetition.drop_repeats, RejectReason.REPEATS_ABOVE),
    (repetition.cut_again_defined, RejectReason.DEFINED_ALREADY),
    (repetition.cut_echo, RejectReason.PROMPT_ECHO),
    (repetition.cut_loop, RejectReason.LOOP),
    (drift.drop_comments, RejectReason.COMMENT_ONLY),
    (closing.close_quote, RejectReason.UNCLOSED_QUOTE),
    (filters.drop_secret, RejectReason.SECRET),
    (filters.trim_end, RejectReason.EMPTY),
    (filters.drop_trifle, RejectReason.TRIFLE),
)


def apply(text: str, place: Place) -> str | RejectReason:
    """What may be shown of `text`, as it is inserted, or why nothing may."""
    text = filtered(text, place)
    return text if isinstance(text, RejectReason) else put(text, place)


def filtered(text: str, place: Place) -> str | RejectReason:
    """What the filters leave of `text`, or why nothing is left."""
    if not text.strip():
        no_time = place.finish is Finish.DEADLINE
        return RejectReason.NO_TIME if no_time else RejectReason.EMPTY
    for each, reason in FILTERS:
        text = each(text, place)
        if not text.strip():
            return reason
    return text


def put(text: str, place: Place) -> str:
    """`text` as it is inserted."""
    text, newline = laid_out(text, place), _newline(place.context)
    return text.replace("\n", newline) if newline != "\n" else text


def laid_out(text: str, place: Place) -> str:
    """`text` as it is inserted, but for its line ends."""
    if not text.startswith("\n"):
        text = place.context.inferred_indent + text
    if _spreads_brackets(text, place):
        line = place.line
        text += "\n" + line[: len(line) - len(line.lstrip())]
    return text


def _spreads_brackets(text: str, place: Place) -> bool:
    """Whether lines are put between two brackets that an editor set side by side; the
    closing one then goes on a line of its own."""
    opener, closer = place.line.rstrip()[-1:], place.rest.lstrip()[:1]
    return text.startswith("\n") and opener in CLOSING and CLOSING[opener] == closer


def _newline(context: CompletionContext) -> str:
    """The line end nearest to the cursor."""
    at = context.prefix.rfind("\n")
    if at >= 0:
        return "\r\n" if context.prefix.endswith("\r", 0, at) else "\n"
    at = context.suffix.find("\n")
    if at >= 0:
        return "\r\n" if context.suffix.endswith("\r", 0, at) else "\n"
    return "\r" if "\r" in context.prefix or "\r" in context.suffix else "\n"
