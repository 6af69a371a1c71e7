"""Vocabularies of GGML files: what a token's bytes are, which are control tokens, and tokenizing.

Owns: the two tokenizers of ctransformers' GGML families, done over here. Its own take control texts
from source code ("<fim-prefix>"), stop at a NUL, overflow the stack at a long run of one kind of
character, and Replit's takes time as the cube of the text's length.

Invariant: pure; a text never becomes a control token; a text without any gives the tokens that the
library's own tokenizer gives (tests hold them together). Characters that the vocabulary has no
token for are left out, as there.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from slm_lsp.engine.ggml_file import GgmlFile
from slm_lsp.engine.vocabulary import Vocabulary

# What the tokenizer takes for a word, in the C locale.
WORD = re.compile(rb"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
# Control texts look like this. A vocabulary made from words has no other token of letters
# within signs; Replit's has, and so must be told by name.
ANGLE = re.compile(rb"<[^<>\s]*[A-Za-z][^<>\s]*>")
NAMED = re.compile(rb"<(\|[^<>|\s]+\||fim[-_]\w+|unk|pad|s|/s|bos|eos)>")
END = b"<|endoftext|>"
ENDS = frozenset({END, b"<|end|>", b"### End", b"</s>", b"<eos>", b"<fim_pad>", b"<fim-pad>"})
SPACE = "▁".encode()

Tokenize = Callable[[bytes], list[int]]


def longest_match(ids: dict[bytes, int]) -> Tokenize:
    """Each word's longest beginning that is a token, then that of what is left."""
    longest = max(map(len, ids), default=0)
    known: dict[bytes, tuple[int, ...]] = {}

    def tokens_of(word: bytes) -> tuple[int, ...]:
        tokens, at = [], 0
        while at < len(word):
            for end in range(min(len(word), at + longest), at, -1):
                token = ids.get(word[at:end])
                if token is not None:
                    tokens.append(token)
                    at = end
                    break
            else:
                at += 1
        return tuple(tokens)

    def tokenize(text: bytes) -> list[int]:
        tokens: list[int] = []
        for word in WORD.findall(text):
            found = known.get(word)
            if found is None:
                if len(known) > 20_000:
                    known.clear()
                found = known[word] = tokens_of(word)
            tokens += found
        return tokens

    return tokenize


def likeliest(ids: dict[bytes, int], scores: Sequence[float]) -> Tokenize:
    """The tokens with the largest sum of scores; without any, a character is left out."""
    beginnings = {word[:n] for word in ids for n in range(1, len(word) + 1)}

    def tokenize(text: bytes) -> list[int]:
        text = text.replace(b" ", SPACE)
        best: list[float | None] = [0.0] + [None] * len(text)
        last: list[tuple[int, int | None]] = [(0, None)] * (len(text) + 1)
        for start in range(len(text)):
            score = best[start]
            if score is None:
                if (text[start] & 0xC0) == 0x80:
                    continue
                # No way leads here: pass over what is before it.
                back = max(at for at in range(start) if best[at] is not None)
                score, last[start] = best[back], (back, None)
                best[start] = score
            assert score is not None
            end = start + 1
            while end <= len(text) and (piece := text[start:end]) in beginnings:
                token, known = ids.get(piece), best[end]
                if token is not None and (known is None or score + scores[token] > known):
                    best[end], last[end] = score + scores[token], (start, token)
                end += 1
        at = max(at for at, score in enumerate(best) if score is not None)
        return _backwards(last, at)

    return tokenize


def _backwards(last: list[tuple[int, int | None]], at: int) -> list[int]:
    tokens = []
    while at > 0:
        at, token = last[at]
        if token is not None:
            tokens.append(token)
    return tokens[::-1]


def _is_control(word: bytes, family: str) -> bool:
    if family == "replit":
        return NAMED.fullmatch(word) is not None
    return word == b"### End" or ANGLE.fullmatch(word) is not None


def words_of(file: GgmlFile) -> list[bytes]:
    """The vocabulary as the library sees it."""
    if file.family == "mpt":
        # A byte is a character there; the library keeps a character's lowest byte.
        return [bytes(ord(each) & 0xFF for each in word.decode()) for word in file.words]
    return file.words


def ggml_vocabulary(file: GgmlFile) -> tuple[Vocabulary, Tokenize]:
    """The file's vocabulary, and its tokenizer for text."""
    words = words_of(file)
    controls = {token for token, word in enumerate(words) if _is_control(word, file.family)}
    specials: dict[str, int] = {}
    for token in sorted(controls):
        specials[words[token].decode("utf-8", "replace")] = token
    # Of two tokens of the same bytes the library takes the later.
    ids = {word: token for token, word in enumerate(words) if word and token not in controls}
    ends = frozenset(token for token in controls if words[token] in ENDS)
    replit = file.family == "replit"
    pieces = [
        b"" if token in controls else word.replace(SPACE, b" ") if replit else word
        for token, word in enumerate(words)
    ]
    vocabulary = Vocabulary(
        handle=None,
        pieces=pieces,
        specials=specials,
        user_defined=frozenset(),
        ends=ends,
        bos=specials.get(END.decode(), -1),
        adds_bos=False,
    )
    return vocabulary, likeliest(ids, file.scores) if replit else longest_match(ids)
