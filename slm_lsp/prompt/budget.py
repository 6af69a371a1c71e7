"""What of a file goes into a prompt: a window that moves in steps.

Owns: how many characters a prompt may have, and where its prefix begins and suffix ends.

Invariant: pure. While text is typed at the cursor, the window's start does not move until
the prefix has outgrown the budget by a whole step, so the tokens before the cursor stay the
same and their KV is reused (design: hysteresis). Token counts are estimated; the engine
refuses what does not fit, it never truncates.

Threads: any.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from slm_lsp.types import CompletionContext, FimTemplate

# Code in the vocabularies at hand has 3.2 to 4.3 characters a token; dense code has less.
CHARS_PER_TOKEN = 3
STEP_LINES = 64
SHORT_LINE_CHARS = 32


@dataclass(frozen=True, slots=True)
class Window:
    """Limits in characters, from a budget in tokens."""

    prefix_chars: int
    suffix_chars: int

    @classmethod
    def of(cls, n_tokens: int) -> Window:
        """Three quarters before the cursor, one behind it."""
        n_chars = n_tokens * CHARS_PER_TOKEN
        return cls(prefix_chars=n_chars * 3 // 4, suffix_chars=n_chars // 4)


def fit(context: CompletionContext, template: FimTemplate, window: Window) -> CompletionContext:
    """`context` with prefix and suffix cut to the window."""
    start = window_start(context.prefix, window.prefix_chars)
    suffix = clip_suffix(context.suffix, template.suffix_lines, window.suffix_chars)
    return dataclasses.replace(context, prefix=context.prefix[start:], suffix=suffix)


def window_start(prefix: str, max_chars: int) -> int:
    """Where the window begins: a line start that moves in steps, see the module.

    Lines are counted from the start of the file in steps of STEP_LINES, or of a smaller
    power of two where that many lines would be more than half the window. A line longer
    than a step is cut at multiples of half the window.
    """
    if len(prefix) <= max_chars:
        return 0
    step = STEP_LINES
    while step > 1 and step * SHORT_LINE_CHARS > max_chars // 2:
        step //= 2
    floor = len(prefix) - max_chars
    first = prefix.count("\n", 0, floor)
    # Line number of the first line that starts at or after `floor`, rounded up to a step.
    line = -(-(first + 1) // step) * step
    at = floor
    for _ in range(line - first):
        newline = prefix.find("\n", at)
        if newline < 0:
            break
        at = newline + 1
    else:
        if len(prefix) - at >= max_chars // 4:
            return at
    half = max(1, max_chars // 2)
    return -(-floor // half) * half


def clip_suffix(suffix: str, max_lines: int | None, max_chars: int) -> str:
    """The first lines of `suffix`, whole lines where there is a choice.

    The rest of the cursor's own line does not count as a line.
    """
    clipped = suffix[:max_chars]
    if max_lines is not None:
        at = -1
        for _ in range(max_lines + 1):
            at = clipped.find("\n", at + 1)
            if at < 0:
                break
        if at >= 0:
            clipped = clipped[: at + 1]
    if len(clipped) < len(suffix) and not clipped.endswith("\n"):
        last = clipped.rfind("\n")
        clipped = clipped[: last + 1] if last > 0 else clipped
    return clipped
