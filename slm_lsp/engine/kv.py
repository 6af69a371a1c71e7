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
from slm_lsp.engine.rates import Rates


@dataclass(frozen=True, slots=True)
class Pick:
    """A token that the model chose, and among which it could choose."""

    token: int
    logprob: float
    required: bytes
    line_break: bool

    def covers(self, required: bytes, line_break: bool) -> bool:
        """Whether whatever is allowed now was allowed then: the likeliest of more tokens is
        the likeliest of fewer, if it is one of them."""
        return required.startswith(self.required) and (self.line_break or not line_break)


@dataclass(slots=True)
class Sequence:
    """One document's tokens in the decoder, and the picks by the number of tokens before."""

    slot: int
    tokens: list[int] = field(default_factory=list)
    picks: dict[int, Pick] = field(default_factory=dict)


class KvCache:
    """What the decoder remembers. `use` chooses the document that all the rest is about."""

    def __init__(
        self, decoder: Decoder, clock: Clock, stats: EngineStats, rates: Rates | None = None
    ) -> None:
        self.decoder = decoder
        self.stats = stats
        self.rates = rates or Rates()
        self._clock = clock
        self._cells = Cells(decoder.n_cells)
        self._sequences: dict[str, Sequence] = {}
        self._document = ""
        # Slot and length of the sequence whose next token the decoder's logits are about.
        self._logits: tuple[int, int] | None = None
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
                self._cells.hold(document, n_tokens)
                self.stats.n_evictions += n_tokens > 0
        self._cells.use(document)
        self._document = document
        self.decoder.select(self._current.slot)

    def shared(self, tokens: list[int]) -> int:
        """How many tokens the current sequence and `tokens` begin with alike."""
        held = self.tokens
        limit = min(len(held), len(tokens))
        if held[:limit] == tokens[:limit]:  # in C: this is asked before every token
            return limit
        return next(i for i in range(limit) if held[i] != tokens[i])

    def reuse(self, tokens: list[int], for_pick: bool = True) -> int:
        """Keep what the current sequence shares with `tokens`; return how many need no feeding.

        For a pick, the last token is fed again unless the decoder's logits follow it. Without
        one, a sequence that goes on behind `tokens` is left as it is.
        """
        n_shared = self.shared(tokens)
        if n_shared == len(tokens):
            if not for_pick:
                return n_shared
            if n_shared == len(self.tokens) and self._follows():
                return n_shared
            n_shared -= 1
        if n_shared < len(self.tokens) or not self.tokens:
            n_shared = self.cut(n_shared)
        return n_shared

    def _follows(self) -> bool:
        """Whether the decoder's logits are about the current sequence's next token."""
        return self._logits == (self._current.slot, len(self.tokens))

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

    def feed(self, tokens: list[int]) -> None:
        """Append tokens to the current sequence in one step, making room for them first."""
        for document, n_kept in self._cells.cuts(self._document, len(tokens)):
            self._evict(document, n_kept)
        current = self._current
        self._cells.hold(self._document, self._cells.held(self._document) + len(tokens))
        before_ms = self._clock.now_ms()
        try:
            self._logits = None
            self.decoder.feed(tokens)
        except BaseException:
            # The cells stay counted: nobody knows which of them are taken.
            current.tokens, current.picks = [], {}
            raise
        current.tokens += tokens
        self._logits = (current.slot, len(current.tokens))
        self.rates.add(len(tokens), self._clock.now_ms() - before_ms)

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

    def recall(self, tokens: list[int], required: bytes, line_break: bool) -> Pick | None:
        """The pick that the decoder would make behind `tokens`, if it has been made before."""
        current = self._current
        pick = current.picks.get(len(tokens))
        if pick is None or not pick.covers(required, line_break):
            return None
        if current.tokens[: len(tokens)] != tokens:
            return None
        return pick if self.decoder.allows(pick.token, required, line_break) else None

    def pick(self, required: bytes = b"", line_break: bool = True) -> Pick:
        """The decoder's pick behind the current sequence; it is remembered."""
        token, logprob = self.decoder.pick(required, line_break)
        pick = Pick(token, logprob, required, line_break)
        self._current.picks[len(self.tokens)] = pick
        return pick

    def anticipate(self) -> None:
        """Remember what the model would write here, if its logits are at hand."""
        if self._follows() and len(self.tokens) not in self._current.picks:
            self.pick()
