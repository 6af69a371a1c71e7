"""Other texts for a place, for who has asked by hand.

Owns: which ones are worth the time, and which are different enough to be shown.

Each leaves the first text where the model was least sure of its first line, for the next likeliest
token there, and goes on with the likeliest: what stands before is read and written already, so a
text costs what is different of it alone (docs/decisions/0019).

Invariant: begun only once there is a first answer, within the same deadline, one after the
other, none whose first tokens could not be written in time. No two differ in white space only,
and none begins with another. A request that is given up ends it.

Threads: the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from slm_lsp.completion.answers import Answers, Check
from slm_lsp.completion.confidence import Certainty, first_line, n_visible
from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.completion.verdicts import visible
from slm_lsp.deadline import Cancelled
from slm_lsp.engine.base import Engine, EngineUnavailable, PromptError
from slm_lsp.prompt.plan import Speed
from slm_lsp.types import (
    LINE_TOKENS,
    Completion,
    CompletionContext,
    CompletionRequest,
    Generation,
    GenerationRequest,
)

# Beside the first; editors let the user go through them.
N_MOST = 2
# Further down the model's list there is hardly ever anything of use.
MAX_BRANCH = 3


async def others(
    engine: Engine,
    answers: Answers,
    request: CompletionRequest,
    job: GenerationRequest,
    context: CompletionContext,
    first: Outcome,
    speed: Speed,
    check: Check | None = None,
) -> tuple[Completion, ...]:
    """Up to `request.n_alternatives` texts that are not the first, the likeliest start first.
    `job` is the one that the first answer came from."""
    found: list[Completion] = []
    known = list(first.texts)
    n_wanted = min(request.n_alternatives, N_MOST) + (not known)
    at = least_sure(first.generation) if first.generation is not None else 0
    for branch in range(1, MAX_BRANCH + 1):
        line_ms = LINE_TOKENS * speed.decode_ms
        if len(found) >= n_wanted or job.deadline.remaining_ms() <= line_ms:
            break
        try:
            generation = await engine.generate(replace(job, branch=branch, branch_at=at))
        except (Cancelled, EngineUnavailable, PromptError):
            break
        other = await answers.alternative(request, context, generation, check)
        if other is not None and is_different(other, [*known, *found]):
            found.append(other)
    return tuple(found)


def least_sure(generation: Generation) -> int:
    """The token of the first line that the model was least sure of."""
    n_line, n_seen = n_visible(first_line(generation.text)), 0
    certainty = Certainty.of(generation)
    if certainty is None:
        return 0
    within = [0]
    for at, end in enumerate(certainty.ends):
        if n_seen < n_line:
            within.append(at)
        n_seen = end
    return min(within, key=lambda at: generation.logprobs[at])


def is_different(text: Completion, known: Iterable[Completion]) -> bool:
    """Whether a text is none of those that are known, nor the beginning of one, nor begins with
    one, whatever their white space."""
    said = visible(text.text)
    for each in known:
        other = visible(each.text)
        if said.startswith(other) or other.startswith(said):
            return False
    return True


def with_alternatives(outcome: Outcome, found: Iterable[Completion | None]) -> Outcome:
    """An outcome with those of other texts that are different; where it has no text of its own,
    the first of them is its own."""
    kept = [] if outcome.completion is None else [outcome.completion]
    for each in found:
        if each is not None and is_different(each, kept):
            kept.append(each)
    if not kept:
        reject = outcome.reject or RejectReason.MOVED_ON
        return replace(outcome, completion=None, reject=reject)
    return replace(
        outcome, completion=kept[0], reject=None, alternatives=tuple(kept[1 : 1 + N_MOST])
    )


def with_others(first: Outcome, other: Outcome) -> Outcome:
    """What was remembered for a place, and what was found there besides."""
    return replace(with_alternatives(first, other.texts), generation=other.generation)
