"""`python -m benchmarks.latency.matrix --out DIR`: all that the benchmark shows, in limited time.

Runs the parts (`parts`) one after the other, each as a program of its own, and leaves out those
that DIR has whole already; what was stopped in the middle of a part goes on there. A part that is
not expected to end in time is not begun. DIR/latency.md is written after every part, the pictures
at the end; `--minutes 0` only writes these.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.latency import corpus
from benchmarks.latency.document import document
from benchmarks.latency.options import DEFAULT
from benchmarks.latency.parts import KEYSTROKES, MAIN_BUDGET_MS, MINUTES, Part, Plan, parts
from benchmarks.latency.results import is_complete, read

MODELS = (DEFAULT, "random-0.5b", "random-1.5b")
# A part is ended when it has taken so many times what was expected, and so much more.
PATIENCE, GRACE_S = 2.0, 60.0
END_PATIENCE_S = 60.0
# What was expected beforehand weighs as much as so much experience.
PRIOR_S = 60.0
REPORT = "latency.md"

RunPart = Callable[[Part, Path, float], int]


class Matrix:
    """Runs parts until the time is up. `run_part` runs one, writes a file, and must end within a
    time; it returns the exit status."""

    def __init__(
        self,
        folder: Path,
        run_part: RunPart,
        clock_s: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = print,
    ) -> None:
        self.left: list[str] = []
        self.failed: list[str] = []
        self._folder = folder
        self._run_part = run_part
        self._clock_s = clock_s
        self._say = say
        # What the parts took, and what they were expected to take.
        self._took_s = self._expected_s = 0.0

    def run(self, todo: Sequence[Part], limit_s: float, after: Callable[[], None]) -> None:
        """Run what can be run in time; `after` is called after each part."""
        end_s = self._clock_s() + limit_s
        todo = [part for part in todo if not is_complete(self.path(part))]
        for number, part in enumerate(todo):
            left_s = end_s - self._clock_s()
            if self._estimate(part) > left_s:
                self.left.append(part.name)
                continue
            whole_s = sum(map(self._estimate, todo[number:]))
            self._say(
                f"{part.name}: about {_clock(self._estimate(part))}; "
                f"all {len(todo) - number} parts {_clock(whole_s)} of {_clock(left_s)} left"
            )
            self._one(part)
            after()
        for names, what in ((self.left, "no time for"), (self.failed, "failed")):
            if names:
                self._say(f"{what}: {', '.join(names)}")

    def path(self, part: Part) -> Path:
        """Where a part's result is."""
        return self._folder / f"{part.name}.json"

    def _one(self, part: Part) -> None:
        started_s = self._clock_s()
        status = self._run_part(part, self.path(part), PATIENCE * self._estimate(part) + GRACE_S)
        took_s = self._clock_s() - started_s
        if status:
            self.failed.append(part.name)
        else:
            # Of a part that failed or went on, it is not known how long it takes.
            self._took_s, self._expected_s = self._took_s + took_s, self._expected_s + part.seconds
        self._say(f"{part.name}: status {status} after {_clock(took_s)}")

    def _estimate(self, part: Part) -> float:
        """What a part is expected to take, on this machine as it has been so far."""
        pace = (self._took_s + PRIOR_S) / (self._expected_s + PRIOR_S)
        return part.seconds * pace


def run_child(part: Part, path: Path, limit_s: float) -> int:
    """Run a part as a program; it is told to end when its time is up."""
    command = [sys.executable, "-m", part.module, *part.arguments, "--json", str(path)]
    # A session of its own: what is typed to end this program is passed on as SIGTERM alone.
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as child:
        try:
            return child.wait(limit_s)
        except subprocess.TimeoutExpired:
            return _ended(child)
        except BaseException:
            _ended(child)
            raise


def _ended(child: subprocess.Popen[bytes]) -> int:
    child.send_signal(signal.SIGTERM)
    try:
        return child.wait(END_PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def write_report(folder: Path) -> None:
    """Write the report of all results in a folder."""
    results = {path.stem: read(path) for path in sorted(folder.glob("*.json"))}
    (folder / REPORT).write_text(document(results), encoding="utf-8")


def draw(folder: Path) -> None:
    """Draw the pictures of each model's main result."""
    from benchmarks.latency.plots import plot

    for path in sorted(folder.glob(f"latency-*-{MAIN_BUDGET_MS}.json")):
        result = read(path)
        if result.get("policies"):
            plot(result, path.with_suffix(".svg"))


def _clock(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latency.matrix", description=__doc__
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--models", default=",".join(MODELS), help="names or GGUF files")
    parser.add_argument("--keystrokes", type=int, default=KEYSTROKES, help="of a session")
    parser.add_argument("--peer-python", default=sys.executable, help="has the wheel xllamacpp")
    parser.add_argument("--only", default="", help="parts whose names hold this")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    passed_on = ("--peer-python", options.peer_python)
    models = tuple(options.models.split(","))
    plan = Plan(models, corpus.sources(), options.minutes, options.keystrokes, passed_on)
    matrix = Matrix(options.out, run_child, say=_say)
    todo = [part for part in parts(plan) if options.only in part.name]
    signal.signal(signal.SIGTERM, _stop)
    try:
        matrix.run(todo, options.minutes * 60, lambda: write_report(options.out))
    except KeyboardInterrupt:
        _say("stopped; the same command goes on")
    write_report(options.out)
    draw(options.out)
    return 1 if matrix.failed else 0


if __name__ == "__main__":
    sys.exit(main())
