"""The thread that looks at documents, and who gives way to whom on it.

Owns: the `slm-context` thread, and the count of who waits for it.

Invariant: nobody waits for the thread past a deadline. What is only caught up with gives way
(it asks `is_wanted`), and is told to go on once nobody waits any more.

Threads: public methods on the event loop; `is_wanted` on the worker, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from slm_lsp.deadline import Deadline

log = logging.getLogger(__name__)

T = TypeVar("T")

# What gave way goes on that long after, behind what is asked for in answer to what was waited for.
CATCH_UP_S = 0.005


class WorkerClosed(Exception):
    """The completer was closed while somebody waited for its worker."""


class Worker:
    """See the module. Close it to end the thread."""

    def __init__(self, catch_up: Callable[[], None]) -> None:
        """`catch_up` is called on the event loop when what gave way may go on."""
        self.closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="slm-context")
        self._catch_up = catch_up
        self._later: asyncio.TimerHandle | None = None
        self._n_waiting = 0

    def is_wanted(self) -> bool:
        """Whether somebody waits, or is about to."""
        return self._n_waiting > 0

    def begin(self, call: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Work that nobody need wait for. Raises WorkerClosed."""
        if self.closed:
            raise WorkerClosed
        work = asyncio.get_running_loop().run_in_executor(self._thread, call, *args)
        work.add_done_callback(_look_at)
        return work

    def submit(self, call: Callable[..., object], *args: Any) -> None:
        """Have something done in its turn, unless the worker is closed."""
        if not self.closed:
            self._thread.submit(_logged, call, *args)

    async def wait(self, deadline: Deadline, call: Callable[..., T], *args: Any) -> T | None:
        """The result of work that a request waits for; None if it is not done in time.

        Raises WorkerClosed.
        """
        work = self.begin(call, *args)
        self._n_waiting += 1
        work.add_done_callback(self._done)
        return await result_of(work, deadline)

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """What is only caught up with gives way meanwhile: somebody is about to ask."""
        self._n_waiting += 1
        try:
            yield
        finally:
            self._done()

    def close(self) -> None:
        """End the thread."""
        self.closed = True
        if self._later is not None:
            self._later.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _done(self, _: asyncio.Future[Any] | None = None) -> None:
        self._n_waiting -= 1
        if self._later is None and not self.closed:
            self._later = asyncio.get_running_loop().call_later(CATCH_UP_S, self._go_on)

    def _go_on(self) -> None:
        self._later = None
        self._catch_up()


async def result_of(work: asyncio.Future[T], deadline: Deadline) -> T | None:
    """The work's result, None if it is not done in time. Raises WorkerClosed."""
    try:
        await asyncio.wait({work}, timeout=max(0.0, deadline.remaining_ms() / 1e3))
    except asyncio.CancelledError:
        work.cancel()
        raise
    if not work.done():
        work.cancel()
        return None
    if work.cancelled():
        raise WorkerClosed
    return work.result()


def _look_at(work: asyncio.Future[Any]) -> None:
    """Retrieve an exception that nobody may be waiting for any more."""
    if not work.cancelled():
        work.exception()


def _logged(call: Callable[..., object], *args: Any) -> None:
    """Call; an exception would otherwise stay in a future that nobody looks at."""
    try:
        call(*args)
    except Exception:
        log.exception("a document could not be looked at")
