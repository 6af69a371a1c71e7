"""Where generated text is complete: StopRule applied to text.

Owns: the decision, character by character, that a generation may end here.

Invariant: pure functions; the answer for a text never changes when more text follows the
place it names, so that a generation may stop at the first hit.

Threads: any; called between decode steps.
"""

from __future__ import annotations

from slm_lsp.text.whitespace import columns
from slm_lsp.types import StopRule

CLOSERS = frozenset("}])")
OPENERS = frozenset("{[(:")


def stop_at(text: str, rule: StopRule) -> int | None:
    """Offset at which `text` ends under `rule`, or None while it is incomplete.

    The first line stands behind the cursor, so the indentation rule begins with the
    second. A dedented line that closes a bracket belongs to the block it closes: it is
    kept, and the text ends behind it.
    """
    hits = [at for string in rule.strings if (at := text.find(string)) >= 0]
    start, n_lines = 0, 1
    while (newline := text.find("\n", start)) >= 0:
        if hits and min(hits) <= newline:
            break
        if rule.max_lines is not None and n_lines >= rule.max_lines:
            hits.append(newline)
            break
        start, n_lines = newline + 1, n_lines + 1
        end = _dedent_end(text, start, rule)
        if end is not None:
            hits.append(end)
            break
    return min(hits, default=None)


def _dedent_end(text: str, start: int, rule: StopRule) -> int | None:
    """End of the text if the line at `start` lies left of the rule's indentation."""
    if rule.indent_columns is None:
        return None
    end = text.find("\n", start)
    line = text[start:] if end < 0 else text[start:end]
    stripped = line.strip()
    if not stripped or columns(line, rule.tab_columns) >= rule.indent_columns:
        return None
    if stripped[0] not in CLOSERS:
        return start - 1
    # A closing line is complete only with its line break: it may still grow into `} else {`,
    # and that goes on with the same statement.
    return end if end >= 0 and stripped[-1] not in OPENERS else None
