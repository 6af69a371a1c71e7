"""The whole pipeline at a hole, with other files shown and without.

Owns: one engine, a completer for each source of snippets and one without, and the event loop they
need.

Invariant: requests go through `Completer.complete` as the server's do, filters included; none
meets its deadline, and how fast the machine is changes no prompt.

Threads: the caller's runs the event loop; the engine has its own.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from benchmarks.repository.holes import Hole
from benchmarks.repository.packages import Repository
from slm_lsp.completion.collecting import Collector
from slm_lsp.completion.completer import Completer
from slm_lsp.completion.policy import PLAIN
from slm_lsp.config import Config
from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.engine.base import Engine
from slm_lsp.oneshot import ready_engine
from slm_lsp.prompt.plan import UNKNOWN, Speed
from slm_lsp.trace import Trace
from slm_lsp.types import CompletionRequest, DocumentSnapshot, FileName, Snippet, Trigger
from slm_lsp.workspace.base import SnippetSource

BUDGET_MS = 600_000.0
COLLECT_MS = 10_000.0
WITHOUT = "without"


@dataclass(frozen=True, slots=True)
class Filled:
    """What would be inserted at a hole, and what that took. `has_definition`: what the hole
    calls was among the snippets."""

    text: str
    reject: str | None
    n_prompt: int
    n_cached: int
    n_snippets: int
    has_definition: bool


class HoleSource(SnippetSource, Protocol):
    """A source that is told which hole comes next, and knows what it said last."""

    found: tuple[Snippet, ...]

    def at(self, hole: Hole) -> None: ...


def is_defined_in(snippets: Sequence[Snippet], hole: Hole) -> bool:
    """Whether one of the snippets holds the header of what the hole calls."""
    header = re.compile(rf"^\s*(?:async\s+def|def|class)\s+{hole.definition.name}\b", re.M)
    return any(header.search(snippet.text) is not None for snippet in snippets)


class Unhurried(Completer):
    """A completer for which every prompt is read in time."""

    def speed(self) -> Speed:
        return UNKNOWN


class Pipeline:
    """Answers holes as the server would. Close it to free the model."""

    def __init__(
        self,
        config: Config,
        sources: Mapping[str, HoleSource],
        repositories: Mapping[str, Repository],
        engine: Engine | None = None,
    ) -> None:
        """Load the configured model, or use `engine`. Raises UsageError."""
        self._loop = asyncio.Runner()
        self._sources = sources
        self._repositories = repositories
        self._engine = engine or self._loop.run(ready_engine(config))
        self._folder = tempfile.TemporaryDirectory()
        self._hole: Hole | None = None
        self._config = config
        self._traces = {name: Path(self._folder.name) / name for name in (WITHOUT, *sources)}
        self._completers = {name: self._completer(name) for name in self._traces}

    def _completer(self, situation: str) -> Completer:
        source = self._sources.get(situation)
        return Unhurried(
            *(self._engine, self._config, Trace(self._traces[situation])),
            policy=replace(PLAIN, snippets=source is not None),
            collector=Collector(source, self._name_of, COLLECT_MS) if source else None,
        )

    def fill(self, hole: Hole, situation: str) -> Filled:
        """What the server would insert at a hole."""
        source = self._sources.get(situation)
        self._hole = hole
        if source is not None:
            source.at(hole)
        outcome = self._loop.run(self._completers[situation].complete(self._request(hole)))
        generation = outcome.generation
        line = json.loads(self._traces[situation].read_text("utf-8").splitlines()[-1])
        return Filled(
            text=outcome.completion.text if outcome.completion else "",
            reject=outcome.reject,
            n_prompt=generation.n_prompt if generation else 0,
            n_cached=generation.n_cached if generation else 0,
            n_snippets=line.get("n_snippets", 0),
            has_definition=source is not None and is_defined_in(source.found, hole),
        )

    def _request(self, hole: Hole) -> CompletionRequest:
        path = self._repositories[hole.repository].root / hole.path
        return CompletionRequest(
            session=hole.name,
            snapshot=DocumentSnapshot(path.as_uri(), 1, "python", hole.prefix + hole.suffix),
            offset=len(hole.prefix),
            trigger=Trigger.INVOKED,
            deadline=Deadline.after(BUDGET_MS),
            cancel=CancelToken(),
        )

    def _name_of(self, uri: str) -> FileName:
        assert self._hole is not None
        return FileName(self._hole.repository, self._hole.path)

    def close(self) -> None:
        """Free the model and end the threads."""
        for completer in self._completers.values():
            completer.close()
        self._engine.close()
        self._loop.close()
        self._folder.cleanup()
