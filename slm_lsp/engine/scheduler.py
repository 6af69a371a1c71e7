"""The Scheduler: an Engine that owns one Decoder on one thread.

Owns: the queue of jobs, who runs next, and the thread on which every native call is made.
The latest INTERACTIVE job of a session supersedes its older ones; a job whose deadline
has passed or that was cancelled never starts; lower priorities run when nothing else waits
and give way at the next step.

Invariant: every submitted job is settled exactly once. Nothing outside `_work` touches the
decoder. The lock guards the queue only and is never held during a native call.

Threads: `submit`, `generate`, `close` and the properties from any; `_work` on its own.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError

from slm_lsp.deadline import SYSTEM_CLOCK, Cancelled, Clock
from slm_lsp.engine.base import (
    Decoder,
    EngineStats,
    EngineUnavailable,
    ModelLoadError,
    PromptError,
    Superseded,
)
from slm_lsp.engine.run import Run, Sequence
from slm_lsp.types import (
    EngineState,
    Finish,
    Generation,
    GenerationRequest,
    ModelInfo,
    Priority,
)

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 5.0


class Job:
    """A request in the queue or running, and the promise of its answer."""

    def __init__(self, request: GenerationRequest) -> None:
        self.request = request
        self.future: Future[Generation] = Future()
        self.run: Run | None = None

    def settle(self, outcome: Generation | Exception) -> bool:
        """Answer, unless somebody has already; tell whether this was the answer."""
        if self.future.done():
            return False
        try:
            if isinstance(outcome, Exception):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)
        except InvalidStateError:  # another thread was first
            return False
        return True

    def stop(self, reason: Exception) -> None:
        """Answer at once and let the running step, if any, be the last."""
        if self.settle(reason):
            self.request.cancel.cancel()

    def partial(self) -> Generation:
        """What there is so far, as if the deadline had passed now."""
        return self.run.partial() if self.run else Generation("", Finish.DEADLINE)


class Scheduler:
    """An Engine whose native work is done by one thread, in the order described above."""

    def __init__(
        self,
        load: Callable[[], Decoder],
        clock: Clock = SYSTEM_CLOCK,
        on_state: Callable[[EngineState], None] | None = None,
    ) -> None:
        self._load = load
        self._clock = clock
        self._on_state = on_state
        self._stats = EngineStats()
        self._state = EngineState.LOADING
        self._failure: str | None = None
        self._info: ModelInfo | None = None
        self._sequence: Sequence | None = None
        self._jobs: list[Job] = []
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def state(self) -> EngineState:
        return self._state

    @property
    def failure(self) -> str | None:
        return self._failure

    @property
    def info(self) -> ModelInfo | None:
        return self._info

    def stats(self) -> EngineStats:
        with self._changed:
            n_queued = len(self._jobs) + (self._running is not None)
        return dataclasses.replace(self._stats, n_queued=n_queued)

    def start(self) -> None:
        """Load the model and begin to serve, on a thread of its own."""
        # A daemon thread: a native call that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._work, name="slm-engine", daemon=True)
        self._thread.start()

    async def generate(self, request: GenerationRequest) -> Generation:
        """See Engine. Never waits past the deadline, even if a native step does."""
        job = self.submit(request)
        answer = asyncio.wrap_future(job.future)
        answer.add_done_callback(_retrieve)
        try:
            await asyncio.wait({answer}, timeout=max(0.0, request.deadline.remaining_ms() / 1e3))
            if job.future.done():
                return job.future.result()
            request.cancel.raise_if_cancelled()
            return job.partial()
        finally:
            if not job.future.done():
                request.cancel.cancel()

    def submit(self, request: GenerationRequest) -> Job:
        """Queue a request. Raises EngineUnavailable where no answer could come."""
        job = Job(request)
        with self._changed:
            if self._state is not EngineState.READY:
                raise EngineUnavailable(self._failure or f"model {self._state}")
            self._stats.n_requests += 1
            self._make_way(request)
            self._jobs.append(job)
            self._changed.notify()
        return job

    def _make_way(self, new: GenerationRequest) -> None:
        """Stop what a new request makes pointless or must not wait for."""
        for job in self._jobs_held():
            old = job.request
            both_interactive = old.priority is new.priority is Priority.INTERACTIVE
            if both_interactive and old.session == new.session:
                job.stop(Superseded())
            elif job is self._running and old.priority > new.priority:
                job.stop(Cancelled())

    def _jobs_held(self) -> list[Job]:
        return [*self._jobs, *([self._running] if self._running else [])]

    def close(self) -> None:
        """Stop the thread; everything still waiting gets EngineUnavailable."""
        with self._changed:
            self._state = EngineState.CLOSED
            for job in self._jobs_held():
                job.stop(EngineUnavailable("the engine was closed"))
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(CLOSE_TIMEOUT_S)

    # --- the engine's thread ---

    def _work(self) -> None:
        self.load()
        while self._state is EngineState.READY:
            with self._changed:
                while not self._jobs and self._state is EngineState.READY:
                    self._changed.wait()
            self.run_next()
        while self.run_next():  # settled by `close`; this only counts them
            pass
        if self._sequence is not None:
            self._sequence.decoder.close()

    def load(self) -> None:
        """Load the model; tests without a thread call this and `run_next` themselves."""
        try:
            decoder = self._load()
        except Exception as error:
            if not isinstance(error, ModelLoadError):
                log.exception("the model could not be loaded")
            self._failure = str(error) or repr(error)
            self._become(EngineState.FAILED)
            return
        self._sequence = Sequence(decoder, self._clock, self._stats)
        self._info = decoder.info
        self._become(EngineState.READY)

    def _become(self, state: EngineState) -> None:
        with self._changed:
            if self._state is EngineState.CLOSED:
                return
            self._state = state
        try:
            if self._on_state is not None:
                self._on_state(state)
        except Exception:  # the listener's own fault; the engine goes on
            log.exception("nobody could be told that the engine is %s", state)

    def run_next(self) -> bool:
        """Settle the job that is next, if any."""
        with self._changed:
            if not self._jobs:
                return False
            job = min(self._jobs, key=lambda job: job.request.priority)
            self._jobs.remove(job)
            self._running = job
        try:
            job.settle(self._answer(job))
        finally:
            with self._changed:
                self._running = None
        return True

    def _answer(self, job: Job) -> Generation | Exception:
        request, stats = job.request, self._stats
        assert self._sequence is not None
        try:
            request.cancel.raise_if_cancelled()
            if request.deadline.expired():
                stats.n_expired += 1
                return Generation("", Finish.DEADLINE)
            job.run = Run(self._sequence, request, self._clock)
            generation = job.run.finish()
        except Cancelled as error:
            stats.n_cancelled += 1
            return error
        except PromptError as error:
            stats.n_failed += 1
            return error
        except Exception as error:
            log.exception("a native step failed")
            stats.n_failed += 1
            return EngineUnavailable(f"the model failed: {error}")
        stats.n_finished += 1
        return generation


def _retrieve(answer: asyncio.Future[Generation]) -> None:
    """Look at an exception that nobody may be waiting for any more."""
    if not answer.cancelled():
        answer.exception()
