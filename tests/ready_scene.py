"""A ready process of a test's own, and servers that may come from it.

Invariant: the process and its children have ended when the scene is left.
Threads: the test's event loop; servers are processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from daemon_scene import PATIENCE_S, ROOT, short_directory
from pipe_editor import PipeEditor

from slm_lsp.engine import launch as engine_launch
from slm_lsp.ready import launch, meeting

POLL_S = 0.01
# With more patience than a user's, so that what is asserted does not depend on the machine's speed.
PATIENT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from slm_lsp.ready import client; "
    f"client.PATIENCE_S = {PATIENCE_S}; from slm_lsp.__main__ import main; sys.exit(main())"
)


async def until(true: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)


def is_gone(pid: int) -> bool:
    """Whether it has ended, be it that nobody has taken its status yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@dataclass
class Scene:
    """Servers of the package under `root`; `pid` is the ready process's."""

    directory: Path
    root: Path
    pid: int = 0
    patient: bool = True
    env: dict[str, str] = field(default_factory=dict)

    @property
    def socket(self) -> Path:
        [path] = (self.directory / "slm-lsp").glob(f"*{meeting.SUFFIX}")
        return path

    def children(self) -> list[psutil.Process]:
        """The servers that were forked and have not ended."""
        try:
            found = psutil.Process(self.pid).children()
            return [each for each in found if each.status() != psutil.STATUS_ZOMBIE]
        except psutil.NoSuchProcess:
            return []

    def command(self, *arguments: str) -> list[str]:
        """What Python is started with."""
        boot = PATIENT if self.patient else engine_launch.BOOT
        return ["-P", "-c", boot, str(self.root), *arguments]

    @contextlib.asynccontextmanager
    async def session(self, model: str = "no.gguf", **env: str) -> AsyncIterator[PipeEditor]:
        """A session with a server whose model is not there, which the environment names."""
        environment = {**self.env, "SLM_LSP_MODEL": str(self.directory / model), **env}
        command = self.command("serve", "--engine", "inproc")
        async with PipeEditor(command, env=environment) as editor:
            await editor.start()
            assert model in (await editor.take("window/showMessage"))["message"]
            yield editor

    async def run(self, *arguments: str) -> tuple[int | None, str]:
        """A server without input: its status and what it says on stderr."""
        pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *self.command(*arguments)),
            **{"env": self.env, "stdin": null, "stdout": null, "stderr": pipe},  # type: ignore[arg-type]
        )
        _, stderr = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        return process.returncode, stderr.decode()

    def find(self) -> None:
        """Wait until the ready process listens."""
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s and not self.pid:
            for path in (self.directory / "slm-lsp").glob(f"*{meeting.SUFFIX}"):
                with contextlib.suppress(OSError):
                    sock = meeting.reach(os.fspath(path), PATIENCE_S)
                    assert sock is not None
                    self.pid = meeting.peer_ids(sock)[0]
                    sock.close()
            time.sleep(POLL_S)
        assert self.pid

    def is_gone(self) -> bool:
        """Whether the ready process has ended."""
        return is_gone(self.pid)


@contextlib.contextmanager
def empty(root: Path = ROOT) -> Iterator[Scene]:
    """A scene in which there is no ready process yet."""
    with short_directory() as directory:
        scene = Scene(directory, root)
        scene.env = {
            **{name: value for name, value in os.environ.items() if name != meeting.VARIABLE},
            **{f"XDG_{name}_HOME": str(directory) for name in ("CONFIG", "STATE", "CACHE")},
            "XDG_RUNTIME_DIR": str(directory),
            "SLM_LSP_CACHE_DIR": str(directory / "cache"),
            "PYTHONPATH": str(root),
        }
        try:
            yield scene
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                if scene.pid:
                    process = psutil.Process(scene.pid)
                    left = [process, *process.children()]
                    for each in left:
                        each.kill()
                    until_s = time.monotonic() + PATIENCE_S
                    while time.monotonic() < until_s and not all(is_gone(p.pid) for p in left):
                        time.sleep(POLL_S)


@contextlib.contextmanager
def ready(root: Path = ROOT, idle_minutes: float = 5.0) -> Iterator[Scene]:
    """A scene with a ready process that listens."""
    with empty(root) as scene:
        argv = [sys.executable, "-P", "-c", launch.BOOT, str(root), str(idle_minutes)]
        os.waitpid(os.posix_spawn(sys.executable, argv, scene.env), 0)
        scene.find()
        yield scene
