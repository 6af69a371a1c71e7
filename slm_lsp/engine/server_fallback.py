"""FallbackEngine: a server first, and the model of this machine where that is late or broken.

Owns: the local engine, which is started the first time it is needed, the head start that the
server has, and which of two answers is taken.

Invariant: each request is answered once; the first complete text wins, at the deadline the server's
where it has any. The loser is cancelled. Work ahead of requests is the local model's alone, and
only while the server is not well.

Threads: the event loop; `close` and the properties from any.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from slm_lsp.deadline import Cancelled, CancelToken
from slm_lsp.engine.base import Engine, EngineStats, EngineUnavailable
from slm_lsp.engine.server import NOTHING_AHEAD, ServerEngine
from slm_lsp.types import (
    EngineState,
    Finish,
    Generation,
    GenerationRequest,
    ModelInfo,
    Priority,
    Prompt,
)

OnState = Callable[[EngineState], None]
# A prompt for one model made into one for another, itself where the two are the same; None where it
# was not made for the first.
Translate = Callable[[Prompt, ModelInfo, ModelInfo, EngineStats], Prompt | None]


async def pause(ms: float) -> None:
    """Let so much time pass."""
    await asyncio.sleep(ms / 1e3)


class FallbackEngine:
    """An Engine of two. `start` it, and with it the server's, within a running event loop."""

    def __init__(
        self,
        server: ServerEngine,
        make_local: Callable[[OnState], Engine],
        translate: Translate,
        head_start_ms: float,
        on_state: OnState = lambda state: None,
        pause: Callable[[float], Awaitable[None]] = pause,
    ) -> None:
        self._on_state, self._translate = on_state, translate
        self._head_start_ms, self._pause = head_start_ms, pause
        self._make_local = make_local
        self._local: Engine | None = None
        self._closed = False
        self._told: EngineState | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server = server
        server.on_state = lambda state: self._changed()

    @property
    def state(self) -> EngineState:
        if self._closed:
            return EngineState.CLOSED
        # A server that has failed is what the local engine is started for.
        local = self._local.state if self._local is not None else EngineState.LOADING
        if self._local is None and self._server.state is not EngineState.FAILED:
            local = EngineState.CLOSED
        states = {self._server.state, local}
        for state in (EngineState.READY, EngineState.LOADING):
            if state in states:
                return state
        return EngineState.FAILED

    @property
    def failure(self) -> str | None:
        local = self._local.failure if self._local is not None else None
        return "; ".join(said for said in (self._server.failure, local) if said) or None

    @property
    def info(self) -> ModelInfo | None:
        """The server's, or the local model's as long as that alone is ready."""
        if self._server.state is EngineState.READY or self._local is None:
            return self._server.info
        return self._local.info

    def wanted(self) -> None:
        """See Engine."""
        if self._local is not None:
            self._local.wanted()

    def abandon(self, owner: str) -> None:
        """See Engine."""
        if self._local is not None:
            self._local.abandon(owner)

    def stats(self) -> EngineStats:
        """The server's, or the local model's as long as that alone is ready."""
        if self._server.state is EngineState.READY or self._local is None:
            return self._server.stats()
        return self._local.stats()

    def start(self) -> None:
        """Begin to find out about the server."""
        self._loop = asyncio.get_running_loop()
        self._server.start()

    def close(self) -> None:
        """See Engine."""
        self._closed = True
        self._server.close()
        if self._local is not None:
            self._local.close()

    async def closed(self) -> None:
        """Wait until nothing of the server's side runs any more, after `close`."""
        await self._server.closed()

    def _changed(self) -> None:
        """One of the two is in another state; it may be the local one's thread that says so."""
        if self._server.state is EngineState.FAILED and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._local_engine)
        if self.state is not self._told and not self._closed:
            self._told = self.state
            if self._told in (EngineState.READY, EngineState.FAILED):
                self._on_state(self._told)

    def _local_engine(self) -> Engine | None:
        """The local engine, which begins to load when it is first wanted."""
        if self._local is None and not self._closed:
            self._told = None
            self._local = self._make_local(lambda state: self._changed())
            self._changed()  # it may have said so while it was made
        return self._local

    # --- requests ---

    async def generate(self, request: GenerationRequest) -> Generation:
        """See Engine."""
        if request.priority is not Priority.INTERACTIVE or not request.prompt.max_tokens:
            return await self._ahead(request)
        local = self._for_local(request)
        if self._server.state is not EngineState.READY or not self._is_for_server(request):
            if local is None:
                raise EngineUnavailable(self.failure or f"server {self._server.state}")
            engine, translated = local
            return await engine.generate(translated)
        return await self._race(request)

    async def _ahead(self, request: GenerationRequest) -> Generation:
        """Reading and writing ahead; a server that is well gets none of it."""
        local = None if self._server.is_well else self._for_local(request)
        if local is None:
            raise EngineUnavailable(NOTHING_AHEAD)
        engine, translated = local
        return await engine.generate(translated)

    def _is_for_server(self, request: GenerationRequest) -> bool:
        info = self._server.info
        return info is not None and (
            self._translate(request.prompt, info, info, EngineStats()) is not None
        )

    def _for_local(self, request: GenerationRequest) -> tuple[Engine, GenerationRequest] | None:
        """The local engine with the request as it takes it, if it can."""
        local = self._local
        if local is None or local.state is not EngineState.READY or local.info is None:
            return None
        server = self._server.info
        prompt = None
        if server is not None:
            prompt = self._translate(request.prompt, server, local.info, local.stats())
        if prompt is None:
            # It was made for the local model, while the server was not there.
            if self._translate(request.prompt, local.info, local.info, EngineStats()) is None:
                return None
            return local, request
        return local, replace(request, prompt=prompt, others=())

    async def _race(self, request: GenerationRequest) -> Generation:
        """The server's answer, or the local model's if that is complete first."""
        begun, lost = asyncio.Event(), (CancelToken(), CancelToken())
        for token in lost:
            request.cancel.add_callback(token.cancel)
        server = asyncio.ensure_future(
            self._server.generate(replace(request, cancel=lost[0]), begun.set)
        )
        local = asyncio.ensure_future(self._helped(request, lost[1], begun, server))
        try:
            return await _first(server, local)
        except asyncio.CancelledError:
            request.cancel.cancel()
            raise
        finally:
            for token in lost:
                token.cancel()
            await _ended(server, local)

    async def _helped(
        self,
        request: GenerationRequest,
        cancel: CancelToken,
        begun: asyncio.Event,
        server: asyncio.Future[Generation],
    ) -> Generation:
        """What the local model says, once the server has had its head start."""
        await _any_of(begun.wait(), self._pause(self._head_start_ms), server)
        if begun.is_set() or (server.done() and not server.exception()):
            raise EngineUnavailable("the server answers")
        self._local_engine()
        local = self._for_local(request)
        if local is None:
            raise EngineUnavailable("the local model is not ready")
        engine, translated = local
        return await engine.generate(replace(translated, cancel=cancel))


async def _first(
    server: asyncio.Future[Generation], local: asyncio.Future[Generation]
) -> Generation:
    """The first complete text; where there is none, the server's, or else the local one."""
    waiting = {server, local}
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in (server, local):
            if each in done and _is_complete(each):
                return each.result()
        if server in done and isinstance(server.exception(), Cancelled):
            return server.result()  # raises it
    if server.exception() is None and (server.result().text or local.exception() is not None):
        return server.result()
    return local.result() if local.exception() is None else server.result()


def _is_complete(answer: asyncio.Future[Generation]) -> bool:
    return answer.exception() is None and answer.result().finish is not Finish.DEADLINE


async def _any_of(*awaited: Awaitable[object]) -> None:
    """Wait for the first; those that were made here are ended."""
    futures = [asyncio.ensure_future(each) for each in awaited]
    try:
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future, each in zip(futures, awaited, strict=True):
            if future is not each:
                future.cancel()


async def _ended(*futures: asyncio.Future[Generation]) -> None:
    """See two futures to their end: their tokens are cancelled, so that takes no time."""
    for each in futures:
        each.cancel()
    await asyncio.gather(*futures, return_exceptions=True)
