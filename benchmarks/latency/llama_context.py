"""What llama.vim sends and shows: the local context, its keys, its cache and its filters.

Owns: the facts of llama.vim at commit a1c8e6e (autoload/llama.vim), restated as pure
functions. Lines and columns count from 0 here; a character is a character where the original
counts bytes, which is the same in the sessions' ASCII.

Invariant: no clock, no randomness, no transport. The tests hold each fact.

Threads: the event loop.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

N_PREFIX_LINES, N_SUFFIX_LINES = 256, 64
MAX_LINE_SUFFIX = 8
MAX_CACHE_KEYS = 250
LOOKBACK_CHARS = 128
N_TRIMMED_KEYS = 3
# Between what is before and behind the cursor, where both are hashed together.
SEPARATOR = "Î"


@dataclass(frozen=True, slots=True)
class Local:
    """The text around the cursor, as it is asked about."""

    prefix: str
    middle: str
    suffix: str
    indent: int
    line_suffix: str


def lines_of(text: str) -> list[str]:
    """A buffer's lines; the last line's end begins no other."""
    return text.removesuffix("\n").split("\n")


def cursor(text: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset."""
    start = text.rfind("\n", 0, offset) + 1
    return text.count("\n", 0, offset), offset - start


def local_context(
    lines: Sequence[str], row: int, column: int, previous: Sequence[str], last_indent: int
) -> Local:
    """What is asked about at a place; with `previous`, as if that suggestion (its lines) stood
    there already. `last_indent` is that of the request before."""
    here = lines[row] if row < len(lines) else ""
    behind = lines[row + 1 : row + 1 + N_SUFFIX_LINES]
    first = max(0, row - N_PREFIX_LINES)
    if not previous:
        before, after = here[:column], here[column:]
        indent = len(here) - len(here.lstrip(" \t"))
        if not here.strip(" \t"):
            before, after, indent = "", "", 0
        return _local(lines[first:row], before, after, behind, indent)
    first = max(0, row - N_PREFIX_LINES + len(previous) - 1)
    head = list(lines[first:row])
    current = previous[-1] if len(previous) > 1 else here + previous[0]
    if len(previous) > 1:
        head += [here + previous[0], *previous[1:-1]]
    return _local(head, current, "", behind, last_indent)


def _local(
    head: Sequence[str], before: str, after: str, behind: Sequence[str], indent: int
) -> Local:
    prefix = "\n".join(head) + "\n"
    return Local(prefix, before, after + "\n" + "\n".join(behind) + "\n", indent, after)


def key(before: str, suffix: str) -> str:
    """The cache's key for a context."""
    return hashlib.sha256(f"{before}{SEPARATOR}{suffix}".encode()).hexdigest()


def keys(local: Local) -> list[str]:
    """The keys a response is filed under: its context, and that without 1 to 3 of the first
    lines, so that it is found again once the window has moved down."""
    found = [key(local.prefix + local.middle, local.suffix)]
    prefix = local.prefix
    for _ in range(N_TRIMMED_KEYS):
        prefix = prefix.partition("\n")[2]
        if not prefix:
            break
        found.append(key(prefix + local.middle, local.suffix))
    return found


class Cache:
    """Responses by key; the least recently used goes first."""

    def __init__(self, max_keys: int = MAX_CACHE_KEYS) -> None:
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._max_keys = max_keys

    def __len__(self) -> int:
        return len(self._texts)

    def insert(self, name: str, text: str) -> None:
        if name not in self._texts and len(self._texts) >= self._max_keys:
            self._texts.popitem(last=False)
        self._texts[name] = text
        self._texts.move_to_end(name)

    def get(self, name: str) -> str | None:
        if name not in self._texts:
            return None
        self._texts.move_to_end(name)
        return self._texts[name]

    def lookup(self, local: Local) -> str | None:
        """The text for a context: its own, else the longest rest of one asked for up to 128
        characters earlier whose text began with what was typed since."""
        exact = self.get(key(local.prefix + local.middle, local.suffix))
        if exact is not None:
            return exact
        before, best = local.prefix + local.middle, ""
        for n_typed in range(1, min(LOOKBACK_CHARS, len(before) - 1) + 1):
            text = self.get(key(before[:-n_typed], local.suffix))
            if text is not None and text.startswith(before[-n_typed:]):
                rest = text[n_typed:]
                best = rest if len(rest) > len(best) else best
        return best or None


def rendered(text: str, lines: Sequence[str], row: int, column: int) -> tuple[list[str], int]:
    """The lines shown for a response, after the filters, and how much of the cursor's line
    stays before them. Lines of white space alone are shown but cannot be accepted."""
    content = text.split("\n")
    while content and content[-1] == "":
        content.pop()
    content = content or [""]
    here = lines[row]
    if not here.strip(" \t"):
        n_lead = min(len(content[0]) - len(content[0].lstrip(" \t")), len(here))
        here, content[0] = content[0][:n_lead], content[0][n_lead:]
    before, after = here[:column], here[column:]
    if _repeats(content, lines, row, before, after):
        content = [""]
    return content, len(before)


def _repeats(content: list[str], lines: Sequence[str], row: int, before: str, after: str) -> bool:
    """Whether a response says nothing but what stands behind the cursor already."""

    def under(start: int, n_lines: int) -> list[str]:
        return list(lines[start : start + n_lines])

    if len(content) > 1 and content[0] == "" and content[1:] == under(row + 1, len(content) - 1):
        return True
    if len(content) == 1 and content[0] == after:
        return True
    next_row = row + 1
    while next_row < len(lines) - 1 and not lines[next_row].strip():
        next_row += 1
    if next_row >= len(lines) or before + content[0] != lines[next_row]:
        return False
    if len(content) == 1:
        return True
    following = under(next_row + 1, len(content) - 1)
    if len(content) == 2:
        return bool(following) and following[0].startswith(content[1])
    return content[1:] == following
