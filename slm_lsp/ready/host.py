"""The ready process: waits for clients, and forks a server for each.

Owns: its socket, the lock that there is one, the children, and when to end: after an idle time,
on SIGTERM, or when a file that it consists of has changed.

Invariant: one thread when it forks. Once it is to end nobody can reach it any more, but it stays
until its last child has ended, whose exit status only it can tell.

Threads: the main thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from slm_lsp.engine.rendezvous import RendezvousError, is_ours, runtime_directory
from slm_lsp.ready import meeting, session
from slm_lsp.ready.session import Request
from slm_lsp.ready.warm import Stamp, stamps_of, warm

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 1 << 20
REQUEST_PATIENCE_S = 0.1
N_BACKLOG = 64
Serving = Callable[[], int]


class Host:
    """See the module. `lock` is held for as long as it listens; `stamps` is what the files looked
    like when they were imported."""

    def __init__(
        self, path: Path, lock: int, key: bytes, idle_s: float, stamps: dict[str, Stamp]
    ) -> None:
        self._path, self._lock = path, lock
        self._key, self._idle_s, self._stamps = key, idle_s, stamps
        self._children: dict[int, socket.socket] = {}
        self._told_to_end = False
        self._listening = True
        self._used_at_s = time.monotonic()
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)
        self._listener = _listen(path)

    def _end(self, *_: object) -> None:
        self._told_to_end = True

    def run(self) -> Serving | None:
        """Wait and fork. None when this process is to end; in a child, what it has to do."""
        while True:
            if self._listening and (self._told_to_end or self._idle_left_s() <= 0):
                self._stop_listening()
            if not self._listening and not self._children:
                return None
            timeout_s = self._idle_left_s() if self._listening and not self._children else None
            listeners = [self._listener] if self._listening else []
            found, _, _ = select.select([self._wake, *listeners], [], [], timeout_s)
            if self._wake in found:
                with contextlib.suppress(BlockingIOError):
                    self._wake.recv(4096)
                self._reap()
            if self._listener in found and (serving := self._accept()) is not None:
                return serving

    def _idle_left_s(self) -> float:
        if self._children:
            return self._idle_s
        return self._used_at_s + self._idle_s - time.monotonic()

    def _stop_listening(self) -> None:
        """Nobody can come any more; who has connected goes the ordinary way."""
        self._listening = False
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._listener.close()
        # Another may take the place, whatever servers there still are.
        os.close(self._lock)

    def _is_changed(self) -> bool:
        try:
            return stamps_of(set(self._stamps)) != self._stamps
        except OSError:
            return True

    def _accept(self) -> Serving | None:
        try:
            conn, _ = self._listener.accept()
        except OSError:
            return None
        forked: Serving | None = None
        try:
            request = _receive(conn)
            if request is None or request.key != self._key:
                return None
            if self._is_changed():
                self._stop_listening()
                return None
            forked = self._fork(conn, request)
            return forked
        except (OSError, ValueError) as error:
            log.info("a client was sent away: %s", error)
            return None
        finally:
            if forked is None and conn not in self._children.values():
                conn.close()

    def _fork(self, conn: socket.socket, request: Request) -> Serving | None:
        signals = (signal.SIGTERM, signal.SIGCHLD)
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        try:
            pid = os.fork()
            if pid:
                self._children[pid] = conn
                return None
            self._forget()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        return lambda: session.serve(conn, request)

    def _forget(self) -> None:
        """In a child: what is the ready process's alone."""
        os.close(self._lock)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for each in (self._listener, self._wake, self._waker, *self._children.values()):
            each.close()

    def _reap(self) -> None:
        for pid, conn in list(self._children.items()):
            try:
                found, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has waited for it
                found, status = pid, 0
            if found:
                del self._children[pid]
                self._used_at_s = time.monotonic()
                with contextlib.suppress(OSError):
                    conn.send(b"%b %d" % (meeting.STATUS, os.waitstatus_to_exitcode(status)))
                conn.close()


def _listen(path: Path) -> socket.socket:
    """The lock is held."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.setblocking(False)
    sock.bind(os.fspath(path))
    path.chmod(0o600)
    sock.listen(N_BACKLOG)
    return sock


def _receive(conn: socket.socket) -> Request | None:
    """What the client says; None if it says nothing. Raises OSError, ValueError."""
    if is_ours(conn) is None:
        raise ValueError("another user")
    conn.settimeout(REQUEST_PATIENCE_S)
    raw, _, flags, _ = conn.recvmsg(MAX_REQUEST_BYTES)
    if flags & socket.MSG_TRUNC:
        raise ValueError("too long a request")
    return Request.parse(raw) if raw else None


def main(arguments: Sequence[str]) -> int:
    """Be the ready process: `idle minutes`. The process that was started ends at once."""
    key = meeting.key()
    # An editor may wait for the end of a pipe that it has left open to all its children.
    os.closerange(3, 1 << 16)
    if os.fork():
        os._exit(0)
    os.umask(0o077)
    try:
        path = runtime_directory() / meeting.name_of(key)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Of this process, not of its children.
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (RendezvousError, OSError):
        return 1
    os.chdir("/")
    serving = Host(path, lock, key, float(arguments[0]) * 60.0, warm()).run()
    if serving is None:
        return 0
    try:
        return serving()
    except OSError as error:
        print(f"slm-lsp: the ready process cannot serve: {error}", file=sys.stderr)
        return 1
