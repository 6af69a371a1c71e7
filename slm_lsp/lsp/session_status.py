"""What a session is doing, for a status bar; and its pauses.

Owns: the status object (docs/protocol.md), to whom it is sent and when, and the timer of a pause.

Invariant: sent to clients that asked for it only, and only when it is another one; it holds no
source text. A pause ends by itself where a time was given.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp

from slm_lsp.deadline import wall_s
from slm_lsp.types import EngineState

if TYPE_CHECKING:
    from slm_lsp.lsp.server import SlmServer

STATUS_NOTIFICATION = "slm-lsp/status"
CAPABILITY = "slmLspStatus"
MAX_PAUSE_MINUTES = 7 * 24 * 60.0


class SessionStatus:
    """See the module."""

    def __init__(self, server: SlmServer) -> None:
        self._server = server
        self._is_wanted = False
        self._message = ""
        self._percentage: int | None = None
        self._paused_until_s: float | None = None
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._last_sent: dict[str, Any] = {}

    @property
    def is_paused(self) -> bool:
        """Whether the user wants nothing to be suggested."""
        return self._paused

    def initialized_with(self, capabilities: lsp.ClientCapabilities) -> None:
        """Take what the client can show."""
        experimental = capabilities.experimental
        self._is_wanted = isinstance(experimental, dict) and bool(experimental.get(CAPABILITY))

    def loading(self, message: str, done: float | None) -> None:
        """How far the loading is; `done` is a share of 1."""
        self._message = message
        self._percentage = None if done is None else max(0, min(100, int(done * 100)))
        self.changed()

    def loaded(self) -> None:
        """The loading has ended, one way or the other."""
        self._message, self._percentage = "", None
        self.changed()

    def pause(self, minutes: float | None) -> None:
        """Suggest nothing for so long, or until resumed."""
        self._end_timer()
        self._paused, self._paused_until_s = True, None
        if minutes is not None:
            seconds = max(0.0, min(minutes, MAX_PAUSE_MINUTES)) * 60.0
            self._paused_until_s = round(wall_s() + seconds, 3)
            self._timer = asyncio.get_running_loop().call_later(seconds, self.resume)
        self._apply()

    def resume(self) -> None:
        """Go on."""
        self._end_timer()
        self._paused, self._paused_until_s = False, None
        self._apply()

    def close(self) -> None:
        """The session ends."""
        self._end_timer()

    def now(self) -> dict[str, Any]:
        """The status object."""
        completer = self._server.completer
        engine = completer.engine if completer is not None else None
        state = str(engine.state if engine is not None else EngineState.LOADING)
        last = completer.recent.last() if completer is not None else None
        is_answered = last is not None and not last.is_given_up
        return {
            "state": "paused" if self._paused else state,
            "model": engine.info.name if engine is not None and engine.info is not None else "",
            "message": (engine.failure if engine is not None else None) or self._message,
            "percentage": self._percentage,
            "paused_until_s": self._paused_until_s,
            "last_ms": last.request_ms if last is not None and is_answered else None,
            "last_reject": last.reject if last is not None and is_answered else "",
        }

    def changed(self) -> None:
        """Something may be different: send it, if so, to who wants it."""
        if not self._is_wanted:
            return
        status = self.now()
        if status != self._last_sent:
            self._last_sent = status
            self._server.protocol.notify(STATUS_NOTIFICATION, status)

    def _apply(self) -> None:
        if self._server.completer is not None:
            self._server.completer.pause(self._paused)
        self.changed()

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
