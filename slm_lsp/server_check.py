"""Whether a server of the user's own can be reached, has the model, and answers in time.

Owns: the three small requests that `doctor` makes of it.

Invariant: nothing of a document is sent, and no key is in what is found.

Threads: the main thread, with an event loop of its own.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from slm_lsp.config import Config
from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.engine.base import EngineUnavailable, ModelLoadError, PromptError
from slm_lsp.engine.server import ServerEngine
from slm_lsp.engine.server_advice import advice_on
from slm_lsp.prompt import fim
from slm_lsp.servers import settings_of, what_is_known
from slm_lsp.types import (
    CompletionContext,
    EngineState,
    Generation,
    GenerationRequest,
    Prompt,
    Want,
)

BUDGET_MS = 10_000.0
# The first request makes the connection and may wait for the model; the last is what users see.
N_PROBES = 3
PROBE = CompletionContext("def add(a, b):\n    return ", "\n\n\nprint(add(1, 2))\n", want=Want.LINE)
PROBE_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Probe:
    """What the server said, and how long it took over the last answer."""

    name: str
    generation: Generation
    api: str
    notes: tuple[str, ...]


def check(config: Config) -> tuple[bool, str, str]:
    """Whether all is well, what was found, and what to do."""
    try:
        settings, known = settings_of(config), what_is_known()
        probe = asyncio.run(_probe(ServerEngine(settings, known)))
    except (ModelLoadError, EngineUnavailable, PromptError) as error:
        return False, str(error), advice_on(str(error), config.server_key_variable)
    last = probe.generation
    found = (
        f"{probe.name} ({probe.api}): first token in {last.ttft_ms or 0:.0f} ms, "
        f"{last.n_predicted} tokens in {last.total_ms:.0f} ms"
    )
    if probe.notes:
        return False, found, "; ".join(probe.notes)
    if last.ttft_ms is None:
        return False, f"{probe.name} ({probe.api}) wrote nothing", "see the server's log"
    if last.ttft_ms > config.automatic_budget_ms:
        return (
            False,
            found,
            "that is longer than automatic_budget_ms: raise it, or ask a nearer one",
        )
    return True, found, ""


async def _probe(engine: ServerEngine) -> Probe:
    try:
        await _settled(engine)
        if engine.state is not EngineState.READY or engine.info is None:
            raise EngineUnavailable(engine.failure or "the server does not answer")
        template = engine.info.template or fim.choose_template(engine.info)
        prompt = fim.build(template, PROBE, fim.stop_rule(PROBE, 1), PROBE_TOKENS)
        for _ in range(N_PROBES):
            generation = await engine.generate(_request(prompt))
        return Probe(engine.info.name, generation, engine.api, engine.notes)
    finally:
        engine.close()
        await engine.closed()


async def _settled(engine: ServerEngine) -> None:
    settled = asyncio.Event()
    engine.on_state = lambda state: settled.set()
    engine.start()
    await settled.wait()


def _request(prompt: Prompt) -> GenerationRequest:
    return GenerationRequest("doctor", prompt, Deadline.after(BUDGET_MS), CancelToken())
