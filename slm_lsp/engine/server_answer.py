"""The text of one answer while it arrives, and where it is complete.

Owns: what has come so far, its tokens and log-probabilities, and the Generation made of it.

Invariant: the text is cut where the prompt's StopRule says, whatever the server does. Log-
probabilities are passed on only if there is one for every character of the text.

Threads: the event loop.
"""

from __future__ import annotations

from slm_lsp.engine.server_apis import Piece
from slm_lsp.engine.stopping import stop_at
from slm_lsp.types import Finish, Generation, Prompt

# What a server sends where a character is not complete yet.
INCOMPLETE = "\ufffd"


class Answer:
    """See the module. `heal` is what the text has to begin with and is returned without."""

    def __init__(self, prompt: Prompt, heal: str = "") -> None:
        self._prompt, self._heal = prompt, heal
        self._raw = ""
        self._tokens: list[tuple[str, float]] = []
        self._all_told = True
        self.n_pieces = 0
        self.piece = Piece()
        self.finish: Finish | None = None
        self.first_ms: float | None = None
        self.last_ms: float | None = None

    @property
    def begun(self) -> bool:
        """Whether any text has come."""
        return bool(self._raw)

    @property
    def text(self) -> str:
        """What follows the required text; nothing where the server did not begin with it."""
        return self._raw[len(self._heal) :] if self._raw.startswith(self._heal) else ""

    def ms_per_piece(self) -> float:
        """What a piece took behind the first; 0 where there are too few."""
        if self.first_ms is None or self.last_ms is None or self.n_pieces < 3:
            return 0.0
        return (self.last_ms - self.first_ms) / (self.n_pieces - 1)

    def add(self, piece: Piece, now_ms: float) -> bool:
        """Take what has come; tell whether the text is complete."""
        if piece.text:
            self.n_pieces += 1
            self.first_ms = now_ms if self.first_ms is None else self.first_ms
            self.last_ms = now_ms
            self._raw += piece.text
            self._all_told = self._all_told and bool(piece.tokens)
        self._tokens.extend(piece.tokens)
        if piece.n_prompt or piece.decode_ms:
            self.piece = piece
        self.finish = self._finish(piece)
        return self.finish is not None

    def _finish(self, piece: Piece) -> Finish | None:
        if stop_at(self.text, self._prompt.stop) is not None:
            return Finish.STOP
        if self._control_at() is not None or self._is_astray():
            return Finish.EOS
        return piece.finish

    def _is_astray(self) -> bool:
        """Whether the text does not begin as it was to."""
        return not (self._raw.startswith(self._heal) or self._heal.startswith(self._raw))

    def _control_at(self) -> int | None:
        """Where a control text begins that ends a generation: some servers write them out."""
        found = [at for s in self._prompt.stop_specials if (at := self.text.find(s)) >= 0]
        return min(found, default=None)

    def generation(self, finish: Finish, started_ms: float, now_ms: float) -> Generation:
        """What there is so far."""
        text = self.text.rstrip(INCOMPLETE) if finish is Finish.DEADLINE else self.text
        ends = [stop_at(text, self._prompt.stop), self._control_at()]
        end = min((at for at in ends if at is not None), default=None)
        tokens = self._tokens if self._all_told else []
        offsets, at = [], -len(self._heal)
        for token, _ in tokens:
            at += len(token)
            offsets.append(max(0, at))
        return Generation(
            text=text if end is None else text[:end],
            finish=finish,
            n_prompt=self.piece.n_prompt,
            n_cached=self.piece.n_cached,
            n_predicted=len(tokens) or self.n_pieces,
            ttft_ms=None if self.first_ms is None else self.first_ms - started_ms,
            total_ms=now_ms - started_ms,
            logprobs=tuple(logprob for _, logprob in tokens),
            ends=tuple(offsets),
        )
