"""The Scheduler: an Engine that owns one Decoder on one thread.

Owns: the queue of jobs, who runs next, and the thread on which every native call is made.
The latest INTERACTIVE job of a session supersedes its older ones; a job whose deadline
has passed or that was cancelled never starts; lower priorities run when nothing else waits
and give way at the next step: WARMUP is put back and goes on later, SPECULATIVE is cancelled.
A newer job of a document supersedes what prepared an older state of it (`jobs.fate`).

Invariant: every submitted job is settled exactly once. Nothing outside `_work` touches the
decoder. The lock guards the queue only and is never held during a native call. A job that is
put back is in the queue or running at any time, never both or neither.

Threads: `submit`, `generate`, `close` and the properties from any; `_work` on its own.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from slm_lsp.deadline import SYSTEM_CLOCK, Cancelled, Clock
from slm_lsp.engine.base import (
    Decoder,
    EngineStats,
    EngineUnavailable,
    ModelLoadError,
    PromptError,
    Superseded,
)
from slm_lsp.engine.draft import Odds
from slm_lsp.engine.jobs import Fate, Job, fate
from slm_lsp.engine.keeping import keep
from slm_lsp.engine.kv import KvCache
from slm_lsp.engine.kv_file import KvFiles
from slm_lsp.engine.rates_file import RatesFile, rates_path
from slm_lsp.engine.run import Preempted, Run
from slm_lsp.engine.warm_up import warm_up
from slm_lsp.types import EngineState, Finish, Generation, GenerationRequest, ModelInfo

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 5.0


class Scheduler:
    """An Engine whose native work is done by one thread, in the order described above."""

    def __init__(
        self,
        load: Callable[[], Decoder],
        clock: Clock = SYSTEM_CLOCK,
        on_state: Callable[[EngineState], None] | None = None,
        rates_folder: Path | None = None,
        drafts: bool = True,
        kv_folder: Path | None = None,
    ) -> None:
        """`load` runs on the engine's thread; measured rates are kept in `rates_folder`, and the
        warmest sequences in `kv_folder`."""
        self._load = load
        self._clock = clock
        self._on_state = on_state
        self._rates_folder = rates_folder
        self._kv_folder = kv_folder
        self._odds = Odds() if drafts else None
        self._rates_file: RatesFile | None = None
        self._stats = EngineStats()
        self._state = EngineState.LOADING
        self._failure: str | None = None
        self._info: ModelInfo | None = None
        self._kv: KvCache | None = None
        self._jobs: list[Job] = []
        self._abandoned: list[str] = []
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
        stats = dataclasses.replace(self._stats, n_queued=n_queued, cpu_s=time.process_time())
        if self._kv is not None:
            stats.prefill_ms_per_token = self._kv.rates.prefill_ms_per_token
            stats.decode_ms = self._kv.rates.decode_ms
        return stats

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

    def wanted(self) -> None:
        """See Engine. What has failed stays so."""

    def abandon(self, owner: str) -> None:
        """See Engine."""
        with self._changed:
            self._abandoned.append(owner)

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
            match fate(job.request, new, is_running=job is self._running):
                case Fate.SUPERSEDED:
                    job.stop(Superseded())
                case Fate.CANCELLED:
                    job.stop(Cancelled())
                case Fate.GIVES_WAY:
                    job.give_way()
                case Fate.STAYS:
                    pass

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
        if self._kv is not None:
            if self._rates_file is not None:
                self._rates_file.save(self._kv.rates)
            keep(self._kv, self._clock)
            self._kv.decoder.close()

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
        rates = None
        if self._rates_folder is not None:
            path = rates_path(self._rates_folder, decoder.info.name)
            self._rates_file = RatesFile(path, self._clock.now_ms())
            rates = self._rates_file.read()
        self._kv = KvCache(decoder, self._clock, self._stats, rates, self._odds)
        if rates is not None and not rates.is_measured:
            warm_up(self._kv, self._clock)
        if self._kv_folder is not None and decoder.kv_identity:
            self._kv.files = KvFiles(self._kv_folder, decoder.kv_identity, decoder.info.n_ctx)
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
            abandoned, self._abandoned = self._abandoned, []
        outcome: Generation | Exception | None = None
        try:
            for owner in abandoned:
                if self._kv is not None:
                    self._kv.abandon(owner)
            if (outcome := self._answer(job)) is not None:
                job.settle(outcome)
        finally:
            with self._changed:
                self._running = None
                if outcome is None:  # it gave way; it is next among its equals
                    job.give_way(False)
                    self._jobs.insert(0, job)
        if self._rates_file is not None and self._kv is not None:
            self._rates_file.save_if_due(self._kv.rates, self._clock.now_ms())
        return True

    def _answer(self, job: Job) -> Generation | Exception | None:
        """The job's outcome; None if it gave way."""
        request, stats = job.request, self._stats
        assert self._kv is not None
        try:
            request.cancel.raise_if_cancelled()
            if request.deadline.expired():
                stats.n_expired += 1
                return Generation("", Finish.DEADLINE)
            job.run = Run(self._kv, request, self._clock, job.gives_way)
            generation = job.run.finish()
        except Preempted:
            stats.n_preempted += 1
            return None
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
