"""What of a file goes into a prompt: a window that moves in steps.

Owns: how many characters a prompt may have, and where its prefix begins and suffix ends.

Invariant: pure. While text is typed at the cursor, the window's start does not move until
the prefix has outgrown the budget, and then by about half of it, so the tokens before the
cursor stay the same and their KV is reused. Token counts are estimated; the engine refuses
what does not fit, it never truncates.

Threads: any.
"""

from __future__ import annotations

from dataclasses import dataclass

# Code in the vocabularies at hand has 3.2 to 4.3 characters a token; dense code has less.
CHARS_PER_TOKEN = 3


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


def window_start(prefix: str, max_chars: int) -> int:
    """Where the window begins: the first of the file's cuts that leaves no more than it holds.

    The cuts are line starts about half a window apart, counted from the start of the file, and
    what is typed behind a cut does not move it. An edit above moves those next to it only:
    the same lines are soon found again. Where no line ends soon enough a cut is inside.
    """
    floor = len(prefix) - max_chars
    step = max(1, max_chars // 2)
    at = 0
    while at < floor:
        newline = prefix.find("\n", at + step - 1, at + step + step // 2)
        at = newline + 1 if newline >= 0 else at + step
    return at


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
