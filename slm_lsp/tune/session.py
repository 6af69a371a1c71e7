"""One run of `slm-lsp tune`: all models measured, within a bounded time.

Owns: which models there is time and memory for, how much of it each gets, and the files made for
it. Whose turn it is to be measured is the rotation's.

Invariant: nothing is left behind, however it ends: files made here lie in one folder that goes with
the run, and what a run that was killed outright left is removed by the next. One run at a time.

Threads: the caller's.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from slm_lsp.deadline import SYSTEM_CLOCK, Clock
from slm_lsp.registry.steps import PullError, Requantize, requantize
from slm_lsp.tune.candidate import Candidate
from slm_lsp.tune.children import Child, MeasureError
from slm_lsp.tune.estimate import PROGRAM_BYTES, rough_memory
from slm_lsp.tune.find import FindError, Found
from slm_lsp.tune.measure import WRITE_BEFORE
from slm_lsp.tune.measurement import Plan
from slm_lsp.tune.rotation import Entrant, Load, Report, take_turns
from slm_lsp.tune.turns import measurement_of

PREFIX, LOCK = ".tune-", ".tune.lock"
# A model alone, and each further one.
TOTAL_MS, FURTHER_MS = 165_000.0, 60_000.0
QUICK_TOTAL_MS, QUICK_FURTHER_MS = 24_000.0, 8_000.0
EACH_MS, LEAST_MS = 25_000.0, 3_000.0
N_ROUNDS, N_QUICK_ROUNDS = 7, 3
# What requantizing and measuring leave free on the disk.
SPARE_BYTES = 500_000_000
# About what llama.cpp reads of a file that it requantizes, on 2 busy cores.
REQUANTIZED_BYTES_PER_MS = 25_000.0


@dataclass(frozen=True, slots=True)
class Scope:
    """How the models are measured."""

    n_ctx: int
    prompt_tokens: int
    decode_threads: tuple[int, ...]
    batch_threads: tuple[int, ...]
    memory_bytes: int
    quick: bool = False


@contextmanager
def working_folder(root: Path) -> Iterator[Path]:
    """A folder for this run, on the disk of the models; gone afterwards. Raises FindError."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with FileLock(root / LOCK, timeout=0):
            # Whoever holds the lock is alone, so any other belongs to a run that is dead.
            for folder in root.glob(f"{PREFIX}*/"):
                shutil.rmtree(folder, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=PREFIX, dir=root) as name:
                yield Path(name)
    except Timeout as error:
        raise FindError("another `slm-lsp tune` is measuring: wait until it is done") from error


@dataclass
class Session:
    """See the module. `made` are the requantized files that may be kept, by where they would be;
    they are there until the folder goes."""

    folder: Path
    scope: Scope
    report: Report
    load: Load | None = None
    requantizer: Requantize | None = None
    clock: Clock = SYSTEM_CLOCK

    def __post_init__(self) -> None:
        self.made: dict[Path, Path] = {}
        self._n_made = 0
        self._started_ms = self.clock.now_ms()
        self._ends_ms = 0.0

    def run(self, found: Sequence[Found]) -> list[Candidate]:
        """All of them, with figures or with what was in the way."""
        first, further = (
            (QUICK_TOTAL_MS, QUICK_FURTHER_MS) if self.scope.quick else (TOTAL_MS, FURTHER_MS)
        )
        n_models = len({each.source for each in found})
        self._ends_ms = self._started_ms + first + further * max(0, n_models - 1)
        done: dict[int, Candidate] = {}
        ready: list[tuple[Found, Entrant]] = []
        # What is there first; what has to be made only while there is time.
        for i, each in enumerate(sorted(found, key=lambda each: each.path is None)):
            label = f"{i + 1} of {len(found)}: {each.candidate.label}"
            try:
                self._check_memory(each.candidate)
                path = each.path or self._make(each, label, len(ready))
            except (MeasureError, PullError, OSError) as error:
                done[id(each)] = dataclasses.replace(each.candidate, trouble=str(error))
            else:
                ready.append((each, Entrant(self._plan(path, each.candidate), label)))
        self._measure(ready)
        done |= {id(each): self._measured(each, entrant) for each, entrant in ready}
        return [done[id(each)] for each in found]

    def _measure(self, ready: Sequence[tuple[Found, Entrant]]) -> None:
        together = sum(
            rough_memory(each.candidate, self.scope.n_ctx) + PROGRAM_BYTES for each, _ in ready
        )
        take_turns(
            [entrant for _, entrant in ready],
            self.load or Child,
            is_held=together <= self.scope.memory_bytes,
            n_rounds=N_QUICK_ROUNDS if self.scope.quick else N_ROUNDS,
            limit_ms=max(LEAST_MS, min(EACH_MS, self._left_ms() / max(1, len(ready)))),
            report=self.report,
        )

    def _measured(self, found: Found, entrant: Entrant) -> Candidate:
        path, candidate = Path(entrant.plan.path), found.candidate
        try:
            if entrant.trouble:
                raise MeasureError(entrant.trouble)
            measured = measurement_of(entrant.turns, WRITE_BEFORE)
            size_bytes = path.stat().st_size
            if found.path is None and found.keep_as is None:
                path.unlink()  # a pull makes it again, from the best source
        except (MeasureError, ValueError, OSError) as error:
            return dataclasses.replace(candidate, trouble=str(error))
        return dataclasses.replace(candidate, measured=measured, file_bytes=size_bytes)

    def _left_ms(self) -> float:
        return self._ends_ms - self.clock.now_ms()

    def _check_memory(self, candidate: Candidate) -> None:
        if candidate.file_bytes > self.scope.memory_bytes:
            raise MeasureError(
                f"not loaded: its weights alone take {candidate.file_bytes / 1e9:.1f} GB of "
                f"memory, and {self.scope.memory_bytes / 1e9:.1f} GB are to be had"
            )

    def _make(self, found: Found, label: str, n_ready: int) -> Path:
        """The file in another quantization, in this run's folder; those that are ready keep their
        time."""
        candidate = found.candidate
        source_bytes = found.source.stat().st_size
        needed_ms = source_bytes / REQUANTIZED_BYTES_PER_MS + LEAST_MS
        if needed_ms + EACH_MS * n_ready > self._left_ms():
            raise MeasureError("not tried: no time was left to make it")
        free_bytes = shutil.disk_usage(self.folder).free
        if free_bytes < candidate.file_bytes + SPARE_BYTES:
            raise MeasureError(
                f"not tried: making it needs {(candidate.file_bytes + SPARE_BYTES) / 1e9:.1f} GB "
                f"on the disk of {self.folder.parent}, and {free_bytes / 1e9:.1f} GB are free"
            )
        target = self.folder / f"{self._n_made}.gguf"
        text = f"{label}: making it from {found.source.name}"
        self.report(text, 0.0)
        (self.requantizer or requantize)(
            found.source, target, candidate.quantization, lambda: self.report(text, 0.0)
        )
        self._n_made += 1
        if found.keep_as is not None:
            self.made[found.keep_as] = target
        return target

    def _plan(self, path: Path, candidate: Candidate) -> Plan:
        scope = self.scope
        return Plan(
            path=str(path),
            name=candidate.title,
            n_ctx=scope.n_ctx,
            prompt_tokens=scope.prompt_tokens,
            decode_threads=scope.decode_threads,
            batch_threads=scope.batch_threads,
        )
