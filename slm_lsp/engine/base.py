"""The two seams: Engine (all that the completer sees) and Decoder (all the Scheduler sees).

Owns: their protocols, the errors they raise, and the counters they report.

Invariant: no llama.cpp, no LSP, no thread and no clock here. An Engine answers every
request exactly once, by a Generation or by an exception; a Decoder never sees a deadline.

Threads: Engine methods are called on the event loop; a Decoder belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from slm_lsp.deadline import Cancelled
from slm_lsp.types import EngineState, Generation, GenerationRequest, ModelInfo, Segment


class EngineUnavailable(Exception):
    """The engine cannot answer now (loading, failed, closed); the message says why."""


class ModelLoadError(Exception):
    """The model cannot be loaded; the message says what the user can do about it."""


class PromptError(Exception):
    """The prompt does not fit this model: too long, or a sentinel it does not have."""


class Superseded(Cancelled):
    """A newer request of the same session took this one's place."""


@dataclass(slots=True)
class EngineStats:
    """Counters since the engine started; `n_cancelled_steps` are decode steps that ended
    after their request had been cancelled: the price of noticing it only between steps.

    `n_resumed_tokens` took no step, as an earlier job had written them; `n_evictions` counts
    cuts of a document's sequence for another's; `n_preempted` jobs that were put back.
    The two times are what a token is expected to take; 0 before any was measured."""

    n_requests: int = 0
    n_finished: int = 0
    n_cancelled: int = 0
    n_expired: int = 0
    n_failed: int = 0
    n_queued: int = 0
    n_prefill_tokens: int = 0
    n_prefill_steps: int = 0
    n_decode_steps: int = 0
    n_cancelled_steps: int = 0
    n_resumed_tokens: int = 0
    n_evictions: int = 0
    n_preempted: int = 0
    prefill_ms_per_token: float = 0.0
    decode_ms: float = 0.0


class Engine(Protocol):
    """A source of generated text."""

    @property
    def state(self) -> EngineState: ...

    @property
    def failure(self) -> str | None:
        """What a user should read when `state` is FAILED."""

    @property
    def info(self) -> ModelInfo | None:
        """The model, once it is ready."""

    async def generate(self, request: GenerationRequest) -> Generation:
        """Generate until a stop, the deadline or the model's end.

        At the deadline it returns what it has; a cancelled or superseded request raises
        `Cancelled`; an engine that is not ready raises `EngineUnavailable`; a prompt that
        the model cannot take raises `PromptError`.
        """

    def stats(self) -> EngineStats: ...

    def close(self) -> None:
        """Stop; requests under way raise `EngineUnavailable`."""


class Decoder(Protocol):
    """One model with one or more KV sequences, driven a step at a time by its owning thread."""

    @property
    def info(self) -> ModelInfo:
        """`n_ctx` is what one sequence may hold."""

    @property
    def n_sequences(self) -> int:
        """How many sequences there are; `select` takes 0 and up."""

    @property
    def n_cells(self) -> int:
        """How many tokens all sequences together may hold."""

    def select(self, sequence: int) -> None:
        """Choose the sequence that `truncate` and `feed` are about; the first is chosen."""

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        """Tokens of a whole prompt, with the model's own start token if it wants one.

        Never empty. Raises PromptError for a Special that is not one token of the vocabulary.
        """

    def special(self, text: str) -> int | None:
        """The token of one control text, or None if the vocabulary lacks it."""

    def truncate(self, n_tokens: int) -> int:
        """Keep the first `n_tokens` of the sequence, or none of them where the model's
        memory cannot be cut; return how many are left. 0 clears it whatever it holds. What
        `pick` speaks of is as before where the sequence fed last was not cut."""

    def feed(self, tokens: Sequence[int]) -> None:
        """Append tokens to the sequence in one step; `pick` then speaks of what follows."""

    def pick(self, required: bytes = b"", line_break: bool = True) -> tuple[int, float]:
        """The likeliest next token and its log-probability.

        With `required`, only tokens whose bytes begin with it, or that it begins with.
        Without `line_break`, no token whose first visible effect is a line break.
        """

    def allows(self, token: int, required: bytes, line_break: bool) -> bool:
        """Whether `pick` may answer with this token, given the same arguments."""

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; empty for control tokens."""

    def is_end(self, token: int) -> bool:
        """Whether the model ends its text with this token."""

    def close(self) -> None: ...
