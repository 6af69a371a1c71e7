"""Memory of one server and of several, each with a file open.

Owns: the starting of N servers of one user at once.

Invariant: all are ready and have answered before anything is measured.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.latency import processes
from benchmarks.latency.ours import Home, Ours
from benchmarks.latency.policy import Answer, View

ANSWER_PATIENCE_S = 30.0


async def measure(
    command: Sequence[str], settings: Mapping[str, Any], n_servers: int
) -> dict[str, Any]:
    """What one server holds, and what `n_servers` hold together."""
    return {str(n): asdict(await _together(command, settings, n)) for n in {1: 0, n_servers: 0}}


async def _together(
    command: Sequence[str], settings: Mapping[str, Any], n_servers: int
) -> processes.Memory:
    home = Home()
    servers = [Ours(command, settings, home) for _ in range(n_servers)]
    try:
        for i, server in enumerate(servers):
            answered = asyncio.Event()

            def show(answer: Answer, answered: asyncio.Event = answered) -> None:
                answered.set()

            await server.begin(show)
            text = f"def total_{i}(items):\n    total = 0\n    for item in items:\n        "
            view = View(f"file:///fleet/{i}.py", text, len(text), modified=False)
            server.opened(view)
            server.moved(view)
            await asyncio.wait_for(answered.wait(), ANSWER_PATIENCE_S)
        return processes.memory([home.mark])
    finally:
        for server in servers:
            await server.end()
        home.close()
