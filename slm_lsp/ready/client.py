"""`slm-lsp serve` where a ready process runs: hands over its streams and waits.

Owns: the decision which way `serve` goes, and the exit status of the server that has its streams.

Invariant: whatever is wrong before the other process was told to go, None is returned and nobody
else has the streams; from then on this process only waits. If it ends, by whatever
signal, the kernel closes its end of the connection, and with that the server ends.

Threads: the main thread; like `meeting`, it imports nothing.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` makes enums of it, for 5 ms
import _socket
import os
import sys

from slm_lsp.ready import meeting

# Longer than a fork takes on a busy machine, and less than the imports that it saves.
PATIENCE_S = 0.15


def hand_over(arguments: list[str]) -> int | None:
    """The server's exit status, or None if this process is to be the server."""
    if os.environ.get(meeting.VARIABLE) == "off" or not meeting.possible():
        return None
    try:
        # Reading from a terminal is for the processes of its session.
        if os.isatty(0):
            return None
        key = meeting.key()
        path = os.path.join(meeting.guessed_directory(), meeting.name_of(key))
        sock = meeting.reach(path, PATIENCE_S)
    except OSError:
        return None
    if sock is None or not _is_taken(sock, key, arguments):
        return None
    # As the server has it.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    return _status(sock)


def request(key: bytes, arguments: list[str]) -> bytes:
    """What the other process must know; none of it can hold a zero byte."""
    umask = os.umask(0o077)
    os.umask(umask)
    head = (key, b"%d" % umask, os.getcwdb(), b"%d" % len(arguments))
    environment = (b"%b=%b" % item for item in os.environb.items())
    return b"\0".join((*head, *map(os.fsencode, arguments), *environment))


def _is_taken(sock: _socket.socket, key: bytes, arguments: list[str]) -> bool:
    """Whether the other process has the streams; if not, it is not heard any more."""
    fds = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (0, 1, 2))
    try:
        sock.send(request(key, arguments))
        if sock.recv(len(meeting.TAKEN)) == meeting.TAKEN:
            sock.sendmsg([meeting.GO], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fds)])
            return True
    except OSError:
        pass
    sock.close()
    return False


def _status(sock: _socket.socket) -> int:
    """Wait for the server's end."""
    sock.settimeout(None)
    word, _, status = sock.recv(64).partition(b" ")
    # Both are gone without a word only if the ready process was killed.
    code = int(status) if word == meeting.STATUS else 1
    return code if code >= 0 else 128 - code
