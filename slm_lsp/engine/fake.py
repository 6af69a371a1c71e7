"""FakeEngine and FakeDecoder: the two seams with scripted parts, for tests.

Owns: nothing of the product. FakeDecoder has one token a character and writes a text given
in advance; FakeEngine answers a request with whatever a test enqueued.

Invariant: no time passes but on the FakeClock it is given; every call is recorded.

Threads: as the protocols say.
"""

from __future__ import annotations

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
)

END = 0x10FFFF
SPECIALS = {"<end>": END, "<file_sep>": 0x10FFFE}


class FakeDecoder:
    """Writes `script(prompt)` after any prompt, a character a token."""

    def __init__(
        self,
        script: Callable[[str], str] | str = "",
        clock: FakeClock | None = None,
        step_ms: float = 1.0,
        n_ctx: int = 4096,
    ) -> None:
        self.info = ModelInfo("fake", n_ctx, specials=frozenset(SPECIALS))
        self.sequence: list[int] = []
        self.n_steps = 0
        self.fed: list[int] = []
        self.on_step: Callable[[], None] = lambda: None
        self.closed = False
        self._script = script
        self._clock = clock
        self._step_ms = step_ms
        self._plan: list[int] = []

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
                tokens += map(ord, segment.text)
        text = "".join(chr(token) for token in tokens if token < END - 1)
        script = self._script(text) if callable(self._script) else self._script
        self._plan = [*tokens, *map(ord, script), END]
        return tokens

    def truncate(self, n_tokens: int) -> None:
        del self.sequence[n_tokens:]

    def feed(self, tokens: Sequence[int]) -> None:
        self.n_steps += 1
        self.fed.append(len(tokens))
        self.sequence += tokens
        if self._clock is not None:
            self._clock.advance(self._step_ms)
        self.on_step()

    def pick(self, required: bytes = b"") -> tuple[int, float]:
        at = len(self.sequence)
        token = self._plan[at] if at < len(self._plan) else END
        if required and not self.piece(token).startswith(required[:1]):
            token = ord(required.decode()[0])
        return token, -0.5

    def piece(self, token: int) -> bytes:
        return b"" if token >= END - 1 else chr(token).encode()

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
        self.closed = False
        self.before_answer: Callable[[], None] = lambda: None
        self._answers: list[Generation | Exception] = []

    def enqueue(self, answer: Generation | Exception | str) -> None:
        """What the next request gets; a text ends as if the model had ended it."""
        if isinstance(answer, str):
            answer = Generation(answer, Finish.EOS, n_prompt=10, n_predicted=len(answer))
        self._answers.append(answer)

    async def generate(self, request: GenerationRequest) -> Generation:
        self.requests.append(request)
        self.before_answer()
        answer = self._answers.pop(0) if self._answers else EngineUnavailable("nothing enqueued")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stats(self) -> EngineStats:
        return EngineStats(n_requests=len(self.requests))

    def close(self) -> None:
        self.closed = True
        self.state = EngineState.CLOSED
