"""The pipeline with the look at the syntax on and off, on one engine.

Owns: one completer for each mode, and the event loop they need.

Invariant: requests go through `Completer.complete` as the server's do; none meets its deadline. The
modes are asked one after the other: for the second the engine remembers what it picked.

Threads: the caller's runs the event loop; the engine has its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.syntax.places import Hole
from benchmarks.syntax.spoiling import MODEL, Saying
from slm_lsp.completion.completer import Completer
from slm_lsp.completion.policy import PLAIN
from slm_lsp.config import Config
from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.oneshot import ready_engine
from slm_lsp.trace import Span, Trace
from slm_lsp.types import CompletionRequest, DocumentSnapshot, Trigger

BUDGET_MS = 600_000.0


class _Last(Trace):
    """Keeps the facts of the last request."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: dict[str, Any] = {}
        self.stages_ms: dict[str, float] = {}

    def write(self, span: Span) -> None:
        self.facts, self.stages_ms = dict(span.facts), dict(span.stages_ms)


class Asking:
    """Answers at holes. Close it to free the model."""

    def __init__(self, config: Config, modes: Mapping[str, bool], says: str = MODEL) -> None:
        """Load the configured model, if it is to say something. Raises UsageError."""
        self._loop = asyncio.Runner()
        self._says = says
        self._saying = Saying() if says != MODEL else None
        self._engine = self._saying or self._loop.run(ready_engine(config))
        self._last = _Last()
        self._completers = {
            mode: Completer(
                self._engine, config, self._last, policy=replace(PLAIN, syntax_gate=gated)
            )
            for mode, gated in modes.items()
        }

    def answer(self, mode: str, hole: Hole) -> tuple[str, dict[str, Any]]:
        """The shown text, empty if there is none, and facts about how it came to be."""
        uri = f"file:///{hole.name}/{hole.file.path}"
        snapshot = DocumentSnapshot(uri, 1, hole.file.language, hole.before + hole.after)
        request = CompletionRequest(
            session=uri,
            snapshot=snapshot,
            offset=len(hole.before),
            trigger=Trigger.INVOKED,
            deadline=Deadline.after(BUDGET_MS),
            cancel=CancelToken(),
        )
        if self._saying is not None:
            self._saying.say(hole, self._says)
        completer = self._completers[mode]
        outcome = self._loop.run(completer.complete(request))
        facts = {
            "reject": outcome.reject,
            "want": self._last.facts.get("want"),
            "finish": outcome.generation.finish if outcome.generation else None,
            "syntax": self._last.facts.get("syntax"),
            "syntax_ms": round(self._last.stages_ms.get("syntax", 0.0), 3),
        }
        if mode == list(self._completers)[-1]:
            for each in self._completers.values():
                each.closed(uri)
        return outcome.completion.text if outcome.completion else "", facts

    def close(self) -> None:
        """Free the model and end the threads."""
        for each in self._completers.values():
            each.close()
        self._engine.close()
        self._loop.close()
