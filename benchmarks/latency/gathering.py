"""When llama.vim takes pieces of other places into its ring, and when it has them read.

Owns: the ring of one session and its timer, as at commit a1c8e6e: pieces around the cursor when a
file is entered or left, pieces above and below the windows when the cursor went far, and, once a
second while nobody types, one piece promoted and the ring read by the server.

Invariant: nothing is asked before RING_IDLE_S without a move of the cursor.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.latency import ring as rings
from benchmarks.latency.llama_context import N_PREFIX_LINES, N_SUFFIX_LINES, cursor, lines_of
from benchmarks.latency.policy import View

RING_UPDATE_S, RING_IDLE_S, ENTER_S = 1.0, 3.0, 0.1
NOWHERE_ROW = -9999


class Gathering:
    """See the module. `warm` has the ring's pieces read."""

    def __init__(self, warm: Callable[[list[dict[str, Any]]], Awaitable[None]]) -> None:
        self.ring = rings.Ring(random.Random("llama.vim"))
        self._warm = warm
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Future[None]] = set()
        self._picked_row = NOWHERE_ROW
        self._moved_s = time.monotonic()

    def start(self) -> None:
        """Look once a second whether somebody types."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(RING_UPDATE_S, self._update)

    def stop(self) -> Sequence[asyncio.Future[None]]:
        """Look no more; what is still being read is returned."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        return tuple(self._tasks)

    def moved(self) -> None:
        """The cursor moved."""
        self._moved_s = time.monotonic()

    def entered(self, view: View) -> None:
        """Gather around the cursor of a file that was entered, a little later."""
        asyncio.get_running_loop().call_later(ENTER_S, self.gather, view)

    def gather(self, view: View) -> None:
        """Gather around the cursor, unless the file was changed."""
        if not view.modified:
            self.ring.pick(around(view), view.uri, True, time.monotonic() * 1e3)

    def gather_far(self, view: View, lines: list[str], row: int) -> None:
        """Queue what lies above the prefix's window and below the suffix's, where the cursor
        is far from where that was done last."""
        if abs(row - self._picked_row) <= rings.GATHER_LINES:
            return
        above = lines[max(0, row - rings.SCOPE_LINES) : max(0, row - N_PREFIX_LINES) + 1]
        last = len(lines) - 1
        first_below = min(last, row + N_SUFFIX_LINES)
        below = lines[first_below : min(last, first_below + rings.CHUNK_LINES) + 1]
        for piece in (above, below):
            self.ring.pick(piece, view.uri, False, time.monotonic() * 1e3)
        self._picked_row = row

    def _update(self) -> None:
        """If nobody typed for three seconds: take in a piece and have the ring read."""
        self.start()
        if time.monotonic() - self._moved_s < RING_IDLE_S or not self.ring.promote():
            return
        task = asyncio.ensure_future(self._warm(self.ring.extra()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def around(view: View) -> list[str]:
    """Up to 32 lines on each side of the cursor."""
    lines, half = lines_of(view.text), rings.CHUNK_LINES // 2
    row = cursor(view.text, view.offset)[0]
    return lines[max(0, row - half) : row + half + 1]
