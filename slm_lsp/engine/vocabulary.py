"""A model's vocabulary as bytes, and which tokens may continue a required text.

Owns: every token's bytes, its kind, and the sorted order that makes token healing cheap.

Invariant: control tokens have empty bytes, so they never become text and are never
candidates; `candidates` is never empty for a vocabulary with byte or character tokens.

Threads: read once by the engine's thread, immutable afterwards.
"""

from __future__ import annotations

import ctypes
import re
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slm_lsp.types import Start

if TYPE_CHECKING:
    import numpy as np

ATTR_UNKNOWN = 1
ATTR_CONTROL = 8
ATTR_USER_DEFINED = 16
MAX_PIECE_BYTES = 256
# Their ids may be any token's; all others that end a text have an attribute that says so
# (llama.cpp, llama_vocab::impl::load).
END_IDS = ("eos", "eot", "fim_pad", "fim_rep", "fim_sep")
SIGN = re.compile(rb"[!-/:-@\[-`{-~]")


@dataclass
class Vocabulary:
    """See the module. `specials` maps control texts to tokens; `user_defined` are those
    texts that the tokenizer finds even in plain text; `lead` is what the tokenizer makes
    of a line break at the start of a text, where it would otherwise insert a space; `begin`
    tells what the tokenizer begins a text with, None where that cannot be told."""

    handle: Any
    pieces: list[bytes]
    specials: dict[str, int]
    user_defined: frozenset[str]
    ends: frozenset[int]
    bos: int
    adds_bos: bool
    lead: tuple[int, ...] = ()
    begin: Callable[[bytes], bytes | None] = lambda required: None
    # All that have bytes, in order: tokens, and their bytes beside them.
    _order: list[int] = field(default_factory=list)
    _sorted: list[bytes] = field(default_factory=list)
    _exact: dict[bytes, int] = field(default_factory=dict)
    _barred: dict[tuple[bytes, Start], frozenset[int]] = field(default_factory=dict)
    _cache: dict[bytes, Any] = field(default_factory=dict)

    @property
    def start(self) -> int:
        """What a model is shown where there is no text at all."""
        return self.bos if self.bos >= 0 else min(self.ends, default=0)

    def barred(self, required: bytes, start: Start) -> frozenset[int]:
        """Tokens that `start` does not allow: those that go on with a line break where they begin
        with `required`, blanks before it aside, and what ends a text."""
        if start is Start.ANY:
            return frozenset()
        found = self._barred.get((required, start))
        if found is None:
            n = len(required)
            found = frozenset(
                token
                for token, piece in enumerate(self.pieces)
                if piece.startswith(required) and piece[n:].lstrip(b" \t")[:1] in (b"\n", b"\r")
            )
            if start is Start.TEXT:
                # Not those without bytes only: a few vocabularies spell their end.
                silent = (token for token, piece in enumerate(self.pieces) if not piece)
                found = found.union(self.ends, silent)
            if len(self._barred) > 64:
                self._barred.clear()
            self._barred[required, start] = found
        return found

    def exact(self, piece: bytes) -> int | None:
        """The token that stands for these bytes; known once `candidates` was asked."""
        return self._exact.get(piece)

    def candidates(self, required: bytes) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Tokens whose bytes begin with `required`, and the beginnings of it that the tokenizer
        would take; any beginning, where it cannot tell."""
        import numpy

        if not self._sorted:
            pieces = self.pieces
            visible = (token for token, piece in enumerate(pieces) if piece)
            self._order = sorted(visible, key=pieces.__getitem__)
            self._sorted = [pieces[token] for token in self._order]
            self._exact = dict(zip(reversed(self._sorted), reversed(self._order), strict=True))
        found = self._cache.get(required)
        if found is None:
            start = bisect_left(self._sorted, required)
            # The smallest bytes greater than all that begin with `required`.
            end = bisect_left(self._sorted, required + b"\xff" * 8)
            tokens = self._order[start:end]
            begin = self.begin(required)
            shorter = [required[:n] for n in range(1, len(required))]
            if begin is not None:
                # Joined with the first letters only, a sign may stand alone before the whole word.
                signs = [required[:1]] if SIGN.match(required) else []
                shorter = [each for each in {begin, *signs} if len(each) < len(required)]
            tokens += [self._exact[piece] for piece in shorter if piece in self._exact]
            found = numpy.array(tokens, dtype=numpy.int64)
            if len(self._cache) > 256:
                self._cache.clear()
            self._cache[required] = found
        if not len(found):
            raise RuntimeError(f"no token of this vocabulary begins with {required!r}")
        return found


def read_vocabulary(native: Any, model: Any) -> Vocabulary:
    """Everything about `model`'s vocabulary that is needed between steps."""
    handle = native.llama_model_get_vocab(model)
    n_vocab = native.llama_vocab_n_tokens(handle)
    pieces: list[bytes] = []
    specials: dict[str, int] = {}
    user_defined: set[str] = set()
    ends = {getattr(native, f"llama_vocab_{name}")(handle) for name in END_IDS}
    attr_of, piece_of = native.llama_vocab_get_attr, _piece_reader(native, handle)
    # A vocabulary may have 150,000 tokens, and nobody gets an answer before they are read.
    for token in range(n_vocab):
        attr = attr_of(handle, token)
        if attr & (ATTR_CONTROL | ATTR_USER_DEFINED):
            text = (native.llama_vocab_get_text(handle, token) or b"").decode("utf-8", "replace")
            specials.setdefault(text, token)
            if attr & ATTR_USER_DEFINED:
                user_defined.add(text)
        control = attr & (ATTR_CONTROL | ATTR_UNKNOWN)
        pieces.append(b"" if control else piece_of(token))
        if control or attr & ATTR_USER_DEFINED:
            ends.add(token)
    is_end = native.llama_vocab_is_eog
    return Vocabulary(
        handle=handle,
        pieces=pieces,
        specials=specials,
        user_defined=frozenset(user_defined),
        ends=frozenset(each for each in ends if each >= 0 and is_end(handle, each)),
        bos=int(native.llama_vocab_bos(handle)),
        adds_bos=bool(native.llama_vocab_get_add_bos(handle)),
        lead=_lead(native, handle),
    )


def _piece_reader(native: Any, handle: Any) -> Callable[[int], bytes]:
    """The function that reads a token's bytes."""
    read, buffer = native.llama_token_to_piece, ctypes.create_string_buffer(MAX_PIECE_BYTES)
    view = memoryview(buffer).cast("B")

    def piece_of(token: int) -> bytes:
        length = read(handle, token, buffer, MAX_PIECE_BYTES, 0, False)
        return bytes(view[:length]) if length > 0 else b""

    return piece_of


def _lead(native: Any, handle: Any) -> tuple[int, ...]:
    """Tokens of a lone line break, where the tokenizer puts a space before any text."""
    tokens = (ctypes.c_int32 * 8)()
    n_tokens = native.llama_tokenize(handle, b"\n", 1, tokens, 8, False, False)
    return tuple(tokens[:n_tokens]) if n_tokens > 1 else ()
