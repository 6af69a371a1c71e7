"""CTransformersDecoder: llama GGUF files with SentencePiece, and GGML files, by ctransformers.

Owns: the native model, once `ctransformers_load` has made it, and how many tokens it holds. Its
library keeps keys and values by position and computes from whatever position it is told, so a
sequence is cut by saying a smaller one.

Invariant: importing this module imports neither ctransformers nor numpy. One sequence; a step never
goes past the context, where the library would move back what it is given without a word.

Threads: the one that constructs it; ctransformers' own threads live inside a step.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slm_lsp.engine.base import ModelLoadError
from slm_lsp.engine.ctransformers_load import create, look
from slm_lsp.engine.ggml_file import GgmlFile
from slm_lsp.engine.ggml_vocabulary import ggml_vocabulary
from slm_lsp.engine.picking import Picker
from slm_lsp.engine.sentencepiece import SpmTokenizer, spm_vocabulary
from slm_lsp.engine.tokenizing import prompt_tokens
from slm_lsp.engine.vocabulary import Vocabulary
from slm_lsp.gguf.header import GgufHeader
from slm_lsp.types import FimTemplate, ModelInfo, Segment, Start

N_BATCH = 512
MIN_CONTEXT = 256
# The GGML families compute in two buffers of 256 MB; what does not fit ends the process.
SCRATCH_BYTES = 240 << 20
MAX_GGML_BATCH = 64


def _metadata(found: GgufHeader | GgmlFile) -> dict[str, str]:
    if isinstance(found, GgmlFile):
        return {"general.architecture": found.family}
    return {key: str(value) for key, value in found.metadata.items()}


class CTransformersDecoder:
    """A Decoder on ctransformers."""

    n_sequences = 1
    cuts = True
    kv_identity = ""

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        template: FimTemplate | None = None,
        n_ctx: int = 4096,
        n_threads: int = 1,
        n_threads_batch: int = 1,
        model_type: str = "",
    ) -> None:
        """Load `path`. Raises ModelLoadError. `model_type` is the family of a GGML file; empty,
        it is the one that the file fits."""
        import numpy

        self._np = numpy
        self._llm: Any = None
        self._text_tokens: Callable[[str, bool], list[int]]
        found = look(path, model_type)
        self._n_threads, self.n_batch_threads = n_threads, n_threads_batch
        self._n_prefill_threads = n_threads_batch
        if isinstance(found, GgufHeader):
            n_ctx, self._n_batch = self._open_gguf(path, found, n_ctx)
        else:
            n_ctx, self._n_batch = self._open_ggml(path, found, n_ctx)
        self._n_past = 0
        # Logits behind the tokens of the last step before its last one.
        self._earlier: list[Any] = []
        self._tokens_in = (ctypes.c_int * n_ctx)()
        self.n_cells = n_ctx
        self.info = ModelInfo(
            name=name,
            n_ctx=n_ctx,
            n_vocab=len(self.vocabulary.pieces),
            specials=frozenset(self.vocabulary.specials),
            metadata=_metadata(found),
            template=template,
        )
        self._prepare()

    def _prepare(self) -> None:
        """What is computed on first use, where nobody waits for it."""
        self.picker = Picker(self.vocabulary, lambda text: self._text_tokens(text, False))
        self.vocabulary.candidates(b" ")
        self.vocabulary.barred(b"", Start.TEXT)
        self._measure()

    def _open_gguf(self, path: Path, header: GgufHeader, n_ctx: int) -> tuple[int, int]:
        """The model, and what it may be fed: in all, and in a step."""
        trained = header.of_architecture("context_length")
        n_ctx = max(MIN_CONTEXT, min(n_ctx, trained))
        self._llm = create(path, "gguf", n_ctx)
        self.vocabulary: Vocabulary = spm_vocabulary(header)
        tokenize = SpmTokenizer(header, self._native_tokens)
        self.vocabulary.lead = tokenize.lead
        self._text_tokens = tokenize
        return n_ctx, min(N_BATCH, n_ctx)

    def _open_ggml(self, path: Path, file: GgmlFile, n_ctx: int) -> tuple[int, int]:
        numbers = file.numbers
        # The context's memory is what the file says; a shorter one computes faster and is safe.
        n_ctx = min(n_ctx, file.n_ctx)
        d, n_heads = numbers["n_embd"], numbers["n_head"]
        shared = 4 * n_ctx * d
        # So many copies of a layer's attention to all tokens lie there at once.
        n_copies = 6 if file.family == "mpt" else 3
        a_token = 4 * (n_copies * n_heads * n_ctx + 16 * d)
        n_batch = min(MAX_GGML_BATCH, (SCRATCH_BYTES - shared) // a_token, n_ctx)
        if n_batch < 1:
            raise ModelLoadError(
                f"ctransformers has too little working memory for {n_ctx} tokens of {path}: "
                "set a smaller `context_tokens`"
            )
        self._llm = create(path, file.family, n_ctx)
        self.vocabulary, tokenize = ggml_vocabulary(file)
        self._text_tokens = lambda text, first: tokenize(text.encode("utf-8", "replace"))
        return n_ctx, n_batch

    def _measure(self) -> None:
        """A step at the context's end: a GGML family sizes its memory for all later steps by its
        first one, and later ones take more the further back they look."""
        if self._llm.context_length < self.info.n_ctx:  # it would move back what lies behind
            self.close()
            raise ModelLoadError(f"{self.info.name}: ctransformers gives it a smaller context")
        self._n_past = self.info.n_ctx - 1
        self._eval([self.vocabulary.start])
        self._n_past = 0
        size = self._llm.ctransformers_llm_logits_size()
        if size != self.info.n_vocab:
            self.close()
            raise ModelLoadError(f"{self.info.name}: {size} logits for {self.info.n_vocab} tokens")

    def _native_tokens(self, text: bytes) -> list[int]:
        # A token a byte at the most, and the space before it.
        found = (ctypes.c_int * (len(text) + 8))()
        return found[: self._llm.ctransformers_llm_tokenize(text, False, found)]

    # --- Decoder ---

    def special(self, text: str) -> int | None:
        """See Decoder."""
        return self.vocabulary.specials.get(text)

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        """See Decoder."""
        return prompt_tokens(self.vocabulary, self.info.name, segments, self._text_tokens)

    def use_batch_threads(self, n_threads: int) -> None:
        """See Decoder."""
        self._n_prefill_threads = n_threads

    def select(self, sequence: int) -> None:
        """See Decoder."""
        assert sequence == 0

    def truncate(self, n_tokens: int) -> int:
        """See Decoder."""
        self._n_past = min(self._n_past, n_tokens)
        return self._n_past

    def copy(self, source: int, n_tokens: int) -> int:
        """See Decoder; there is no other sequence."""
        return self.truncate(n_tokens)

    def feed(self, tokens: Sequence[int], n_picks: int = 1) -> None:
        """See Decoder. The library has logits of a step's last token only: more picks take a step
        each."""
        self._earlier = []
        n_first = len(tokens) - n_picks + 1
        self._eval(tokens[:n_first])
        for token in tokens[n_first:]:
            self._earlier.append(self._logits().copy())
            self._eval([token])

    def _eval(self, tokens: Sequence[int]) -> None:
        n_tokens = len(tokens)
        if self._n_past + n_tokens > self.info.n_ctx:
            raise RuntimeError(f"no room for {n_tokens} tokens behind {self._n_past}")
        self._tokens_in[:n_tokens] = list(tokens)
        n_threads = self._n_threads if n_tokens == 1 else self._n_prefill_threads
        if not self._llm.ctransformers_llm_batch_eval(
            self._tokens_in, n_tokens, self._n_past, self._n_batch, n_threads
        ):
            raise RuntimeError("ctransformers could not compute a step")
        self._n_past += n_tokens

    def _logits(self) -> Any:
        """The last token's logits where the library keeps them; valid until the next step."""
        data = self._llm.ctransformers_llm_logits_data()
        return self._np.ctypeslib.as_array(data, (self.info.n_vocab,))

    def save_sequence(self, max_bytes: int) -> bytearray | None:
        """See Decoder; it cannot be had."""
        return None

    def restore_sequence(self, state: bytearray, tokens: Sequence[int]) -> bool:
        """See Decoder; there is none."""
        return False

    def pick(
        self, required: bytes = b"", start: Start = Start.ANY, at: int = -1, rank: int = 0
    ) -> tuple[int, float]:
        """See Decoder."""
        logits = self._logits() if at == -1 else self._earlier[at + 1]
        return self.picker.pick(logits, required, start, rank)

    def allows(self, token: int, required: bytes, start: Start) -> bool:
        """See Decoder."""
        return self.picker.allows(token, required, start)

    def narrows(self, before: bytes, required: bytes) -> bool:
        """See Decoder."""
        return self.picker.narrows(before, required)

    def piece(self, token: int) -> bytes:
        """See Decoder."""
        return self.vocabulary.pieces[token]

    def is_end(self, token: int) -> bool:
        """See Decoder."""
        return token in self.vocabulary.ends

    def close(self) -> None:
        """Free the native model; the decoder cannot be used afterwards."""
        llm, self._llm = self._llm, None
        if llm is not None and llm._llm is not None:
            llm.ctransformers_llm_delete()
            llm._llm = None  # or its __del__ would free it again
