"""Texts without their secrets, for prompts and for the index of open files.

Owns: how placeholders take the place of what `search` finds.

Invariant: pure, but for a bounded memory of lines, which changes nothing. A text without secrets is
returned as it is. What is redacted depends on the text alone, so that the same text always makes
the same prompt, and typing beside a secret only appends to it. Redacting twice is redacting once.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from slm_lsp.secrets import search
from slm_lsp.secrets.spans import KEY, PASSWORD, Secret

PLACEHOLDERS = (KEY, PASSWORD)


def redact(text: str) -> str:
    """The text with a placeholder for every secret."""
    return redact_around((text,), "")[0]


def redact_around(before: Sequence[str], after: str) -> tuple[str, ...]:
    """Neighbouring stretches of one text around a cursor, which is where `after` begins.

    A secret over a seam is found, and its placeholder goes where it begins.
    """
    parts = (*before, after)
    text = "".join(parts)
    found = _found_around(text, len(parts[0]), len(text) - len(after))
    if not found:
        return parts
    redacted: list[str] = []
    begin = 0
    for part in parts:
        redacted.append(_stretch(text, found, begin, begin + len(part)))
        begin += len(part)
    return tuple(redacted)


def _found_around(text: str, n_first: int, cursor: int) -> list[Secret]:
    """The secrets of a text. While somebody types, the lines of the first stretch and those behind
    the cursor's are those of the last time, and hold none."""
    begin, end = text.rfind("\n", 0, n_first) + 1, text.find("\n", cursor)
    end = len(text) if end < 0 else end
    if search.may_span_lines(text) or not (_is_clean(text[:begin]) and _is_clean(text[end:])):
        return search.in_text(text, cursor)
    return [each.moved(begin) for each in search.in_text(text[begin:end], cursor - begin)]


@lru_cache(maxsize=16)
def _is_clean(lines: str) -> bool:
    """Whether whole lines hold no secret of one line."""
    return not search.in_text(lines)


def redact_lines(lines: Sequence[str]) -> list[str]:
    """As many lines, without their secrets."""
    text = "\n".join(lines)
    found = search.in_text(text)
    if not found:
        return list(lines)
    redacted: list[str] = []
    begin = 0
    for line in lines:
        redacted.append(_stretch(text, found, begin, begin + len(line)))
        begin += len(line) + 1
    return redacted


def prints_secret(before: str, text: str, after: str) -> bool:
    """Whether a text that is put between two others would spell a secret, or what stands for
    one and for nothing in the document."""
    if any(each in text and each not in before + after for each in PLACEHOLDERS):
        return True
    if not search.may_span_lines(before + text + after):
        before = before[before.rfind("\n") + 1 :]
        after = after.partition("\n")[0]
    begin, end = len(before), len(before) + len(text)
    found = search.in_text(before + text + after, end)
    return any(each.start < end and each.end > begin for each in found)


def _stretch(text: str, found: Sequence[Secret], begin: int, end: int) -> str:
    """What is shown of `text` from `begin` to `end`."""
    pieces: list[str] = []
    at = begin
    for secret in found:
        if secret.end <= begin or secret.start >= end:
            continue
        pieces.append(text[at : max(at, secret.start)])
        if secret.start >= begin:
            pieces.append(secret.placeholder)
        at = min(end, secret.end)
    pieces.append(text[at:end])
    return "".join(pieces)
