"""Which token comes next, given a model's logits and what the text may go on with.

Owns: the choice itself, for every decoder that has logits and a `Vocabulary`.

Invariant: what `pick` answers, `allows` allows; nothing here depends on the library that computed
the logits. Importing this module does not import numpy.

Threads: the engine's; a Picker keeps a buffer between calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from slm_lsp.engine.vocabulary import Vocabulary
from slm_lsp.types import Start

# exp() of it is far from the largest and smallest float32, also as a sum over a vocabulary.
SAFE_LOGIT = 60.0


class Picker:
    """Picks for one vocabulary; `tokenize` gives the tokens of a text that others stand before."""

    def __init__(self, vocabulary: Vocabulary, tokenize: Callable[[str], list[int]]) -> None:
        import numpy

        self._np = numpy
        self._vocabulary = vocabulary
        self._tokenize = tokenize
        self._scratch = numpy.empty(len(vocabulary.pieces), dtype=numpy.float32)
        vocabulary.begin = self.begin

    def pick(self, logits: Any, required: bytes, start: Start, rank: int) -> tuple[int, float]:
        """See Decoder; `logits` are those of every token, and stay as they are."""
        best = token = int(logits.argmax())
        barred = self._vocabulary.barred(required, start)
        if rank or required or token in barred:
            allowed = self._np.full(len(logits), -math.inf, dtype=self._np.float32)
            chosen = self._vocabulary.candidates(required) if required else slice(None)
            allowed[chosen] = logits[chosen]
            allowed[list(barred)] = -math.inf
            token = int(allowed.argmax()) if not rank else self._ranked(allowed, required, rank)
            if allowed[token] == -math.inf:
                return token, -math.inf
        return token, float(logits[token]) - self.log_sum_exp(logits, float(logits[best]))

    def _ranked(self, allowed: Any, required: bytes, rank: int) -> int:
        """The token so many places behind the likeliest, see Decoder."""
        first = int(allowed.argmax())
        for n_bytes in range(1, len(required)):
            # That leads back to the text that the likeliest one leads to.
            shorter = self._vocabulary.exact(required[:n_bytes])
            if shorter is not None:
                allowed[shorter] = -math.inf
        allowed[first] = math.inf
        top = self._np.argpartition(allowed, -1 - rank)[-1 - rank :]
        return int(top[allowed[top].argmin()])

    def allows(self, token: int, required: bytes, start: Start) -> bool:
        """See Decoder."""
        if token in self._vocabulary.barred(required, start):
            return False
        return not required or bool((self._vocabulary.candidates(required) == token).any())

    def narrows(self, before: bytes, required: bytes) -> bool:
        """See Decoder."""
        if before == required or not before:
            return True
        if not required.startswith(before):
            return False
        begin = self.begin(required)
        return begin is not None and (len(begin) >= len(before) or begin == self.begin(before))

    def begin(self, required: bytes) -> bytes | None:
        """What the tokenizer begins `required` with; None where it cannot tell."""
        try:
            tokens = self._tokenize(required.decode())
        except UnicodeDecodeError:  # what is left of a character
            return None
        piece = self._vocabulary.pieces[tokens[0]] if tokens else b""
        return piece if piece and required.startswith(piece) else None

    def log_sum_exp(self, logits: Any, top: float) -> float:
        """The logarithm of the sum of all exponentials; `top` is the largest logit.

        The caches are full of weights now, so every pass over the logits counts: they are
        shifted only where their exponentials could overflow.
        """
        if abs(top) < SAFE_LOGIT:
            self._np.exp(logits, out=self._scratch)
            return math.log(float(self._np.add.reduce(self._scratch)))
        self._np.subtract(logits, top, out=self._scratch)
        self._np.exp(self._scratch, out=self._scratch)
        return top + math.log(float(self._np.add.reduce(self._scratch)))
