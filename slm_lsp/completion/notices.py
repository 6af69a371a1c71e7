"""What a user should be told once, though completions may come all the same.

Owns: the sentences on a model that was made for chat, and on a server that does not serve; and
which of them a session has had.

Invariant: no key, no source text. A notice's `about` stays the same while what it is about
does, whatever else a server says of it.

Threads: the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass

from slm_lsp.config import Config
from slm_lsp.engine.base import Engine
from slm_lsp.engine.server_advice import advice_on
from slm_lsp.prompt.chat import chat_warning
from slm_lsp.types import EngineState, ModelInfo


@dataclass(frozen=True, slots=True)
class Notice:
    """`is_error`: without the user doing something nothing will be completed."""

    about: str
    text: str
    is_error: bool = False


def on_model(info: ModelInfo) -> Notice | None:
    """What to expect of a model that is loaded."""
    warning = chat_warning(info)
    return Notice(f"chat {info.name}", f"slm-lsp: {info.name}: {warning}") if warning else None


def on_failure(failure: str, state: EngineState, config: Config) -> Notice:
    """What is broken, what to do about it, and what works meanwhile."""
    about = failure.partition(":")[0]
    failed = state is EngineState.FAILED
    text = f"slm-lsp: no completions. {failure}" if failed else f"slm-lsp: {failure}"
    if config.server_url:
        text += f". What to do: {advice_on(failure, config.server_key_variable)}"
        if not failed and config.server_fallback == "on":
            text += ". Meanwhile the model on this machine answers"
    return Notice(f"{failed} {about}", text, is_error=failed)


class Told:
    """What a session's user has been told."""

    def __init__(self) -> None:
        self._about: set[str] = set()
        self._model: ModelInfo | None = None

    def news(self, engine: Engine, config: Config, *, is_change: bool) -> list[Notice]:
        """What there is to tell now: each thing once, but that there will be no completions each
        time that the engine's state has come to that."""
        found: list[Notice | None] = []
        info, failure = engine.info, engine.failure
        if info is not None and info is not self._model:
            self._model = info
            found.append(on_model(info))
        if failure and engine.state in (EngineState.READY, EngineState.FAILED):
            found.append(on_failure(failure, engine.state, config))
        news = [
            each
            for each in found
            if each is not None and (each.about not in self._about or (each.is_error and is_change))
        ]
        self._about.update(each.about for each in news)
        return news
