"""The policy of this project: every key asks the server, and cancels what was asked before.

Owns: one real `slm-lsp serve` a session, driven as an editor does: didOpen, didChange with
the edit alone, then textDocument/inlineCompletion at the cursor (textDocument/completion where
the server has no other).

Invariant: nothing of the server but its command line, the protocol, the trace's lines and the
command `slm-lsp.stats` is used, so that what is measured is what users have. Beside it, an
Observer reads the daemon's counters.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.latency import processes
from benchmarks.latency.client import LspClient, RequestFailed, ServerEnded, position
from benchmarks.latency.home import Home
from benchmarks.latency.observer import Observer, read_between
from benchmarks.latency.policy import Answer, Show, View, Work
from benchmarks.latency.replay import Change
from benchmarks.latency.responses import first_item, outcomes, prefilled_each, trace_lines

INLINE = "textDocument/inlineCompletion"
POPUP = "textDocument/completion"
READY_PATIENCE_S = 180.0
READY_POLL_S = 0.05
# What the engine expects a token to take.
RATES = ("decode_ms", "prefill_ms_per_token")
AUTOMATIC = 2  # InlineCompletionTriggerKind of LSP 3.18

Json = dict[str, Any]


class Ours:
    """See the module. `command` is the server's, `settings` its initializationOptions."""

    name = "ours"

    def __init__(
        self, command: Sequence[str], settings: Mapping[str, Any], home: Home | None = None
    ) -> None:
        self._home = home or Home()
        self._command = command
        self._settings = dict(settings)
        self._trace_path = self._home.folder / f"trace-{processes.new_mark()}.jsonl"
        self._client: LspClient | None = None
        self._show: Show = lambda answer: None
        self._versions: dict[str, int] = {}
        self._texts: dict[str, str] = {}
        self._asked: int | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self._before: Json = {}
        self._observer: Observer | None = None
        self._ready_ms = 0.0

    def marks(self) -> Sequence[str]:
        return (self._home.mark,)

    @property
    def pid(self) -> int | None:
        """The server's own process."""
        return self._client.pid if self._client else None

    async def start(self) -> None:
        """Have the daemon run, which outlives its servers, as a peer's server runs by then."""
        await self.begin(lambda answer: None)
        await self.end()

    async def begin(self, show: Show) -> None:
        self._show = show
        self._versions, self._texts, self._asked = {}, {}, None
        self._trace_path.unlink(missing_ok=True)
        settings = {**self._settings, "trace": str(self._trace_path)}
        started = time.perf_counter()
        self._client = LspClient(self._command, self._home.env())
        await self._client.start(editor(settings))
        await self._ready()
        self._ready_ms = (time.perf_counter() - started) * 1e3
        self._before = (await self._stats()).get("engine") or {}
        self._observer = await Observer.find(self._home.sockets)
        self._observe()

    def opened(self, view: View) -> None:
        self._versions[view.uri], self._texts[view.uri] = 0, view.text
        item = {"uri": view.uri, "languageId": "python", "version": 0, "text": view.text}
        self._lsp().notify("textDocument/didOpen", {"textDocument": item})

    def changed(self, view: View, change: Change) -> None:
        before, encoding = self._texts[view.uri], self._lsp().encoding
        self._texts[view.uri] = view.text
        self._versions[view.uri] += 1
        edit_range = {
            "start": position(before, change.start, encoding),
            "end": position(before, change.start + change.n_removed, encoding),
        }
        params = {
            "textDocument": {"uri": view.uri, "version": self._versions[view.uri]},
            "contentChanges": [{"range": edit_range, "text": change.text}],
        }
        self._lsp().notify("textDocument/didChange", params)
        self._ask(view)

    def moved(self, view: View) -> None:
        self._ask(view)

    async def end(self) -> Work:
        self._observe()
        after = (await self._stats()).get("engine") or {}
        samples = await self._observer.close() if self._observer else []
        self._observer = None
        await self._lsp().stop()
        await asyncio.gather(*self._answers, return_exceptions=True)
        if samples and samples[0] and samples[-1]:
            self._before, after = asdict(samples[0]), asdict(samples[-1])
        lines = trace_lines(self._trace_path)
        each = prefilled_each(lines)
        n_written = sum(line.get("n_predicted") or 0 for line in lines)
        facts = {name: round(after[name], 3) for name in RATES if name in after}
        facts |= {f"n_{reason}": float(n) for reason, n in outcomes(lines).items()}
        return Work(
            each,
            self._difference(after, "n_prefill_tokens", sum(each)),
            self._difference(after, "n_decode_steps", n_written),
            {"ready_ms": round(self._ready_ms, 1), **facts},
            read_between(samples[1:]),
        )

    async def stop(self) -> None:
        self._home.close()

    # --- requests ---

    def _ask(self, view: View) -> None:
        """What every key does."""
        self._observe()
        client = self._lsp()
        if self._asked is not None:
            client.cancel(self._asked)
        params: Json = {
            "textDocument": {"uri": view.uri},
            "position": position(view.text, view.offset, client.encoding),
        }
        method = POPUP
        if "inlineCompletionProvider" in client.capabilities:
            method, params["context"] = INLINE, {"triggerKind": AUTOMATIC}
        self._asked, future = client.request(method, params)
        task = asyncio.create_task(self._answer(self._asked, future, view))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, request_id: int, future: asyncio.Future[Any], view: View) -> None:
        try:
            result = await future
        except (RequestFailed, ServerEnded):
            result = None
        if request_id == self._asked:  # else the next key came first
            self._asked = None
            self._show(Answer(first_item(result, view, self._lsp().encoding)))

    # --- the server ---

    def _lsp(self) -> LspClient:
        assert self._client is not None
        return self._client

    async def _ready(self) -> None:
        """Wait until the engine is ready; a server without the command counts as ready."""
        async with asyncio.timeout(READY_PATIENCE_S):
            while True:
                stats = await self._stats()
                state = stats.get("state", "loading" if stats else "ready")
                if state == "failed":
                    raise RuntimeError("the server could not load its model")
                if state == "ready":
                    return
                await asyncio.sleep(READY_POLL_S)

    async def _stats(self) -> Json:
        with contextlib.suppress(RequestFailed):
            params = {"command": "slm-lsp.stats", "arguments": []}
            result = await self._lsp().call("workspace/executeCommand", params)
            return dict(result or {})
        return {}

    def _observe(self) -> None:
        if self._observer is not None:
            self._observer.sample()

    def _difference(self, after: Json, counter: str, otherwise: int) -> int:
        """How far a counter of the engine has gone; engines that lack it leave the trace's."""
        if counter not in after:
            return otherwise
        return max(0, int(after[counter]) - int(self._before.get(counter, 0)))


def editor(settings: Mapping[str, Any]) -> Json:
    """What an editor says of itself in `initialize`."""
    return {
        "processId": os.getpid(),
        "rootUri": None,
        "capabilities": {
            "general": {"positionEncodings": ["utf-16"]},
            "textDocument": {"inlineCompletion": {}, "completion": {}},
        },
        "initializationOptions": dict(settings),
    }


def serve_command(model: str, budget_ms: float) -> tuple[list[str], dict[str, Any]]:
    """The command line of the real server, and its settings."""
    settings: dict[str, Any] = {"automatic_budget_ms": budget_ms}
    if model:
        settings["model"] = model
    return [sys.executable, "-m", "slm_lsp", "serve"], settings
