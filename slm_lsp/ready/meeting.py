"""Where `serve` and the ready process meet, and what is said there.

Owns: the key (everything that a process has from its start and that is not handed over), the
socket's path, the check that it is this user's alone, and the words of the handshake.

Invariant: `serve` reads this before all else, so nothing is imported that Python has not
imported by itself but `_socket`, which costs 1 ms where `socket` costs 11. Fails closed.

Threads: the main thread.
"""

from __future__ import annotations

import _socket
import os
import stat
import sys

from slm_lsp import __version__

VARIABLE = "SLM_LSP_KEEP_READY"
SUFFIX = ".ready"
PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
# Variables that Python, its C library and the loader read when a process starts.
SHAPING = (b"PYTHON", b"LD_", b"LC_", b"LANG", b"MALLOC_", b"GLIBC_")
FLAGS = (
    *("debug", "optimize", "dont_write_bytecode", "no_user_site", "no_site", "isolated"),
    *("ignore_environment", "bytes_warning", "dev_mode", "utf8_mode"),
)
# Until it says GO, with which it sends its streams, the client may change its mind. Earlier, a
# process that hangs would hold them, and an editor wait for their end.
TAKEN, GO = b"taken", b"go"
STATUS = b"status"


def possible() -> bool:
    """Whether there is such a thing on this platform."""
    return sys.platform == "linux"


def key() -> bytes:
    """What two processes must have in common for one to stand in for the other."""
    shaping = sorted(item for item in os.environb.items() if item[0].startswith(SHAPING))
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    relative = any(path and not os.path.isabs(path) for path in paths)
    parts = (
        *(__version__, sys.executable, sys.version, PACKAGE_ROOT),
        *(getattr(sys.flags, name) for name in FLAGS),
        *(sys.warnoptions, sorted(sys._xoptions.items()), shaping),
        os.getcwd() if relative else "",
        *(os.getresuid(), os.getresgid(), sorted(os.getgroups())),
        *(sorted(os.sched_getaffinity(0)), os.getpriority(os.PRIO_PROCESS, 0)),
    )
    return repr(parts).encode("utf-8", "surrogateescape")


def name_of(key: bytes) -> str:
    """The socket's name. Two keys with one name do no harm: the key itself is compared, too."""
    digest = 0xCBF29CE484222325  # FNV-1a: hashlib would be another 5 ms
    for byte in key:
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}{SUFFIX}"


def guessed_directory() -> str:
    """`rendezvous.runtime_directory`, as far as it can be told without platformdirs."""
    base = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    if not os.path.isdir(base):
        base = os.path.join(os.environ.get("TMPDIR") or "/tmp", f"runtime-{os.getuid()}")
    return os.path.join(base, "slm-lsp")


def is_private(path: str) -> bool:
    """Whether only this user can have put the socket there, and can reach it."""
    directory = os.path.dirname(path)
    parent, own, sock = (os.lstat(each) for each in (os.path.dirname(directory), directory, path))
    uid = os.getuid()
    return (
        (parent.st_uid, own.st_uid, sock.st_uid) == (uid, uid, uid)
        and not parent.st_mode & 0o022
        and not (own.st_mode | sock.st_mode) & 0o077
        and stat.S_ISDIR(own.st_mode)
        and stat.S_ISSOCK(sock.st_mode)
    )


def reach(path: str, timeout_s: float) -> _socket.socket | None:
    """A connection to the ready process, if it is ours. Raises OSError where there is none."""
    if not is_private(path):
        return None
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    sock.settimeout(timeout_s)
    try:
        sock.connect(path)
        if peer_ids(sock)[1] == os.getuid():
            return sock
    except BaseException:
        sock.close()
        raise
    sock.close()
    return None


def peer_ids(sock: _socket.socket) -> tuple[int, int]:
    """Process and user at the other end, by the kernel's word. Raises OSError."""
    raw = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int.from_bytes(raw[:4], sys.byteorder), int.from_bytes(raw[4:8], sys.byteorder)
