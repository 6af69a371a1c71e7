"""Work-done progress while the model is obtained and loaded.

Owns: one progress token. Invariant: nothing is sent to a client that did not declare
`window.workDoneProgress`, and a begun progress is always ended.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from lsprotocol import types as lsp

if TYPE_CHECKING:
    from slm_lsp.lsp.server import SlmServer

log = logging.getLogger(__name__)

TOKEN = "slm-lsp/load"


class LoadProgress:
    """The progress of one load."""

    def __init__(self, server: SlmServer) -> None:
        self._server = server
        self._begun = False
        self._ended = False
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Open the progress, if the client can show one."""
        window = self._server.client_capabilities.window
        if window is not None and window.work_done_progress:
            self._task = asyncio.get_running_loop().create_task(self._begin())

    async def _begin(self) -> None:
        progress = self._server.work_done_progress
        try:
            await progress.create_async(TOKEN)
        except Exception as error:
            log.warning("the client refused a progress: %s", error)
            return
        # A small model may be loaded before the client has answered.
        if not self._ended:
            self._begun = True
            progress.begin(
                TOKEN, lsp.WorkDoneProgressBegin(title="slm-lsp", message="loading the model")
            )

    def report(self, message: str, done: float | None) -> None:
        """Say how far it is; `done` is a share of 1."""
        if self._begun and not self._ended:
            percentage = None if done is None else max(0, min(100, int(done * 100)))
            self._server.work_done_progress.report(
                TOKEN, lsp.WorkDoneProgressReport(message=message, percentage=percentage)
            )

    def end(self, message: str) -> None:
        """Close the progress."""
        if self._begun and not self._ended:
            self._server.work_done_progress.end(TOKEN, lsp.WorkDoneProgressEnd(message=message))
        self._ended = True
