"""The same decoding through the product's Scheduler, with drafts or without.

Owns: one engine without a thread, and what a run of it says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.engine.draft import Odds
from slm_lsp.engine.kv import KvCache
from slm_lsp.engine.llama import LlamaDecoder
from slm_lsp.engine.scheduler import Scheduler
from slm_lsp.types import GenerationRequest, Prompt, StopRule, Text

# Never reached.
BUDGET_MS = 600_000.0
# Rules that are looked at and never end a text.
STOP = StopRule(strings=("\0",), indent_columns=0)


@dataclass(frozen=True, slots=True)
class Written:
    """One run: its text, its time for every token but the first, and its drafts."""

    text: str
    ms_per_token: float
    n_drafted: int
    n_accepted: int
    n_steps: int


class Ours:
    """An engine around a decoder. Its rates are measured as it runs."""

    def __init__(self, decoder: LlamaDecoder) -> None:
        self._scheduler = Scheduler(lambda: decoder)
        self._scheduler.load()
        assert self._scheduler._kv is not None
        self._kv: KvCache = self._scheduler._kv

    def forget(self) -> None:
        """Let nothing be in the decoder's memory."""
        self._kv.cut(0)

    def rates(self) -> dict[str, list[float]]:
        """Mean and spread of steps, as they were measured."""
        return self._kv.rates.to_json()

    def run(self, text: str, n_tokens: int, odds: Odds | None) -> Written:
        """Write behind `text`, without drafts where there are no odds of them. The prompt stays
        in memory; what was written is forgotten."""
        self._kv.odds = odds
        before = replace(self._scheduler.stats())
        prompt = Prompt((Text(text),), STOP, (), n_tokens)
        deadline = Deadline.after(BUDGET_MS)
        job = self._scheduler.submit(GenerationRequest("bench", prompt, deadline, CancelToken()))
        self._scheduler.run_next()
        generation = job.future.result(0)
        assert generation.n_predicted == n_tokens
        assert generation.ttft_ms is not None
        stats = self._scheduler.stats()
        self._kv.cut(generation.n_prompt - 1)
        return Written(
            generation.text,
            (generation.total_ms - generation.ttft_ms) / (n_tokens - 1),
            stats.n_drafted_tokens - before.n_drafted_tokens,
            stats.n_accepted_tokens - before.n_accepted_tokens,
            stats.n_decode_steps - before.n_decode_steps,
        )
