"""The daemon's process: its lock, its socket, its signals and its end.

Owns: the rule that one place has one daemon. The life lock is held from before the socket is
made until the process ends, so the kernel frees it whatever ends the process.

Invariant: a second daemon of the same place ends with ALREADY_RUNNING and touches nothing; the
socket file is unlinked only under the lock. One whose socket file was deleted makes it anew; one
whose lock file was deleted has lost its place, and ends with its last client.

Threads: the main thread; it runs the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable

from slm_lsp.engine.base import Engine
from slm_lsp.engine.daemon import Daemon
from slm_lsp.engine.rendezvous import ALREADY_RUNNING, Place
from slm_lsp.types import EngineState

log = logging.getLogger(__name__)

OnState = Callable[[EngineState], None]
OnProgress = Callable[[str, float | None], None]
MakeEngine = Callable[[OnState, OnProgress], Engine]

# Who sweeps a temporary folder takes the socket with it, and no editor could come any more.
LOOK_S = 1.0


def run(place: Place, key: str, make_engine: MakeEngine, idle_s: float) -> int:
    """Be the daemon of `place` until it is to end. The exit status is returned."""
    from filelock import Timeout

    lock = place.life_lock()
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("slm-lsp: a daemon for this model runs already", file=sys.stderr)
        return ALREADY_RUNNING
    with lock:
        stuck = asyncio.run(_serve(place, key, make_engine, idle_s))
    if stuck:
        # Ending Python under a thread that is in native code may abort the process.
        sys.stderr.flush()
        os._exit(1)
    return 0


async def _serve(place: Place, key: str, make_engine: MakeEngine, idle_s: float) -> bool:
    """Serve; tell whether the engine's thread was left in a native step."""
    daemon = Daemon(key, idle_s)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop, "stopped by a signal")
    keeper = Keeper(place, daemon)
    sock = keeper.listen()
    engine = make_engine(daemon.engine_is, daemon.report)
    log.info("daemon %d listens at %s", os.getpid(), place.socket_path)
    looking = asyncio.create_task(keeper.look())
    try:
        await daemon.serve(sock, engine)
    finally:
        looking.cancel()
        keeper.unlink()
        if not daemon.stuck:
            engine.close()
    return daemon.stuck


class Keeper:
    """Keeps the files of a place as long as its daemon lives; the life lock is held."""

    def __init__(self, place: Place, daemon: Daemon) -> None:
        self._place, self._daemon = place, daemon
        self._lock = place.lock_number()
        self._socket: int | None = None

    def listen(self) -> socket.socket:
        """See Place."""
        sock = self._place.listen()
        self._socket = self._place.number()
        return sock

    async def look(self) -> None:
        """Until the place is lost, see to it that the socket can be found."""
        while self._lock is not None and self._lock == self._place.lock_number():
            if self._socket != self._place.number():
                log.warning("the socket was deleted, and is made anew")
                with contextlib.suppress(OSError):
                    await self._daemon.listen(self.listen())
            await asyncio.sleep(LOOK_S)
        log.warning("the folder of the socket was cleared")
        self._daemon.retire("its place is no longer its own")

    def unlink(self) -> None:
        """Leave no socket behind; another's stays."""
        if self._socket == self._place.number():
            with contextlib.suppress(FileNotFoundError):
                self._place.socket_path.unlink()
