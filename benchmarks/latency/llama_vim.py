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
from collections.abc import Awaitable, Callable, Sequence

from benchmarks.latency.gathering import Gathering, around
from benchmarks.latency.infill import InfillServer
from benchmarks.latency.llama_context import (
    MAX_LINE_SUFFIX,
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
        self._gathering = Gathering(self._warm)
        self.ring = self._gathering.ring
        self._view: View | None = None
        self._job: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._hint: list[str] | None = None
        self._can_accept = False
        self._last_indent = -1
        self._each: list[int] = []
        # Tokens read by the requests that began between a key and the next.
        self._reads: list[int] = []
        self._n_prefilled = self._n_decoded = self._n_requests = 0

    def marks(self) -> Sequence[str]:
        return self._server.marks() if self._server else ()

    async def start(self) -> None:
        if self._server is not None:
            await self._server.start()

    async def stop(self) -> None:
        # Where a session was given up in the middle, nothing may go on with it.
        pending = self._pending()
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        if self._server is not None:
            await self._server.stop()

    async def begin(self, show: Show) -> None:
        self._reset()
        self._show = show
        self._gathering.start()

    async def end(self) -> Work:
        # A request that failed has left the policy without answers: nothing may be made of it.
        await asyncio.gather(*self._pending())
        facts = {"n_requests": float(self._n_requests), "n_ring": float(len(self.ring.chunks))}
        each, reads = tuple(self._each), tuple(self._reads)
        return Work(each, self._n_prefilled, self._n_decoded, facts, reads)

    def _pending(self) -> list[asyncio.Future[None]]:
        """Ask no more; what is still being asked."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._view = None
        return [*self._gathering.stop(), *([self._job] if self._job else [])]

    # --- what the editor tells ---

    def opened(self, view: View) -> None:
        """Entering a file gathers what is around its cursor, 100 ms later."""
        self._gathering.entered(view)

    def changed(self, view: View, change: Change) -> None:
        self._on_move(view)

    def moved(self, view: View) -> None:
        if self._view is not None and self._view.uri != view.uri:
            self._gathering.gather(self._view)
            self._gathering.entered(view)
        self._on_move(view)

    def _on_move(self, view: View) -> None:
        self._view = view
        self._gathering.moved()
        self._reads.append(0)
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
        self.ring.evict_like(around(view))
        self._n_requests += 1
        speculative = bool(previous)
        self._job = asyncio.create_task(self._request(local, names, speculative))
        self._gathering.gather_far(view, lines, row)

    async def _request(self, local: Local, names: list[str], speculative: bool) -> None:
        key_number = len(self._reads) - 1
        answer = await self._post(self.body(local, speculative))
        n_read = self._count(answer, key_number)
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

    def _count(self, answer: Json, key_number: int) -> int:
        """Add up what a request that began after a key took; the tokens that it read."""
        timings = answer.get("timings") or {}
        n_read = int(answer.get("timings/prompt_n", timings.get("prompt_n", 0)) or 0)
        n_decoded = answer.get("timings/predicted_n", timings.get("predicted_n", 0)) or 0
        self._n_prefilled += n_read
        self._n_decoded += int(n_decoded)
        if key_number >= 0:
            self._reads[key_number] += n_read
        return n_read

    async def _warm(self, pieces: list[Json]) -> None:
        """Have the ring's pieces read."""
        key_number = len(self._reads) - 1
        self._count(await self._post(warm_body(pieces)), key_number)


async def _nowhere(body: Json) -> Json:
    raise OSError("no server")
