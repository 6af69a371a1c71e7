"""How a text is handed to a parser: piece by piece, in memory that is used again and again.

Owns: the piece that a parser reads at present.

Invariant: however much is parsed, no more than one piece and a view of it for each length exist.
tree-sitter (0.26.1, for Python) never lets go of what a read has returned: with a new object for
each piece a server grows by some 30 kB a request.

Threads: any; each has a piece of its own.
"""

from __future__ import annotations

import threading

PIECE_BYTES = 16_384


class Pieces(threading.local):
    """See the module."""

    def __init__(self) -> None:
        self._piece = bytearray(PIECE_BYTES)
        self._views: dict[int, memoryview] = {}

    def at(self, source: bytes, at: int) -> memoryview | bytes:
        """What stands there; it holds until the next is asked for."""
        n_bytes = min(len(source) - at, PIECE_BYTES)
        if n_bytes <= 0:
            return b""
        self._piece[:n_bytes] = source[at : at + n_bytes]
        if n_bytes not in self._views:
            self._views[n_bytes] = memoryview(self._piece)[:n_bytes]
        return self._views[n_bytes]
