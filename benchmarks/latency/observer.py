"""The daemon's counters as they were at each key, from a connection of the benchmark's own.

Owns: that connection. Work is told apart by when it was done, not by whom it was done for: what a
cancelled request had read, and what was read in the background, counts as well.

Invariant: the daemon takes an observer for no user of it (a hello without a key): it changes
nothing but for the time of an answer that is a few numbers long. A daemon that ends leaves samples
without a figure.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path

from slm_lsp.engine.base import EngineStats, EngineUnavailable
from slm_lsp.engine.codec import WireError
from slm_lsp.engine.launch import LaunchError, connect
from slm_lsp.engine.link import Link, Silent
from slm_lsp.engine.rendezvous import SUFFIX, Place, RendezvousError

PATIENCE_S = 5.0
TROUBLES = (LaunchError, RendezvousError, Silent, WireError, OSError, EOFError)


class Observer:
    """See the module."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._listening = asyncio.create_task(link.listen())
        self._samples: list[asyncio.Task[EngineStats | None]] = []

    @classmethod
    async def find(cls, sockets: Path) -> Observer | None:
        """An observer of the daemon whose socket is in a folder, if there is one."""
        for place in _places(sockets):
            try:
                reached = connect(place)
                if reached is not None:
                    return cls(await Link.open(*reached, ""))
            except TROUBLES:
                continue
        return None

    def sample(self) -> None:
        """Ask for the counters as they are now."""
        self._samples.append(asyncio.create_task(self._ask()))

    async def close(self) -> list[EngineStats | None]:
        """Hang up; the samples, None for those that were not answered."""
        samples = await asyncio.gather(*self._samples)
        self._listening.cancel()
        self._link.close()
        await asyncio.gather(self._listening, return_exceptions=True)
        return samples

    async def _ask(self) -> EngineStats | None:
        try:
            answer = await asyncio.wait_for(self._link.ask_stats(), PATIENCE_S)
        except (EngineUnavailable, TimeoutError):
            return None
        return answer.stats


def _places(sockets: Path) -> list[Place]:
    return [Place(sockets, path.stem) for path in sorted(sockets.glob(f"*{SUFFIX}"))]


def read_between(samples: Sequence[EngineStats | None]) -> tuple[int | None, ...]:
    """Tokens read between each sample and the next."""
    pairs = itertools.pairwise(samples)
    return tuple(
        max(0, after.n_prefill_tokens - before.n_prefill_tokens) if before and after else None
        for before, after in pairs
    )
