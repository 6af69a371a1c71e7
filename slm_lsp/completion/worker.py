"""The thread that looks at documents, and who gives way to whom on it.

Owns: the `slm-context` thread, and the count of who waits for it. A request is handed over twice,
so this is done with no more than a queue: an executor's futures, their locks and what chains them
to the loop's took 0.1 to 0.2 ms each time.

Invariant: nobody waits for the thread past a deadline. What is only caught up with gives way
(it asks `is_wanted`), and is told to go on once nobody waits any more. Python's collector gives
way, too: a run takes up to 5 ms, and finds no more in a hurry than after it.

Threads: public methods on the event loop; `is_wanted` on the worker, too.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from slm_lsp.deadline import Deadline

log = logging.getLogger(__name__)

T = TypeVar("T")

# What gave way goes on that long after, behind what is asked for in answer to what was waited for.
CATCH_UP_S = 0.005


class WorkerClosed(Exception):
    """The completer was closed while somebody waited for its worker."""


class _Job(NamedTuple):
    """A call, and who is told of its result, if anybody is."""

    call: Callable[..., Any]
    args: tuple[Any, ...]
    told: asyncio.Future[Any] | None

    def run(self) -> None:
        """Call. An exception that nobody is told of is logged."""
        told, result, failed = self.told, None, None
        if told is not None and told.done():
            return
        try:
            result = self.call(*self.args)
        except BaseException as error:
            failed = error
            if told is None:
                log.exception("a document could not be looked at")
        if told is not None:
            with suppress(RuntimeError):  # the loop is closed, and nobody is waiting
                told.get_loop().call_soon_threadsafe(_settle, told, result, failed)


class Worker:
    """See the module. Close it to end the thread."""

    def __init__(self, catch_up: Callable[[], None]) -> None:
        """`catch_up` is called on the event loop when what gave way may go on."""
        self.closed = False
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
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
        work: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        work.add_done_callback(_look_at)
        self._put(_Job(call, args, work))
        return work

    def submit(self, call: Callable[..., object], *args: Any) -> None:
        """Have something done in its turn, unless the worker is closed."""
        if not self.closed:
            self._put(_Job(call, args, None))

    async def wait(self, deadline: Deadline, call: Callable[..., T], *args: Any) -> T | None:
        """The result of work that a request waits for; None if it is not done in time.

        Raises WorkerClosed.
        """
        work = self.begin(call, *args)
        self._hurry()
        work.add_done_callback(self._done)
        return await result_of(work, deadline)

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """What is only caught up with gives way meanwhile: somebody is about to ask."""
        self._hurry()
        try:
            yield
        finally:
            self._done()

    def close(self) -> None:
        """End the thread; who waits is told so."""
        self.closed = True
        if self._later is not None:
            self._later.cancel()
        with suppress(Empty):
            while True:
                job = self._jobs.get_nowait()
                told = job.told if job is not None else None
                # Where the loop has ended nobody waits.
                if told is not None and not told.get_loop().is_closed():
                    _settle(told, None, WorkerClosed())
        self._jobs.put(None)

    def _put(self, job: _Job) -> None:
        # Begun here, as a process that is forked has none of its parent's threads. It ends with
        # the program, whether or not somebody closes it.
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="slm-context", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            del job  # what it holds of a document may go while nothing is to be done

    def _hurry(self) -> None:
        self._n_waiting += 1
        gc.disable()

    def _done(self, _: asyncio.Future[Any] | None = None) -> None:
        self._n_waiting -= 1
        if not self._n_waiting:
            gc.enable()
        if self._later is None and not self.closed:
            self._later = asyncio.get_running_loop().call_later(CATCH_UP_S, self._go_on)

    def _go_on(self) -> None:
        self._later = None
        self._catch_up()


async def result_of(work: asyncio.Future[T], deadline: Deadline) -> T | None:
    """The work's result, None if it is not done in time. Raises WorkerClosed."""
    left_s = max(0.0, deadline.remaining_ms() / 1e3)
    timer = asyncio.get_running_loop().call_later(left_s, _settle, work, None, None)
    try:
        return await work
    finally:
        timer.cancel()


def _settle(work: asyncio.Future[Any], result: Any, failed: BaseException | None) -> None:
    """Say what came of work, unless somebody has given it up."""
    if work.done():
        return
    if failed is not None:
        work.set_exception(failed)
    else:
        work.set_result(result)


def _look_at(work: asyncio.Future[Any]) -> None:
    """Retrieve an exception that nobody may be waiting for any more."""
    if not work.cancelled():
        work.exception()
