"""The client's process: a session ends with it, even where its end of the pipes stays open.

Owns: the watch on the process that `initialize` names (LSP 3.17, `InitializeParams.processId`).

Invariant: costs nothing while the process lives. What names no process of this user when it is
told is not watched: for a server in a container it may be a number of the host's. Linux only;
elsewhere the end of stdin has to do.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable

log = logging.getLogger(__name__)


def watch(pid: int | None, gone: Callable[[], None]) -> None:
    """Have `gone` called once the process has ended."""
    if pid is None or not hasattr(os, "pidfd_open"):
        return
    try:
        fd = os.pidfd_open(pid)
    except (OSError, OverflowError) as error:
        log.debug("the client's process %s cannot be watched: %s", pid, error)
        return
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(fd)
        os.close(fd)
        gone()

    try:
        signal.pidfd_send_signal(fd, 0)
    except OSError as error:
        os.close(fd)
        log.debug("the client's process %s is not ours: %s", pid, error)
    else:
        loop.add_reader(fd, ended)
