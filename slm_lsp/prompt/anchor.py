"""Where a prompt is anchored, so that typing only ever appends to it.

Owns: the split of a prompt's text into what stands before a fixed place, what stands behind
the cursor, and what was typed between the two since. The typed text comes last in the prompt,
behind the suffix and the middle sentinel: to a model that fills in the middle it is the
beginning of a middle. A model shown the suffix first has it right behind the head, and the
anchor only keeps window and suffix as they were.

Invariant: pure. A prompt made from an anchor holds the document's own text around the cursor,
but for closing brackets and quotes that an editor has put behind the cursor since.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from slm_lsp.prompt import snippets
from slm_lsp.prompt.budget import CHARS_PER_TOKEN, Window, clip_suffix, window_start
from slm_lsp.types import CompletionContext, FimTemplate, Snippet

# Typed since: about 30 lines. The model's context holds a reserve for them.
MAX_TYPED_CHARS = 1200
# From here on a pause is used to anchor anew: what is typed has become context.
STALE_CHARS = 600
# A line longer than this is not typed again behind the suffix.
MAX_LINE_CHARS = 240
MAX_WORD_CHARS = 40
WORD_BEGUN = re.compile(r"(?<!\w) ?\w{1,40}\Z")
# What editors put behind the cursor when its partner is typed.
CLOSERS = frozenset(")]}>\"'`")
MAX_CLOSERS = 6
# A head as long as this is found again where an edit above has moved it.
FINDABLE_CHARS = 64


@dataclass(frozen=True, slots=True)
class Anchor:
    """`head` ends at offset `at` of the document and `suffix` stood behind the cursor when it was
    dropped, to the end of the document if `whole`. `snippets` of other files are shown with
    them. `n_tokens`: the budget that all fill."""

    head: str
    suffix: str
    at: int
    whole: bool
    n_tokens: int
    snippets: tuple[Snippet, ...] = ()


def drop(
    context: CompletionContext,
    template: FimTemplate,
    n_tokens: int,
    earlier: Iterable[Snippet] = (),
) -> Anchor:
    """An anchor for this place: the start of the cursor's line, or in a long one of its word, in a
    window of `n_tokens`. Snippets take what the window leaves, which is moved and cut where that
    does not suffice; those that are shown `earlier` keep their order."""
    alone = _alone(context, template, n_tokens, n_tokens)
    shown_too = snippets.arranged(context.snippets, earlier, snippets.most_chars(n_tokens))
    if not shown_too:
        return alone
    n_left = n_tokens - snippets.n_tokens_of(shown_too, context.file)
    if len(alone.head) + len(alone.suffix) > n_left * CHARS_PER_TOKEN:
        alone = _alone(context, template, n_tokens, n_left)
    return replace(alone, snippets=shown_too)


def _alone(
    context: CompletionContext, template: FimTemplate, n_tokens: int, n_window: int
) -> Anchor:
    """An anchor in a window of less than its budget, without snippets."""
    window = Window.of(n_window)
    prefix = context.prefix
    start = window_start(prefix, window.prefix_chars)
    at = max(start, prefix.rfind("\n") + 1)
    if len(prefix) - at > MAX_LINE_CHARS:
        # So that a word begun is healed (decision 5), it is typed again.
        begun = WORD_BEGUN.search(prefix, len(prefix) - MAX_WORD_CHARS - 2)
        at = begun.start() if begun else len(prefix)
    suffix = clip_suffix(context.suffix, template.suffix_lines, window.suffix_chars)
    whole = len(suffix) == len(context.suffix)
    return Anchor(prefix[start:at], suffix, at, whole, n_tokens)


def typed_since(anchor: Anchor, context: CompletionContext, max_chars: int) -> str | None:
    """What stands between the anchor and the cursor; None where the anchor is of no use."""
    if not _is_suffix(anchor, context.suffix):
        return None
    at = _place(anchor, context.prefix, max_chars)
    if at is None or len(context.prefix) - at > max_chars:
        return None
    return context.prefix[at:]


def shown(anchor: Anchor, typed: str, context: CompletionContext) -> CompletionContext:
    """The context with what a prompt from this anchor holds of the document and of others."""
    prefix = anchor.head + typed
    return replace(context, prefix=prefix, suffix=anchor.suffix, snippets=anchor.snippets)


def _place(anchor: Anchor, prefix: str, max_chars: int) -> int | None:
    """Where the head ends in `prefix` now."""
    begin = anchor.at - len(anchor.head)
    if len(prefix) >= anchor.at and prefix.startswith(anchor.head, begin):
        return anchor.at
    if len(anchor.head) < FINDABLE_CHARS:
        return None
    found = prefix.rfind(anchor.head, max(0, len(prefix) - len(anchor.head) - max_chars))
    return found + len(anchor.head) if found >= 0 else None


def _is_suffix(anchor: Anchor, suffix: str) -> bool:
    """Whether the anchor's suffix is what follows, behind closers at the most."""
    for n_closers in range(min(MAX_CLOSERS, len(suffix)) + 1):
        if suffix.startswith(anchor.suffix, n_closers) and (
            not anchor.whole or len(suffix) == n_closers + len(anchor.suffix)
        ):
            return True
        if n_closers < len(suffix) and suffix[n_closers] not in CLOSERS:
            return False
    return False
