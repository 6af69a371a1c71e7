"""What a request ends in, and what its trace line says of it.

Owns: `Outcome` and the facts that are traced.

Invariant: values; no source text is noted.

Threads: any; called on the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass

from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.trace import Span
from slm_lsp.types import Completion, Generation

# Silence for one of these reasons is not the model's judgement: something else may answer.
UNANSWERED = frozenset(
    {
        RejectReason.LOADING,
        RejectReason.ENGINE_FAILED,
        RejectReason.PROMPT_REFUSED,
        RejectReason.NO_TIME,
        RejectReason.UNFINISHED,
    }
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A completion, or the reason for silence; and what the engine did for it. `alternatives` are
    other texts for the same place. `score` and `bar`: what the confidence gate compared."""

    completion: Completion | None
    reject: RejectReason | None = None
    generation: Generation | None = None
    detail: str = ""
    alternatives: tuple[Completion, ...] = ()
    score: float | None = None
    bar: float | None = None

    @property
    def texts(self) -> tuple[Completion, ...]:
        """All completions, the first one first."""
        return (self.completion, *self.alternatives) if self.completion is not None else ()


def note(span: Span, outcome: Outcome) -> None:
    """Put what became of a request into its span."""
    completion, generation = outcome.completion, outcome.generation
    span.note(
        origin=completion.origin if completion else None,
        reject=outcome.reject,
        n_chars=len(completion.text) if completion else 0,
    )
    if outcome.detail:
        span.note(detail=outcome.detail)
    if outcome.score is not None and outcome.bar is not None:
        span.note(score=round(outcome.score, 3), bar=round(outcome.bar, 3))
    if outcome.alternatives:
        span.note(n_alternatives=len(outcome.alternatives))
    if generation is not None:
        span.note(
            finish=generation.finish,
            n_prompt=generation.n_prompt,
            n_cached=generation.n_cached,
            n_predicted=generation.n_predicted,
            ttft_ms=generation.ttft_ms,
            engine_ms=round(generation.total_ms, 3),
        )
