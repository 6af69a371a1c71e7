"""What a text may begin with at a place, so that there is something to show.

Owns: the decision for the first token; the engine keeps to it together with what is healed
(docs/decisions/0005).

Invariant: pure, and made from the cursor's line alone. Where a block may follow, nothing is
forbidden but on a blank line.

Threads: any.
"""

from __future__ import annotations

import re

from slm_lsp.types import CompletionContext, Start, Want

LINE_LOOKBACK_CHARS = 400
# A `{` begins a block in most languages, and what stands alone on its line here does in some
# (Go's `import (`).
OPENED = re.compile(r"[(\[][ \t]*\Z")
BLOCK_OPENED = re.compile(r"\s*(?:import|const|type|var)[ \t]+\([ \t]*\Z")
CLOSER = {"(": ")", "[": "]"}
# All that may follow where the bracket is still open: others, closed, and what ends a statement.
CLOSED = re.compile(r"[ \t)\]}>;,:]*\Z")


def start_of(context: CompletionContext) -> Start:
    """What a text for this context may begin with."""
    before = context.prefix[-LINE_LOOKBACK_CHARS:].rpartition("\n")[2]
    after = context.suffix[:LINE_LOOKBACK_CHARS].partition("\n")[0].strip()
    if not before.strip() and not after:
        return Start.NO_BREAK
    opened = OPENED.search(before)
    if opened is None or context.in_string or context.in_comment:
        return Start.ANY
    if after.startswith(CLOSER[opened.group()[0]]):
        # That nothing is missing between the two can only be said by an end.
        return Start.NO_BREAK
    is_line = context.want is Want.LINE and not BLOCK_OPENED.match(before)
    return Start.TEXT if is_line and CLOSED.match(after) else Start.ANY
