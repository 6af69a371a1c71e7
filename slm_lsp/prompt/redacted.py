"""What of a context may be shown to a model: all but its secrets.

Owns: the step between what was chosen for a prompt and the prompt.

Invariant: pure. Nothing before this step is redacted, as anchors are compared with the document
and hold its own text; everything behind it is.

Threads: any.
"""

from __future__ import annotations

from dataclasses import replace

from slm_lsp.secrets.redaction import redact, redact_around
from slm_lsp.types import CompletionContext


def without_secrets(shown: CompletionContext, n_typed: int) -> tuple[CompletionContext, int]:
    """A context with placeholders for its secrets, and how much of its prefix was typed then."""
    at = len(shown.prefix) - n_typed
    head, typed, suffix = redact_around((shown.prefix[:at], shown.prefix[at:]), shown.suffix)
    snippets = tuple(replace(each, text=redact(each.text)) for each in shown.snippets)
    redacted = replace(shown, prefix=head + typed, suffix=suffix, snippets=snippets)
    return redacted, len(typed)
