"""The whole pipeline: what a user who is in no hurry would be shown.

Owns: one engine and one completer, and the event loop they need.

Invariant: requests go through `Completer.complete` as the server's do, filters included; none
meets its deadline.

Threads: the caller's runs the event loop; the engine has its own.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from benchmarks.quality.problems import Problem
from benchmarks.quality.scoring import Answer
from slm_lsp.completion.completer import Completer
from slm_lsp.completion.policy import PLAIN
from slm_lsp.config import Config
from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.oneshot import ready_engine
from slm_lsp.types import CompletionRequest, DocumentSnapshot, Trigger

BUDGET_MS = 60_000.0


class Pipeline:
    """Answers problems as the server would. Close it to free the model."""

    template = "pipeline"

    def __init__(self, config: Config) -> None:
        """Load the configured model. Raises UsageError."""
        self._loop = asyncio.Runner()
        self._engine = self._loop.run(ready_engine(config))
        self._completer = Completer(self._engine, config, policy=replace(PLAIN, syntax_gate=True))

    def answer(self, problem: Problem) -> Answer:
        """What the server would insert at the problem's cursor."""
        text = problem.prefix + problem.suffix
        request = CompletionRequest(
            session=problem.name,
            snapshot=DocumentSnapshot(f"file:///{problem.name}.py", 1, "python", text),
            offset=len(problem.prefix),
            trigger=Trigger.INVOKED,
            deadline=Deadline.after(BUDGET_MS),
            cancel=CancelToken(),
        )
        outcome = self._loop.run(self._completer.complete(request))
        generation = outcome.generation
        return Answer(
            text=outcome.completion.text if outcome.completion else "",
            finish=generation.finish if generation else None,
            n_prompt=generation.n_prompt if generation else 0,
            n_predicted=generation.n_predicted if generation else 0,
            reject=outcome.reject,
            unfiltered=generation.text if generation else "",
        )

    def close(self) -> None:
        """Free the model and end the threads."""
        self._completer.close()
        self._engine.close()
        self._loop.close()
