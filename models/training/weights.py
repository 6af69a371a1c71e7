"""Weights between GGUF files and the network.

Owns: the names of tensors on both sides, what is fused in the network, which quantization a
tensor is written in, and the metadata of the file that is shipped.

Invariant: reading what was written unquantized gives the same weights, bit for bit.

Threads: any; files are written beside their place and renamed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Quantization
from gguf import GGUFReader, GGUFWriter, LlamaFileType
from gguf.constants import Keys
from gguf.quants import dequantize, quantize

from models.training.network import Shape
from models.training.vocabulary import Vocabulary

Array = npt.NDArray[np.float32]
FUSED = {"attn_qkv": ("attn_q", "attn_k", "attn_v"), "ffn_gate_up": ("ffn_gate", "ffn_up")}
PLAIN = ("attn_norm", "attn_output", "ffn_norm", "ffn_down")
CONTEXT_TOKENS = 8192

# What is shipped. Feed-forward matrices are three quarters of a layer and bear 4 bits where the
# last steps were trained with them; attention and embedding do not (README.md beside this).
SHIPPED = {"ffn": Quantization.Q4_0, "attn": Quantization.Q8_0, "embd": Quantization.Q8_0}
F16 = {"ffn": Quantization.F16, "attn": Quantization.F16, "embd": Quantization.F16}
F32 = {"ffn": Quantization.F32, "attn": Quantization.F32, "embd": Quantization.F32}
Q8_0 = {"ffn": Quantization.Q8_0, "attn": Quantization.Q8_0, "embd": Quantization.Q8_0}
Q5_0 = {"ffn": Quantization.Q5_0, "attn": Quantization.Q5_0, "embd": Quantization.Q8_0}
Q4_0 = {"ffn": Quantization.Q4_0, "attn": Quantization.Q4_0, "embd": Quantization.Q8_0}
MIXES = {"shipped": SHIPPED, "f16": F16, "f32": F32, "Q8_0": Q8_0, "Q5_0": Q5_0, "Q4_0": Q4_0}
FILE_TYPES = {
    "shipped": LlamaFileType.MOSTLY_Q4_0,
    "f16": LlamaFileType.MOSTLY_F16,
    "f32": LlamaFileType.ALL_F32,
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
    "Q5_0": LlamaFileType.MOSTLY_Q5_0,
    "Q4_0": LlamaFileType.MOSTLY_Q4_0,
}


def parts(name: str) -> tuple[str, ...]:
    """GGUF names of the tensors that a parameter of the network holds, stacked by rows."""
    if not name.startswith("layers."):
        return (f"{name}.weight",)
    _, i, own = name.split(".")
    return tuple(f"blk.{i}.{part}.weight" for part in FUSED.get(own, (own,)))


def parameter_names(shape: Shape) -> Iterator[str]:
    """Names of the network's parameters."""
    yield "token_embd"
    for i in range(shape.n_layers):
        yield from (f"layers.{i}.{own}" for own in (*FUSED, *PLAIN))
    yield "output_norm"


def read(path: Path, vocabulary: Vocabulary, shape: Shape) -> dict[str, Array]:
    """The network's parameters from a GGUF file that holds the base or the kept vocabulary.

    From the base, sentinels start as <file_sep>, whose meaning they refine.
    """
    tensors = {t.name: t for t in GGUFReader(path).tensors}

    def tensor(name: str) -> Array:
        found = tensors[name]
        values: Array = dequantize(found.data, found.tensor_type).astype(np.float32)
        return values

    weights = {
        name: np.concatenate([tensor(part) for part in parts(name)])
        for name in parameter_names(shape)
    }
    if len(weights["token_embd"]) != len(vocabulary.kept):
        embd = weights["token_embd"][list(vocabulary.kept)]
        ids = vocabulary.sentinels
        for i in (ids.fim_prefix, ids.fim_suffix, ids.fim_middle):
            embd[i] = embd[ids.file_sep]
        weights["token_embd"] = embd
    return weights


def quantization_of(tensor: str, mix: Mapping[str, Quantization]) -> Quantization:
    """How a tensor is stored; norms always in full."""
    if "norm" in tensor:
        return Quantization.F32
    return next(kind for part, kind in mix.items() if part in tensor)


def split(name: str, value: Array, shape: Shape) -> Iterator[tuple[str, Array]]:
    """A parameter of the network as GGUF tensors."""
    names = parts(name)
    if len(names) == 1:
        rows = [len(value)]
    elif len(names) == 2:
        rows = [shape.d_ff] * 2
    else:
        rows = [shape.n_heads * shape.d_head, *[shape.n_kv_heads * shape.d_head] * 2]
    yield from zip(names, np.split(value, np.cumsum(rows)[:-1]), strict=True)


def write(
    path: Path, weights: Mapping[str, Array], vocabulary: Vocabulary, shape: Shape, mix: str
) -> None:
    """Write a GGUF file that llama.cpp and every client that knows FIM metadata load unchanged."""
    beside = path.with_name(path.name + ".part")
    writer = GGUFWriter(beside, "llama")
    _metadata(writer, vocabulary, shape)
    writer.add_file_type(FILE_TYPES[mix])
    for name in parameter_names(shape):
        for tensor, value in split(name, weights[name], shape):
            kind = quantization_of(tensor, MIXES[mix])
            stored = quantize(np.ascontiguousarray(value), kind)
            writer.add_tensor(tensor, stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(beside, path)


def _metadata(writer: GGUFWriter, vocabulary: Vocabulary, shape: Shape) -> None:
    writer.add_name("slm-fim-135m")
    writer.add_description("SmolLM2-135M taught to fill in the middle of code")
    writer.add_license("apache-2.0")
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, "SmolLM2-135M-Instruct")
    writer.add_base_model_organization(0, "HuggingFaceTB")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(shape.d_model)
    writer.add_block_count(shape.n_layers)
    writer.add_feed_forward_length(shape.d_ff)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_kv_heads)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_dimension_count(shape.d_head)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.n_vocab)
    writer.add_quantization_version(2)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.types))
    writer.add_token_merges([" ".join(merge) for merge in vocabulary.merges])
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    ids = vocabulary.sentinels
    writer.add_bos_token_id(ids.end)
    writer.add_eos_token_id(ids.end)
    for key, token in (
        (Keys.Tokenizer.FIM_PRE_ID, ids.fim_prefix),
        (Keys.Tokenizer.FIM_SUF_ID, ids.fim_suffix),
        (Keys.Tokenizer.FIM_MID_ID, ids.fim_middle),
        (Keys.Tokenizer.FIM_PAD_ID, vocabulary.id_of("<fim_pad>")),
        (Keys.Tokenizer.FIM_REP_ID, ids.repo_name),
        (Keys.Tokenizer.FIM_SEP_ID, ids.file_sep),
    ):
        writer.add_uint32(key, token)
