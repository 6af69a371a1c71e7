"""Measuring one model file, in a process of its own and in turns.

Owns: which steps are timed; memory, as this process holds the one model only.

Invariant: nothing is computed between turns, so that whoever else has one meanwhile has the cores.
Within a turn choices of threads follow each other, so that a machine whose speed drifts treats
them alike.

Threads: the child's main thread.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from slm_lsp.deadline import SYSTEM_CLOCK, Clock
from slm_lsp.tune.measurement import NEW_TOKENS, SIZES, Plan, Turn, to_json

# Single tokens written in a round, and what is read before them.
N_WRITES = 6
WRITE_BEFORE = 16
CHUNK = SIZES[-1]


class Steps(Protocol):
    """What of a LlamaDecoder is measured."""

    def use_threads(self, n_threads: int, n_threads_batch: int) -> None: ...
    def truncate(self, n_tokens: int) -> int: ...
    def feed(self, tokens: Sequence[int], n_picks: int = 1) -> None: ...
    def pick(self) -> tuple[int, float]: ...
    def close(self) -> None: ...


class Trial:
    """The times of one model's steps; see the module."""

    def __init__(self, steps: Steps, plan: Plan, clock: Clock) -> None:
        self._steps, self._plan, self._clock = steps, plan, clock
        self._began_ms = 0.0
        # The first step reads the file and says nothing of the speed.
        self._steps.use_threads(self._plan.decode_threads[-1], self._plan.batch_threads[-1])
        self._feed(SIZES[1])

    def round(self, left_ms: float) -> Turn:
        """Steps of each size and single tokens, with each choice of threads. What would take longer
        than is left is left out."""
        self._began_ms = self._clock.now_ms()
        reads: dict[int, dict[int, float]] = {}
        # All cores first: where there is no time for more, that is what is used.
        for n_threads in sorted(self._plan.batch_threads, reverse=True):
            self._steps.use_threads(self._plan.decode_threads[0], n_threads)
            self._empty()
            self._feed(NEW_TOKENS)  # wakes the threads
            sizes = reads.setdefault(n_threads, {})
            for size in SIZES:
                if size == CHUNK and 4 * sizes[size // 4] > left_ms - self._spent_ms():
                    break  # so slow a model keeps no budget anyway
                self._empty()
                sizes[size] = self._feed(size)
        writes = {n: self._write(n, WRITE_BEFORE) for n in sorted(self._plan.decode_threads)}
        return Turn(reads=reads, writes=writes, took_ms=self._spent_ms())

    def deep(self, left_ms: float) -> Turn:
        """How much longer steps take at the end of a prompt than at its beginning."""
        self._began_ms = self._clock.now_ms()
        n_threads, n_batch = self._plan.decode_threads[0], self._plan.batch_threads[-1]
        self._steps.use_threads(n_threads, n_batch)
        self._empty()
        n_most = min(self._plan.prompt_tokens, self._plan.n_ctx - N_WRITES - 2)
        times: list[float] = []
        while (len(times) + 1) * CHUNK <= n_most:
            if self._spent_ms() + (times[-1] if times else 0.0) >= left_ms:
                break
            times.append(self._feed(CHUNK))
        writes = self._write(n_threads, len(times) * CHUNK) if times else []
        return Turn(chunks=times, deep_writes=writes, took_ms=self._spent_ms())

    def _spent_ms(self) -> float:
        return self._clock.now_ms() - self._began_ms

    def _write(self, n_threads: int, n_before: int) -> list[float]:
        """The times of single tokens, each with the choice of the next."""
        self._steps.use_threads(n_threads, self._plan.batch_threads[-1])
        if n_before == WRITE_BEFORE:
            self._empty()
            self._feed(n_before)
        self._feed(1)
        return [self._feed(1) for _ in range(N_WRITES)]

    def _empty(self) -> None:
        self._steps.truncate(0)

    def _feed(self, n_tokens: int) -> float:
        """How long a step of so many tokens and the choice of the next one take."""
        # Which tokens they are makes no difference to the time.
        tokens = list(range(300, 300 + n_tokens))
        started_ms = self._clock.now_ms()
        self._steps.feed(tokens)
        self._steps.pick()
        return self._clock.now_ms() - started_ms


class LoadedModel:
    """A model in this process, and what a turn of it gives. Raises ModelLoadError."""

    def __init__(self, plan: Plan, clock: Clock = SYSTEM_CLOCK) -> None:
        from pathlib import Path

        from slm_lsp.engine.llama import LlamaDecoder

        started_ms = clock.now_ms()
        # As the server opens it, so that memory is what the server will take.
        self._decoder = LlamaDecoder(
            Path(plan.path),
            plan.name,
            n_ctx=plan.n_ctx,
            n_threads=plan.decode_threads[0],
            n_threads_batch=plan.batch_threads[-1],
        )
        self._load_ms = clock.now_ms() - started_ms
        self._trial = Trial(self._decoder, plan, clock)

    def turn(self, kind: str, left_ms: float) -> Turn:
        """One turn. Raises RuntimeError where a step fails."""
        from slm_lsp.tune.machine import Usage, own_memory

        usage = Usage()
        timed = self._trial.deep(left_ms) if kind == "deep" else self._trial.round(left_ms)
        others_ms = usage.others_ms()
        rss_bytes, pss_bytes = own_memory()
        return replace(
            timed,
            load_ms=self._load_ms,
            others_ms=others_ms,
            n_ctx=self._decoder.info.n_ctx,
            rss_bytes=rss_bytes,
            pss_bytes=pss_bytes,
        )

    def close(self) -> None:
        """Free it."""
        self._decoder.close()


def main(plan_json: str) -> int:
    """The child: a line of JSON in for each turn, and one out with what it gave or what failed.
    It ends with its input."""
    import signal

    from slm_lsp.engine.base import ModelLoadError

    # Ctrl-C reaches the parent, too, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def say(message: dict[str, object]) -> None:
        # Raises where nobody reads any more: the parent is gone, and so shall be this.
        print(json.dumps(message), flush=True)

    try:
        model = LoadedModel(Plan.from_json(json.loads(plan_json)))
        for line in sys.stdin:
            wanted = json.loads(line)
            say({"turn": to_json(model.turn(wanted["kind"], wanted["left_ms"]))})
        model.close()
    except (ModelLoadError, RuntimeError) as error:
        say({"failed": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
