"""Faults that only root can make: a file system that is full, a cgroup without memory.

Owns: ROOT_FAULTS, tried as those of `faults` are, and whether this machine lets them be made.

Invariant: what was mounted or made in the kernel is gone when a try has ended.

Threads: the event loop.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.chaos.faults import Fault, Seen, what_became_of
from benchmarks.chaos.scene import Scene, Session, ended, send

DISK = "file system full, daemon KILL"
CGROUP = "no memory in the daemon's cgroup"
SMALL_DISK = "size=16m,mode=0700"
_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


async def full(scene: Scene, session: Session, rng: random.Random) -> Seen:
    """The scene is on a small disk: not a byte is left, the daemon dies, and another starts."""
    filler = scene.folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert os.statvfs(scene.folder).f_bavail == 0
    [pid] = [each.pid for each in scene.daemons()]
    send(pid, signal.SIGKILL)
    saw = await what_became_of(session.ask())
    took_ms = await session.good()
    other = await scene.begun()
    await other.good()
    await other.end()
    scene.forget(other)
    filler.unlink()
    await session.good()
    return Seen(took_ms, f"{saw}; completions while the disk is full, in a new editor, too")


async def starved(scene: Scene, session: Session, rng: random.Random) -> Seen:
    """The daemon gets no page more, and the kernel ends it."""
    pid = scene.daemon()
    with _cgroup(pid):
        while not ended(pid):
            asked = session.ask()
            await what_became_of(asked)
        saw = await what_became_of(session.ask())
        took_ms = await session.good()
    assert scene.daemon() != pid
    return Seen(took_ms, saw)


ROOT_FAULTS: dict[str, Fault] = {DISK: full, CGROUP: starved}


@contextlib.contextmanager
def on_small_disk(folder: Path) -> Iterator[None]:
    """An empty folder is a file system of its own within it."""
    mount = ["mount", "-t", "tmpfs", "-o", SMALL_DISK, "tmpfs", os.fspath(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        # Whoever still has a file open there keeps it until then.
        subprocess.run(["umount", "-l", os.fspath(folder)], check=True, capture_output=True)


@contextlib.contextmanager
def _cgroup(pid: int) -> Iterator[None]:
    """A process in a cgroup that may have no memory beyond what it has."""
    is_v1 = (_V1 / "memory.limit_in_bytes").exists()
    group = (_V1 if is_v1 else _V2) / f"slm-chaos-{pid}"
    group.mkdir()
    try:
        (group / ("memory.limit_in_bytes" if is_v1 else "memory.max")).write_text("4096")
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        group.rmdir()


def why_not(name: str) -> str | None:
    """Why a fault cannot be made here, if it cannot."""
    try:
        if name == DISK:
            with tempfile.TemporaryDirectory() as folder, on_small_disk(Path(folder)):
                return None
        with subprocess.Popen(["sleep", "60"]) as process:
            try:
                with _cgroup(process.pid):
                    process.kill()
                    process.wait()
            finally:
                process.kill()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"needs root, and a machine that lets it: {error}"
    return None
