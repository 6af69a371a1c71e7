"""The engines that the contract is held against: add an `EngineCase` to `CASES`.

Owns: how each is opened and closed, and a fresh decoder on the same model, which says what the
engine is to write.

Invariant: an engine that is opened is READY; when its context is left, its processes have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
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

from slm_lsp.config import Config
from slm_lsp.engine.base import Engine
from slm_lsp.engine.rendezvous import Place, runtime_directory
from slm_lsp.engine.scheduler import Scheduler
from slm_lsp.types import EngineState
from slm_lsp.wiring import identity, start_remote

Open = Callable[[Path], AbstractAsyncContextManager[Engine]]


@dataclass(frozen=True)
class EngineCase:
    """`open` starts it, given a folder for model files. `decoder` is what it is to say the same as.
    What an engine cannot know (a remote server) is False: `counts`, how many tokens
    were in its cache; `heals`, that text is forced to begin in a certain way; `specials`, which
    control tokens there are."""

    name: str
    open: Open
    decoder: DecoderCase
    counts: bool = True
    heals: bool = True
    specials: bool = True
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


def _cases() -> tuple[EngineCase, ...]:
    cases = []
    for case in decoder_cases.CASES:
        marks = tuple(decoder_cases.marks(case))
        cases.append(EngineCase(f"scheduler-{case.name}", scheduler(case), case, marks=marks))
        if case.model in ("", "llama"):
            name = f"daemon-here-{case.name}"
            cases.append(EngineCase(name, daemon_here(case), case, marks=marks))
        if case.model in ("llama", "starcoder"):
            name = f"daemon-{case.name}"
            cases.append(EngineCase(name, daemon_process(case), case, marks=marks))
    return tuple(cases)


CASES: tuple[EngineCase, ...] = _cases()


def parameters(cases: Sequence[EngineCase] = CASES) -> list[Any]:
    """For `pytest.fixture(params=…)`."""
    return [pytest.param(case, id=case.name, marks=case.marks) for case in cases]
