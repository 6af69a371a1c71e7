"""Jobs that the engine is given in the background, and what it took of those in the foreground.

Owns: how they differ from a request's: their own deadline, lower priority, no one waiting.

Invariant: none; what a job is for is `ahead`'s and `reading`'s.

Threads: the event loop.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from slm_lsp.completion import collecting
from slm_lsp.completion.anchors import Chosen
from slm_lsp.completion.policy import BACKGROUND_MS
from slm_lsp.completion.preparing import Preparer
from slm_lsp.completion.target import Kind, Prepared, Target
from slm_lsp.deadline import SYSTEM_CLOCK, CancelToken, Clock, Deadline
from slm_lsp.engine.base import Engine
from slm_lsp.trace import Span
from slm_lsp.types import (
    DocumentSnapshot,
    EngineState,
    Generation,
    GenerationRequest,
    Priority,
    Prompt,
)

if TYPE_CHECKING:
    from slm_lsp.completion.completer import Completer


class Jobs:
    """See the module."""

    def __init__(self, completer: Completer, preparer: Preparer) -> None:
        self.clock: Clock = SYSTEM_CLOCK
        self._completer = completer
        self._preparer = preparer

    @property
    def engine(self) -> Engine:
        """Who does them."""
        return self._completer.engine

    def possible(self) -> bool:
        """Whether the engine can be given any."""
        is_ready = self.engine.state is EngineState.READY and self.engine.info is not None
        return is_ready and not self._preparer.closed

    async def prepared(
        self, snapshot: DocumentSnapshot, offset: int, cancel: CancelToken, kind: Kind
    ) -> Prepared | None:
        """Context and prompt of a place."""
        target = self.target(snapshot, offset, cancel, kind)
        return await self._preparer.prepare(target, self._completer.config, Span(self.clock))

    def target(
        self, snapshot: DocumentSnapshot, offset: int, cancel: CancelToken, kind: Kind
    ) -> Target:
        """A place to look at in the background."""
        speed = self._completer.speed()
        return Target(snapshot, offset, self._deadline(), cancel, self.engine.info, kind, speed)

    def new(
        self,
        session: str,
        cancel: CancelToken,
        prompt: Prompt,
        document: str,
        priority: Priority = Priority.SPECULATIVE,
    ) -> GenerationRequest:
        """A job behind a prompt, in a document's KV sequence."""
        return GenerationRequest(session, prompt, self._deadline(), cancel, priority, document)

    def _deadline(self) -> Deadline:
        return Deadline.after(BACKGROUND_MS, self.clock)


def taken_of(
    job: GenerationRequest, chosen: Chosen, generation: Generation, span: Span
) -> GenerationRequest:
    """The job with the prompt that the engine took of those it was given."""
    at = generation.other_at
    if at is None:
        return replace(job, others=())
    taken = chosen.taken(at)
    span.note(n_window=taken.n_tokens)
    collecting.note(span, taken.snippets)
    return replace(job, prompt=job.others[at], others=())
