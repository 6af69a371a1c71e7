"""Measuring one model file, in a process of its own.

Owns: which steps are timed and how often; memory, as this process holds the one model only.

Invariant: choices of threads take turns, round by round, so that a machine whose speed drifts
treats them alike; medians are kept. A round more is begun only where it fits the plan's time.

Threads: the child's main thread.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Protocol

from slm_lsp.deadline import SYSTEM_CLOCK, Clock
from slm_lsp.tune.measurement import NEW_TOKENS, SIZES, Measurement, Plan, to_json

# Single tokens written in a round, and what is read before them.
N_WRITES = 6
WRITE_BEFORE = 16
CHUNK = SIZES[-1]

Report = Callable[[str, float], None]


class Steps(Protocol):
    """What of a LlamaDecoder is measured."""

    def use_threads(self, n_threads: int, n_threads_batch: int) -> None: ...
    def truncate(self, n_tokens: int) -> int: ...
    def feed(self, tokens: Sequence[int], n_picks: int = 1) -> None: ...
    def pick(self) -> tuple[int, float]: ...
    def close(self) -> None: ...


class Trial:
    """The times of one model's steps; see the module."""

    def __init__(self, steps: Steps, plan: Plan, clock: Clock, started_ms: float) -> None:
        self._steps, self._plan, self._clock = steps, plan, clock
        self._started_ms = started_ms
        self.reads: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.writes: dict[int, list[float]] = defaultdict(list)
        self.n_rounds = 0
        self.step_slope_ms = self.write_slope_ms = 0.0

    def run(self, report: Report) -> None:
        """All rounds, and then the deep end of a prompt."""
        # The first step reads the file and says nothing of the speed.
        self._steps.use_threads(self._plan.decode_threads[-1], self._plan.batch_threads[-1])
        self._feed(SIZES[1])
        for i in range(self._plan.n_rounds):
            begun_ms = self._spent_ms()
            self._round()
            self.n_rounds += 1
            report(f"round {i + 1} of {self._plan.n_rounds}", (i + 1) / (self._plan.n_rounds + 1))
            round_ms = self._spent_ms() - begun_ms
            if self._spent_ms() + round_ms > 0.7 * self._plan.limit_ms:
                break
        self._deep()
        report("done", 1.0)

    def _spent_ms(self) -> float:
        return self._clock.now_ms() - self._started_ms

    def _round(self) -> None:
        # All cores first: where there is no time for more, that is what is used.
        for n_threads in sorted(self._plan.batch_threads, reverse=True):
            self._steps.use_threads(self._plan.decode_threads[0], n_threads)
            self._empty()
            self._feed(NEW_TOKENS)  # wakes the threads
            for size in SIZES:
                last = self.reads[n_threads][size // 4] if size == CHUNK else []
                if last and 4 * last[-1] > self._plan.limit_ms - self._spent_ms():
                    break  # so slow a model keeps no budget anyway
                self._empty()
                self.reads[n_threads][size].append(self._feed(size))
        for n_threads in sorted(self._plan.decode_threads):
            self.writes[n_threads] += self._write(n_threads, WRITE_BEFORE)

    def _write(self, n_threads: int, n_before: int) -> list[float]:
        """The times of single tokens, each with the choice of the next."""
        self._steps.use_threads(n_threads, self._plan.batch_threads[-1])
        if n_before == WRITE_BEFORE:
            self._empty()
            self._feed(n_before)
        self._feed(1)
        return [self._feed(1) for _ in range(N_WRITES)]

    def _deep(self) -> None:
        """How much longer steps take at the end of a prompt than at its beginning."""
        n_threads, n_batch = self._plan.decode_threads[0], self._plan.batch_threads[-1]
        self._steps.use_threads(n_threads, n_batch)
        self._empty()
        n_most = min(self._plan.prompt_tokens, self._plan.n_ctx - N_WRITES - 2)
        times: list[float] = []
        while (len(times) + 1) * CHUNK <= n_most:
            expected_ms = times[-1] if times else 0.0
            if self._spent_ms() + expected_ms > 1.2 * self._plan.limit_ms:
                break
            times.append(self._feed(CHUNK))
        n_before = len(times) * CHUNK
        if len(times) >= 2:
            # Differences of neighbours would be noise: the last against the first.
            longer_ms = (times[-1] - times[0]) / CHUNK
            self.step_slope_ms = max(0.0, longer_ms / (n_before - CHUNK))
        if n_before > WRITE_BEFORE:
            deep_ms = statistics.median(self._write(n_threads, n_before))
            shallow_ms = statistics.median(self.writes[n_threads])
            self.write_slope_ms = max(0.0, (deep_ms - shallow_ms) / (n_before - WRITE_BEFORE))

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


def spread_of(series: Sequence[Sequence[float]]) -> float:
    """How far measurements of the same thing lie apart, as a share of their median."""
    shares = []
    for times in series:
        if len(times) >= 2:
            low, _, high = statistics.quantiles(times, n=4, method="inclusive")
            shares.append((high - low) / statistics.median(times))
    return statistics.median(shares) if shares else 0.0


def measurement_of(trial: Trial, plan: Plan, n_ctx: int) -> Measurement:
    """Medians of what was timed; memory and load are the caller's to add."""
    series = [
        *trial.writes.values(),
        *(t for sizes in trial.reads.values() for t in sizes.values()),
    ]
    return Measurement(
        step_ms={
            threads: {size: statistics.median(times) for size, times in sizes.items() if times}
            for threads, sizes in trial.reads.items()
        },
        write_ms={threads: statistics.median(times) for threads, times in trial.writes.items()},
        step_slope_ms=trial.step_slope_ms,
        write_slope_ms=trial.write_slope_ms,
        n_ctx=n_ctx,
        rss_bytes=0,
        pss_bytes=0,
        n_rounds=trial.n_rounds,
        spread=spread_of(series),
    )


def measure(plan: Plan, report: Report, clock: Clock = SYSTEM_CLOCK) -> Measurement:
    """Load and measure. Raises ModelLoadError, and RuntimeError where a step fails."""
    import dataclasses
    from pathlib import Path

    from slm_lsp.engine.llama import LlamaDecoder
    from slm_lsp.tune.machine import Usage, own_memory

    started_ms = clock.now_ms()
    # As the server opens it, so that memory is what the server will take.
    decoder = LlamaDecoder(
        Path(plan.path),
        plan.name,
        n_ctx=plan.n_ctx,
        n_threads=plan.decode_threads[0],
        n_threads_batch=plan.batch_threads[-1],
    )
    try:
        load_ms = clock.now_ms() - started_ms
        usage = Usage()
        trial = Trial(decoder, plan, clock, clock.now_ms())
        trial.run(report)
        rss_bytes, pss_bytes = own_memory()
        return dataclasses.replace(
            measurement_of(trial, plan, decoder.info.n_ctx),
            rss_bytes=rss_bytes,
            pss_bytes=pss_bytes,
            load_ms=load_ms,
            other_cores=usage.other_cores(),
        )
    finally:
        decoder.close()


def main(plan_json: str) -> int:
    """The child: a line of JSON for each report, and a last one with the result or what failed."""
    import signal

    from slm_lsp.engine.base import ModelLoadError

    # Ctrl-C reaches the parent, too, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def say(message: dict[str, object]) -> None:
        # Raises where nobody reads any more: the parent is gone, and so shall be this.
        print(json.dumps(message), flush=True)

    try:
        plan = Plan.from_json(json.loads(plan_json))
        found = measure(plan, lambda text, done: say({"doing": text, "done": done}))
        say({"result": to_json(found)})
    except (ModelLoadError, RuntimeError) as error:
        say({"failed": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
