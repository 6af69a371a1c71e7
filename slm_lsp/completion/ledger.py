"""Keeps a session's counters on the disk, so that `slm-lsp stats` can show them.

Owns: what is gathered, and when: every few minutes, as editors do not always let a server end by
itself, and at the end.

Invariant: the event loop gathers (some ten microseconds) and never touches the disk; nothing
is written before the first request, nor again before anything has happened since.

Threads: the event loop, and once it has ended the main thread; `flush` a thread of its own.
"""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

from slm_lsp.completion.completer import Completer
from slm_lsp.completion.session_counts import SessionCounts
from slm_lsp.completion.sessions_file import SessionFile

SAVE_EVERY_S = 180.0
# A daemon answers sooner when it is asked for its counters.
FIRST_LOOK_S = 0.2


class CpuMeter:
    """What a process spends from the first look at its counter to the last.

    A counter that went back is another process's, which began since. One at zero was not told yet.
    """

    def __init__(self) -> None:
        self.spent_s = 0.0
        self._last_s: float | None = None

    def look(self, cpu_s: float) -> None:
        """Take a reading of the process's counter."""
        if cpu_s <= 0.0:
            return
        if self._last_s is not None:
            self.spent_s += cpu_s - self._last_s if cpu_s >= self._last_s else cpu_s
        self._last_s = cpu_s


class Ledger:
    """See the module. Make it within a running event loop, and `end` it."""

    def __init__(self, completer: Completer, folder: Path) -> None:
        self._completer = completer
        self._file = SessionFile(folder)
        # In the server itself the engine's time is the server's.
        self._daemon = CpuMeter() if completer.config.engine == "daemon" else None
        self._n_offered = 0
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(SAVE_EVERY_S, self._tick)

    def ready(self) -> None:
        """The engine has become ready: what its process spends from now on counts."""
        # The first look asks the daemon, and the second one sees what it said.
        self._look()
        self._loop.call_later(FIRST_LOOK_S, self._look)

    def end(self) -> None:
        """Gather for the last time; `flush` writes it."""
        self._timer.cancel()
        self._look()
        if self._n_events():
            self._file.offer(self._counts())

    def flush(self) -> None:
        """Write what was gathered last."""
        self._file.flush()

    def _tick(self) -> None:
        self._look()
        if (n_events := self._n_events()) > self._n_offered:
            self._n_offered = n_events
            self._file.offer(self._counts())
            threading.Thread(target=self.flush, name="slm-sessions", daemon=True).start()
        self._timer = self._loop.call_later(SAVE_EVERY_S, self._tick)

    def _look(self) -> None:
        if self._daemon is not None:
            self._daemon.look(self._completer.engine.stats().cpu_s)

    def _n_events(self) -> int:
        """Grows whenever something happens that is counted."""
        tally, trace = self._completer.tally, self._completer.trace
        return trace.n_requests + tally.n_shown + tally.n_accepted

    def _counts(self) -> SessionCounts:
        tally, trace = self._completer.tally, self._completer.trace
        return SessionCounts(
            trace.n_requests,
            tally.n_shown,
            tally.n_accepted,
            dict(tally.origins),
            dict(trace.rejects),
            tally.answered_ms.copy(),
            tally.suggested_ms.copy(),
            time.process_time(),
            self._daemon.spent_s if self._daemon else 0.0,
        )
