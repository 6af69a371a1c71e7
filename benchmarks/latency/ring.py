"""llama.vim's ring: pieces of other places and files that go along with every request.

Owns: which pieces are queued, promoted and evicted, as at commit a1c8e6e.

Invariant: no clock; whoever drives it says when. Random slices come from the given generator,
so a session repeats.

Threads: the event loop.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

N_CHUNKS, CHUNK_LINES, SCOPE_LINES, N_QUEUED = 16, 64, 1024, 16
MIN_CHUNK_LINES = 3
SAME_SIMILARITY, CURSOR_SIMILARITY = 0.9, 0.5
# A cursor this many lines away from where pieces were last gathered gathers again.
GATHER_LINES = 32


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines of a file."""

    lines: tuple[str, ...]
    filename: str
    picked_ms: float = 0.0

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def similarity(one: Sequence[str], other: Sequence[str]) -> float:
    """Dice's coefficient of the words, from 0 to 1. Repeated words of `other` count each time."""
    words = [word for word in re.split(r"\W+", "\n".join(one)) if word]
    others = [word for word in re.split(r"\W+", "\n".join(other)) if word]
    if not words and not others:
        return 1.0
    known = set(words)
    return 2.0 * sum(word in known for word in others) / (len(words) + len(others))


class Ring:
    """See the module."""

    def __init__(self, rng: random.Random) -> None:
        self.chunks: list[Chunk] = []
        self.queued: list[Chunk] = []
        self._rng = rng

    def pick(self, lines: Sequence[str], filename: str, evict: bool, now_ms: float = 0.0) -> None:
        """Queue a piece of `lines`, unless it is there. Pieces that are nearly the same make
        room for it if `evict`, else they keep it out."""
        if len(lines) < MIN_CHUNK_LINES:
            return
        chunk = Chunk(tuple(self.slice(lines)), filename, now_ms)
        if any(known.lines == chunk.lines for known in [*self.chunks, *self.queued]):
            return
        for pieces in (self.queued, self.chunks):
            alike = [p for p in pieces if similarity(p.lines, chunk.lines) > SAME_SIMILARITY]
            if alike and not evict:
                return
            pieces[:] = [piece for piece in pieces if piece not in alike]
        if len(self.queued) == N_QUEUED:
            self.queued.pop(0)
        self.queued.append(chunk)

    def slice(self, lines: Sequence[str]) -> Sequence[str]:
        """`lines`, or half a chunk at random where they are more than fit one."""
        if len(lines) + 1 < CHUNK_LINES:
            return lines
        return self.cut(lines)

    def cut(self, lines: Sequence[str]) -> Sequence[str]:
        """Half a chunk of `lines` and a line, from a random place."""
        half = CHUNK_LINES // 2
        start = self._rng.randint(0, max(0, len(lines) - half))
        return lines[start : start + half + 1]

    def promote(self) -> bool:
        """Move the oldest queued piece into the ring; tell whether there was one."""
        if not self.queued:
            return False
        if len(self.chunks) == N_CHUNKS:
            self.chunks.pop(0)
        self.chunks.append(self.queued.pop(0))
        return True

    def evict_like(self, around: Sequence[str]) -> None:
        """Drop what is like the text at the cursor: a model would only repeat it."""
        here = self.cut(around)
        self.chunks = [
            chunk for chunk in self.chunks if similarity(chunk.lines, here) <= CURSOR_SIMILARITY
        ]

    def extra(self) -> list[dict[str, Any]]:
        """The pieces as the request's `input_extra`."""
        return [
            {"text": chunk.text, "time": chunk.picked_ms, "filename": chunk.filename}
            for chunk in self.chunks
        ]
