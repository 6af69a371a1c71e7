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
from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.policy import PLAIN
from slm_lsp.config import Config
from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.oneshot import ready_engine
from slm_lsp.prompt.plan import UNKNOWN, Speed
from slm_lsp.types import CompletionRequest, DocumentSnapshot, Trigger

BUDGET_MS = 60_000.0


class Unhurried(Completer):
    """Shows the model as much as an idle machine has time to read, however busy this one is."""

    def speed(self) -> Speed:
        return UNKNOWN


class Pipeline:
    """Answers problems as the server would. Close it to free the model."""

    template = "pipeline"

    def __init__(self, config: Config) -> None:
        """Load the configured model. Raises UsageError."""
        self._loop = asyncio.Runner()
        self._engine = self._loop.run(ready_engine(config))
        policy = replace(PLAIN, syntax_gate=True)
        self._completer = Unhurried(self._engine, config, policy=policy)

    def outcome(self, problem: Problem, n_alternatives: int = 0) -> Outcome:
        """What the server would say at the problem's cursor."""
        text = problem.prefix + problem.suffix
        request = CompletionRequest(
            session=problem.name,
            snapshot=DocumentSnapshot(f"file:///{problem.name}.py", 1, "python", text),
            offset=len(problem.prefix),
            trigger=Trigger.INVOKED,
            deadline=Deadline.after(BUDGET_MS),
            cancel=CancelToken(),
            n_alternatives=n_alternatives,
        )
        return self._loop.run(self._completer.complete(request))

    def answer(self, problem: Problem) -> Answer:
        """What the server would insert at the problem's cursor."""
        outcome = self.outcome(problem)
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
