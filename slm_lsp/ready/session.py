"""A child of the ready process becomes the server of one client.

Owns: taking over what the client has: streams, folder, environment, umask.

Invariant: it has the streams only once the client has said GO; when the client's process is gone,
so is this one, at once, as a server that is killed is.

Threads: the main thread, and one that waits for the client's end.
"""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from slm_lsp.ready import meeting

GO_PATIENCE_S = 5.0
N_STREAMS = 3


@dataclass(frozen=True, slots=True)
class Request:
    """What a client has said of itself."""

    key: bytes
    umask: int
    folder: bytes
    arguments: list[str]
    environment: dict[bytes, bytes]

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises ValueError for what no client says."""
        key, umask, folder, n_arguments, *rest = raw.split(b"\0")
        n = int(n_arguments)
        if not 0 <= n <= len(rest):
            raise ValueError(f"{n} arguments in {len(rest)} parts")
        items = [item.partition(b"=") for item in rest[n:]]
        environment = {name: value for name, _, value in items if name}
        return cls(key, int(umask), folder, [os.fsdecode(each) for each in rest[:n]], environment)


def serve(conn: socket.socket, request: Request) -> int:
    """Be the server; the exit status. Raises OSError before it has the streams."""
    os.chdir(request.folder)
    os.umask(request.umask)
    _take_environment(request.environment)
    conn.settimeout(GO_PATIENCE_S)
    conn.send(meeting.TAKEN)
    word, fds, _, _ = socket.recv_fds(conn, len(meeting.GO), N_STREAMS)
    if word != meeting.GO or len(fds) != N_STREAMS:
        return 1
    conn.settimeout(None)
    _take_streams(fds)
    threading.Thread(target=_end_with, args=(conn,), name="slm-client", daemon=True).start()
    sys.argv[1:] = request.arguments
    from slm_lsp.cli import run

    return run(request.arguments)


def _take_environment(environment: dict[bytes, bytes]) -> None:
    os.environb.clear()
    os.environb.update(environment)
    time.tzset()


def _take_streams(fds: Sequence[int]) -> None:
    for fd, target in zip(fds, (0, 1, 2), strict=True):
        os.dup2(fd, target)
        os.close(fd)
    # New objects: the old ones remember what kind of file they were made for.
    encoding, errors = sys.stdout.encoding, sys.stdout.errors
    for name, fd, mode, on_error in (
        ("stdin", 0, "r", errors),
        ("stdout", 1, "w", errors),
        ("stderr", 2, "w", "backslashreplace"),
    ):
        buffering = 1 if name == "stderr" else -1
        stream = io.open(fd, mode, buffering, encoding, on_error, closefd=False)  # noqa: SIM115, UP020
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _end_with(conn: socket.socket) -> None:
    """Wait until the client's process is gone, and end as if this one had been killed."""
    try:
        while conn.recv(64):
            pass
    finally:
        os.kill(os.getpid(), signal.SIGKILL)
