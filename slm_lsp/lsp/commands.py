"""What an editor may ask of a session by `workspace/executeCommand` (docs/protocol.md).

Owns: the names of the commands and the shapes of their answers.

Invariant: answers hold numbers, reasons and names of models, never source text; nothing blocks
the loop.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pygls.exceptions import JsonRpcInvalidParams

from slm_lsp.lsp.convert import uri_of

if TYPE_CHECKING:
    from slm_lsp.lsp.parts import Choices
    from slm_lsp.lsp.server import SlmServer

STATS_COMMAND = "slm-lsp.stats"
# Takes a document's URI, or nothing; answers with its last request and why it shows nothing.
WHY_COMMAND = "slm-lsp.why"
STATUS_COMMAND = "slm-lsp.status"
# Takes minutes, or nothing: until resumed.
PAUSE_COMMAND = "slm-lsp.pause"
RESUME_COMMAND = "slm-lsp.resume"
MODELS_COMMAND = "slm-lsp.models"
# Takes a model, as the setting does, and a quantization or nothing.
USE_COMMAND = "slm-lsp.use"


def register_commands(server: SlmServer) -> None:
    """Attach them."""

    @server.command(STATS_COMMAND)
    def stats() -> dict[str, Any]:
        return stats_of(server)

    @server.command(WHY_COMMAND)
    def why(*arguments: Any) -> dict[str, Any] | None:
        return why_of(server, uri_of(arguments[0]) if arguments else None)

    @server.command(STATUS_COMMAND)
    def status() -> dict[str, Any]:
        return server.status.now()

    @server.command(PAUSE_COMMAND)
    def pause(*arguments: Any) -> dict[str, Any]:
        server.status.pause(_minutes(arguments))
        return server.status.now()

    @server.command(RESUME_COMMAND)
    def resume() -> dict[str, Any]:
        server.status.resume()
        return server.status.now()

    # Both read files, which may take long on a network's disk.
    @server.command(MODELS_COMMAND)
    async def models() -> list[dict[str, Any]]:
        return await asyncio.to_thread(lambda: _choices(server).listed(server.config))

    @server.command(USE_COMMAND)
    async def use(*arguments: Any) -> dict[str, Any]:
        model, quantization = (*arguments, "", "")[:2]
        try:
            config = await asyncio.to_thread(
                lambda: _choices(server).chosen(server.config, model, quantization or "")
            )
        except ValueError as error:
            raise JsonRpcInvalidParams(message=str(error)) from error
        server.use(config)
        return server.status.now()


def _choices(server: SlmServer) -> Choices:
    if server.choices is None:
        raise JsonRpcInvalidParams(message="this server has one model only")
    return server.choices()


def _minutes(arguments: Sequence[Any]) -> float | None:
    """How long to pause; None for until resumed."""
    if not arguments or arguments[0] is None:
        return None
    minutes = arguments[0]
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)) or not minutes > 0:
        raise JsonRpcInvalidParams(message=f"{PAUSE_COMMAND}: minutes must be a number above 0")
    return float(minutes)


def why_of(server: SlmServer, uri: str | None) -> dict[str, Any] | None:
    """The last request of a document, or of the session, with its reason in words; None where
    there was none."""
    if server.completer is None:
        return None
    from slm_lsp.completion.recent import explained

    entry = server.completer.recent.last(uri)
    return None if entry is None else explained(entry)


def stats_of(server: SlmServer) -> dict[str, Any]:
    """Counters of this session, for tests, scripts and curious users."""
    import dataclasses

    counters: dict[str, Any] = {
        "n_requests": server.trace.n_requests,
        "rejects": dict(server.trace.rejects),
    }
    if server.completer is not None:
        engine = server.completer.engine
        counters |= server.completer.tally.summary()
        counters["state"] = str(engine.state)
        counters["engine"] = told = dataclasses.asdict(engine.stats())
        # In a daemon the engine's time is its own, and other windows' requests are in it.
        cpu_s = time.process_time() + (told["cpu_s"] if server.config.engine == "daemon" else 0.0)
        n_shown = sum(server.completer.tally.origins.values())
        counters["cpu_s"] = round(cpu_s, 3)
        counters["cpu_s_per_shown"] = round(cpu_s / n_shown, 3) if n_shown else None
    return counters
