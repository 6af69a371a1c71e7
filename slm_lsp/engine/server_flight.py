"""One request on its way to a server and back.

Owns: the loop over what arrives, the second try, and the end of the stream.

Invariant: a flight is settled once. A stream is left as soon as the text is complete; one that the
server ends itself is read to its end, in the background, so that its connection can be used again.
What was answered in part is never asked for again.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from slm_lsp.deadline import Clock
from slm_lsp.engine.server_answer import Answer
from slm_lsp.engine.server_apis import Api
from slm_lsp.engine.server_link import Link, Trouble
from slm_lsp.engine.server_stream import Json
from slm_lsp.types import Finish, GenerationRequest

# Of a request's time, so much must be left for it to be sent once more.
RETRY_SHARE = 0.5
# How long the end of an answer that is complete may take.
DRAIN_PATIENCE_S = 2.0
# How APIs call what they are asked for beside the text.
LOGPROBS = ("logprobs", "n_probs")
# A server may say so in many ways that it does not give them.
REFUSALS = (400, 422, 500, 501)


class Flight:
    """A request under way, and the promise of how its text ends."""

    def __init__(self, request: GenerationRequest, answer: Answer, started_ms: float) -> None:
        self.request, self.answer, self.started_ms = request, answer, started_ms
        self.budget_ms = request.deadline.remaining_ms()
        self.outcome: asyncio.Future[Finish] = asyncio.get_running_loop().create_future()
        # The text is complete, and only the connection is looked after.
        self.draining = False

    def end(self, outcome: Finish | Exception) -> None:
        """Settle the request, unless it is settled."""
        if self.outcome.done():
            return
        if isinstance(outcome, Exception):
            self.outcome.set_exception(outcome)
            self.outcome.exception()  # seen, even if nobody waits for it any more
        else:
            self.outcome.set_result(outcome)

    def was_late(self) -> bool:
        """Whether the deadline ended it."""
        ended = self.outcome
        return ended.done() and not ended.exception() and ended.result() is Finish.DEADLINE


@dataclass(frozen=True, slots=True)
class Way:
    """How a flight goes: `on_text` is called when the answer begins, `on_no_logprobs` when the
    server turns out to give none."""

    link: Link
    api: Api
    clock: Clock
    on_text: Callable[[], None]
    on_no_logprobs: Callable[[], None]


async def bring(flight: Flight, way: Way, body: Json) -> None:
    """Send the request and take the answer into the flight. Raises Trouble and Complaint."""
    try:
        await _stream(flight, way, body)
    except Trouble as trouble:
        again = _again(flight, way, trouble, body)
        if again is None:
            raise
        await _stream(flight, way, again)


def _again(flight: Flight, way: Way, trouble: Trouble, body: Json) -> Json | None:
    """What to send once more; None where that is of no use."""
    if flight.answer.begun or flight.outcome.done():
        return None
    asked = [name for name in LOGPROBS if name in body]
    if asked and trouble.status in REFUSALS:
        way.on_no_logprobs()
        return {name: value for name, value in body.items() if name not in LOGPROBS}
    in_time = flight.request.deadline.remaining_ms() >= RETRY_SHARE * flight.budget_ms
    # A server that names a time is not asked before it, and hardly any is this short.
    return body if trouble.retriable and not trouble.wait_ms and in_time else None


async def _stream(flight: Flight, way: Way, body: Json) -> None:
    async with way.link.stream(way.api.path, body) as objects:
        async for found in objects:
            piece, had_begun = way.api.read(found), flight.answer.begun
            complete = flight.answer.add(piece, way.clock.now_ms())
            if flight.answer.begun and not had_begun:
                way.on_text()
            if complete:
                assert flight.answer.finish is not None
                flight.draining = piece.finish is not None
                flight.end(flight.answer.finish)
                break
        else:
            raise Trouble("ended its answer in the middle", retriable=True)
        if flight.draining:
            await _drain(objects)


async def _drain(objects: AsyncIterator[Json]) -> None:
    """Read what follows; what is wrong with it matters to nobody."""
    with contextlib.suppress(Trouble, TimeoutError):
        async with asyncio.timeout(DRAIN_PATIENCE_S):
            async for _ in objects:
                pass
