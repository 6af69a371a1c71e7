"""Where generated text is complete: StopRule applied to text.

Owns: the decision, character by character, that a generation may end here.

Invariant: pure functions; the answer for a text is that of its shortest beginning which has
one. So it never changes when more text follows, a generation may stop at the first hit, and
it does not matter in which pieces the text came.

Threads: any; called between decode steps.
"""

from __future__ import annotations

from slm_lsp.text.whitespace import columns
from slm_lsp.types import StopRule

CLOSERS = frozenset("}])")
OPENERS = frozenset("{[(:")

# A hit: how many characters it takes to know of it, and the offset at which the text ends.
# The smallest is the one that generation meets first.
Hit = tuple[int, int]


def stop_at(text: str, rule: StopRule) -> int | None:
    """Offset at which `text` ends under `rule`, or None while it is incomplete.

    The first line stands behind the cursor, so the indentation rule begins with the
    second. A dedented line that closes a bracket belongs to the block it closes: it is
    kept, and the text ends behind it.
    """
    hits = [(at + len(s), at) for s in rule.strings if (at := text.find(s)) >= 0]
    in_lines = (_first_line_hit(text, rule), _line_hit(text, rule))
    hits.extend(hit for hit in in_lines if hit is not None)
    return min(hits)[1] if hits else None


def opens(first_line: str, endings: str) -> bool:
    """Whether more is to follow a first line that is whole, see `StopRule.line_opens`."""
    return (first_line.rstrip() or "\n")[-1] in endings


def _first_line_hit(text: str, rule: StopRule) -> Hit | None:
    """The hit of a first line that is all there is to say."""
    end = text.find("\n")
    if rule.line_opens is None or end < 0 or opens(text[:end], rule.line_opens):
        return None
    return end + 1, end


def _line_hit(text: str, rule: StopRule) -> Hit | None:
    """The first hit of the rules that look at lines."""
    start, n_lines = 0, 1
    while (newline := text.find("\n", start)) >= 0:
        if rule.max_lines is not None and n_lines >= rule.max_lines:
            return newline + 1, newline
        start, n_lines = newline + 1, n_lines + 1
        hit = _dedent_hit(text, start, rule)
        if hit is not None:
            return hit
    return None


def _dedent_hit(text: str, start: int, rule: StopRule) -> Hit | None:
    """The hit if the line at `start` lies left of the rule's indentation."""
    if rule.indent_columns is None:
        return None
    end = text.find("\n", start)
    line = text[start:] if end < 0 else text[start:end]
    stripped = line.strip()
    if not stripped or columns(line, rule.tab_columns) >= rule.indent_columns:
        return None
    if stripped[0] not in CLOSERS:
        return start + line.index(stripped[0]) + 1, start - 1
    # A closing line is complete only with its line break: it may still grow into `} else {`,
    # and that goes on with the same statement.
    return (end + 1, end) if end >= 0 and stripped[-1] not in OPENERS else None
