"""Where a secret stands in a text, and what it is replaced by.

Owns: the value `Secret` and how several of them become disjoint.

Invariant: pure. Spans are offsets of the text that was searched.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# What the makers of code models put in the place of secrets in what these are trained on
# (StarCoder, arXiv 2305.06161, section 4.3): a model has seen them where secrets stand.
KEY, PASSWORD = "<KEY>", "<PASSWORD>"


@dataclass(frozen=True, slots=True)
class Secret:
    """A stretch of text, `end` not included, and the placeholder that stands for it."""

    start: int
    end: int
    placeholder: str = KEY

    def moved(self, n_chars: int) -> Secret:
        """The same, so much further in the text."""
        return Secret(self.start + n_chars, self.end + n_chars, self.placeholder)


def disjoint(found: Iterable[Secret]) -> list[Secret]:
    """In order; what overlaps becomes one."""
    merged: list[Secret] = []
    for each in sorted(found, key=lambda secret: (secret.start, -secret.end)):
        if merged and each.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = Secret(last.start, max(last.end, each.end), last.placeholder)
        else:
            merged.append(each)
    return merged
