"""One line a request: where its time went and why it showed what it showed.

Owns: the spans of a request and the JSON Lines file they are written to.

Invariant: every request leaves exactly one line, whatever became of it; a line holds
numbers, names and reasons, never source text. A trace file that cannot be written is
reported once and switches tracing off.

Threads: a `Span` belongs to its request; `Trace.write` is called on the event loop.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from slm_lsp.deadline import SYSTEM_CLOCK, Clock

log = logging.getLogger(__name__)


class Span:
    """Stage times and facts of one request."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._started_ms = clock.now_ms()
        self.stages_ms: dict[str, float] = {}
        self.facts: dict[str, Any] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; stages of one name add up."""
        before_ms = self._clock.now_ms()
        try:
            yield
        finally:
            elapsed_ms = self._clock.now_ms() - before_ms
            self.stages_ms[name] = self.stages_ms.get(name, 0.0) + elapsed_ms

    def note(self, **facts: Any) -> None:
        self.facts.update(facts)

    def line(self) -> dict[str, Any]:
        """The finished request as one JSON object."""
        stages = {name: round(ms, 3) for name, ms in self.stages_ms.items()}
        total_ms = round(self._clock.now_ms() - self._started_ms, 3)
        return {**self.facts, "stages_ms": stages, "request_ms": total_ms}


class Trace:
    """Writes finished spans; counts reasons whether or not there is a file."""

    def __init__(self, path: Path | None = None) -> None:
        self.rejects: Counter[str] = Counter()
        self.n_requests = 0
        self._file: IO[str] | None = None
        if path is not None:
            try:
                # Line buffered: a killed server leaves whole lines.
                self._file = path.open("a", encoding="utf-8", buffering=1)
            except OSError as error:
                log.error("no trace: cannot write %s: %s", path, error.strerror or error)

    def write(self, span: Span) -> None:
        """Finish a request's span."""
        line = span.line()
        self.n_requests += 1
        if line.get("reject"):
            self.rejects[line["reject"]] += 1
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(line) + "\n")
        except (OSError, ValueError) as error:
            log.error("the trace ends here: %s", error)
            self._file = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
