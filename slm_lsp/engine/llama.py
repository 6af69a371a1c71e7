"""LlamaDecoder: a GGUF model through llama.cpp's C API.

Owns: the native model, context and batch, once `llama_load` has made them.

Invariant: importing this module imports neither llama_cpp nor numpy: a server answers
`initialize` without them. Logits are read in place, once a token.

Threads: the one that constructs it; llama.cpp's own worker threads live inside a step.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slm_lsp.engine import llama_state
from slm_lsp.engine.llama_load import (
    N_BATCH,
    check_file,
    is_recurrent,
    load_model,
    metadata,
    open_context,
    start_native,
)
from slm_lsp.engine.picking import Picker
from slm_lsp.engine.tokenizing import Guard, apart, guard_of, prompt_tokens
from slm_lsp.engine.vocabulary import Vocabulary, read_vocabulary
from slm_lsp.types import FimTemplate, ModelInfo, Segment, Start

# Documents kept warm.
N_SEQUENCES = 4
N_VIEWS = 64


class LlamaDecoder:
    """A Decoder on llama.cpp."""

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        template: FimTemplate | None = None,
        n_ctx: int = 4096,
        n_threads: int = 1,
        n_threads_batch: int = 1,
        n_sequences: int = N_SEQUENCES,
        unified: bool = False,
        vocab_only: bool = False,
        n_gpu_layers: int = 0,
    ) -> None:
        """Load `path`. Raises ModelLoadError; `vocab_only` can tokenize but not feed. With -1 for
        `n_gpu_layers` all layers are the GPU's.

        `unified`: the sequences share `n_ctx` cells; otherwise each has so many of its own. Shared
        ones take less memory, but a step reads those of all sequences, and logits depend a
        little on which cells a sequence got.
        """
        check_file(path)
        self._file = llama_state.file_identity(path)
        self._native = start_native()
        import numpy

        self._np = numpy
        self._model = load_model(self._native, path, vocab_only, n_gpu_layers)
        self._read_vocabulary(n_ctx)
        self._context: Any = None
        self._unified = unified
        self.cuts = not is_recurrent(self._native, self._model)
        # Memory that cannot be cut is of little use to edited documents, and dear for many.
        self.n_sequences = n_sequences if self.cuts else 1
        self._sequence, self._lengths = 0, [0] * self.n_sequences
        if not vocab_only:
            n_ctx = self._open(path, n_ctx, n_threads, n_threads_batch)
        self.n_cells = n_ctx if unified else n_ctx * self.n_sequences
        self.info = self._describe(name, n_ctx, template)
        self._guard = self._sentinel_guard()

    def _read_vocabulary(self, n_ctx: int) -> None:
        self._tokens_in = (ctypes.c_int32 * n_ctx)()
        self.vocabulary: Vocabulary = read_vocabulary(self._native, self._model)
        self.picker = Picker(self.vocabulary, lambda text: self._tokenize_part(text, first=False))

    def _describe(self, name: str, n_ctx: int, template: FimTemplate | None) -> ModelInfo:
        return ModelInfo(
            name=name,
            n_ctx=n_ctx,
            n_vocab=len(self.vocabulary.pieces),
            specials=frozenset(self.vocabulary.specials),
            metadata=metadata(self._native, self._model),
            template=template,
        )

    def _open(self, path: Path, n_ctx: int, n_threads: int, n_threads_batch: int) -> int:
        """All that feeding needs; return what a sequence may hold."""
        self._n_threads, self.n_batch_threads = n_threads, n_threads_batch
        self._context, n_ctx = open_context(
            self._native,
            self._model,
            path,
            n_ctx=n_ctx,
            n_sequences=self.n_sequences,
            unified=self._unified,
            n_threads=n_threads,
            n_threads_batch=n_threads_batch,
        )
        self._memory = self._native.llama_get_memory(self._context)
        self._open_batch()
        # Computed on first use; here nobody waits for it.
        self.vocabulary.candidates(b" ")
        self.vocabulary.barred(b"", Start.TEXT)
        return n_ctx

    def _open_batch(self) -> None:
        """One native batch for all steps, its arrays seen as numpy arrays."""
        # The same function, answering with a number instead of making a pointer object.
        function = ctypes.cast(self._native.llama_get_logits_ith, ctypes.c_void_p).value
        assert function is not None
        kind = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32)
        self._logits_at = kind(function)
        self._logits_views: dict[int, Any] = {}
        self._batch = batch = self._native.llama_batch_init(N_BATCH, 0, 1)
        view = self._np.ctypeslib.as_array
        self._batch_tokens = view(batch.token, (N_BATCH,))
        self._batch_positions = view(batch.pos, (N_BATCH,))
        self._batch_logits = view(batch.logits, (N_BATCH,))
        for i in range(N_BATCH):
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
        # The first so many entries are marked as this sequence's.
        self._marked, self._n_marked = 0, N_BATCH

    def _sentinel_guard(self) -> Guard | None:
        """Matches control texts that llama.cpp would find even in plain text.

        With parse_special off it still matches tokens of type USER_DEFINED
        (llama.cpp, tokenizer_st_partition); some vocabularies give FIM tokens that type. And
        SentencePiece joins pieces to any token of their text, of whatever type.
        """
        if self.vocabulary.lead:
            return guard_of(text for text in self.vocabulary.specials if len(text) > 1)
        return guard_of(t for t in self.vocabulary.user_defined if re.match(r"▁?[<\[]..", t))

    # --- Decoder ---

    @property
    def kv_identity(self) -> str:
        """See Decoder."""
        return llama_state.identity(self._native, self._file, self.info.n_ctx, self._unified)

    def special(self, text: str) -> int | None:
        """See Decoder."""
        return self.vocabulary.specials.get(text)

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        """See Decoder."""
        return prompt_tokens(self.vocabulary, self.info.name, segments, self._tokenize_text)

    def _tokenize_text(self, text: str, first: bool) -> list[int]:
        # As SentencePiece sees it: of the same length.
        shown = text.replace(" ", "▁") if self.vocabulary.lead else text
        tokens: list[int] = []
        for n, part in enumerate(apart(text, shown, self._guard)):
            tokens += self._tokenize_part(part, first and n == 0)
        return tokens

    def _tokenize_part(self, text: str, first: bool) -> list[int]:
        # SentencePiece puts a space before any text. Wanted once at the most (CodeLlama's
        # infilling code does the same): elsewhere a line break absorbs it and is dropped.
        lead = self.vocabulary.lead if not first else ()
        # The same replacement as the rest of the prompt's: one "?" a lone surrogate.
        encoded = (("\n" if lead else "") + text).encode("utf-8", "replace")
        if len(self._tokens_in) < len(encoded) + 2:
            self._tokens_in = (ctypes.c_int32 * (len(encoded) + 2))()
        n_tokens = self._native.llama_tokenize(
            self.vocabulary.handle,
            encoded,
            len(encoded),
            self._tokens_in,
            len(self._tokens_in),
            False,
            False,
        )
        return list(self._tokens_in[len(lead) : n_tokens])

    @property
    def _n_past(self) -> int:
        """How many tokens the selected sequence holds."""
        return self._lengths[self._sequence]

    @_n_past.setter
    def _n_past(self, n_tokens: int) -> None:
        self._lengths[self._sequence] = n_tokens

    def use_batch_threads(self, n_threads: int) -> None:
        """See Decoder."""
        self.use_threads(self._n_threads, n_threads)

    def use_threads(self, n_threads: int, n_threads_batch: int) -> None:
        """Let steps of a single token and those of many use so many threads from now on."""
        self._n_threads = n_threads
        self._native.llama_set_n_threads(self._context, n_threads, n_threads_batch)

    def select(self, sequence: int) -> None:
        """See Decoder."""
        self._sequence = sequence

    def truncate(self, n_tokens: int) -> int:
        """See Decoder."""
        remove = self._native.llama_memory_seq_rm
        if 0 < n_tokens < self._n_past and remove(self._memory, self._sequence, n_tokens, -1):
            self._n_past = n_tokens
        elif n_tokens < self._n_past or n_tokens == 0:
            # Also for recurrent models, which cannot forget a part, and after a failed step.
            remove(self._memory, self._sequence, -1, -1)
            self._n_past = 0
        return self._n_past

    def copy(self, source: int, n_tokens: int) -> int:
        """See Decoder. Sequences with cells of their own can be copied as a whole only."""
        self.truncate(0)
        self._native.llama_memory_seq_cp(self._memory, source, self._sequence, -1, -1)
        self._n_past = self._lengths[source]
        return self.truncate(n_tokens)

    def _mark(self, n_tokens: int) -> None:
        """See that the batch's first entries belong to the selected sequence."""
        if self._marked != self._sequence:
            self._marked, self._n_marked = self._sequence, 0
        for i in range(self._n_marked, n_tokens):
            self._batch.seq_id[i][0] = self._sequence
        self._n_marked = max(self._n_marked, n_tokens)

    def feed(self, tokens: Sequence[int], n_picks: int = 1) -> None:
        """See Decoder. At most N_BATCH tokens a step."""
        n_tokens = len(tokens)
        self._mark(n_tokens)
        self._batch.n_tokens = n_tokens
        if n_tokens == 1:  # setting elements is several times faster than setting slices
            self._batch_tokens[0] = tokens[0]
            self._batch_positions[0] = self._n_past
        else:
            self._batch_tokens[:n_tokens] = tokens
            self._batch_positions[:n_tokens] = range(self._n_past, self._n_past + n_tokens)
            self._batch_logits[: n_tokens - n_picks] = 0
            self._batch_logits[n_tokens - n_picks : n_tokens - 1] = 1
        self._batch_logits[n_tokens - 1] = 1
        code = self._native.llama_decode(self._context, self._batch)
        if code != 0:
            raise RuntimeError(f"llama_decode failed with code {code}")
        self._n_past += n_tokens

    def save_sequence(self, max_bytes: int) -> bytearray | None:
        """See Decoder. A state that cannot be cut seldom fits the next prompt."""
        if not self.cuts:
            return None
        return llama_state.save(self._native, self._context, self._sequence, max_bytes)

    def restore_sequence(self, state: bytearray, tokens: Sequence[int]) -> bool:
        """See Decoder."""
        restored = llama_state.restore(
            self._native, self._context, self._sequence, state, len(tokens)
        )
        self._n_past = len(tokens) if restored else 0
        return restored

    def _logits(self, at: int = -1) -> Any:
        """A token's logits where llama.cpp keeps them; valid until the next step."""
        address = self._logits_at(self._context, at)
        # Making a view costs as much as reading it, and there are few places.
        view = self._logits_views.get(address)
        if view is None:
            if len(self._logits_views) >= N_VIEWS:  # they were moved, and may be again
                self._logits_views.clear()
            array = (ctypes.c_float * self.info.n_vocab).from_address(address)
            view = self._logits_views[address] = self._np.ctypeslib.as_array(array)
        return view

    def pick(
        self, required: bytes = b"", start: Start = Start.ANY, at: int = -1, rank: int = 0
    ) -> tuple[int, float]:
        """See Decoder."""
        return self.picker.pick(self._logits(at), required, start, rank)

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
        if self._context is not None:
            self._native.llama_batch_free(self._batch)
            self._native.llama_free(self._context)
            self._context = None
        if self._model is not None:
            self._native.llama_model_free(self._model)
            self._model = None
