"""The child processes that keep the indexes up to date.

Owns: when one runs and for what: all of a folder when it is opened and then every few minutes of
use, and what was saved or reported in between, gathered for a moment.

Invariant: one child at a time, with the server's environment, none of its streams and a priority
below everybody's. Nobody waits for it; it ends when the server does.

Threads: a thread of its own, `slm-workspace`; public methods: any, and they do not wait.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from slm_lsp.deadline import SYSTEM_CLOCK, Clock
from slm_lsp.workspace.files import in_left_out_folder, is_wanted_path
from slm_lsp.workspace.ignore import RULE_FILES
from slm_lsp.workspace.store import index_path

log = logging.getLogger(__name__)

# Changes come in bunches: several files saved at once, a branch checked out.
GATHER_S = 0.5
# More changed files than this are found by looking at all, and then not again for a while.
MAX_CHANGED = 200
PAUSE_S = 15.0
# Where nobody tells of changes, they are looked for while the editor is used.
RESCAN_MS = 120_000.0
# A folder whose index another server builds is looked at again after so long.
BUSY_MS = 5_000.0
BUSY = 3
_ROOT = Path(__file__).resolve().parents[2]
# As the daemon is started: `-m` would import from the folder the editor was started in.
_BOOT = (
    "import sys; root = sys.argv.pop(1); root in sys.path or sys.path.insert(0, root); "
    "from slm_lsp.workspace.build import main; sys.exit(main(sys.argv[1:]))"
)

# What of a folder has changed; None: anything may have.
Changed = list[str] | None


def command(root: Path, index: Path) -> list[str]:
    """What builds an index on this Python, from any folder."""
    return [sys.executable, "-P", "-c", _BOOT, str(_ROOT), str(root), str(index)]


class Builds:
    """See the module. Close it to end its thread and the child."""

    def __init__(
        self,
        index_folder: Path,
        clock: Clock = SYSTEM_CLOCK,
        command: Callable[[Path, Path], Sequence[str]] = command,
        gather_s: float = GATHER_S,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._index_folder, self._clock, self._command = index_folder, clock, command
        self._gather_s, self._pause_s = gather_s, pause_s
        self._lock = threading.Lock()
        self._wanted: dict[Path, set[str] | None] = {}
        self._scanned_ms: dict[Path, float] = {}
        self._again: dict[Path, set[str] | None] = {}
        self._again_ms = 0.0
        self._folders: tuple[Path, ...] = ()
        self._awake = threading.Event()
        self._closed = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self.last: dict[str, object] | None = None

    def set_folders(self, folders: tuple[Path, ...]) -> None:
        """These are the folders; new ones are looked at."""
        with self._lock:
            new = [each for each in folders if each not in self._folders]
            self._folders = folders
            self._wanted.update(dict.fromkeys(new))
            self._wanted = {each: what for each, what in self._wanted.items() if each in folders}
        if new:
            self._wake()

    def changed(self, paths: Iterable[Path]) -> None:
        """These files have changed, come or gone."""
        with self._lock:
            for path in paths:
                for folder in self._folders:
                    if path.is_relative_to(folder):
                        self._want(folder, path.relative_to(folder).as_posix())
        self._wake()

    def anew(self, folder: Path) -> None:
        """A folder's index cannot be read."""
        with self._lock:
            if folder in self._folders:
                self._wanted[folder] = None
        self._wake()

    def used(self) -> None:
        """The editor is used: look for what nobody has told of, if that was long ago."""
        now_ms = self._clock.now_ms()
        with self._lock:
            late = [
                folder
                for folder, scanned_ms in self._scanned_ms.items()
                if folder in self._folders and now_ms - scanned_ms > RESCAN_MS
            ]
            if self._again and now_ms > self._again_ms:
                self._wanted.update(self._again)
                self._again = {}
                late.append(Path())
            self._wanted.update(dict.fromkeys(each for each in late if each in self._folders))
        if late:
            self._wake()

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is nothing to build; for tests and benchmarks."""
        return self._idle.wait(timeout_s)

    def close(self) -> None:
        """End the thread; a child that runs is ended, too, and the next goes on from there."""
        self._closed.set()
        self._awake.set()
        child = self._child
        if child is not None:
            child.terminate()

    @property
    def pid(self) -> int | None:
        """The child that runs, if one does."""
        return None if self._child is None else self._child.pid

    def _want(self, folder: Path, path: str) -> None:
        base = path.rpartition("/")[2]
        if base in RULE_FILES:
            self._wanted[folder] = None
        elif not in_left_out_folder(path) and (is_wanted_path(path) or "." not in base):
            wanted = self._wanted.setdefault(folder, set())
            if wanted is not None:
                wanted.add(path)
                if len(wanted) > MAX_CHANGED:
                    self._wanted[folder] = None

    def _wake(self) -> None:
        if self._closed.is_set():
            return
        with self._lock:
            self._idle.clear()
            self._awake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="slm-workspace", daemon=True)
            self._thread.start()

    # --- the thread ---

    def _run(self) -> None:
        while not self._closed.is_set():
            self._awake.wait()
            self._awake.clear()
            self._closed.wait(self._gather_s)
            while not self._closed.is_set() and (job := self._next()) is not None:
                try:
                    self._build(*job)
                except OSError as error:
                    log.error("%s: no index: %s", job[0], error)
            with self._lock:
                if not self._awake.is_set():
                    self._idle.set()

    def _next(self) -> tuple[Path, set[str] | None] | None:
        with self._lock:
            if not self._wanted:
                return None
            folder = next(iter(self._wanted))
            return folder, self._wanted.pop(folder)

    def _build(self, folder: Path, changed: set[str] | None) -> None:
        if changed is not None and not changed:
            return
        asked = None if changed is None else sorted(changed)
        index = index_path(self._index_folder, folder)
        self._child = subprocess.Popen(
            self._command(folder, index),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self._index_folder.anchor or None,
        )
        try:
            if self._closed.is_set():
                self._child.terminate()
            told, _ = self._child.communicate(json.dumps(asked).encode())
            status = self._child.returncode
        finally:
            self._child = None
        is_first = folder not in self._scanned_ms
        self._ended(folder, changed, status, told)
        if changed is None and not is_first:
            self._closed.wait(self._pause_s)

    def _ended(self, folder: Path, changed: set[str] | None, status: int, told: bytes) -> None:
        now_ms = self._clock.now_ms()
        if status == BUSY:
            # Its holder may have looked before these changes.
            with self._lock:
                self._again[folder] = changed
                self._again_ms = now_ms + BUSY_MS
            return
        with self._lock:
            if changed is None or folder not in self._scanned_ms:
                self._scanned_ms[folder] = now_ms
        if status == 0:
            self.last = json.loads(told)
            log.info("%s: %s", folder, self.last)
        elif not self._closed.is_set():
            log.warning("the index of %s was not built: exit status %d", folder, status)
