"""The two seams: Engine (all that the completer sees) and Decoder (all the Scheduler sees).

Owns: their protocols, the errors they raise, and the counters they report.

Invariant: no llama.cpp, no LSP, no thread and no clock here. An Engine answers every
request exactly once, by a Generation or by an exception; a Decoder never sees a deadline.

Threads: Engine methods are called on the event loop; a Decoder belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from slm_lsp.deadline import Cancelled
from slm_lsp.types import EngineState, Generation, GenerationRequest, ModelInfo, Segment, Start


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

    `n_resumed_tokens` took no step, as an earlier job had written them; `n_drafted_tokens`
    were fed before the model had written them, and it wrote `n_accepted_tokens` of them;
    `n_restored_tokens` were read back from the disk instead of being fed, `n_borrowed_tokens`
    copied from another document's sequence; `n_evictions` counts cuts of a document's
    sequence for another's; `n_preempted` jobs that were put back.
    The two times are what a token is expected to take; 0 before any was measured. `cpu_s` is
    the processor time of the engine's process, which in a server is the server's; it goes on
    while nothing does, so that it makes no difference between two values."""

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
    n_drafted_tokens: int = 0
    n_accepted_tokens: int = 0
    n_restored_tokens: int = 0
    n_borrowed_tokens: int = 0
    n_evictions: int = 0
    n_preempted: int = 0
    prefill_ms_per_token: float = 0.0
    decode_ms: float = 0.0
    cpu_s: float = field(default=0.0, compare=False)


class Engine(Protocol):
    """A source of generated text."""

    @property
    def state(self) -> EngineState: ...

    @property
    def failure(self) -> str | None:
        """What a user should read when `state` is FAILED; in any other state, what is broken
        all the same: a server behind which something else answers, or that refuses requests."""

    @property
    def info(self) -> ModelInfo | None:
        """The model, once it is ready."""

    async def generate(self, request: GenerationRequest) -> Generation:
        """Generate until a stop, the deadline or the model's end.

        At the deadline it returns what it has; a cancelled or superseded request raises
        `Cancelled`; an engine that is not ready raises `EngineUnavailable`; a prompt that
        the model cannot take raises `PromptError`.
        """

    def wanted(self) -> None:
        """A request could not be made, as the engine is not ready: one that has given up may try
        again. Returns at once."""

    def abandon(self, owner: str) -> None:
        """A document is closed, or a client has left: `owner`'s KV sequences, `owner`, `owner#…`
        and `owner/…`, are whoever's prompt begins like them. Returns at once."""

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

    @property
    def cuts(self) -> bool:
        """Whether `truncate` can keep a part of a sequence; a recurrent model's memory is
        kept as a whole or not at all."""

    @property
    def kv_identity(self) -> str:
        """What a saved sequence is bound to: model file, context and library. What a decoder
        has saved, one with the same identity can restore. Empty where that is not known."""

    @property
    def n_batch_threads(self) -> int:
        """How many threads a step of many tokens may use."""

    def use_batch_threads(self, n_threads: int) -> None:
        """Let steps of many tokens use so many threads from now on."""

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
        `pick` says behind tokens that are kept is as before."""

    def copy(self, source: int, n_tokens: int) -> int:
        """Let the selected sequence, whatever it held, hold what `source` begins with; return
        how many tokens it holds: none where the model's memory cannot be cut. What `pick`
        says of other sequences is as before."""

    def feed(self, tokens: Sequence[int], n_picks: int = 1) -> None:
        """Append tokens to the sequence in one step; `pick` then speaks of what follows the
        last `n_picks` of them."""

    def save_sequence(self, max_bytes: int) -> bytearray | None:
        """The selected sequence's memory, for `restore_sequence`; None where it would be larger
        than `max_bytes`, or cannot be had."""

    def restore_sequence(self, state: bytearray, tokens: Sequence[int]) -> bool:
        """Let the selected sequence, which is empty, hold `tokens`, as one of the same identity
        did when it saved `state`. Where that fails it is to be cleared."""

    def pick(
        self, required: bytes = b"", start: Start = Start.ANY, at: int = -1, rank: int = 0
    ) -> tuple[int, float]:
        """The likeliest token behind that fed last, or, with -2 and less for `at`, behind one
        before it; and its log-probability.

        With `required`, only tokens whose bytes begin with it, and those that it begins with
        where the tokenizer would begin it with them: " t" is not " " and "t" to a model. Where
        the tokenizer cannot tell, any that it begins with.
        By `start`, no token whose first visible effect behind `required` is a line break, and none
        that ends the text.
        With a `rank`, the token that comes so many places behind the likeliest one; of tokens
        that `required` merely begins with none is counted. Where so many are not allowed, the
        log-probability is -inf and the token has no meaning.
        """

    def allows(self, token: int, required: bytes, start: Start) -> bool:
        """Whether `pick` may answer with this token, given the same arguments."""

    def narrows(self, before: bytes, required: bytes) -> bool:
        """Whether all that `pick` may answer with `required`, it may answer with `before`."""

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; empty for control tokens."""

    def is_end(self, token: int) -> bool:
        """Whether the model ends its text with this token."""

    def close(self) -> None: ...
