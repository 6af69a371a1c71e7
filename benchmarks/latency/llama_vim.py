"""The request policy of llama.vim against a llama.cpp server's `/infill`.

Owns: when it asks and when it shows, as at commit a1c8e6e of ggml-org/llama.vim. Every move of
the cursor in insert mode first looks for a text in the cache and then asks, unless the context
is in the cache. While a request is under way the next waits 100 ms and tries again; nothing is
ever cancelled. After something is shown, what would follow it is asked for in advance.

Invariant: one request at a time, besides those that only warm the ring. There is one timer: a
later wish to ask replaces an earlier one, whatever each was for.

Threads: the event loop. What the original pays to start `curl` for each request is not counted.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.latency import ring as rings
from benchmarks.latency.infill import InfillServer
from benchmarks.latency.llama_context import (
    MAX_LINE_SUFFIX,
    N_PREFIX_LINES,
    N_SUFFIX_LINES,
    Cache,
    Local,
    cursor,
    key,
    keys,
    lines_of,
    local_context,
    rendered,
)
from benchmarks.latency.llama_wire import (
    FIRST_PREDICT_MS,
    SPECULATIVE_PREDICT_MS,
    Json,
    completion_body,
    warm_body,
)
from benchmarks.latency.policy import Answer, Show, View, Work
from benchmarks.latency.replay import Change, Shown

REARM_S = 0.1
RING_UPDATE_S, RING_IDLE_S, ENTER_S = 1.0, 3.0, 0.1

Post = Callable[[Json], Awaitable[Json]]


class LlamaVim:
    """See the module. `server` is where `/infill` is; `post` replaces it in tests. `unlimited`
    takes the time limit of the first request away: what could be shown, were time no matter."""

    def __init__(
        self,
        server: InfillServer | None = None,
        post: Post | None = None,
        unlimited: bool = False,
    ) -> None:
        assert server is not None or post is not None
        self.name = "llama.vim-unlimited" if unlimited else "llama.vim"
        self._first_predict_ms = 0 if unlimited else FIRST_PREDICT_MS
        self._server = server
        self._post: Post = post or (server.post if server else _nowhere)
        self._show: Show = lambda answer: None
        self._reset()

    def _reset(self) -> None:
        self.cache = Cache()
        self._rng = random.Random("llama.vim")
        self.ring = rings.Ring(self._rng)
        self._view: View | None = None
        self._job: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ring_timer: asyncio.TimerHandle | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._hint: list[str] | None = None
        self._can_accept = False
        self._picked_row = -9999
        self._last_indent = -1
        self._moved_s = time.monotonic()
        self._each: list[int] = []
        self._n_prefilled = self._n_decoded = self._n_requests = 0

    def marks(self) -> Sequence[str]:
        return self._server.marks() if self._server else ()

    async def start(self) -> None:
        if self._server is not None:
            await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()

    async def begin(self, show: Show) -> None:
        self._reset()
        self._show = show
        self._plan_ring()

    async def end(self) -> Work:
        for timer in (self._timer, self._ring_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._ring_timer = None
        self._view = None
        pending = [*self._background, *([self._job] if self._job else [])]
        # A request that failed has left the policy without answers: nothing may be made of it.
        await asyncio.gather(*pending)
        facts = {"n_requests": float(self._n_requests), "n_ring": float(len(self.ring.chunks))}
        return Work(tuple(self._each), self._n_prefilled, self._n_decoded, facts)

    # --- what the editor tells ---

    def opened(self, view: View) -> None:
        """Entering a file gathers what is around its cursor, 100 ms later."""
        asyncio.get_running_loop().call_later(ENTER_S, self._gather_here, view)

    def changed(self, view: View, change: Change) -> None:
        self._on_move(view)

    def moved(self, view: View) -> None:
        if self._view is not None and self._view.uri != view.uri:
            self._gather_here(self._view)
            asyncio.get_running_loop().call_later(ENTER_S, self._gather_here, view)
        self._on_move(view)

    def _on_move(self, view: View) -> None:
        self._view, self._moved_s = view, time.monotonic()
        self._hint = None
        self._try_hint()
        if self._hint is not None:
            self._each.append(0)
        self._ask(None, ())

    # --- showing ---

    def _try_hint(self) -> None:
        """Show what the cache has for the cursor, and then ask for what would follow."""
        view = self._view
        if view is None:
            return
        lines = lines_of(view.text)
        row, column = cursor(view.text, view.offset)
        local = local_context(lines, row, column, (), self._last_indent)
        text = self.cache.lookup(local)
        if text is None:
            return
        content, n_before = rendered(text, lines, row, column)
        after = lines[row][column:] if lines[row].strip(" \t") else ""
        shown = "\n".join(content)
        self._hint = [*content[:-1], content[-1] + after]
        self._can_accept = bool("".join(self._hint).strip())
        self._show(Answer(self._shown(view, lines[row], shown, n_before)))
        self._ask((row, column), tuple(self._hint))

    def _shown(self, view: View, line: str, text: str, n_before: int) -> Shown | None:
        """The suggestion as an edit of the view."""
        if not text.strip() or not self._can_accept:
            return None
        if line.strip(" \t"):
            return Shown(view.offset, view.offset, text)
        start = view.text.rfind("\n", 0, view.offset) + 1
        return Shown(start + n_before, start + len(line), text)

    # --- asking ---

    def _ask(self, place: tuple[int, int] | None, previous: tuple[str, ...]) -> None:
        """Ask for the cursor, or for a place as if `previous` stood there."""
        if self._view is None:
            return
        if self._job is not None:
            if self._timer is not None:
                self._timer.cancel()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(REARM_S, self._ask, place, previous)
            return
        view = self._view
        lines = lines_of(view.text)
        row, column = place or cursor(view.text, view.offset)
        local = local_context(lines, row, column, previous, self._last_indent)
        if len(local.line_suffix) > MAX_LINE_SUFFIX:
            if not previous and self._hint is None:
                self._show(Answer(None, asked=False))
            return
        names = keys(local)
        if any(self.cache.get(name) is not None for name in names):
            if not previous and self._hint is None:
                self._show(Answer(None))
            return
        self._last_indent = local.indent
        self.ring.evict_like(self._around(view))
        self._n_requests += 1
        speculative = bool(previous)
        self._job = asyncio.create_task(self._request(local, names, speculative))
        if abs(row - self._picked_row) > rings.GATHER_LINES:
            self._gather_far(view, lines, row)

    async def _request(self, local: Local, names: list[str], speculative: bool) -> None:
        answer = await self._post(self.body(local, speculative))
        n_read = self._count(answer)
        if not speculative:
            self._each.append(n_read)
        text = answer.get("content")
        if isinstance(text, str):
            for name in names:
                self.cache.insert(name, text)
        if self._hint is None or not self._can_accept:
            self._try_hint()
        self._answer_empty(names)
        self._job = None

    def body(self, local: Local, speculative: bool) -> Json:
        """The request for a completion."""
        limit_ms = SPECULATIVE_PREDICT_MS if speculative else self._first_predict_ms
        return completion_body(local, self.ring.extra(), limit_ms)

    def _answer_empty(self, names: list[str]) -> None:
        """Nothing came for the cursor's own context: that is an answer, too."""
        view = self._view
        if view is None or self._hint is not None:
            return
        row, column = cursor(view.text, view.offset)
        local = local_context(lines_of(view.text), row, column, (), self._last_indent)
        if key(local.prefix + local.middle, local.suffix) in names:
            self._show(Answer(None))

    def _count(self, answer: Json) -> int:
        """Add up what the server did; returns the tokens that it read."""
        timings = answer.get("timings") or {}
        n_read = int(answer.get("timings/prompt_n", timings.get("prompt_n", 0)) or 0)
        n_decoded = answer.get("timings/predicted_n", timings.get("predicted_n", 0)) or 0
        self._n_prefilled += n_read
        self._n_decoded += int(n_decoded)
        return n_read

    # --- the ring ---

    def _around(self, view: View) -> list[str]:
        """Up to 32 lines on each side of the cursor."""
        lines, half = lines_of(view.text), rings.CHUNK_LINES // 2
        row = cursor(view.text, view.offset)[0]
        return lines[max(0, row - half) : row + half + 1]

    def _gather_here(self, view: View) -> None:
        if not view.modified:
            self.ring.pick(self._around(view), view.uri, True, time.monotonic() * 1e3)

    def _gather_far(self, view: View, lines: list[str], row: int) -> None:
        """Queue what lies above the prefix's window and below the suffix's."""
        above = lines[max(0, row - rings.SCOPE_LINES) : max(0, row - N_PREFIX_LINES) + 1]
        last = len(lines) - 1
        first_below = min(last, row + N_SUFFIX_LINES)
        below = lines[first_below : min(last, first_below + rings.CHUNK_LINES) + 1]
        for piece in (above, below):
            self.ring.pick(piece, view.uri, False, time.monotonic() * 1e3)
        self._picked_row = row

    def _plan_ring(self) -> None:
        loop = asyncio.get_running_loop()
        self._ring_timer = loop.call_later(RING_UPDATE_S, self._update_ring)

    def _update_ring(self) -> None:
        """Once a second, if nobody typed for three: take in a piece and have it read."""
        self._plan_ring()
        if time.monotonic() - self._moved_s < RING_IDLE_S or not self.ring.promote():
            return
        task = asyncio.create_task(self._warm())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _warm(self) -> None:
        self._count(await self._post(warm_body(self.ring.extra())))


async def _nowhere(body: Json) -> Json:
    raise OSError("no server")
