"""The SentencePiece vocabulary of a GGUF file, from its header, and text made fit for a tokenizer
that knows no control tokens.

Owns: tokens' bytes and kinds, and the rules for what ctransformers' tokenizer may be given: no NUL,
no control text in one piece, and a line break where it would put a space that nobody wrote.

Invariant: a text's tokens are normal tokens or bytes.

Threads: the engine's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slm_lsp.engine.tokenizing import apart, guard_of
from slm_lsp.engine.vocabulary import Vocabulary
from slm_lsp.gguf.header import TOKEN_TYPES, TOKENS, GgufHeader

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
SPACE = "▁"
# Texts of control tokens that end a text for llama.cpp (a test compares), beside that which the
# file names.
ENDS = frozenset(
    {
        *("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<EOT>"),
        *("_<EOT>", "<|eom_id|>", "<|end_of_text|>", "<|return|>", "<|calls|>", "[EOT]"),
        *("<end_of_utterance>", "<｜end▁of▁sentence｜>", "<fim_pad>", "<fim-pad>", "<|fim_pad|>"),
        *("<PAD>", "[PAD]", "<fim-repo>", "<|fim_repo|>", "<|repo_name|>", "<reponame>"),
        *("<REPO>", "<|file_sep|>", "<eos>", "<turn|>"),
    }
)


def spm_vocabulary(header: GgufHeader) -> Vocabulary:
    """The file's vocabulary; `lead` is still to be asked of the tokenizer."""
    tokens: Sequence[str] = header.lists[TOKENS]
    kinds: Sequence[int] = header.lists[TOKEN_TYPES]
    controls = {i for i, kind in enumerate(kinds) if kind in (CONTROL, USER_DEFINED)}
    eos = header.value("tokenizer.ggml.eos_token_id", 2)
    return Vocabulary(
        handle=None,
        pieces=[_piece(text, kind) for text, kind in zip(tokens, kinds, strict=True)],
        specials={tokens[i]: i for i in sorted(controls, reverse=True)},
        user_defined=frozenset(tokens[i] for i in controls if kinds[i] == USER_DEFINED),
        ends=frozenset(i for i in controls if tokens[i] in ENDS) | {eos},
        bos=header.value("tokenizer.ggml.bos_token_id", 1),
        adds_bos=bool(header.value("tokenizer.ggml.add_bos_token", True)),
    )


def _piece(text: str, kind: int) -> bytes:
    if kind in (NORMAL, USER_DEFINED):
        return text.replace(SPACE, " ").encode("utf-8", "surrogateescape")
    return bytes([int(text[3:5], 16)]) if kind == BYTE else b""


class SpmTokenizer:
    """Tokenizes text with `native`, which takes UTF-8 without NUL and puts a space before it."""

    def __init__(self, header: GgufHeader, native: Callable[[bytes], list[int]]) -> None:
        self._native = native
        tokens: Sequence[str] = header.lists[TOKENS]
        kinds: Sequence[int] = header.lists[TOKEN_TYPES]
        self._bytes = [tokens.index(f"<0x{byte:02X}>") for byte in range(256)]
        self._tokens = tokens
        self._controls = {i for i, kind in enumerate(kinds) if kind not in (NORMAL, BYTE)}
        self._guard = guard_of(tokens[i] for i in self._controls if len(tokens[i]) > 1)
        self.lead = tuple(native(b"\n"))
        self._spaced = bool(header.value("tokenizer.ggml.add_space_prefix", True))

    def __call__(self, text: str, first: bool) -> list[int]:
        """A text's tokens; only the `first` of a prompt gets the tokenizer's own space."""
        tokens: list[int] = []
        parts = apart(text, text.replace(" ", SPACE), self._guard)
        for n, part in enumerate(parts):
            tokens += self._between_nuls(part, first and n == 0 and self._spaced)
        return tokens

    def _between_nuls(self, text: str, spaced: bool) -> list[int]:
        tokens: list[int] = []
        for n, part in enumerate(text.split("\0")):
            if n:
                tokens.append(self._bytes[0])
            if part:
                tokens += self._part(part, spaced and n == 0)
            elif spaced and n == 0 and len(text):
                tokens += self.lead[:-1]  # the space alone: a NUL comes next
        return tokens

    def _part(self, text: str, spaced: bool) -> list[int]:
        encoded = text.encode("utf-8", "replace")
        if spaced:
            return self._plain(self._native(encoded))
        return self._plain(self._native(b"\n" + encoded)[len(self.lead) :])

    def _plain(self, tokens: list[int]) -> list[int]:
        """Bytes instead of a control token of a single character, which no cut keeps apart."""
        if self._controls.isdisjoint(tokens):
            return tokens
        plain: list[int] = []
        for token in tokens:
            spelled = self._tokens[token].replace(SPACE, " ").encode("utf-8", "surrogateescape")
            as_bytes = [self._bytes[byte] for byte in spelled]
            plain += as_bytes if token in self._controls else [token]
        return plain
