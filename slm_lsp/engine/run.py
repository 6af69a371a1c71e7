"""One job on one decoder: reuse KV, prefill in chunks, decode until something ends it.

Owns: what the KV sequence holds (`Sequence.tokens`) and the loop over native steps.

Invariant: `Sequence.tokens` is exactly what the decoder has been fed. Between any two
native steps the cancel token and the deadline are looked at; no step is started that
is expected to end past the deadline.

Threads: the Scheduler's thread, which owns the decoder.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field

from slm_lsp.deadline import Clock, Deadline
from slm_lsp.engine.base import Decoder, EngineStats, PromptError
from slm_lsp.engine.stopping import stop_at
from slm_lsp.types import Finish, Generation, GenerationRequest

MIN_CHUNK_TOKENS = 16
MAX_CHUNK_TOKENS = 256
# One chunk is what a newer request may have to wait for.
CHUNK_MS = 40.0
# A request with much time may hold up the next one longer: large chunks are read faster.
PATIENCE = 0.1
SMOOTHING = 0.3


class Sequence:
    """The decoder's KV sequence, with the tokens it holds and the speed of its steps.

    `tokens` is empty after a failure: what the decoder holds then is unknown, and the next
    prompt clears it.
    """

    def __init__(self, decoder: Decoder, clock: Clock, stats: EngineStats) -> None:
        self.decoder = decoder
        self.tokens: list[int] = []
        self._clock = clock
        self.stats = stats
        self.prefill_ms_per_token = CHUNK_MS / MIN_CHUNK_TOKENS
        self.decode_ms = 0.0

    def reuse(self, tokens: list[int]) -> int:
        """Keep what the sequence shares with `tokens`; return how many those are.

        The last token is always fed again, because its logits are needed.
        """
        limit = min(len(self.tokens), len(tokens) - 1)
        n_common = next((i for i in range(limit) if self.tokens[i] != tokens[i]), limit)
        self.tokens = []
        n_kept = self.decoder.truncate(n_common)
        self.tokens = tokens[:n_kept]
        return n_kept

    def prefill(self, chunk: list[int]) -> None:
        """Feed one chunk of a prompt."""
        elapsed_ms = self._feed(chunk)
        self.stats.n_prefill_tokens += len(chunk)
        self.stats.n_prefill_steps += 1
        if len(chunk) >= MIN_CHUNK_TOKENS:
            self.prefill_ms_per_token += SMOOTHING * (
                elapsed_ms / len(chunk) - self.prefill_ms_per_token
            )

    def decode(self, token: int) -> None:
        """Feed one generated token."""
        elapsed_ms = self._feed([token])
        self.stats.n_decode_steps += 1
        weight = SMOOTHING if self.decode_ms else 1.0
        self.decode_ms += weight * (elapsed_ms - self.decode_ms)

    def chunk_tokens(self, n_left: int, deadline: Deadline) -> int:
        """How many of `n_left` tokens to prefill in one step; 0 if any comes too late."""
        per_token_ms = max(self.prefill_ms_per_token, 1e-3)
        patient = int(max(CHUNK_MS, PATIENCE * deadline.remaining_ms()) / per_token_ms)
        wanted = min(n_left, max(MIN_CHUNK_TOKENS, min(patient, MAX_CHUNK_TOKENS)))
        # However few its tokens are, a step costs as much as one of a single token.
        affordable = int((deadline.remaining_ms() - self.decode_ms) / per_token_ms)
        return min(wanted, affordable) if affordable >= min(n_left, MIN_CHUNK_TOKENS) else 0

    def affords_decode(self, deadline: Deadline) -> bool:
        """Whether one more token is expected in time."""
        return deadline.remaining_ms() > self.decode_ms

    def doubt(self, deadline: Deadline) -> None:
        """Lower the estimates: they kept a request that had time from making a step.

        Only steps correct them, so one that took long, on a machine that was busy or
        asleep, would otherwise stop all steps for good.
        """
        if deadline.remaining_ms() >= CHUNK_MS:
            self.prefill_ms_per_token *= 1.0 - SMOOTHING
            self.decode_ms *= 1.0 - SMOOTHING

    def _feed(self, tokens: list[int]) -> float:
        before_ms = self._clock.now_ms()
        try:
            self.decoder.feed(tokens)
        except BaseException:
            self.tokens = []
            raise
        self.tokens.extend(tokens)
        return self._clock.now_ms() - before_ms


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

    @property
    def text(self) -> str:
        """What follows the required text; nothing while that is incomplete."""
        return self.raw[self.skip :]

    def add(self, piece: bytes, logprob: float) -> None:
        self.heal = self.heal[len(piece) :]
        self.raw += self.utf8.decode(piece)
        self.logprobs.append(logprob)


class Run:
    """One generation under way. `partial()` may be read by another thread at any time."""

    def __init__(self, sequence: Sequence, request: GenerationRequest, clock: Clock) -> None:
        self._sequence = sequence
        self._request = request
        self._cancel = request.cancel
        self._clock = clock
        self._started_ms = clock.now_ms()
        self._ttft_ms: float | None = None
        self._n_prompt = 0
        self._n_cached = 0
        heal = request.prompt.heal
        self._output = _Output(heal.encode("utf-8", "replace"), len(heal))

    def finish(self) -> Generation:
        """Run to the end. Raises Cancelled, or PromptError for a prompt that cannot fit."""
        if not self._prefill():
            return self._generation(Finish.DEADLINE)
        return self._decode()

    def partial(self) -> Generation:
        """What there is so far, as if the deadline had passed now."""
        return self._generation(Finish.DEADLINE)

    def _prefill(self) -> bool:
        prompt, sequence = self._request.prompt, self._sequence
        tokens = sequence.decoder.tokenize(prompt.segments)
        n_ctx = sequence.decoder.info.n_ctx
        if len(tokens) + prompt.max_tokens > n_ctx:
            raise PromptError(
                f"a prompt of {len(tokens)} tokens and {prompt.max_tokens} to generate "
                f"do not fit a context of {n_ctx}"
            )
        self._n_prompt = len(tokens)
        self._n_cached = done = sequence.reuse(tokens)
        while done < len(tokens):
            self._cancel.raise_if_cancelled()
            n_chunk = sequence.chunk_tokens(len(tokens) - done, self._request.deadline)
            if n_chunk <= 0:
                if done == self._n_cached:
                    sequence.doubt(self._request.deadline)
                return False
            sequence.prefill(tokens[done : done + n_chunk])
            self._count_cancelled_step()
            done += n_chunk
        return True

    def _decode(self) -> Generation:
        prompt, decoder = self._request.prompt, self._sequence.decoder
        ends = {decoder.special(text) for text in prompt.stop_specials}
        for _ in range(prompt.max_tokens):
            self._cancel.raise_if_cancelled()
            token, logprob = decoder.pick(self._output.heal, self._may_break())
            if decoder.is_end(token) or token in ends:
                return self._generation(Finish.EOS)
            if self._ttft_ms is None:
                self._ttft_ms = self._clock.now_ms() - self._started_ms
            self._output.add(decoder.piece(token), logprob)
            finish = self._complete()
            if finish is not None:
                return self._generation(finish)
            self._sequence.decode(token)
            self._count_cancelled_step()
        return self._generation(Finish.LENGTH)

    def _complete(self) -> Finish | None:
        """Why no step follows the token just picked, if none does."""
        output, prompt, deadline = self._output, self._request.prompt, self._request.deadline
        if stop_at(output.text, prompt.stop) is not None:
            return Finish.STOP
        if len(output.logprobs) >= prompt.max_tokens:
            return Finish.LENGTH
        if self._sequence.affords_decode(deadline):
            return None
        if len(output.logprobs) == 1:
            self._sequence.doubt(deadline)
        return Finish.DEADLINE

    def _may_break(self) -> bool:
        return not self._request.prompt.fresh_line or bool(self._output.text.strip())

    def _count_cancelled_step(self) -> None:
        if self._cancel.cancelled:
            self._sequence.stats.n_cancelled_steps += 1

    def _generation(self, finish: Finish) -> Generation:
        text = self._output.text
        logprobs = tuple(self._output.logprobs)
        end = stop_at(text, self._request.prompt.stop)
        return Generation(
            text=text if end is None else text[:end],
            finish=finish,
            n_prompt=self._n_prompt,
            n_cached=self._n_cached,
            n_predicted=len(logprobs),
            ttft_ms=self._ttft_ms,
            total_ms=self._clock.now_ms() - self._started_ms,
            logprobs=logprobs,
        )
