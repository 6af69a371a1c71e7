"""A simulated developer: a typed session, a request after each key, and what became of it.

Owns: time within a session, the prompt of each key, and its record.

Invariant: keys are never late because an answer is. Each request is made as the server's engine is
asked in use: one deadline, cancelled by the next key, a prompt to which typing only appends.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

from benchmarks.latency.replay import Replay
from benchmarks.latency.sessions import Kind, Session
from slm_lsp.deadline import Cancelled, CancelToken, Deadline
from slm_lsp.engine.base import Engine, EngineUnavailable, PromptError
from slm_lsp.prompt import anchor, fim
from slm_lsp.types import (
    CompletionContext,
    FimTemplate,
    Finish,
    GenerationRequest,
    Prompt,
    StopRule,
    Want,
)

LINE = StopRule(strings=("\n",))
# Keys that leave something to be completed.
ASKING = (Kind.TYPE,)


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one request. `outcome`: answered, late (with or without text), taken back by
    the next key, or failed; times are from the key, None where there was no text."""

    outcome: str
    first_ms: float | None = None
    total_ms: float | None = None
    n_chars: int = 0

    def as_json(self) -> dict[str, object]:
        """Rounded, as it is written to the results."""
        return {k: round(v, 2) if isinstance(v, float) else v for k, v in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Habits:
    """How a developer asks."""

    budget_ms: float = 250.0
    prompt_tokens: int = 1024
    max_tokens: int = 48


class Prompts:
    """Prompts of one developer's places, anchored as the completer's are."""

    def __init__(self, template: FimTemplate, habits: Habits) -> None:
        self._template, self._habits = template, habits
        self._anchors: dict[int, anchor.Anchor] = {}

    def at(self, replay: Replay) -> Prompt:
        """The prompt at the cursor."""
        text, offset = replay.texts[replay.file], replay.offset
        context = CompletionContext(text[:offset], text[offset:], want=Want.LINE)
        held = self._anchors.get(replay.file)
        typed = None
        if held is not None:
            typed = anchor.typed_since(held, context, anchor.MAX_TYPED_CHARS)
        if held is None or typed is None:
            held = anchor.drop(context, self._template, self._habits.prompt_tokens)
            self._anchors[replay.file] = held
            typed = context.prefix[held.at :]
        shown = anchor.shown(held, typed, context)
        return fim.build(self._template, shown, LINE, self._habits.max_tokens, len(typed))


class Developer:
    """Types one session; see the module."""

    def __init__(
        self,
        name: str,
        session: Session,
        engine: Engine,
        template: FimTemplate,
        habits: Habits,
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self.records: list[Record] = []
        self._name, self._session, self._engine = name, session, engine
        self._habits, self._pause = habits, pause
        self._prompts = Prompts(template, habits)
        self._asking: asyncio.Task[None] | None = None
        self._cancel = CancelToken()

    async def type_until(self, stop: Callable[[], bool]) -> None:
        """Type the session, again and again, until it is time to stop."""
        while not stop():
            replay = Replay(self._session)
            for event in self._session.events:
                if stop():
                    break
                await self._pause(event.gap_ms)
                replay.apply(event)
                if event.kind in ASKING:
                    await self._take_back()
                    self._ask(replay)
        await self._take_back()

    async def _take_back(self) -> None:
        if self._asking is not None:
            self._cancel.cancel()
            await self._asking
            self._asking = None

    def _ask(self, replay: Replay) -> None:
        self._cancel = CancelToken()
        deadline = Deadline.after(self._habits.budget_ms)
        request = GenerationRequest(self._name, self._prompts.at(replay), deadline, self._cancel)
        self._asking = asyncio.create_task(self._answered(request, time.perf_counter()))

    async def _answered(self, request: GenerationRequest, began_s: float) -> None:
        try:
            found = await self._engine.generate(request)
        except Cancelled:
            self.records.append(Record("taken back"))
        except (EngineUnavailable, PromptError) as error:
            # How long it is left alone is another each time.
            said = str(error).partition("; asked again")[0]
            self.records.append(Record(f"failed: {said}"))
        else:
            total_ms = (time.perf_counter() - began_s) * 1e3
            in_time = found.finish is not Finish.DEADLINE
            outcome = "answered" if in_time else "late"
            self.records.append(Record(outcome, found.ttft_ms, total_ms, len(found.text)))
