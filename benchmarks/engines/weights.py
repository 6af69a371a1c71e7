"""Llamas of random weights in published shapes, with the vocabulary that every library here knows.

Owns: the shapes. What such a model writes is noise; it takes a real model's time.

Invariant: the same name and seed give the same bytes. A file appears whole or not at all.

Threads: any.
"""

from __future__ import annotations

import lzma
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency.blocks import blocks

VOCABULARY = Path("tests/fixtures/vocabs/ggml-vocab-llama-spm.gguf.xz")
LISTS = ("tokens", "scores", "token_type")


@dataclass(frozen=True, slots=True)
class Shape:
    """A llama's."""

    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_ff: int
    quantization: str


# config.json of SmolLM2-135M and of TinyLlama-1.1B; the vocabulary is Llama's 32,000 in all.
SHAPES = {
    "llama-135m-Q4_0": Shape(30, 576, 9, 3, 1536, "Q4_0"),
    "llama-135m-Q8_0": Shape(30, 576, 9, 3, 1536, "Q8_0"),
    "llama-1.1b-Q4_0": Shape(22, 2048, 32, 4, 5632, "Q4_0"),
}


def cached(name: str, seed: int = 0) -> Path:
    """The model's file in the user's cache, made if it is not there."""
    from platformdirs import user_cache_path

    target = user_cache_path("slm-lsp") / "benchmarks" / f"{name}-{seed}.gguf"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".weights-") as folder:
            part = Path(folder) / target.name
            _write(SHAPES[name], name, part, seed)
            os.replace(part, target)
    return target


def _write(shape: Shape, name: str, target: Path, seed: int) -> None:
    import gguf

    vocabulary = target.with_name("vocabulary.gguf")
    root = Path(__file__).resolve().parents[2]
    vocabulary.write_bytes(lzma.decompress((root / VOCABULARY).read_bytes()))
    writer = gguf.GGUFWriter(target, "llama")
    n_vocab = _metadata(writer, shape, name, gguf.GGUFReader(vocabulary))
    rng = np.random.Generator(np.random.PCG64(seed))
    d, kv, ff = shape.d_model, shape.d_model // shape.n_heads * shape.n_kv_heads, shape.d_ff
    # As in llama.cpp's own mixtures, these two have more bits.
    matrices = [("token_embd", n_vocab, d, "Q8_0"), ("output", n_vocab, d, "Q8_0")]
    for i in range(shape.n_layers):
        for part, rows, columns in (
            ("attn_q", d, d),
            ("attn_k", kv, d),
            ("attn_v", kv, d),
            ("attn_output", d, d),
            ("ffn_gate", ff, d),
            ("ffn_up", ff, d),
            ("ffn_down", d, ff),
        ):
            matrices.append((f"blk.{i}.{part}", rows, columns, shape.quantization))
    for tensor, rows, columns, kind in matrices:
        raw = blocks(kind, rows, columns, 1 / math.sqrt(columns), rng)
        writer.add_tensor(f"{tensor}.weight", raw, raw_dtype=gguf.GGMLQuantizationType[kind])
    norms = [f"blk.{i}.{part}_norm" for i in range(shape.n_layers) for part in ("attn", "ffn")]
    for norm in (*norms, "output_norm"):
        writer.add_tensor(f"{norm}.weight", np.ones(d, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _metadata(writer: Any, shape: Shape, name: str, source: Any) -> int:
    lists = {key: source.get_field(f"tokenizer.ggml.{key}").contents() for key in LISTS}
    writer.add_name(name)
    writer.add_context_length(2048)
    writer.add_block_count(shape.n_layers)
    writer.add_embedding_length(shape.d_model)
    writer.add_feed_forward_length(shape.d_ff)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.d_model // shape.n_heads)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(lists["tokens"])
    writer.add_token_scores(lists["scores"])
    writer.add_token_types(lists["token_type"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    return len(lists["tokens"])
