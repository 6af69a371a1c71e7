"""A session sees to it that a process is ready for the next one.

Owns: when. A while after the engine began to load, as a first start is over by then or hardly
minds; at the session's end where that comes first.

Invariant: once a session; nothing is imported before.

Threads: the event loop, and the main thread once the loop has ended.
"""

from __future__ import annotations

from slm_lsp.config import Config

AFTER_S = 2.0


class Provision:
    """See the module. Nothing is done without `begin`."""

    def __init__(self) -> None:
        self._idle_minutes: float | None = None

    def begin(self, config: Config) -> None:
        """In a while, if the settings want it."""
        if config.keep_ready == "off" or config.engine != "daemon":
            return
        import asyncio

        self._idle_minutes = config.daemon_idle_minutes
        asyncio.get_running_loop().call_later(AFTER_S, self._in_the_background)

    def _in_the_background(self) -> None:
        if self._idle_minutes is not None:
            import threading

            from slm_lsp.ready.launch import ensure

            args, self._idle_minutes = (self._idle_minutes,), None
            threading.Thread(target=ensure, args=args, daemon=True).start()

    def end(self) -> None:
        """Now, if it has not been done."""
        if self._idle_minutes is not None:
            from slm_lsp.ready.launch import ensure

            ensure(self._idle_minutes, wait=False)
