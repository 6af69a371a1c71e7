"""Model files of random weights, small enough to be made by the tests that load them.

Owns: writers of GGUF and GGML, tiny vocabularies, and a model of each architecture.

Invariant: the same name gives the same bytes. None is larger than 1 MB.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slm_lsp.engine.ggml_file import F16, F32, FAMILIES, KIND_OF_FILE, VERSION_FACTOR
from slm_lsp.engine.ggml_vocabulary import WORD
from slm_lsp.engine.sentencepiece import BYTE, CONTROL, NORMAL, UNKNOWN
from slm_lsp.gguf.header import ARRAY, FLOAT32, FORMS, INT32, STRING

N_CTX = 512
D_MODEL, N_HEADS, N_KV_HEADS, N_LAYERS, D_FF = 32, 4, 2, 2, 64
UINT32, BOOL = 4, 7
Q4_0, Q8_0 = 2, 8
Weights = npt.NDArray[np.float32]
# Such as code is made of: several to a word, each a piece of the next.
WORDS = [
    *("re", "ret", "return", "de", "def", "se", "self", "el", "els", "else", "th", "the"),
    *("in", "int", "for", "if", "x1", "==", "+=", "(self", ")."),
]
SPM_SENTINELS = ("▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>")
BPE_SENTINELS = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>")
GGML_SENTINELS = {
    "starcoder": ("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"),
    "santacoder": ("<fim-prefix>", "<fim-middle>", "<fim-suffix>", "<fim-pad>"),
    "gptj": (),
    "mpt": ("<fim_prefix>", "<fim_middle>", "<fim_suffix>"),
    "replit": (),
}
END = "<|endoftext|>"


def _random(rng: np.random.Generator, rows: int, columns: int, gain: float = 1.0) -> Weights:
    values = rng.standard_normal((rows, columns), dtype=np.float32)
    return values * np.float32(gain / math.sqrt(columns))


def _output(rng: np.random.Generator, silent: Iterable[int], n_vocab: int) -> Weights:
    """Weights of an output that seldom gives what has no text."""
    values = _random(rng, n_vocab, D_MODEL, gain=4.0)
    values[sorted(silent)] = 0.0
    return values


def encoded(values: Weights, kind: int) -> bytes:
    """A matrix as float32, float16 or in blocks of 32: Q4_0, Q8_0."""
    if kind == F32:
        return values.astype("<f4").tobytes()
    if kind == F16:
        return values.astype("<f2").tobytes()
    blocks = values.reshape(-1, 32)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(1)[:, None], 1)
    scales = largest / -8.0 if kind == Q4_0 else np.abs(largest) / 127.0
    whole = np.rint(blocks / np.where(scales == 0, 1, scales))
    packed = whole.astype(np.int8).view(np.uint8)
    if kind == Q4_0:
        nibbles = np.clip(whole + 8, 0, 15).astype(np.uint8)
        packed = nibbles[:, :16] | nibbles[:, 16:] << 4
    return np.hstack([scales.astype("<f2").view(np.uint8), packed]).tobytes()


# --- GGUF ---


def _string(text: str, version: int) -> bytes:
    raw = text.encode()
    return struct.pack("<I" if version == 1 else "<Q", len(raw)) + raw


def _value(value: Any, version: int) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value, version)
    if isinstance(value, list):
        count = struct.pack("<I" if version == 1 else "<Q", len(value))
        if isinstance(value[0], str):
            listed = b"".join(_string(each, version) for each in value)
            return struct.pack("<II", ARRAY, STRING) + count + listed
        kind = FLOAT32 if isinstance(value[0], float) else INT32
        listed = struct.pack(f"<{len(value)}{FORMS[kind][1]}", *value)
        return struct.pack("<II", ARRAY, kind) + count + listed
    kind = BOOL if isinstance(value, bool) else FLOAT32 if isinstance(value, float) else UINT32
    return struct.pack("<I", kind) + struct.pack(FORMS[kind], value)


def gguf(
    values: Mapping[str, Any], tensors: Mapping[str, Weights], version: int = 3, kind: int = F32
) -> bytes:
    """A GGUF file whose matrices are of type `kind`."""
    count = "<I" if version == 1 else "<Q"
    parts = [b"GGUF", struct.pack("<I", version)]
    parts += [struct.pack(count, len(tensors)), struct.pack(count, len(values))]
    parts += [_string(key, version) + _value(value, version) for key, value in values.items()]
    offset, bodies = 0, []
    for name, tensor in tensors.items():
        shape = tensor.shape[::-1]
        parts.append(_string(name, version) + struct.pack("<I", len(shape)))
        parts += [struct.pack(count, size) for size in shape]
        own = kind if len(shape) > 1 else F32
        parts.append(struct.pack("<IQ", own, offset))
        body = encoded(tensor, own)
        bodies.append(body + bytes(-len(body) % 32))
        offset += len(bodies[-1])
    head = b"".join(parts)
    return head + bytes(-len(head) % 32) + b"".join(bodies)


def _sizes(architecture: str) -> dict[str, Any]:
    sizes: dict[str, Any] = {
        "context_length": N_CTX,
        "embedding_length": D_MODEL,
        "block_count": N_LAYERS,
        "feed_forward_length": D_FF,
        "attention.head_count": N_HEADS,
        "attention.head_count_kv": N_KV_HEADS,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": D_MODEL // N_HEADS,
    }
    return {f"{architecture}.{key}": value for key, value in sizes.items()}


def _tensors(
    rng: np.random.Generator, n_vocab: int, silent: Iterable[int], biases: bool
) -> dict[str, Weights]:
    d, kv, ones = D_MODEL, D_MODEL // N_HEADS * N_KV_HEADS, np.ones(D_MODEL, dtype=np.float32)
    tensors = {"token_embd.weight": _random(rng, n_vocab, d, gain=4.0), "output_norm.weight": ones}
    tensors["output.weight"] = _output(rng, silent, n_vocab)
    for i in range(N_LAYERS):
        for name, rows, columns in (
            ("attn_q", d, d),
            ("attn_k", kv, d),
            ("attn_v", kv, d),
            ("attn_output", d, d),
            ("ffn_gate", D_FF, d),
            ("ffn_up", D_FF, d),
            ("ffn_down", d, D_FF),
        ):
            tensors[f"blk.{i}.{name}.weight"] = _random(rng, rows, columns, gain=2.0)
            if biases and name in ("attn_q", "attn_k", "attn_v"):
                tensors[f"blk.{i}.{name}.bias"] = _random(rng, 1, rows)[0]
        tensors[f"blk.{i}.attn_norm.weight"] = tensors[f"blk.{i}.ffn_norm.weight"] = ones
    return tensors


def spm_tokens(
    sentinels: Sequence[str] = SPM_SENTINELS,
) -> tuple[list[str], list[int], list[float]]:
    """A small SentencePiece vocabulary: texts, kinds, scores."""
    tokens, kinds = ["<unk>", "<s>", "</s>"], [UNKNOWN, CONTROL, CONTROL]
    tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    kinds += [BYTE] * 256
    signs = "".join(chr(code) for code in range(33, 127))
    # "</" and "s>" are what a tokenizer without a guard would join to the end of the text.
    words = [*WORDS, *(f"▁{word}" for word in WORDS), "▁▁", "▁▁▁▁", "</", "s>", "▁<", "PRE>", "é"]
    words += [f"▁{sign}" for sign in signs]
    normal = ["▁", *signs, *dict.fromkeys(word for word in words if len(word) > 1 or word == "é")]
    tokens += normal
    kinds += [NORMAL] * len(normal)
    tokens += sentinels
    kinds += [CONTROL] * len(sentinels)
    return tokens, kinds, [-float(i) for i in range(len(tokens))]


def llama(
    version: int = 3,
    sentinels: Sequence[str] = SPM_SENTINELS,
    kind: int = F32,
    **changed: Any,
) -> bytes:
    """A llama of SentencePiece's vocabulary; `changed` values, or None to leave one out."""
    tokens, kinds, scores = spm_tokens(sentinels)
    values = {
        "general.architecture": "llama",
        "general.name": "tiny llama",
        **_sizes("llama"),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    } | {key.replace("__", "."): value for key, value in changed.items()}
    silent = [i for i, kind in enumerate(kinds) if kind in (UNKNOWN, CONTROL)]
    # Bytes above 127 would seldom make a character.
    silent += range(3 + 128, 3 + 256)
    tensors = _tensors(np.random.default_rng(1), len(tokens), silent, biases=False)
    return gguf({k: v for k, v in values.items() if v is not None}, tensors, version, kind)


def byte_letters() -> list[str]:
    """How byte-level vocabularies write the 256 bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in kept else chr(next(others)) for byte in range(256)]


def qwen2() -> bytes:
    """A qwen2 of a byte-level vocabulary."""
    letters = byte_letters()
    words = [word for word in WORDS if word.isalpha()]
    merges, tokens = [], list(letters)
    for word in (*words, *(f"Ġ{word}" for word in words)):
        for n in range(2, len(word) + 1):
            if word[:n] not in tokens:
                tokens.append(word[:n])
                merges.append(f"{word[: n - 1]} {word[n - 1]}")
    controls = [END, "<|im_end|>", *BPE_SENTINELS]
    values = {
        "general.architecture": "qwen2",
        "general.name": "tiny qwen2",
        **_sizes("qwen2"),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": [*tokens, *controls],
        "tokenizer.ggml.token_type": [NORMAL] * len(tokens) + [CONTROL] * len(controls),
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": len(tokens),
        "tokenizer.ggml.bos_token_id": len(tokens),
        "tokenizer.ggml.add_bos_token": False,
    }
    silent = [*range(128, 256), *range(len(tokens), len(tokens) + len(controls))]
    n_vocab = len(tokens) + len(controls)
    return gguf(values, _tensors(np.random.default_rng(2), n_vocab, silent, biases=True))


# --- GGML ---


def ggml_words(family: str) -> list[bytes]:
    """A vocabulary as such a file holds it."""
    sentinels = [END, *GGML_SENTINELS[family]]
    plain = [bytes([byte]) for byte in range(256)]
    # Such as their tokenizer can make: letters and signs are never in one token.
    words = [word.encode() for word in WORDS if WORD.fullmatch(word.encode())]
    spaced = [b" " + word for word in words if word.isalpha()]
    vocabulary = [*plain, *(word for word in words if len(word) > 1), *spaced, b"  ", b"    "]
    if family == "mpt":
        vocabulary = [word.decode("latin-1").encode() for word in vocabulary]
    if family == "replit":
        vocabulary = [word.replace(b" ", "▁".encode()) for word in vocabulary]
    return [*vocabulary, *(text.encode() for text in sentinels)]


def ggml(name: str, ftype: int = 0, **changed: Any) -> bytes:
    """A file of the family of that name; `changed` numbers of its head."""
    family = next(f for f in FAMILIES if f.name == ("starcoder" if name == "santacoder" else name))
    words = ggml_words(name)
    numbers = {"n_vocab": len(words), "n_ctx": N_CTX, "n_embd": D_MODEL, "n_head": N_HEADS}
    numbers |= {"n_layer": N_LAYERS, "n_rot": D_MODEL // N_HEADS, "clip": 0, "ftype": ftype}
    numbers["alibi"] = struct.unpack("<i", struct.pack("<f", 8.0))[0]
    numbers |= changed
    parts = [b"lmgg", *(struct.pack("<i", numbers[each]) for each in family.numbers.split())]
    if family.n_words_again:
        parts.append(struct.pack("<i", len(words)))
    for n, word in enumerate(words):
        parts.append(struct.pack("<i", len(word)) + word)
        if family.scores:
            parts.append(struct.pack("<f", -0.25 * (n % 32) - 8.0 / len(word)))
    rng = np.random.default_rng(3)
    silent = [i for i, word in enumerate(words) if word.startswith(b"<") and word.endswith(b">")]
    silent += range(128, 256)
    kind = KIND_OF_FILE[ftype % VERSION_FACTOR]
    for tensor, (shape, own) in family.shapes(numbers).items():
        parts.append(_tensor(rng, tensor, shape, silent, kind if own else F32))
    return b"".join(parts)


def _tensor(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], silent: Iterable[int], kind: int
) -> bytes:
    if len(shape) == 1:
        norm = name.endswith(("/g", "norm_f.weight", "norm_1.weight", "norm_2.weight"))
        is_one = norm or name.endswith(("ln_f.weight", "ln_1.weight"))
        values = np.ones(shape, dtype=np.float32) if is_one else _random(rng, 1, shape[0])[0] / 4
    elif name.endswith(("wte", "wte.weight", "lm_head", "lm_head.weight")):
        values = _output(rng, silent, shape[1])
    else:
        outward = name.endswith(("c_proj/w", "out_proj.weight", "down_proj.weight"))
        values = _random(rng, shape[1], shape[0], gain=20.0 if outward else 4.0)
    head = struct.pack("<iii", len(shape), len(name), kind)
    head += struct.pack(f"<{len(shape)}i", *shape) + name.encode()
    return head + encoded(values, kind)


MODELS = ("llama", "qwen2", *GGML_SENTINELS)


def made(folder: Path, name: str) -> Path:
    """The file of a model, made if it is not there."""
    is_gguf = name in ("llama", "qwen2")
    path = folder / f"{name}.{'gguf' if is_gguf else 'bin'}"
    if not path.exists():
        path.write_bytes({"llama": llama, "qwen2": qwen2}[name]() if is_gguf else ggml(name))
    return path
