"""What an editor may ask of a session by `workspace/executeCommand`: counters, and reasons.

Owns: the names of the commands and the shapes of their answers.

Invariant: answers hold numbers and reasons, never source text; nothing waits.

Threads: the event loop.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slm_lsp.lsp.server import SlmServer

STATS_COMMAND = "slm-lsp.stats"
# Takes a document's URI, or nothing; answers with its last request and why it shows nothing.
WHY_COMMAND = "slm-lsp.why"


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
