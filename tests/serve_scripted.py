"""`slm-lsp serve` with a model whose words are written down beforehand: for tests in real editors.

Usage: python serve_scripted.py SCRIPT.json

The script is a list of `{"before": …, "texts": [first, …]}`: where a document ends with `before` at
the cursor, perhaps with the beginning of a text typed behind it, the rest of the text is what the
model writes; for who asks by hand the others are its alternatives. The longest match wins; where
there is none it writes nothing. `slm-lsp.stats` tells the number of requests that got as far as the
model, as `engine.n_requests`; those that only read, or are for alternatives, do not count. The
budgets are long, so that what is asserted does not depend on the machine's speed.

Invariant: nothing but the engine differs from the real server. Threads: as in the real server.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slm_lsp.config import Config
from slm_lsp.engine.base import EngineStats, EngineUnavailable
from slm_lsp.engine.stopping import stop_at
from slm_lsp.lsp import lazy_types, stdio
from slm_lsp.trace import Trace
from slm_lsp.types import (
    EngineState,
    Finish,
    Generation,
    GenerationRequest,
    ModelInfo,
    Text,
)

PATIENT = Config(automatic_budget_ms=20_000.0, invoked_budget_ms=20_000.0, confidence_gate="off")


class ScriptedEngine:
    """See the module."""

    def __init__(
        self, name: str, script: list[dict[str, Any]], on_state: Callable[[EngineState], None]
    ) -> None:
        self.info: ModelInfo | None = ModelInfo(name, 4096)
        self.state = EngineState.READY
        self.failure: str | None = None
        self._script, self._on_state = script, on_state
        self._n_requests = 0
        asyncio.get_running_loop().call_soon(on_state, EngineState.READY)

    async def generate(self, request: GenerationRequest) -> Generation:
        if self.state is EngineState.CLOSED:
            raise EngineUnavailable("closed")
        prompt = request.prompt
        self._n_requests += not request.branch and prompt.max_tokens > 0
        if prompt.max_tokens == 0:
            return Generation("", Finish.LENGTH)
        shown = "".join(each.text for each in prompt.segments if isinstance(each, Text))
        text = self._written(shown + prompt.heal, request.branch)
        end = stop_at(text, prompt.stop)
        finish = Finish.EOS if end is None else Finish.STOP
        said = text[:end]
        return Generation(said, finish, n_prompt=len(shown), n_predicted=len(said))

    def _written(self, before: str, branch: int) -> str:
        found = [
            (len(each["before"]) + n_typed, text[n_typed:])
            for each in self._script
            for text in each["texts"][branch : branch + 1]
            for n_typed in range(len(text) + 1)
            if before.endswith(each["before"] + text[:n_typed])
        ]
        return max(found, default=(0, ""))[1]

    def wanted(self) -> None:
        pass

    def abandon(self, owner: str) -> None:
        pass

    def stats(self) -> EngineStats:
        return EngineStats(n_requests=self._n_requests)

    def close(self) -> None:
        self.state = EngineState.CLOSED


def main(path: str) -> int:
    # As `serve` does.
    lazy_types.import_types()
    from slm_lsp.lsp.server import SlmServer

    script = json.loads(Path(path).read_text())

    def make_engine(
        config: Config,
        on_state: Callable[[EngineState], None],
        on_progress: Callable[[str, float | None], None],
    ) -> ScriptedEngine:
        return ScriptedEngine(config.model or "scripted", script, on_state)

    choices = stdio._choices
    return stdio.speak(SlmServer(PATIENT, make_engine, Trace(), [], choices=choices))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
