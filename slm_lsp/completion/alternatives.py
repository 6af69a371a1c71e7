"""Other texts for a place, for who has asked by hand.

Owns: which ones are worth the time, and which are different enough to be shown.

Each begins with another of the likeliest first tokens and goes on with the likeliest: the prompt
is read already, so a text costs its own tokens alone. (Branching where the model was least sure
found no more right lines; docs/decisions/0019.)

Invariant: begun only once there is a first answer, within the same deadline, one after the
other, none whose first tokens could not be written in time. No two differ in white space only,
and none begins with another. Never raises; a request that is given up ends it.

Threads: the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from slm_lsp.completion.answers import Answers
from slm_lsp.completion.verdicts import visible
from slm_lsp.deadline import Cancelled
from slm_lsp.engine.base import Engine, EngineUnavailable, PromptError
from slm_lsp.prompt.plan import Speed
from slm_lsp.types import (
    LINE_TOKENS,
    Completion,
    CompletionContext,
    CompletionRequest,
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
    first: Completion | None,
    speed: Speed,
) -> tuple[Completion, ...]:
    """Up to `request.n_alternatives` texts that are not `first`, the likeliest start first. `job`
    is the one that the first answer came from."""
    found: list[Completion] = []
    n_wanted = min(request.n_alternatives, N_MOST) + (first is None)
    known = [first] if first is not None else []
    for branch in range(1, MAX_BRANCH + 1):
        line_ms = LINE_TOKENS * speed.decode_ms
        if len(found) >= n_wanted or job.deadline.remaining_ms() <= line_ms:
            break
        try:
            generation = await engine.generate(replace(job, branch=branch))
        except (Cancelled, EngineUnavailable, PromptError):
            break
        other = answers.alternative(request, context, generation)
        if other is not None and is_different(other, [*known, *found]):
            found.append(other)
    return tuple(found)


def is_different(text: Completion, known: Iterable[Completion]) -> bool:
    """Whether a text is none of those that are known, nor the beginning of one, nor begins with
    one, whatever their white space."""
    said = visible(text.text)
    for each in known:
        other = visible(each.text)
        if said.startswith(other) or other.startswith(said):
            return False
    return True
