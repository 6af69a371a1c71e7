"""Who holds how many of the context's cells, and who gives some up for another.

Owns: the order in which documents were last used, and the choice of what is evicted.

The least recently used document gives way first, and loses the end of its sequence, not all of
it: a prompt is reused from its beginning, so the tokens kept are as good as before, and the
window moves in steps so that they stay the beginning of what will be asked next. A
model whose memory cannot be cut drops the whole; the caller says what is left by `hold`.

Invariant: pure. The cells held never exceed what there are, if the caller cuts what `cuts`
says before it feeds; the document for which room is made is never cut.

Threads: the Scheduler's.
"""

from __future__ import annotations

# Room is made for so many tokens at a time: a cut looks at every cell.
EVICT_TOKENS = 64


class Cells:
    """The cells of one context, by document, least recently used first."""

    def __init__(self, n_cells: int) -> None:
        self.n_cells = n_cells
        self._held: dict[str, int] = {}

    @property
    def n_held(self) -> int:
        return sum(self._held.values())

    def held(self, document: str) -> int:
        """How many cells a document holds, at the most."""
        return self._held.get(document, 0)

    def use(self, document: str) -> None:
        """`document` is the most recently used from now on."""
        self._held[document] = self._held.pop(document, 0)

    def hold(self, document: str, n_tokens: int) -> None:
        """Say how many cells a document holds now; its place in the order stays."""
        self._held[document] = n_tokens

    def oldest(self) -> str:
        """The least recently used document."""
        return next(iter(self._held))

    def newest_first(self) -> list[str]:
        """All documents, the most recently used first."""
        return list(reversed(self._held))

    def release(self, document: str) -> int:
        """Forget a document; return how many cells it held."""
        return self._held.pop(document)

    def cuts(self, document: str, n_more: int) -> list[tuple[str, int]]:
        """What makes room for `n_more` tokens of `document`: others, and what each may keep."""
        n_short = self.n_held + n_more - self.n_cells
        found = []
        for other, n_tokens in self._held.items():
            if n_short <= 0:
                break
            if other != document and n_tokens:
                found.append((other, max(0, n_tokens - max(n_short, EVICT_TOKENS))))
                n_short -= n_tokens
        return found
