"""FakeEngine and FakeDecoder: the two seams with scripted parts, for tests.

Owns: nothing of the product. FakeDecoder has one token a character, and those it is given,
and writes a text given in advance; FakeEngine answers with whatever a test enqueued.

Invariant: no time passes but on the FakeClock it is given; every call is recorded.

Threads: as the protocols say.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence

from slm_lsp.deadline import FakeClock
from slm_lsp.engine.base import EngineStats, EngineUnavailable, PromptError
from slm_lsp.types import (
    EngineState,
    Finish,
    Generation,
    GenerationRequest,
    ModelInfo,
    Segment,
    Special,
    Start,
)

START, FILE_SEP, END = 0x10FFFD, 0x10FFFE, 0x10FFFF
SPECIALS = {"<start>": START, "<file_sep>": FILE_SEP, "<end>": END}
FIRST_PIECE = END + 1
CHARACTER = rb"[\x00-\x7f]|[\xc0-\xff][\x80-\xbf]*"


class FakeDecoder:
    """Writes `script(prompt)` after any prompt.

    A character is a token, and so is each of `pieces`, which the tokenizer prefers. Without
    `cuts` its memory can only be cleared, as that of a recurrent model. With a `rule`, what
    it writes depends on the tokens that its sequence holds, and on nothing else.
    """

    def __init__(
        self,
        script: Callable[[str], str] | str = "",
        clock: FakeClock | None = None,
        step_ms: float = 1.0,
        n_ctx: int = 4096,
        pieces: Sequence[bytes] = (),
        cuts: bool = True,
        n_sequences: int = 8,
        n_cells: int = 0,
        rule: Callable[[Sequence[int]], int] | None = None,
    ) -> None:
        self.info = ModelInfo("fake", n_ctx, specials=frozenset(SPECIALS))
        self.n_sequences, self.n_cells = n_sequences, n_cells or n_ctx
        self.sequences: list[list[int]] = [[] for _ in range(n_sequences)]
        self._selected = 0
        # Of which sequence `pick` speaks, how long that was, and of how many of its last tokens.
        self._logits = (-1, 0, 0)
        self._rule = rule
        self.texts: list[str] = []
        self.n_steps = 0
        self.fed: list[int] = []
        self.on_step: Callable[[], None] = lambda: None
        self.closed = False
        self._script = script
        self._clock = clock
        self.step_ms = step_ms
        self.cuts = cuts
        self.n_batch_threads = self.n_threads = 2
        self.kv_identity = f"fake {n_ctx}"
        self.n_restored = 0
        self._pieces = list(pieces)
        longest_first = sorted(map(re.escape, pieces), key=len, reverse=True)
        self._token = re.compile(b"|".join([*longest_first, CHARACTER]))
        self._plan: list[int] = []

    def use_batch_threads(self, n_threads: int) -> None:
        assert 1 <= n_threads <= self.n_batch_threads
        self.n_threads = n_threads

    def special(self, text: str) -> int | None:
        return SPECIALS.get(text)

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        tokens: list[int] = []
        for segment in segments:
            if isinstance(segment, Special):
                if segment.text not in SPECIALS:
                    raise PromptError(f"fake has no control token {segment.text!r}")
                tokens.append(SPECIALS[segment.text])
            else:
                tokens += self._encode(segment.text.encode("utf-8", "replace"))
        tokens = tokens or [START]
        text = b"".join(map(self.piece, tokens)).decode("utf-8", "replace")
        self.texts.append(text)
        script = self._script(text) if callable(self._script) else self._script
        self._plan = [*tokens, *self._encode(script.encode()), END]
        return tokens

    def _encode(self, text: bytes) -> list[int]:
        found = self._token.findall(text)
        return [
            FIRST_PIECE + self._pieces.index(piece)
            if piece in self._pieces
            else ord(piece.decode())
            for piece in found
        ]

    @property
    def sequence(self) -> list[int]:
        """The selected sequence."""
        return self.sequences[self._selected]

    def select(self, sequence: int) -> None:
        self._selected = sequence

    def truncate(self, n_tokens: int) -> int:
        if n_tokens < len(self.sequence):
            del self.sequence[n_tokens if self.cuts else 0 :]
        return len(self.sequence)

    def copy(self, source: int, n_tokens: int) -> int:
        self.sequences[self._selected] = self.sequences[source][:n_tokens] if self.cuts else []
        assert sum(map(len, self.sequences)) <= self.n_cells, "too many cells"
        return len(self.sequence)

    def feed(self, tokens: Sequence[int], n_picks: int = 1) -> None:
        assert 1 <= n_picks <= len(tokens)
        self.n_steps += 1
        self.fed.append(len(tokens))
        self.sequences[self._selected] += tokens
        n_cells = sum(map(len, self.sequences))
        assert n_cells <= self.n_cells, f"{n_cells} cells of {self.n_cells}"
        self._logits = (self._selected, len(self.sequence), n_picks)
        if self._clock is not None:
            self._clock.advance(self.step_ms)
        self.on_step()

    def save_sequence(self, max_bytes: int) -> bytearray | None:
        state = struct.pack(f"<{len(self.sequence)}i", *self.sequence)
        return bytearray(state) if self.cuts and len(state) <= max_bytes else None

    def restore_sequence(self, state: bytearray, tokens: Sequence[int]) -> bool:
        assert not self.sequence, "a sequence is cleared before it is restored"
        held = list(struct.unpack(f"<{len(state) // 4}i", state))
        assert sum(map(len, self.sequences)) + len(held) <= self.n_cells, "too many cells"
        if held != list(tokens):
            return False
        self.n_restored += 1
        self.sequences[self._selected] += held
        if self._logits[0] == self._selected:
            self._logits = (-1, 0, 0)
        return True

    def pick(
        self, required: bytes = b"", start: Start = Start.ANY, at: int = -1, rank: int = 0
    ) -> tuple[int, float]:
        sequence, n_fed, n_picks = self._logits
        n_before = n_fed + 1 + at
        assert sequence == self._selected, "the logits are another sequence's"
        assert n_fed - n_picks < n_before <= n_fed, "no logits were asked for there"
        assert n_before <= len(self.sequence), "the logits follow what was cut off"
        if self._rule is not None:
            token = self._rule(self.sequence[:n_before])
        else:
            token = self._plan[n_before] if n_before < len(self._plan) else END
        if not self.allows(token, required, Start.ANY):
            token = self._encode(required)[0]
        if not self.allows(token, required, start):
            token = self._encode(required)[0] if required else self._instead(start)
        return (token, -0.05) if not rank else self._ranked(token, required, rank)

    def _ranked(self, first: int, required: bytes, rank: int) -> tuple[int, float]:
        """Behind the first come the digits; where something is required, the pieces that begin
        with it."""
        longer = [
            FIRST_PIECE + at
            for at, piece in enumerate(self._pieces)
            if piece.startswith(required) and FIRST_PIECE + at != first
        ]
        others = longer if required else [ord(str(digit)) for digit in range(1, 10)]
        if rank > len(others):
            return END, -math.inf
        return others[rank - 1], -0.05 - rank

    def _instead(self, start: Start) -> int:
        """What is written where the script's token may not be."""
        return ord(")") if start is Start.TEXT else END

    def allows(self, token: int, required: bytes, start: Start) -> bool:
        piece = self.piece(token)
        fits = piece and (piece.startswith(required) or required.startswith(piece))
        breaks = piece[len(required) :].lstrip(b" \t").startswith(b"\n")
        barred = (breaks and start > Start.ANY) or (not piece and start is Start.TEXT)
        return bool(fits or not required) and not barred

    def narrows(self, before: bytes, required: bytes) -> bool:
        return required.startswith(before)

    def piece(self, token: int) -> bytes:
        if token >= FIRST_PIECE:
            return self._pieces[token - FIRST_PIECE]
        return b"" if START <= token <= END else chr(token).encode("utf-8", "replace")

    def is_end(self, token: int) -> bool:
        return token == END

    def close(self) -> None:
        self.closed = True


class FakeEngine:
    """Answers from a queue; `requests` holds what was asked."""

    def __init__(self, info: ModelInfo | None = None) -> None:
        self.info: ModelInfo | None = info or FakeDecoder().info
        self.state = EngineState.READY
        self.failure: str | None = None
        self.requests: list[GenerationRequest] = []
        # Those for another text beside an answer, and what they get.
        self.branches: list[GenerationRequest] = []
        self.others: list[Generation | Exception] = []
        self.abandoned: list[str] = []
        self.closed = False
        self.before_answer: Callable[[], None] = lambda: None
        self._answers: list[Generation | Exception] = []

    def enqueue(self, answer: Generation | Exception | str) -> None:
        """What the next request gets; a text ends as if the model had ended it."""
        if isinstance(answer, str):
            answer = Generation(answer, Finish.EOS, n_prompt=10, n_predicted=len(answer))
        self._answers.append(answer)

    async def generate(self, request: GenerationRequest) -> Generation:
        (self.branches if request.branch else self.requests).append(request)
        self.before_answer()
        answers = self.others if request.branch else self._answers
        answer = answers.pop(0) if answers else EngineUnavailable("nothing enqueued")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wanted(self) -> None:
        pass

    def abandon(self, owner: str) -> None:
        self.abandoned.append(owner)

    def stats(self) -> EngineStats:
        return EngineStats(n_requests=len(self.requests))

    def close(self) -> None:
        self.closed = True
        self.state = EngineState.CLOSED
