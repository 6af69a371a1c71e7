"""A completer between a FakeEngine and a trace file, on a FakeClock.

Owns: `Scene`, for the tests of the completer.

Invariant: nothing here waits; every trace line that is read has documented keys only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slm_lsp.completion.collecting import Collector
from slm_lsp.completion.completer import Completer
from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.policy import PLAIN, Policy
from slm_lsp.config import Config
from slm_lsp.deadline import CancelToken, Deadline, FakeClock
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.trace import KEYS, Trace
from slm_lsp.types import CompletionRequest, DocumentSnapshot, Trigger

BUDGET_MS = 250.0
LINE = "def f(x):\n    return <CURSOR>\n"
BLOCK = "def f(x):\n    <CURSOR>\n"


class Scene:
    """A completer, what it is made of, and what it left behind."""

    def __init__(
        self, folder: Path, policy: Policy = PLAIN, collector: Collector | None = None
    ) -> None:
        self.clock = FakeClock(1000.0)
        self.engine = FakeEngine()
        self.path = folder / "trace.jsonl"
        self.trace = Trace(self.path)
        self.text: str | None = ""  # of the document, as the client has it now
        self.cancel = CancelToken()
        self.completer = Completer(
            *(self.engine, Config(), self.trace, lambda _: self.text, policy), collector=collector
        )

    def request(self, fixture: str = LINE, budget_ms: float = BUDGET_MS) -> CompletionRequest:
        before, cursor, after = fixture.partition("<CURSOR>")
        assert cursor
        self.cancel, self.text = CancelToken(), before + after
        return CompletionRequest(
            session="s",
            snapshot=DocumentSnapshot("file:///a.py", 7, "python", self.text),
            offset=len(before),
            trigger=Trigger.AUTOMATIC,
            deadline=Deadline.after(budget_ms, self.clock),
            cancel=self.cancel,
        )

    async def complete(self, fixture: str = LINE, budget_ms: float = BUDGET_MS) -> Outcome:
        return await self.completer.complete(self.request(fixture, budget_ms))

    def lines(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.path.read_text("utf-8").splitlines()]
        assert all(set(line) <= set(KEYS) for line in lines)
        return lines

    def close(self) -> None:
        self.completer.close()
        self.trace.close()


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail
