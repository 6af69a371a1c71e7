"""Starts the ready process, finds those that run, and ends them.

Owns: the command line, and that a server starts one only where none answers.

Invariant: it is nobody's child and has none of the server's streams; failing to start it is no
error, and is not tried again by this server.

Threads: any; `ensure` blocks for as long as Python takes to start.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from slm_lsp.engine.rendezvous import RendezvousError, runtime_directory
from slm_lsp.ready import meeting

PATIENCE_S = 5.0
POLL_S = 0.02
BOOT = (
    "import sys; root = sys.argv.pop(1); root in sys.path or sys.path.insert(0, root); "
    "from slm_lsp.ready.host import main; sys.exit(main(sys.argv[1:]))"
)


def ensure(idle_minutes: float, wait: bool = True) -> None:
    """Start the ready process for servers like this one, if there is none. With `wait`, what it
    leaves of its start is cleared away."""
    if not meeting.possible():
        return
    with contextlib.suppress(OSError, RendezvousError):
        directory = runtime_directory()
        path = directory / meeting.name_of(meeting.key())
        # Elsewhere no client would look for it.
        if os.fspath(directory) == meeting.guessed_directory() and _pid_at(path) is None:
            pid = _spawn(idle_minutes)
            if wait:
                os.waitpid(pid, 0)


def _spawn(idle_minutes: float) -> int:
    argv = [sys.executable, "-P", "-c", BOOT, meeting.PACKAGE_ROOT, str(idle_minutes)]
    return os.posix_spawn(
        sys.executable,
        argv,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGINT, signal.SIGHUP],
    )


def _pid_at(path: Path) -> int | None:
    """Who listens there, if anybody does."""
    try:
        sock = meeting.reach(os.fspath(path), PATIENCE_S)
    except OSError:
        return None
    if sock is None:
        return None
    try:
        return meeting.peer_ids(sock)[0]
    finally:
        sock.close()


def running() -> Iterator[tuple[Path, int]]:
    """The sockets and process ids of this user's. Raises RendezvousError."""
    for path in sorted(runtime_directory().glob(f"*{meeting.SUFFIX}")):
        if (pid := _pid_at(path)) is not None:
            yield path, pid


def stop() -> int:
    """End them; how many. Their servers go on. Raises RendezvousError."""
    n_ended = 0
    for path, pid in list(running()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        until_s = time.monotonic() + PATIENCE_S
        while _pid_at(path) == pid and time.monotonic() < until_s:
            time.sleep(POLL_S)
        n_ended += _pid_at(path) != pid
    return n_ended
