"""The decoder's KV sequences, one a document, and what the model is known to write in them.

Owns: which tokens each sequence holds, and the picks made behind them. A pick is remembered
with its place: a later request whose tokens lead to that place takes it without a step, be it
the same prompt again or one whose end is what was generated.

Invariant: a sequence's `tokens` is exactly what the decoder has been fed for it, and is empty
after a failure: what the decoder holds then is unknown, and the next prompt clears it. A
remembered pick is one that the decoder would make anew: it is used only where the tokens before
it are the same, what is allowed there is no more than it was, and it is still allowed.

Threads: the Scheduler's thread, which owns the decoder.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from slm_lsp.deadline import Clock
from slm_lsp.engine.base import Decoder, EngineStats
from slm_lsp.engine.cells import Cells
from slm_lsp.engine.draft import Odds
from slm_lsp.engine.kv_file import KvFiles
from slm_lsp.engine.rates import Rates
from slm_lsp.engine.threads import MIN_TOKENS, ThreadChoice
from slm_lsp.types import Start

# A copy moves a whole sequence's memory, which takes about as long as reading so many tokens.
BORROW_TOKENS = 48


@dataclass(frozen=True, slots=True)
class Pick:
    """A token that the model chose, and among which it could choose."""

    token: int
    logprob: float
    required: bytes
    start: Start

    def covers(self, decoder: Decoder, required: bytes, start: Start) -> bool:
        """Whether whatever is allowed now was allowed then: the likeliest of more tokens is
        the likeliest of fewer, if it is one of them."""
        if not decoder.narrows(self.required, required):
            return False
        # What begins with more of a visible text is neither a line break nor an end.
        return self.start <= start or bool(required[len(self.required) :].strip())


@dataclass(slots=True)
class Sequence:
    """One document's tokens in the decoder, and the picks by the number of tokens before."""

    slot: int
    tokens: list[int] = field(default_factory=list)
    picks: dict[int, Pick] = field(default_factory=dict)


def n_alike(held: list[int], tokens: list[int]) -> int:
    """How many tokens two sequences begin with alike."""
    limit = min(len(held), len(tokens))
    if held[:limit] == tokens[:limit]:  # in C: this is asked before every token
        return limit
    return next(i for i in range(limit) if held[i] != tokens[i])


class KvCache:
    """What the decoder remembers. `use` chooses the document that all the rest is about."""

    def __init__(
        self,
        decoder: Decoder,
        clock: Clock,
        stats: EngineStats,
        rates: Rates | None = None,
        odds: Odds | None = None,
    ) -> None:
        """With `odds`, drafts are made, if what was fed of them can be cut off again."""
        self.decoder = decoder
        self.stats = stats
        self.rates = rates or Rates()
        self.odds = odds if decoder.cuts else None
        self.files: KvFiles | None = None
        self._threads = ThreadChoice(decoder.n_batch_threads)
        self._n_threads = decoder.n_batch_threads
        self._clock = clock
        self._cells = Cells(decoder.n_cells)
        self._sequences: dict[str, Sequence] = {}
        self._orphans: set[str] = set()
        self._document = ""
        # The decoder's logits are about what follows in this slot, behind so many tokens and up
        # to so many. They hold as long as the tokens do: longer ones are fed, which ends them.
        self._logits: tuple[int, int, int] | None = None
        self.use("")

    @property
    def tokens(self) -> list[int]:
        """What the current document's sequence holds."""
        return self._current.tokens

    @property
    def n_held(self) -> int:
        """Cells held by all documents."""
        return self._cells.n_held

    @property
    def _current(self) -> Sequence:
        return self._sequences[self._document]

    def use(self, document: str) -> None:
        """Make `document` current. Where all sequences are taken, the least recently used
        becomes its own, with its tokens: they may begin alike."""
        if document not in self._sequences:
            n_used = len(self._sequences)
            if n_used < self.decoder.n_sequences:
                self._sequences[document] = Sequence(n_used)
            else:
                oldest = self._cells.oldest()
                n_tokens = self._cells.release(oldest)
                self._sequences[document] = self._sequences.pop(oldest)
                self._orphans.discard(oldest)
                self._cells.hold(document, n_tokens)
                self.stats.n_evictions += n_tokens > 0
        self._orphans.discard(document)
        self._cells.use(document)
        self._document = document
        self.decoder.select(self._current.slot)

    def abandon(self, owner: str) -> None:
        """Nobody asks for an owner's documents any more, unless it comes back: `borrow` takes
        their sequences as they are."""
        begins = (f"{owner}#", f"{owner}/")
        self._orphans |= {each for each in self._sequences if (each + "#").startswith(begins)}

    def newest_first(self) -> list[str]:
        """All documents, the most recently used first."""
        return self._cells.newest_first()

    def held(self, document: str) -> list[int]:
        """What a document's sequence holds."""
        return self._sequences[document].tokens

    def save(self, document: str, max_bytes: int) -> bytearray | None:
        """The memory of a document, which becomes the current one, for `restore`."""
        self.use(document)
        return self.decoder.save_sequence(max_bytes)

    def restore(self, tokens: list[int], state: bytearray) -> bool:
        """Let the current sequence hold `tokens`, as one did of which `save` gave `state`; if
        that fails, it is empty."""
        self.cut(0)
        self._make_room(len(tokens))
        self._logits = None
        if self.decoder.restore_sequence(state, tokens):
            self._current.tokens = list(tokens)
        return bool(self.tokens)

    def shared(self, tokens: list[int]) -> int:
        """How many tokens the current sequence and `tokens` begin with alike."""
        return n_alike(self.tokens, tokens)

    def most_shared(self, tokens: list[int]) -> tuple[str, int]:
        """The document whose sequence begins most like `tokens`, and how many it shares."""
        shares = {
            document: n_alike(sequence.tokens, tokens)
            for document, sequence in self._sequences.items()
        }
        document = max(shares, key=lambda document: shares[document])
        return document, shares[document]

    def borrow_tokens(self, lender: str) -> int:
        """What `borrow` takes, in tokens read: a copy's, or nothing for one without an owner."""
        return 0 if lender in self._orphans else BORROW_TOKENS

    def borrow(self, tokens: list[int]) -> None:
        """Let the current sequence begin as a copy of another one, where that shares more of
        `tokens` by far: copying is cheaper than reading. One without an owner changes places
        with the current one."""
        lender, n_shared = self.most_shared(tokens)
        if n_shared < self.shared(tokens) + max(1, self.borrow_tokens(lender)):
            return
        if lender in self._orphans:
            self._adopt(lender)
            return
        self.cut(0)
        self._make_room(n_shared)
        source, current = self._sequences[lender], self._current
        if self._logits is not None and self._logits[0] == current.slot:
            self._logits = None
        n_tokens = min(n_shared, len(source.tokens))  # room may have been made of it
        n_tokens = self.decoder.copy(source.slot, n_tokens)
        current.tokens = source.tokens[:n_tokens]
        current.picks = {at: pick for at, pick in source.picks.items() if at <= n_tokens}
        self._cells.hold(self._document, n_tokens)
        self.stats.n_borrowed_tokens += n_tokens

    def _adopt(self, orphan: str) -> None:
        mine, sequences, cells = self._document, self._sequences, self._cells
        sequences[mine], sequences[orphan] = sequences[orphan], sequences[mine]
        n_mine, n_orphan = cells.held(mine), cells.held(orphan)
        cells.hold(mine, n_orphan)
        cells.hold(orphan, n_mine)
        self.decoder.select(self._current.slot)

    def reuse(self, tokens: list[int], for_pick: bool = True) -> int:
        """Keep what the current sequence shares with `tokens`; return how many need no feeding.

        For a pick, the last token is fed again unless the decoder's logits follow it. Where no
        token is fed, a sequence that goes on behind `tokens` is left as it is.
        """
        n_shared = self.shared(tokens)
        if n_shared == len(tokens):
            if not for_pick:
                return n_shared
            if self._follows(n_shared):
                return n_shared
            n_shared -= 1
        if n_shared < len(self.tokens) or not self.tokens:
            n_shared = self.cut(n_shared)
        return n_shared

    def _follows(self, n_tokens: int) -> bool:
        """Whether the decoder's logits tell what follows the current sequence's first
        `n_tokens`."""
        if self._logits is None:
            return False
        slot, first, last = self._logits
        return slot == self._current.slot and first <= n_tokens <= last

    def cut(self, n_tokens: int) -> int:
        """Keep the first `n_tokens` of the current sequence, or none where the model's memory
        cannot be cut; return how many are left."""
        current = self._current
        tokens, current.tokens = current.tokens[:n_tokens], []
        n_kept = self.decoder.truncate(n_tokens)
        current.tokens = tokens[:n_kept]
        current.picks = {at: pick for at, pick in current.picks.items() if at <= n_kept}
        self._cells.hold(self._document, n_kept)
        return n_kept

    def feed(self, tokens: list[int], n_picks: int = 1) -> None:
        """Append tokens to the current sequence in one step, making room for them first. What
        follows each of the last `n_picks` can then be picked."""
        self._make_room(len(tokens))
        if len(tokens) >= MIN_TOKENS:
            self._choose_threads()
        current = self._current
        before_ms = self._clock.now_ms()
        try:
            self._logits = None
            self.decoder.feed(tokens, n_picks)
        except BaseException:
            # The cells stay counted: nobody knows which of them are taken.
            current.tokens, current.picks = [], {}
            raise
        current.tokens += tokens
        n_held = len(current.tokens)
        self._logits = (current.slot, n_held - n_picks + 1, n_held)
        step_ms = self._clock.now_ms() - before_ms
        self.rates.add(len(tokens), step_ms, n_picks)
        if n_picks == 1:  # the others' time is that of the vocabulary as well
            self._threads.add(self._n_threads, len(tokens), step_ms)

    def _choose_threads(self) -> None:
        n_threads = self._threads.choose()
        if n_threads != self._n_threads:
            self._n_threads = n_threads
            self.decoder.use_batch_threads(n_threads)

    def _make_room(self, n_tokens: int) -> None:
        """Count cells for more tokens of the current sequence, others' where need be."""
        for document, n_kept in self._cells.cuts(self._document, n_tokens):
            self._evict(document, n_kept)
        self._cells.hold(self._document, self._cells.held(self._document) + n_tokens)

    def _evict(self, document: str, n_kept: int) -> None:
        """Cut another document's sequence; the current one stays current."""
        current, self._document = self._document, document
        try:
            self.decoder.select(self._current.slot)
            self.cut(n_kept if self.tokens else 0)
            self.stats.n_evictions += 1
        finally:
            self._document = current
            self.decoder.select(self._current.slot)

    def recall(self, tokens: list[int], required: bytes, start: Start) -> Pick | None:
        """The pick that the decoder would make behind `tokens`, if it has been made before."""
        current = self._current
        pick = current.picks.get(len(tokens))
        if pick is None or not pick.covers(self.decoder, required, start):
            return None
        if current.tokens[: len(tokens)] != tokens:
            return None
        return pick if self.decoder.allows(pick.token, required, start) else None

    def pick(
        self, n_tokens: int, required: bytes = b"", start: Start = Start.ANY, rank: int = 0
    ) -> Pick:
        """The decoder's pick behind the current sequence's first `n_tokens`, of which `reuse`
        has said that they need no feeding, or which were fed; the likeliest is remembered."""
        assert self._logits is not None
        at = n_tokens - self._logits[2] - 1
        token, logprob = self.decoder.pick(required, start, at, rank)
        pick = Pick(token, logprob, required, start)
        if not rank:
            self._current.picks[n_tokens] = pick
        return pick

    def anticipate(self, required: bytes, start: Start) -> None:
        """Remember what the model would write here, if its logits are at hand: anything, or where
        that is not allowed, what is."""
        n_tokens = len(self.tokens)
        if self._follows(n_tokens) and n_tokens not in self._current.picks:
            free = self.pick(n_tokens)
            if not self.decoder.allows(free.token, required, start):
                self.pick(n_tokens, required, start)
