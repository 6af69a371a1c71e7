"""The engines that the contract is held against: add an `EngineCase` to `CASES`.

Owns: how each is opened and closed, and a fresh decoder on the same model, which says what the
engine is to write.

Invariant: an engine that is opened is READY; when its context is left, its processes have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import decoder_cases
import model_files as files
import pytest
from daemon_scene import PATIENCE_S, Client, served, short_directory, until_gone
from decoder_cases import DecoderCase
from server_scene import Asked, ScriptedServer

from slm_lsp.config import Config
from slm_lsp.deadline import SYSTEM_CLOCK, Cancelled, CancelToken, Deadline
from slm_lsp.engine.base import Decoder, Engine, EngineStats, PromptError
from slm_lsp.engine.kv import KvCache
from slm_lsp.engine.rendezvous import Place, runtime_directory
from slm_lsp.engine.run import Run
from slm_lsp.engine.scheduler import Scheduler
from slm_lsp.engine.server import ServerEngine
from slm_lsp.engine.server_look import Known
from slm_lsp.engine.server_settings import ServerSettings
from slm_lsp.prompt.fim import PREFIX_ONLY
from slm_lsp.types import EngineState, Finish, GenerationRequest, Prompt, StopRule, Text
from slm_lsp.wiring import identity, start_remote

Open = Callable[[Path], AbstractAsyncContextManager[Engine]]


@dataclass(frozen=True)
class EngineCase:
    """`open` starts it, given a folder for model files. `decoder` is what it is to say the same as.
    What an engine cannot know (a remote server) is False: `counts`, how many tokens
    were in its cache; `heals`, that text is forced to begin in a certain way; `specials`, which
    control tokens there are; `ahead`, what is read before it is asked for."""

    name: str
    open: Open
    decoder: DecoderCase
    counts: bool = True
    heals: bool = True
    specials: bool = True
    ahead: bool = True
    marks: tuple[pytest.MarkDecorator, ...] = ()


async def _until_ready(engine: Engine, states: asyncio.Queue[EngineState]) -> None:
    state = await asyncio.wait_for(states.get(), PATIENCE_S)
    while state is EngineState.LOADING:
        state = await asyncio.wait_for(states.get(), PATIENCE_S)
    assert state is EngineState.READY, engine.failure


def _listener() -> tuple[asyncio.Queue[EngineState], Callable[[EngineState], None]]:
    """A queue of states, and what puts them there from any thread."""
    states: asyncio.Queue[EngineState] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def on_state(state: EngineState) -> None:
        loop.call_soon_threadsafe(states.put_nowait, state)

    return states, on_state


def scheduler(case: DecoderCase) -> Open:
    """The Scheduler in this process."""

    @contextlib.asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[Engine]:
        states, on_state = _listener()
        drafts = case.library != "ctransformers"
        engine = Scheduler(lambda: case.load(folder), on_state=on_state, drafts=drafts)
        engine.start()
        await _until_ready(engine, states)
        try:
            yield engine
        finally:
            await asyncio.to_thread(engine.close)

    return opened


def daemon_here(case: DecoderCase) -> Open:
    """A daemon's protocol and its client, both in this process."""

    @contextlib.asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[Engine]:
        with short_directory() as directory:
            place = Place(directory, "contract")
            async with (
                scheduler(case)(folder) as engine,
                served(place, engine),
                Client(place) as client,
            ):
                yield await client.ready()

    return opened


def daemon_process(case: DecoderCase) -> Open:
    """The real daemon in a process of its own, as `slm-lsp serve` starts it."""

    @contextlib.asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[Engine]:
        config = Config(
            model=str(files.made(folder, case.model)),
            library=case.library,
            context_tokens=files.N_CTX,
            keep_kv="off",
            daemon_idle_minutes=0.01,
        )
        with short_directory() as directory:
            where = {"XDG_RUNTIME_DIR": directory, "XDG_CACHE_HOME": folder / "cache"}
            where |= {"XDG_STATE_HOME": folder / "state"}
            with mock.patch.dict(os.environ, {key: str(path) for key, path in where.items()}):
                place = Place.of(runtime_directory(), *identity(config))
                states, on_state = _listener()
                engine = start_remote(config, on_state, lambda text, done: None)
                try:
                    await _until_ready(engine, states)
                    yield engine
                finally:
                    engine.close()
                    await until_gone(place)

    return opened


def server_here(case: DecoderCase) -> Open:
    """A server of OpenAI's API around a decoder, and the engine that asks it over a socket."""

    @contextlib.asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[Engine]:
        model = ModelServer(case.load(folder))
        server = ScriptedServer(model.answer, pages={"/v1/models": {"data": [{"id": "m"}]}})
        await server.start()
        states, on_state = _listener()
        settings = ServerSettings(server.url, "openai", template=PREFIX_ONLY, n_ctx=files.N_CTX)
        engine = ServerEngine(settings, Known(), on_state)
        engine.start()
        try:
            await _until_ready(engine, states)
            yield engine
        finally:
            engine.close()
            await engine.closed()
            await server.stop()
            model.decoder.close()

    return opened


class ModelServer:
    """Answers completions with what a decoder writes; one at a time, as many servers do."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self._kv = KvCache(decoder, SYSTEM_CLOCK, EngineStats())
        self._free = asyncio.Lock()

    async def answer(self, asked: Asked) -> None:
        """See server_scene.Answer."""
        body = asked.body
        stop = StopRule(tuple(body["stop"]))
        prompt = Prompt((Text(body["prompt"]),), stop, max_tokens=body["max_tokens"])
        cancel = CancelToken()
        request = GenerationRequest("s", prompt, Deadline(math.inf), cancel)
        async with self._free:
            run = asyncio.ensure_future(
                asyncio.to_thread(Run(self._kv, request, SYSTEM_CLOCK).finish)
            )
            try:
                said = await asyncio.shield(run)
            except PromptError as error:
                asked.whole("400 Bad Request", {"error": {"message": str(error)}})
                return
            except asyncio.CancelledError:
                cancel.cancel()
                await asyncio.wait({run})
                with contextlib.suppress(Cancelled):
                    run.result()
                raise
        asked.begin()
        at = 0
        for end, logprob in zip(said.ends, said.logprobs, strict=True):
            text = said.text[at:end]
            at = max(at, end)
            asked.text(text, logprobs={"tokens": [text], "token_logprobs": [logprob]})
        told = {"stop_reason": body["stop"][0]} if said.finish is Finish.STOP else {}
        asked.end("length" if said.finish is Finish.LENGTH else "stop", **told)


def _cases() -> tuple[EngineCase, ...]:
    cases = []
    for case in decoder_cases.CASES:
        marks = tuple(decoder_cases.marks(case))
        cases.append(EngineCase(f"scheduler-{case.name}", scheduler(case), case, marks=marks))
        if case.model in ("", "llama"):
            name = f"daemon-here-{case.name}"
            cases.append(EngineCase(name, daemon_here(case), case, marks=marks))
            name = f"server-{case.name}"
            cases.append(
                EngineCase(
                    name,
                    server_here(case),
                    case,
                    *(False, False, False, False),
                    marks=marks,
                )
            )
        if case.model in ("llama", "starcoder"):
            name = f"daemon-{case.name}"
            cases.append(EngineCase(name, daemon_process(case), case, marks=marks))
    return tuple(cases)


CASES: tuple[EngineCase, ...] = _cases()


def parameters(cases: Sequence[EngineCase] = CASES) -> list[Any]:
    """For `pytest.fixture(params=…)`."""
    return [pytest.param(case, id=case.name, marks=case.marks) for case in cases]
