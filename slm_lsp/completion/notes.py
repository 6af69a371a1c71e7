"""What of a session is noted on the disk: why there were no suggestions, and what the gate learnt.

Owns: the two kinds of files, `why/` a file a session and `gate/` a file a model, and when they are
written: the first at most every half second while something happens, the second now and then.

Invariant: nothing here raises. The event loop gathers and never touches the disk. Numbers and
names that this program gave, readable by this user alone (`private_file`): no source text, no
name of a file; a model is named by a digest. What is damaged counts as not there.

Threads: the event loop; `flush` and `_read` a thread of their own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from slm_lsp.completion.bar import Evidence
from slm_lsp.completion.private_file import SUFFIX, dated, prune, read_file, replace_file
from slm_lsp.completion.recent import Entry
from slm_lsp.deadline import wall_s

if TYPE_CHECKING:
    from slm_lsp.completion.completer import Completer

log = logging.getLogger(__name__)

WHY_EVERY_S, GATE_EVERY_S = 0.5, 60.0
# Nobody asks later why there was no suggestion.
MAX_AGE_S, N_KEPT = 24 * 3600.0, 20
MAX_FILE_BYTES = 256 << 10
LOCK_TIMEOUT_S = 2.0
FORMAT = 1


def default_folder() -> Path:
    """The user's cache folder."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("slm-lsp"))


def why_folder(root: Path) -> Path:
    return root / "why"


def gate_path(root: Path, model: str) -> Path:
    """The file of what was learnt with a model."""
    digest = hashlib.sha256(model.encode("utf-8", "replace")).hexdigest()
    return root / "gate" / f"{digest[:24]}{SUFFIX}"


class Notes:
    """See the module. Make it within a running event loop, and `end` it."""

    def __init__(self, completer: Completer, root: Path) -> None:
        self._completer, self._root = completer, root
        self._why = why_folder(root) / f"{os.urandom(8).hex()}{SUFFIX}"
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._entries: list[Entry] | None = None
        self._learnt: deque[Evidence] = deque()
        self._learnt_at_s = self._loop.time()
        self._lock = threading.Lock()
        self._has_pruned = self._has_warned = False
        completer.recent.on_new = self._touched

    def ready(self) -> None:
        """The model is known: what was learnt with it is read."""
        self._start(self._read)

    def end(self) -> None:
        """Gather for the last time; `flush` writes it."""
        if self._timer is not None:
            self._timer.cancel()
        self._gather(is_end=True)

    def flush(self) -> None:
        """Write what was gathered."""
        # Within the lock: of two threads, the later one finds the work done.
        with self._lock:
            entries, self._entries = self._entries, None
            try:
                if entries is not None:
                    self._write_why(entries)
                while self._learnt:
                    add_evidence(gate_path(self._root, self._model()), self._learnt[0])
                    self._learnt.popleft()
            except (OSError, ValueError, TimeoutError) as error:
                # Once a session: a full disk stays full.
                level = logging.DEBUG if self._has_warned else logging.WARNING
                log.log(level, "notes of the session are not kept: %s", error)
                self._has_warned = True

    def _touched(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(WHY_EVERY_S, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._gather(is_end=False)
        self._start(self.flush)

    def _gather(self, *, is_end: bool) -> None:
        gate, recent = self._completer.gate, self._completer.recent
        entries = recent.entries()
        self._entries = entries or None
        is_due = is_end or self._loop.time() - self._learnt_at_s >= GATE_EVERY_S
        if gate is not None and gate.has_new and is_due and self._completer.engine.info:
            self._learnt.append(gate.take_new())
            self._learnt_at_s = self._loop.time()

    def _start(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, name="slm-notes", daemon=True).start()

    def _model(self) -> str:
        info = self._completer.engine.info
        return info.name if info is not None else ""

    # --- on a thread of its own ---

    def _read(self) -> None:
        gate = self._completer.gate
        if gate is None:
            return
        evidence = read_evidence(gate_path(self._root, self._model()))
        try:
            self._loop.call_soon_threadsafe(gate.load, evidence)
        except RuntimeError:  # the loop has ended
            log.debug("what was learnt came after the session's end")

    def _write_why(self, entries: list[Entry]) -> None:
        if not self._has_pruned:
            self._has_pruned = True
            prune(self._why.parent, wall_s(), MAX_AGE_S, N_KEPT)
        content = {"format": FORMAT, "entries": [each.to_json() for each in entries]}
        replace_file(self._why, json.dumps(content))


def read_evidence(path: Path) -> Evidence:
    """What was learnt with a model; nothing where that cannot be read."""
    try:
        return Evidence.from_json(json.loads(read_file(path, MAX_FILE_BYTES)))
    except FileNotFoundError:
        return Evidence()
    except (OSError, ValueError, RecursionError) as error:
        log.warning("what the gate learnt is ignored: %s", error)
        return Evidence()


def add_evidence(path: Path, new: Evidence) -> None:
    """Add to what other windows have written. Raises OSError and TimeoutError."""
    from filelock import FileLock

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S, mode=0o600):
        learnt = (read_evidence(path) + new).faded()
        replace_file(path, json.dumps(learnt.to_json()))


def read_why(root: Path) -> list[Entry]:
    """The entries of all sessions that are kept, the oldest first."""
    found: list[Entry] = []
    for _, path in dated(why_folder(root)):
        if path.suffix != SUFFIX:
            continue
        try:
            content = json.loads(read_file(path, MAX_FILE_BYTES))
            if not isinstance(content, dict) or content.get("format") != FORMAT:
                raise ValueError("not of this format")
            found += [Entry.from_json(each) for each in content["entries"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("a session is left out: %s: %s", path, error)
    return sorted(found, key=lambda each: each.at_s)
