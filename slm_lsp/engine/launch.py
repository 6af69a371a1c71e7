"""A connection to the daemon of a place, which is started where there is none.

Owns: connecting, the start under the start lock, and the processes started here until they
are known to have ended.

Invariant: of any number of servers that start at once one starts the daemon, and the others
connect to it. The daemon outlives the server: it has a session and a log of its own, and none of
the server's streams.

Threads: the event loop; waits are asyncio's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from slm_lsp.engine.rendezvous import (
    ALREADY_RUNNING,
    Peer,
    PeerOf,
    Place,
    RendezvousError,
    is_ours,
    peer_of,
)

START_PATIENCE_S = 20.0
POLL_S = 0.02
PACKAGE_ROOT = Path(__file__).resolve().parents[2]
# Not `-m`: that would import from the folder the editor was started in, which may be a
# stranger's. An installed package is on the path already; a checkout is put before all.
BOOT = (
    "import sys; root = sys.argv.pop(1); root in sys.path or sys.path.insert(0, root); "
    "from slm_lsp.__main__ import main; sys.exit(main())"
)


class LaunchError(Exception):
    """The daemon did not start; the message says where to read why."""


def command(arguments: Sequence[str]) -> list[str]:
    """What runs `slm-lsp` with these arguments on this Python, from any folder."""
    return [sys.executable, "-P", "-c", BOOT, str(PACKAGE_ROOT), *arguments]


def connect(place: Place, peer_of: PeerOf = peer_of) -> tuple[socket.socket, Peer] | None:
    """A socket to the daemon, or None where none listens. Raises RendezvousError."""
    sock = socket.socket(socket.AF_UNIX)
    # A local connect is immediate, but for a stopped daemon's full queue, which is an error.
    sock.setblocking(False)
    try:
        sock.connect(os.fspath(place.socket_path))
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except OSError as error:
        sock.close()
        raise LaunchError(f"{place.socket_path}: {error.strerror or error}") from error
    peer = is_ours(sock, peer_of)
    if peer is None:
        sock.close()
        raise RendezvousError(f"{place.socket_path} is another user's: remove it")
    return sock, peer


class Launcher:
    """Reaches the daemon of one place; `argv` starts it."""

    def __init__(
        self, place: Place, argv: Sequence[str], log: Path, peer_of: PeerOf = peer_of
    ) -> None:
        self.place, self.log = place, log
        self._argv = list(argv)
        self._peer_of = peer_of
        self._children: set[int] = set()

    async def reach(self) -> tuple[socket.socket, Peer]:
        """A connection. Raises LaunchError or RendezvousError."""
        try:
            return connect(self.place, self._peer_of) or await self._launched()
        except OSError as error:
            raise LaunchError(f"the daemon cannot be started: {error}") from error

    async def _launched(self) -> tuple[socket.socket, Peer]:
        """A connection to a daemon that was not there yet."""
        lock = self.place.start_lock()
        try:
            async with asyncio.timeout(START_PATIENCE_S):
                child: int | None = None
                while (found := connect(self.place, self._peer_of)) is None:
                    if child is None and (lock.is_locked or _acquired(lock)):
                        # Between the look above and the lock another may have started it.
                        found = connect(self.place, self._peer_of)
                        if found is not None:
                            return found
                        child = await asyncio.to_thread(self._spawn)
                    elif child is not None and (status := self.ended(child)) is not None:
                        self._judge(status)
                        child = None
                    await asyncio.sleep(POLL_S)
                return found
        except TimeoutError:
            raise LaunchError(f"the daemon does not answer; see {self.log}") from None
        finally:
            lock.release()

    def _judge(self, status: int) -> None:
        if status != ALREADY_RUNNING:
            raise LaunchError(f"the daemon ended with status {status}; see {self.log}")

    def _spawn(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawn(
            self._argv[0],
            self._argv,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.fspath(self.log), flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        self._children.add(pid)
        return pid

    def ended(self, child: int) -> int | None:
        """The exit status of a process started here, once it has ended."""
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(child, os.WNOHANG)
            if not pid:
                return None
            self._children.discard(child)
            return os.waitstatus_to_exitcode(status)
        self._children.discard(child)
        return 0

    def reap(self) -> None:
        """Take the exit status of those that have ended, so that none stays a zombie."""
        for child in list(self._children):
            self.ended(child)


def _acquired(lock: object) -> bool:
    from filelock import BaseFileLock, Timeout

    assert isinstance(lock, BaseFileLock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True
