"""One client of the daemon: its requests under way and the way back to it.

Owns: what a client asked for and has not been answered, and the end of it when it leaves.

Invariant: a dropped connection leaves no request that goes on.

Threads: the daemon's event loop.
"""

from __future__ import annotations

import asyncio
import logging

from slm_lsp.engine import wire
from slm_lsp.engine.wire import Generate, Message

log = logging.getLogger(__name__)

# A client that reads nothing is dropped before what waits for it takes the memory.
MAX_UNREAD_BYTES = 16 << 20


class Connection:
    """One client: its requests under way and the way back to it."""

    def __init__(self, number: int, writer: asyncio.StreamWriter) -> None:
        self.number = number
        # Of all users that are connected, this one's alone; 0 for those who only look.
        self.slot = 0
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.requests: dict[int, Generate] = {}
        self._writer = writer

    def send(self, message: Message) -> None:
        if self._writer.is_closing():
            return
        self._writer.write(wire.encode(message))
        if self._writer.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            log.warning("client %d does not read; dropped", self.number)
            self._writer.transport.abort()

    def drop(self) -> None:
        """End it, and all that it asked for."""
        for generate in self.requests.values():
            generate.request.cancel.cancel()
        for task in self.tasks.values():
            task.cancel()
        self._writer.close()
