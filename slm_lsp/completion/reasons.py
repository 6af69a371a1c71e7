"""Every reason for silence in plain words, and what can be done about it.

Owns: the one table that `slm-lsp why` and the command `slm-lsp.why` speak from.

Invariant: every RejectReason is in it (tests/test_reasons.py); a sentence holds no source text
and no name of a file, as it has no place for one.

Threads: any; values.
"""

from __future__ import annotations

from dataclasses import dataclass

from slm_lsp.completion.postprocess import RejectReason

NOTHING_TO_DO = "Nothing needs to be done."


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a reason means, and what the user can do."""

    sentence: str
    advice: str = NOTHING_TO_DO


_MORE_TIME = (
    "It comes by itself where you pause. For more at once: a larger `automatic_budget_ms`, "
    "a smaller model, fewer `prompt_tokens`."
)
_ASK_AGAIN = "Ask by hand for more time, or type on: what was written is not lost."
_IS_WANTED = "If the text was right, tell us the place: it is a fault of the filter."

EXPLANATIONS: dict[RejectReason, Explanation] = {
    RejectReason.INSIDE_WORD: Explanation(
        "The cursor is inside a word or where nothing can follow; no text was asked for.",
        "Go to the end of the word.",
    ),
    RejectReason.TEXT_BEHIND: Explanation(
        "Other text stands behind the cursor on its line.",
        "Ask by hand: then something is written in front of it.",
    ),
    RejectReason.STATEMENT_ENDED: Explanation(
        "The statement before the cursor is complete.",
        "Go to a new line, or ask by hand.",
    ),
    RejectReason.NO_CONTEXT: Explanation(
        "There is too little in the file to go by.", "Write a line, or ask by hand."
    ),
    RejectReason.EMPTY_FILE: Explanation(
        "The file is empty, and no other file says what belongs in it: nothing to go on yet.",
        "Write a first line, be it a comment that says what the file is for.",
    ),
    RejectReason.SECRET_FILE: Explanation(
        "By its name this file holds secrets, so nothing of it is looked at.",
        'Set `secret_files = "on"` if you want completions in such files.',
    ),
    RejectReason.LEFT_OUT: Explanation(
        "The workspace's `.slm-lsp.toml` leaves this file or its language out.",
        "Change that file if you want completions here.",
    ),
    RejectReason.PAUSED: Explanation(
        "Suggestions are paused, as you asked.", "Resume them in your editor's menu or command."
    ),
    RejectReason.NO_TIME: Explanation(
        "The time to answer ended before the model had written anything.", _MORE_TIME
    ),
    RejectReason.EMPTY: Explanation(
        "The model thinks that nothing follows here.",
        "Type a character, or put the cursor where something is missing.",
    ),
    RejectReason.REMEMBERED_EMPTY: Explanation(
        "The model was asked here before and thinks that nothing follows.",
        "Type a character, or put the cursor where something is missing.",
    ),
    RejectReason.LOADING: Explanation(
        "The model is still being loaded.",
        "Wait; `slm-lsp daemon status` shows how it is. The first time it is also fetched.",
    ),
    RejectReason.ENGINE_FAILED: Explanation(
        "There is no model that could answer.", "Run `slm-lsp doctor`: it says what is missing."
    ),
    RejectReason.PROMPT_REFUSED: Explanation(
        "The prompt did not fit the model's context.",
        "Set a larger `context_tokens` or a smaller `prompt_tokens`.",
    ),
    RejectReason.SUPERSEDED: Explanation("A newer request took this one's place."),
    RejectReason.CANCELLED: Explanation("The editor took the request back, as you typed on."),
    RejectReason.INTERNAL_ERROR: Explanation(
        "A fault of slm-lsp itself; the server's log has it.",
        "Look at the server's log in your editor and report it.",
    ),
    RejectReason.GARBLED: Explanation(
        "The model wrote bytes that are no text, or characters that cannot be seen.", _IS_WANTED
    ),
    RejectReason.UNFINISHED: Explanation(
        "The time ended, and what was written by then cannot stand by itself.", _ASK_AGAIN
    ),
    RejectReason.STRAY_QUOTE: Explanation(
        "All that the model wrote would close a string that is closed behind the cursor.",
        _IS_WANTED,
    ),
    RejectReason.STRAY_CLOSER: Explanation(
        "All that the model wrote begins with a closing bracket that has no partner.", _IS_WANTED
    ),
    RejectReason.REPEATS_REST: Explanation(
        "The model wrote what stands behind the cursor already.", _IS_WANTED
    ),
    RejectReason.REPEATS_BELOW: Explanation(
        "The model wrote the line that stands below already.", _IS_WANTED
    ),
    RejectReason.REPEATS_ABOVE: Explanation(
        "The model wrote once more what stands just above.", _IS_WANTED
    ),
    RejectReason.SPECIAL_TOKEN: Explanation(
        "The model wrote a control token as if it were text.", _IS_WANTED
    ),
    RejectReason.DRIFT: Explanation(
        "The model began to talk, or wrote a diff or a fence, instead of code.", _IS_WANTED
    ),
    RejectReason.DEFINED_ALREADY: Explanation(
        "The model wrote a definition that the file has already.", _IS_WANTED
    ),
    RejectReason.PROMPT_ECHO: Explanation(
        "The model copied lines that it had been shown.", _IS_WANTED
    ),
    RejectReason.LOOP: Explanation("The model repeated itself from the start on.", _IS_WANTED),
    RejectReason.COMMENT_ONLY: Explanation(
        "Code was wanted, and the model wrote nothing but a comment.",
        "Begin a comment yourself if you want one.",
    ),
    RejectReason.UNCLOSED_QUOTE: Explanation(
        "The model opened a string over several lines and did not close it.", _IS_WANTED
    ),
    RejectReason.TRIFLE: Explanation(
        "What the model wrote is too little to be shown by itself.", "Ask by hand: then it is."
    ),
    RejectReason.SECRET: Explanation(
        "The model wrote what looks like a password, a token or a key.", _IS_WANTED
    ),
    RejectReason.BREAKS_SYNTAX: Explanation(
        "All that the model wrote would have added a syntax error.",
        'Type on; with `syntax_gate = "off"` it is shown all the same.',
    ),
    RejectReason.UNSURE: Explanation(
        "The model wrote something, but was not sure enough of it.",
        'Ask by hand: then it is shown. `confidence_gate = "off"` shows everything; what you '
        "take and what you type past moves the bar.",
    ),
    RejectReason.MOVED_ON: Explanation(
        "You typed on, and the text no longer fitted when it came.", _MORE_TIME
    ),
}


def explain(reason: str) -> Explanation:
    """The explanation of a reason by its code; another version may have written one that is
    not known here."""
    try:
        return EXPLANATIONS[RejectReason(reason)]
    except (ValueError, KeyError):
        return Explanation(f"A reason that this version does not know: {reason}.")
