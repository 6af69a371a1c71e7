"""One editor that never rests: replayed sessions, one after the other, on one server at a time.

Owns: the server's process, its restarts, the documents that are open, and each request's time.

Invariant: a request is counted once it was answered, and every one has to be; of those that were
taken back no time is kept. Documents of a session are closed when it is over.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.chaos.scene import INLINE, Watched
from benchmarks.latency.client import RequestFailed, position
from benchmarks.latency.ours import AUTOMATIC, editor
from benchmarks.latency.replay import Change, Replay, decide
from benchmarks.latency.sessions import Kind, Session, make_session

SEED = 8
CANCELLED_SHARE = 0.3
# Now and then a pause that is long enough for what is done when nobody types.
PAUSE_SHARE, PAUSE_S = 1 / 300, 0.45
ACCEPT_EVERY = 6


@dataclass
class Counts:
    """What all typists have done by now."""

    n_requests: int = 0
    n_cancelled: int = 0
    n_with_text: int = 0
    n_failed: int = 0
    n_edits: int = 0
    n_restarts: int = 0
    n_sessions: int = 0
    # Number of the request and its milliseconds.
    times: list[tuple[int, float]] = field(default_factory=list)


class Typist:
    """See the module. `restart_every` requests its server is ended and another begun; 0: never.
    While `rests` says so it does nothing."""

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        env: Mapping[str, str],
        settings: Mapping[str, Any],
        texts: Mapping[str, str],
        counts: Counts,
        restart_every: int = 0,
        rests: Callable[[], bool] = lambda: False,
    ) -> None:
        self.number, self._rests = number, rests
        self._command, self._env, self._settings = list(command), env, settings
        self._texts, self._counts = texts, counts
        self._restart_every, self._n_here = restart_every, 0
        self._rng = random.Random(f"soak {number}")
        self._client: Watched | None = None
        self._versions: dict[str, int] = {}
        self._n_shown = 0

    @property
    def is_steady(self) -> bool:
        """Whether its process is the same from the beginning to the end."""
        return not self._restart_every

    @property
    def pid(self) -> int:
        assert self._client is not None
        assert self._client.pid is not None
        return self._client.pid

    async def begin(self) -> None:
        """Start the server."""
        self._client = Watched(self._command, self._env)
        self._versions, self._n_here = {}, 0
        await self._client.start(editor(self._settings))

    async def end(self) -> None:
        """End the server, and look whether it did as it should."""
        client = self._client
        assert client is not None
        await client.stop()
        assert client.process.returncode == 0, client.process.returncode
        assert not client.n_waiting
        assert not client.n_stray

    async def type_until(self, over: Callable[[], bool]) -> None:
        """Type session after session."""
        n = 0
        while not over():
            session = make_session(self._texts, SEED + self.number, n)
            n += 1
            await self._type(session, f"file:///soak/{self.number}/{n}", over)
            self._counts.n_sessions += 1

    async def _type(self, session: Session, folder: str, over: Callable[[], bool]) -> None:
        replay = Replay(session)
        for event in session.events:
            if over():
                break
            while self._rests():  # noqa: ASYNC110
                await asyncio.sleep(PAUSE_S)
            if self._restart_every and self._n_here >= self._restart_every:
                await self.end()
                await self.begin()
                self._counts.n_restarts += 1
            if replay.skips(event):
                continue
            change = replay.apply(event)
            uri = f"{folder}/{session.files[replay.file]}"
            self._show(uri, replay, change)
            if event.kind in (Kind.TYPE, Kind.BACKSPACE, Kind.MOVE):
                await self._ask(uri, replay)
            if self._rng.random() < PAUSE_SHARE:
                await asyncio.sleep(PAUSE_S)
        for uri in self._versions:
            self._lsp.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
        self._versions.clear()

    @property
    def _lsp(self) -> Watched:
        assert self._client is not None
        return self._client

    def _show(self, uri: str, replay: Replay, change: Change | None) -> None:
        """Let the server have the text that the replay has."""
        text = replay.texts[replay.file]
        if uri not in self._versions:
            self._versions[uri] = 0
            item = {"uri": uri, "languageId": "python", "version": 0, "text": text}
            self._lsp.notify("textDocument/didOpen", {"textDocument": item})
            return
        if change is None:
            return
        # The text before: what was put in is taken out; what was removed was one line's.
        before = text[: change.start] + "x" * change.n_removed
        before += text[change.start + len(change.text) :]
        encoding = self._lsp.encoding
        edit = {
            "start": position(before, change.start, encoding),
            "end": position(before, change.start + change.n_removed, encoding),
        }
        self._versions[uri] += 1
        params = {
            "textDocument": {"uri": uri, "version": self._versions[uri]},
            "contentChanges": [{"range": edit, "text": change.text}],
        }
        self._lsp.notify("textDocument/didChange", params)
        self._counts.n_edits += 1

    async def _ask(self, uri: str, replay: Replay) -> None:
        """One request, which may be taken back."""
        counts, client = self._counts, self._lsp
        text = replay.texts[replay.file]
        params = {
            "textDocument": {"uri": uri},
            "position": position(text, replay.offset, client.encoding),
            "context": {"triggerKind": AUTOMATIC},
        }
        began_s = time.perf_counter()
        number, future = client.request(INLINE, params)
        takes_back = self._rng.random() < CANCELLED_SHARE
        if takes_back:
            await asyncio.sleep(self._rng.uniform(0.0, 0.01))
            client.cancel(number)
        try:
            items = ((await future) or {}).get("items", [])
        except RequestFailed:
            items = []
            counts.n_failed += not takes_back
        self._n_here += 1
        counts.n_requests += 1
        counts.n_cancelled += takes_back
        if not takes_back:
            counts.times.append((counts.n_requests, (time.perf_counter() - began_s) * 1e3))
        if items:
            counts.n_with_text += 1
            self._n_shown += 1
            self._accept(uri, replay)

    def _accept(self, uri: str, replay: Replay) -> None:
        """Now and then what was shown is taken for the rest of the line, whatever it says."""
        taken = decide(None, replay.remaining(), self._n_shown, ACCEPT_EVERY)
        if taken:
            self._show(uri, replay, replay.accept(taken))
