"""Where servers and the daemon meet: which directories and peers are refused, and why.

Invariant: only directories of the test's own are touched.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_scene import short_directory, stranger

from slm_lsp.engine import rendezvous as subject
from slm_lsp.engine.rendezvous import (
    MAX_LOG_BYTES,
    Peer,
    Place,
    RendezvousError,
    is_ours,
    log_path,
    runtime_directory,
)


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with short_directory() as path:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
        monkeypatch.setenv("XDG_STATE_HOME", str(path / "deep" / "state"))
        yield path


def test_the_directory_is_made_for_this_user_alone(base: Path) -> None:
    directory = runtime_directory()
    assert directory == base / "slm-lsp"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert runtime_directory() == directory


def test_without_a_runtime_directory_of_the_session(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    fallback = base / "runtime-7" / "slm-lsp"
    monkeypatch.setattr("platformdirs.user_runtime_dir", lambda *_, **__: str(fallback))
    assert runtime_directory() == fallback
    assert fallback.parent.stat().st_mode & 0o777 == 0o700
    fallback.parent.chmod(0o777)
    with pytest.raises(RendezvousError, match="not yours alone to write"):
        runtime_directory()


def test_a_directory_that_others_can_enter_is_refused(base: Path) -> None:
    runtime_directory().chmod(0o750)
    with pytest.raises(RendezvousError, match=r"others can enter .*chmod 700"):
        runtime_directory()


def test_what_is_no_directory_is_refused(base: Path) -> None:
    target = base / "target"
    target.mkdir(mode=0o700)
    (base / "slm-lsp").symlink_to(target)
    with pytest.raises(RendezvousError, match="not a directory of yours"):
        runtime_directory()
    (base / "slm-lsp").unlink()
    (base / "slm-lsp").write_text("")
    with pytest.raises(RendezvousError, match="not a directory of yours"):
        runtime_directory()


def test_a_symlink_as_the_parent_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "real").mkdir(mode=0o700)
    (base / "link").symlink_to(base / "real")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base / "link"))
    with pytest.raises(RendezvousError, match="not yours alone"):
        runtime_directory()


def test_another_users_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = runtime_directory()
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    for refuse in (runtime_directory, lambda: subject.private_directory(directory)):
        with pytest.raises(RendezvousError, match="inproc"):
            refuse()


def test_a_place_that_cannot_be_made_is_said(monkeypatch: pytest.MonkeyPatch, base: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base / "no" / "such"))
    with pytest.raises(RendezvousError, match="No such file or directory"):
        runtime_directory()


def test_a_path_that_is_too_long_for_a_socket_is_said(base: Path) -> None:
    with pytest.raises(RendezvousError, match=r"too long .*shorter path, or use --engine inproc"):
        Place.of(base / ("x" * 80), "model")
    place = Place.of(base, "model" * 100)
    assert len(os.fsencode(place.socket_path)) < 100


def test_each_identity_has_a_place_of_its_own(base: Path) -> None:
    assert Place.of(base, "a", "b") == Place.of(base, "a", "b")
    assert len({Place.of(base, *each) for each in (("a", "b"), ("ab",), ("a",), ("b", "a"))}) == 4


def test_the_socket_is_this_users_alone_and_replaces_a_stale_one(base: Path) -> None:
    place = Place(base, "d")
    place.listen().close()
    with place.listen():
        assert place.socket_path.stat().st_mode & 0o777 == 0o600
        assert place.written_pid() == os.getpid()
    place.pid_file.write_text("many")
    assert place.written_pid() is None


def test_a_full_disk_is_no_reason_not_to_listen(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    place = Place(base, "d")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        sock = place.listen()
    with sock:
        assert place.written_pid() is None
        assert place.number() is not None


def test_the_kernel_names_the_peer() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert is_ours(one) == Peer(os.getpid(), os.getuid())
        assert is_ours(one, stranger) is None
    assert is_ours(one) is None


def test_the_log_is_this_users_and_is_put_aside_when_it_is_long(base: Path) -> None:
    path = log_path()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    assert log_path() == path
    assert not path.exists()
    assert path.with_suffix(".log.1").stat().st_size == MAX_LOG_BYTES + 1
