"""Where a server and the daemon meet: the private directory, the socket, locks, credentials.

Owns: the names of the files of one daemon, the check that nobody else can reach them, and
what the kernel says of the process at the other end of a socket.

Invariant: fails closed. A directory that is not ours alone is refused, and so is a peer whose
user the kernel does not name.

Threads: any; nothing here is kept open or waits.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

# Linux allows 107 bytes, the BSDs 103: the shorter, so that a path is not fine here only.
MAX_SOCKET_PATH_BYTES = 103
MAX_LOG_BYTES = 1_000_000
N_BACKLOG = 64
# The exit status of a daemon of whose place there is one.
ALREADY_RUNNING = 3
SUFFIX = ".sock"
UCRED = struct.Struct("3i")


class RendezvousError(Exception):
    """There is no safe place to meet; the message says what the user can do about it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a socket."""

    pid: int
    uid: int


PeerOf = Callable[[socket.socket], Peer]


def peer_of(sock: socket.socket) -> Peer:
    """The process at the other end, by the kernel's word. Raises OSError."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
    pid, uid, _ = UCRED.unpack(raw)
    return Peer(pid, uid)


def is_ours(sock: socket.socket, peer_of: PeerOf = peer_of) -> Peer | None:
    """The peer if it belongs to this user, else None."""
    try:
        peer = peer_of(sock)
    except (OSError, struct.error):
        return None
    return peer if peer.uid == os.getuid() else None


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one daemon."""

    directory: Path
    name: str

    @classmethod
    def of(cls, directory: Path, *identity: str) -> Place:
        """The place of the daemon for what `identity` says. Raises RendezvousError."""
        digest = hashlib.sha256("\0".join(identity).encode("utf-8", "replace")).hexdigest()
        place = cls(directory, digest[:16])
        if len(os.fsencode(place.socket_path)) > MAX_SOCKET_PATH_BYTES:
            raise RendezvousError(
                f"{place.socket_path} is too long for the name of a socket "
                f"({MAX_SOCKET_PATH_BYTES} bytes): set XDG_RUNTIME_DIR to a shorter path, "
                "or use --engine inproc"
            )
        return place

    @property
    def socket_path(self) -> Path:
        return self.directory / f"{self.name}{SUFFIX}"

    @property
    def pid_file(self) -> Path:
        return self.directory / f"{self.name}.pid"

    def written_pid(self) -> int | None:
        """The process id that the daemon wrote when it began to listen."""
        try:
            return int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None

    def _write_pid(self) -> None:
        """Where the disk is full, one that hangs before its hello is not killed; all else works."""
        with contextlib.suppress(OSError):
            self.pid_file.unlink(missing_ok=True)
            opened = os.open(self.pid_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(opened, "w", encoding="ascii") as file:
                file.write(str(os.getpid()))

    def number(self) -> int | None:
        """What tells the socket file that is there from any other; None where there is none."""
        return _number(self.socket_path)

    def lock_number(self) -> int | None:
        """The same of the life lock's file."""
        return _number(self._life_path)

    @property
    def _life_path(self) -> Path:
        return self.directory / f"{self.name}.lock"

    def life_lock(self) -> BaseFileLock:
        """Held by the daemon as long as it lives; whoever holds it may unlink the socket."""
        return _lock(self._life_path)

    def start_lock(self) -> BaseFileLock:
        """Held by the server that is starting the daemon."""
        return _lock(self.directory / f"{self.name}.start")

    def listen(self) -> socket.socket:
        """A listening socket that this user alone can reach; the life lock is held."""
        with contextlib.suppress(FileNotFoundError):
            self.socket_path.unlink()
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.bind(os.fspath(self.socket_path))
            # Nobody else can enter the directory between these two lines.
            self.socket_path.chmod(0o600)
            self._write_pid()
            sock.listen(N_BACKLOG)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
        return sock


def _number(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except OSError:
        return None


def _lock(path: Path) -> BaseFileLock:
    # Imported late: `initialize` is answered without it.
    from filelock import FileLock

    return FileLock(path, mode=0o600)


def runtime_directory() -> Path:
    """The directory of this user's sockets, made if need be. Raises RendezvousError."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if not base:
        import platformdirs

        with warnings.catch_warnings():
            # Where the system names none, one under the temporary folder is checked below.
            warnings.simplefilter("ignore")
            base = os.path.dirname(platformdirs.user_runtime_dir("slm-lsp", appauthor=False))
    return private_directory(private_parent(Path(base)) / "slm-lsp")


def private_parent(path: Path) -> Path:
    """`path`, made if need be, if only this user can replace what is in it."""
    status = _made(path)
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise RendezvousError(
            f"{path} is not yours alone to write: set XDG_RUNTIME_DIR to a directory that "
            "is, or use --engine inproc"
        )
    return path


def private_directory(path: Path) -> Path:
    """`path`, made if need be, if it is this user's and closed to all others."""
    status = _made(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise RendezvousError(
            f"{path} is not a directory of yours: remove it, or use --engine inproc"
        )
    if status.st_mode & 0o077:
        raise RendezvousError(f"others can enter {path}: remove it, or `chmod 700` it")
    return path


def _made(path: Path) -> os.stat_result:
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        return path.lstat()
    except OSError as error:
        raise RendezvousError(f"{path}: {error.strerror or error}") from error


def log_path() -> Path:
    """The daemons' log, in a directory of this user's; a long one is put aside first."""
    import platformdirs

    directory = Path(platformdirs.user_state_dir("slm-lsp", appauthor=False))
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RendezvousError(f"{directory}: {error.strerror or error}") from error
    path = private_directory(directory) / "daemon.log"
    with contextlib.suppress(OSError):
        if path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
    return path
