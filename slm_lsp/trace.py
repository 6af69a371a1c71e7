"""One line a request: where its time went and why it showed what it showed.

Owns: the spans of a request and the JSON Lines file they are written to.

Invariant: every request leaves exactly one line, whatever became of it; a line holds
numbers, names and reasons, never source text. A trace file that cannot be written is
reported once and switches tracing off. No method raises.

Threads: a `Span` belongs to its request, whose worker may still add to it while the line is
written; `Trace.write` is called on the event loop.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from slm_lsp.deadline import SYSTEM_CLOCK, Clock

log = logging.getLogger(__name__)

# Every key of a line. Those after "reject" are there once they are known.
KEYS = {
    "session": "the document's URI",
    "version": "the document's version, as the client counts",
    "trigger": "automatic, or invoked by the user; it selects the budget",
    "origin": "where the shown text came from; null if none was",
    "reject": "why none was shown; null if one was",
    "n_chars": "length of the shown text",
    "stages_ms": "time of each stage: prepare (of it context, snippets, prompt), engine, finish, "
    "lexical, others (of these three syntax)",
    "request_ms": "time from the start of the pipeline to its end",
    "want": "how much text fits at the cursor: nothing, line or block",
    "detail": "more about the reason",
    "syntax": "what the look at its syntax did to a text: ok, closed, cut, dropped or unchecked",
    "score": "how likely the model thought the first line, a natural logarithm",
    "bar": "the score below which nothing is shown by itself",
    "n_alternatives": "how many other texts were shown beside the first",
    "n_window": "most tokens of code that the prompt's anchor was given room for",
    "n_snippets": "texts of other files in the prompt",
    "n_snippet_chars": "their length, with their paths",
    "n_typed_chars": "what was typed since the prompt was anchored",
    "finish": "why the model stopped: eos, stop, length or deadline",
    "n_prompt": "tokens of the prompt",
    "n_cached": "of them, those that the model had read before",
    "n_predicted": "tokens written",
    "ttft_ms": "time to the first token, from the start of the generation",
    "engine_ms": "time of the generation",
}


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

    def elapsed_ms(self) -> float:
        """Time since the span began."""
        return self._clock.now_ms() - self._started_ms

    def line(self) -> dict[str, Any]:
        """The finished request as one JSON object."""
        # Copied at one go, as the worker of a request that was given up may still add.
        stages = {name: round(ms, 3) for name, ms in self.stages_ms.copy().items()}
        total_ms = round(self.elapsed_ms(), 3)
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
                self._file = path.expanduser().open("a", encoding="utf-8", buffering=1)
            except (OSError, ValueError, RuntimeError) as error:
                # Beside a file that cannot be: a path with a NUL, a home that is not known.
                log.error("no trace: cannot write %s: %s", path, error)

    def write(self, span: Span) -> None:
        """Finish a request's span."""
        line = span.line()
        self.n_requests += 1
        if line.get("reject"):
            self.rejects[line["reject"]] += 1
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(line, default=str) + "\n")
        except (OSError, ValueError) as error:
            log.error("the trace ends here: %s", error)
            self.close()

    def close(self) -> None:
        """End the trace; later requests are counted only."""
        file, self._file = self._file, None
        if file is not None:
            # Closing writes out what is left, which a full disk refuses again.
            with suppress(OSError, ValueError):
                file.close()
