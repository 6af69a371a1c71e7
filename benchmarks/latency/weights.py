"""GGUF files of random weights in the true shapes of published models.

Owns: the shapes, which matrix is quantized how, and what the model is likely to write.

Invariant: the same name and seed give the same bytes. A file appears whole or not at all.

Threads: any.

What such a model writes is noise, but it must take a real model's time. Two things would make
it unlike one, and are set right by a bias on the output, which llama.cpp's qwen2 graph has:
text without ends of lines (the peer's time limit works at ends of lines alone), and
characters that are no text. So plain words compete, and ends of lines and of text win as
often as in code.
"""

from __future__ import annotations

import argparse
import lzma
import math
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.latency.blocks import Bytes, blocks

VOCABULARY = Path("tests/fixtures/vocabs/ggml-vocab-qwen2.gguf.xz")
# Ids of Qwen2.5-Coder's control tokens (its tokenizer_config.json).
FIM_TOKENS = {
    "fim_pre": (151659, "<|fim_prefix|>"),
    "fim_mid": (151660, "<|fim_middle|>"),
    "fim_suf": (151661, "<|fim_suffix|>"),
    "fim_pad": (151662, "<|fim_pad|>"),
    "fim_rep": (151663, "<|repo_name|>"),
    "fim_sep": (151664, "<|file_sep|>"),
}
CONTROL = 3
WORD = re.compile(r"Ġ?[A-Za-z_]{2,12}")
N_WORDS = 4000
NEW_LINE, NEW_LINE_SHARE, END_SHARE = "Ċ", 0.1, 0.03
# Spread of the logits: one word is clearly the likeliest, as in a trained model.
LOGIT_SPREAD = 8.0
NEVER = -1e4
# What layers add must outweigh the embedding, which the tied output would find again: the model
# would repeat its last token for ever. Sharp attention makes what follows depend on more.
GAINS = {"attn_q": 12.0, "attn_output": 40.0, "ffn_down": 4.0}
BIAS_SPREAD = 0.02


@dataclass(frozen=True, slots=True)
class Shape:
    """A qwen2 model's. `quantization` names the file's mixture."""

    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_ff: int
    quantization: str

    @property
    def d_kv(self) -> int:
        return self.d_model // self.n_heads * self.n_kv_heads


# Shapes: config.json of Qwen2.5-Coder-0.5B and -1.5B; both tie the output to the embedding.
SHAPES = {
    "random-0.5b": Shape(24, 896, 14, 2, 4864, "Q4_0"),
    "random-1.5b": Shape(28, 1536, 12, 2, 8960, "Q4_K_M"),
}


def kinds(shape: Shape) -> Iterator[tuple[str, tuple[int, int], str]]:
    """Each matrix: name, rows and columns, quantization, in llama.cpp's own mixtures
    (`llama_tensor_get_type`): Q4_K_M has Q6_K where errors cost most."""
    d, kv, ff, k_quants = shape.d_model, shape.d_kv, shape.d_ff, shape.quantization != "Q4_0"
    n = shape.n_layers
    for i in range(n):
        base = "Q4_K" if k_quants else "Q4_0"
        more_bits = i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2
        best = "Q6_K" if k_quants and more_bits else base
        for name, rows, columns, kind in (
            ("attn_q", d, d, base),
            ("attn_k", kv, d, base),
            ("attn_v", kv, d, best),
            ("attn_output", d, d, base),
            ("ffn_gate", ff, d, base),
            ("ffn_up", ff, d, base),
            ("ffn_down", d, ff, best),
        ):
            yield f"blk.{i}.{name}.weight", (rows, columns), kind


def output_bias(tokens: list[str], end: int) -> npt.NDArray[np.float32]:
    """See the module. Among n words of normally distributed logits the largest lies near the
    quantile 1 - 1/n; a token that is to win with a given chance needs to reach that."""
    words = [i for i, token in enumerate(tokens) if WORD.fullmatch(token)][:N_WORDS]
    bias = np.full(len(tokens), NEVER, dtype=np.float32)
    bias[words] = 0.0
    top = NormalDist().inv_cdf(1 - 1 / len(words))
    for token, share in ((tokens.index(NEW_LINE), NEW_LINE_SHARE), (end, END_SHARE)):
        bias[token] = LOGIT_SPREAD * (top + NormalDist().inv_cdf(share))
    return bias


def build(name: str, target: Path, seed: int = 0, vocabulary: Path = VOCABULARY) -> Path:
    """Write the model of that name; a file that is there already is kept."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".weights-") as folder:
        plain = Path(folder) / "vocabulary.gguf"
        plain.write_bytes(lzma.decompress(vocabulary.read_bytes()))
        part = Path(folder) / target.name
        _write(SHAPES[name], name, part, plain, np.random.Generator(np.random.PCG64(seed)))
        os.replace(part, target)
    return target


def _write(shape: Shape, name: str, target: Path, vocabulary: Path, rng: Any) -> None:
    import gguf

    writer = gguf.GGUFWriter(target, "qwen2")
    tokens, end = _metadata(writer, shape, name, gguf.GGUFReader(vocabulary))
    d = shape.d_model
    # The state before the output has spread 1, so a logit has that of d weights.
    embedding = "Q8_0" if d % 256 else "Q6_K"
    spread = LOGIT_SPREAD / math.sqrt(d)
    _add(writer, "token_embd.weight", blocks(embedding, len(tokens), d, spread, rng), embedding)
    for tensor, (rows, columns), kind in kinds(shape):
        gain = GAINS.get(tensor.split(".")[2], 1.0)
        _add(writer, tensor, blocks(kind, rows, columns, gain / math.sqrt(columns), rng), kind)
    ones = np.ones(d, dtype=np.float32)
    for i in range(shape.n_layers):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{i}.{norm}.weight", ones)
        for bias, size in (("attn_q", d), ("attn_k", shape.d_kv), ("attn_v", shape.d_kv)):
            # Large ones would add the same to every state, and every state would say the same.
            values = rng.standard_normal(size, dtype=np.float32) * np.float32(BIAS_SPREAD)
            writer.add_tensor(f"blk.{i}.{bias}.bias", values)
    writer.add_tensor("output_norm.weight", ones)
    writer.add_tensor("output.bias", output_bias(tokens, end))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: Any, name: str, raw: Bytes, kind: str) -> None:
    import gguf

    writer.add_tensor(name, raw, raw_dtype=gguf.GGMLQuantizationType[kind])


def _metadata(writer: Any, shape: Shape, name: str, source: Any) -> tuple[list[str], int]:
    """The shape, and the vocabulary with Qwen2.5-Coder's control tokens put in."""
    import gguf

    tokens = list(source.get_field("tokenizer.ggml.tokens").contents())
    types = list(source.get_field("tokenizer.ggml.token_type").contents())
    end = int(source.get_field("tokenizer.ggml.eos_token_id").contents())
    for token, text in FIM_TOKENS.values():
        tokens[token], types[token] = text, CONTROL
    writer.add_name(name)
    writer.add_block_count(shape.n_layers)
    writer.add_context_length(32768)
    writer.add_embedding_length(shape.d_model)
    writer.add_feed_forward_length(shape.d_ff)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_kv_heads)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(gguf.LlamaFileType[f"MOSTLY_{shape.quantization}"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(list(source.get_field("tokenizer.ggml.merges").contents()))
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)
    for field, (token, _) in FIM_TOKENS.items():
        writer.add_uint32(f"tokenizer.ggml.{field}_token_id", token)
    return tokens, end


def cached(name: str, seed: int = 0) -> Path:
    """The model's file in the user's cache, made if it is not there."""
    from platformdirs import user_cache_path

    root = Path(__file__).resolve().parents[2]
    target = user_cache_path("slm-lsp") / "benchmarks" / f"{name}-{seed}.gguf"
    return build(name, target, seed, root / VOCABULARY)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency.weights")
    parser.add_argument("name", choices=sorted(SHAPES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, help="file to write (default: in the cache)")
    options = parser.parse_args()
    if options.to:
        print(build(options.name, options.to, options.seed))
    else:
        print(cached(options.name, options.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
