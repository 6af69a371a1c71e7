"""One job on one decoder: reuse KV, prefill in chunks, decode until something ends it.

Owns: the loop over native steps, and the text that they make.

Invariant: between any two native steps the cancel token, the caller's wish that this run gives
way, and the deadline are looked at; no step is started that is expected to end past the deadline.
What is written depends neither on what was remembered of earlier runs nor on what is drafted
(but see `draft`); only the steps do. A rejected draft is cut off before the next step.

Threads: the Scheduler's thread, which owns the decoder.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass, field

from slm_lsp.deadline import Clock
from slm_lsp.engine.base import PromptError
from slm_lsp.engine.draft import Drafter
from slm_lsp.engine.keeping import beginning, is_begun, reading_ms, take
from slm_lsp.engine.kv import KvCache, Pick
from slm_lsp.engine.rates import CHUNK_MS, PATIENCE
from slm_lsp.engine.stopping import stop_at
from slm_lsp.types import (
    LINE_TOKENS,
    Finish,
    Generation,
    GenerationRequest,
    Priority,
    Prompt,
    Start,
)

# A branch less likely than one in a hundred is not worth being written.
BRANCH_LOGPROB = -4.6


class Preempted(Exception):
    """The run gave way between two steps; what it fed is kept."""


@dataclass
class _Output:
    """Text so far, and what the generation will report."""

    heal: bytes
    skip: int
    utf8: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    raw: str = ""
    logprobs: list[float] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What follows the required text; nothing while that is incomplete."""
        return self.raw[self.skip :]

    def add(self, piece: bytes, logprob: float) -> None:
        self.heal = self.heal[len(piece) :]
        self.raw += self.utf8.decode(piece)
        self.logprobs.append(logprob)
        self.ends.append(max(0, len(self.raw) - self.skip))


def document_of(request: GenerationRequest) -> str:
    """The key of the request's KV sequence."""
    return request.document or request.session


class Run:
    """One generation under way. `partial()` may be read by another thread at any time."""

    def __init__(
        self,
        kv: KvCache,
        request: GenerationRequest,
        clock: Clock,
        gives_way: Callable[[], bool] = lambda: False,
    ) -> None:
        self._kv = kv
        self._request = request
        self._cancel = request.cancel
        self._clock = clock
        self._gives_way = gives_way
        self._started_ms = clock.now_ms()
        self._ttft_ms: float | None = None
        self._n_prompt = 0
        self._n_cached = 0
        self._n_resumed = 0
        self._n_steps = 0
        self._drafter = Drafter(kv.odds) if kv.odds is not None else None
        self._other_at: int | None = None
        self._take_prompt(request.prompt)

    def _take_prompt(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._output = _Output(prompt.heal.encode("utf-8", "replace"), len(prompt.heal))

    def finish(self) -> Generation:
        """Run to the end. Raises Cancelled, Preempted, or PromptError for a prompt that cannot
        fit."""
        tokens = self._tokens(self._prompt)
        self._kv.use(document_of(self._request))
        tokens = self._other(tokens) or tokens
        self._n_prompt = len(tokens)
        self._kv.borrow(tokens)
        take(self._kv, tokens, self._request.deadline.remaining_ms())
        self._n_cached = min(self._kv.shared(tokens), self._n_prompt)
        if not self._prompt.max_tokens:
            return self._generation(self._read(tokens))
        return self._generation(self._write(tokens))

    def partial(self) -> Generation:
        """What there is so far, as if the deadline had passed now."""
        return self._generation(Finish.DEADLINE)

    def _other(self, tokens: list[int]) -> list[int] | None:
        """The tokens of the largest prompt of another size that is as good as read, which is
        taken; a smaller one only where the request's own is not in time for a line."""
        kv, prompts = self._kv, self._request.others
        if not prompts or not kv.decoder.cuts:  # then nothing is held of a prompt's part
            return None
        line_ms = LINE_TOKENS * kv.rates.decode_ms
        in_time_ms, own_ms = self._request.deadline.remaining_ms() - line_ms, reading_ms(kv, tokens)
        for at, prompt in enumerate(prompts):
            if not is_begun(kv, kv.decoder.tokenize(beginning(prompt.segments))):
                continue
            try:
                other = self._tokens(prompt)
            except PromptError:
                continue  # `prompt` fits
            is_richer = len(other) > len(tokens)
            if not is_richer and own_ms <= in_time_ms:
                return None
            if reading_ms(kv, other) <= (max(in_time_ms, own_ms) if is_richer else in_time_ms):
                self._other_at = at
                self._take_prompt(prompt)
                return other
        return None

    def _tokens(self, prompt: Prompt) -> list[int]:
        decoder = self._kv.decoder
        tokens = decoder.tokenize(prompt.segments)
        n_ctx = decoder.info.n_ctx
        if len(tokens) + prompt.max_tokens > n_ctx:
            raise PromptError(
                f"a prompt of {len(tokens)} tokens and {prompt.max_tokens} to generate "
                f"do not fit a context of {n_ctx}"
            )
        return tokens

    def _read(self, tokens: list[int]) -> Finish:
        """Prefill only."""
        if not self._hold(tokens, for_pick=False):
            return Finish.DEADLINE
        self._kv.anticipate(self._output.heal, self._start())
        return Finish.LENGTH

    def _write(self, tokens: list[int]) -> Finish:
        """Go on behind `tokens`, with what is known, then with steps."""
        decoder = self._kv.decoder
        ends = {decoder.special(text) for text in self._prompt.stop_specials}
        while True:
            self._look_up()
            pick = self._next(tokens)
            if pick is None:
                return Finish.DEADLINE
            if self._drafter is not None:
                self._kv.stats.n_accepted_tokens += self._drafter.picked(pick.token)
            if self._rank() and pick.logprob < BRANCH_LOGPROB:
                return Finish.EOS
            if decoder.is_end(pick.token) or pick.token in ends:
                return Finish.EOS
            finish = self._add(pick)
            if finish is not None:
                return finish
            tokens.append(pick.token)

    def _next(self, tokens: list[int]) -> Pick | None:
        """What follows `tokens`, known or made; None if the deadline comes first."""
        required, start, rank = self._output.heal, self._start(), self._rank()
        known = self._kv.recall(tokens, required, start) if not rank else None
        if known is not None:
            self._n_resumed += 1
            self._kv.stats.n_resumed_tokens += 1
            return known
        if not self._hold(tokens):
            return None
        self._look_up()
        return self._kv.pick(len(tokens), required, start, rank)

    def _rank(self) -> int:
        """How far behind the likeliest the next token is to be."""
        at_branch = len(self._output.logprobs) == self._request.branch_at
        return self._request.branch if at_branch else 0

    def _look_up(self) -> None:
        """Between two steps: whether somebody wants this to end."""
        self._cancel.raise_if_cancelled()
        if self._gives_way():
            raise Preempted

    def _add(self, pick: Pick) -> Finish | None:
        """Take a token into the text; why it is the last one, if it is."""
        output, prompt = self._output, self._prompt
        if self._ttft_ms is None:
            self._ttft_ms = self._clock.now_ms() - self._started_ms
        output.add(self._kv.decoder.piece(pick.token), pick.logprob)
        if stop_at(output.text, prompt.stop) is not None:
            return Finish.STOP
        return Finish.LENGTH if len(output.logprobs) >= prompt.max_tokens else None

    def _hold(self, tokens: list[int], for_pick: bool = True) -> bool:
        """Feed what the sequence lacks of `tokens`; False if the deadline comes first."""
        done = self._kv.reuse(tokens, for_pick)
        if not self._n_steps:
            self._n_cached = min(done, self._n_prompt)
        while done < len(tokens):
            self._look_up()
            n_chunk = self._chunk_tokens(len(tokens) - done)
            if n_chunk <= 0:
                return False
            if n_chunk == 1 and done >= self._n_prompt:
                self._decode(tokens)
            else:
                self._prefill(tokens[done : done + n_chunk])
            done += n_chunk
        return True

    def _chunk_tokens(self, n_left: int) -> int:
        """How many tokens to feed in the next step; 0 if that would end too late."""
        rates, remaining_ms = self._kv.rates, self._request.deadline.remaining_ms()
        asked = self._request.priority is Priority.INTERACTIVE
        patience_ms = max(CHUNK_MS, PATIENCE * remaining_ms) if asked else CHUNK_MS
        n_chunk = rates.chunk_tokens(n_left, remaining_ms, patience_ms)
        is_first = self._n_steps == 0 or len(self._output.logprobs) == 1
        if not n_chunk and is_first and remaining_ms >= CHUNK_MS:
            rates.doubt()
        return n_chunk

    def _prefill(self, tokens: list[int]) -> None:
        self._step(tokens, 1)
        self._kv.stats.n_prefill_tokens += len(tokens)
        self._kv.stats.n_prefill_steps += 1

    def _decode(self, tokens: list[int]) -> None:
        """Feed the last token, and behind it what the model may well pick next."""
        draft = self._draft(tokens)
        self._step([tokens[-1], *draft], 1 + len(draft))
        self._kv.stats.n_decode_steps += 1
        self._kv.stats.n_drafted_tokens += len(draft)

    def _step(self, tokens: list[int], n_picks: int) -> None:
        self._kv.feed(tokens, n_picks)
        self._n_steps += 1
        self._kv.stats.n_cancelled_steps += self._cancel.cancelled

    def _draft(self, tokens: list[int]) -> list[int]:
        """A draft of what follows; none while not everything may follow."""
        if self._drafter is None or self._output.heal or self._start() is not Start.ANY:
            return []
        n_useful = self._n_useful(self._drafter.guess(tokens))
        remaining_ms = self._request.deadline.remaining_ms()
        return self._drafter.draft(n_useful, self._kv.rates, remaining_ms)

    def _n_useful(self, guess: list[int]) -> int:
        """How many tokens to feed at the most: nothing is picked behind the text's end."""
        output, prompt = self._output, self._prompt
        n_left = prompt.max_tokens - len(output.logprobs) - 1
        text, raw = output.text, b""
        for n, token in enumerate(guess[:n_left]):
            piece = self._kv.decoder.piece(token)
            raw += piece
            if not piece or stop_at(text + raw.decode("utf-8", "replace"), prompt.stop) is not None:
                return n
        return min(n_left, len(guess))

    def _start(self) -> Start:
        """What may come next, as long as there is no text."""
        return Start.ANY if self._output.text.strip() else self._prompt.start

    def _generation(self, finish: Finish) -> Generation:
        text = self._output.text
        logprobs = tuple(self._output.logprobs)
        end = stop_at(text, self._prompt.stop)
        return Generation(
            text=text if end is None else text[:end],
            finish=finish,
            n_prompt=self._n_prompt,
            n_cached=self._n_cached,
            n_predicted=len(logprobs),
            ttft_ms=self._ttft_ms,
            total_ms=self._clock.now_ms() - self._started_ms,
            logprobs=logprobs,
            n_resumed=self._n_resumed,
            other_at=self._other_at,
            ends=tuple(self._output.ends),
        )
