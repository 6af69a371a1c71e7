"""What a session is given by who starts it, as the session sees it.

Owns: the protocols of an engine's maker and of what knows the models.

Invariant: nothing but types.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from slm_lsp.config import Config
from slm_lsp.engine.base import Engine
from slm_lsp.types import EngineState


class EngineFactory(Protocol):
    """Makes an engine that begins to load at once and reports how that goes."""

    def __call__(
        self,
        config: Config,
        on_state: Callable[[EngineState], None],
        on_progress: Callable[[str, float | None], None],
    ) -> Engine: ...


class Choices(Protocol):
    """The models that there are, and the check of a choice; ValueError says what is wrong."""

    def listed(self, config: Config) -> list[dict[str, Any]]: ...

    def chosen(self, config: Config, model: str, quantization: str) -> Config: ...
