"""An Engine whose place another can take while a session goes on: for another model.

Owns: which of them is asked.

Invariant: an engine that was given up is closed by whoever took its place; a request that it had
under way ends as the seam says, with `EngineUnavailable`, and is not asked again.

Threads: as the protocol says; `use` on the event loop.
"""

from __future__ import annotations

from slm_lsp.engine.base import Engine, EngineStats
from slm_lsp.types import EngineState, Generation, GenerationRequest, ModelInfo

__all__ = ["Switch"]


class Switch:
    """See the module."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def use(self, engine: Engine) -> Engine:
        """Ask `engine` from now on; return the one before, to be closed."""
        before, self._engine = self._engine, engine
        return before

    @property
    def state(self) -> EngineState:
        return self._engine.state

    @property
    def failure(self) -> str | None:
        return self._engine.failure

    @property
    def info(self) -> ModelInfo | None:
        return self._engine.info

    async def generate(self, request: GenerationRequest) -> Generation:
        return await self._engine.generate(request)

    def wanted(self) -> None:
        self._engine.wanted()

    def abandon(self, owner: str) -> None:
        self._engine.abandon(owner)

    def stats(self) -> EngineStats:
        return self._engine.stats()

    def close(self) -> None:
        self._engine.close()
