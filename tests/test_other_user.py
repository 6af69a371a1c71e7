"""Another user of the machine at our sockets: refused by the kernel, and where the folders were
opened by mistake, by what listens there.

Invariant: only a forked child takes the other user's id.
Threads: the main thread; the daemon and the ready process are processes.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemon_scene import FAKE, KEY, PATIENCE_S, ROOT, short_directory
from ready_scene import ready

from slm_lsp import __version__
from slm_lsp.engine import wire
from slm_lsp.engine.launch import connect
from slm_lsp.engine.rendezvous import Place
from slm_lsp.ready import client, meeting

NOBODY = 65534
REFUSED, DROPPED, SERVED = 0, 1, 2

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        sys.platform != "linux" or os.getuid() != 0,
        reason="only root can be another user; run the tests as root to see it",
    ),
]


def as_nobody(call: Callable[[], int]) -> int:
    """What `call` returns in a process of another user."""
    child = os.fork()
    if child == 0:
        code = 9
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            code = call()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def knock(path: Path, kind: socket.SocketKind, word: bytes) -> int:
    """Connect, say something, and tell what comes of it."""
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.settimeout(PATIENCE_S)
        try:
            sock.connect(os.fspath(path))
        except PermissionError:
            return REFUSED
        try:
            sock.send(word)
            return SERVED if sock.recv(1) else DROPPED
        except (BrokenPipeError, ConnectionResetError):
            return DROPPED


@pytest.fixture
def place() -> Iterator[Place]:
    """A daemon's, in a process of its own."""
    with short_directory() as directory:
        place = Place(directory, "d")
        command = [sys.executable, str(FAKE), str(directory), place.name, KEY, "3600", "ready"]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as daemon:
            try:
                until_s = time.monotonic() + PATIENCE_S
                while (found := connect(place)) is None and time.monotonic() < until_s:
                    time.sleep(0.01)
                assert found is not None
                found[0].close()
                yield place
            finally:
                daemon.kill()


def check(path: Path, kind: socket.SocketKind, word: bytes) -> None:
    """We are served, another is not, be it that the way is open."""
    assert knock(path, kind, word) == SERVED
    assert as_nobody(lambda: knock(path, kind, word)) == REFUSED
    path.parent.chmod(0o755)
    path.chmod(0o666)
    try:
        assert as_nobody(lambda: knock(path, kind, word)) == DROPPED
    finally:
        path.chmod(0o600)
        path.parent.chmod(0o700)
    assert knock(path, kind, word) == SERVED


def test_the_daemon(place: Place) -> None:
    hello = wire.Hello(wire.PROTOCOL_VERSION, __version__, KEY, 1)
    check(place.socket_path, socket.SOCK_STREAM, wire.encode(hello))


def test_the_ready_process() -> None:
    with ready() as scene:
        # This process may have been started with other flags than the tests' children.
        say = (
            "import sys; from slm_lsp.ready import meeting; sys.stdout.buffer.write(meeting.key())"
        )
        command = [sys.executable, "-P", "-c", say]
        key = subprocess.run(command, env=scene.env, check=True, capture_output=True).stdout
        word, path = client.request(key, ["serve"]), scene.socket
        assert meeting.name_of(key) == path.name
        scene.directory.chmod(0o755)
        check(path, socket.SOCK_SEQPACKET, word)
