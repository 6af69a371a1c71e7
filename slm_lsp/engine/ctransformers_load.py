"""ctransformers itself: which files it can load, and a native model of one.

Owns: the import of ctransformers, and the judgement before it: version 0.2.27 of September 2023
ends the process, or computes something else, at what came later. A file is therefore read over
here first, and refused with the name of the engine that can load it.

Invariant: importing this module imports neither ctransformers nor numpy. Whatever cannot be loaded
raises ModelLoadError; native code sees only files that were found right.

Threads: the one that constructs a CTransformersDecoder.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from slm_lsp.engine import ggml_file
from slm_lsp.engine.base import ModelLoadError
from slm_lsp.engine.ggml_file import BLOCKS, F32, GgmlFile
from slm_lsp.gguf.header import (
    ARRAY,
    FLOAT32,
    INT32,
    MAGIC,
    STRING,
    TOKEN_TYPES,
    TOKENS,
    GgufError,
    GgufHeader,
    GgufVersionError,
)
from slm_lsp.gguf.reader import read_header

# Families of GGML files by the names that users know them by.
FAMILY_OF = {
    **{"": "", "starcoder": "starcoder", "santacoder": "starcoder", "gpt_bigcode": "starcoder"},
    **{"gptj": "gptj", "codegen": "gptj", "mpt": "mpt", "replit": "replit"},
}
OLD_MAGIC = {b"tjgg": "GGJT", b"fmgg": "GGMF", b"algg": "GGLA"}
SCORES = "tokenizer.ggml.scores"
VERSIONS = (1, 2, 3)
# Keys that a later llama.cpp reads and this one does not, and the values that change nothing.
IGNORED = {
    "expert_count": (0, None),
    "rope.scaling.type": ("none", "", None),
    "rope.scaling.factor": (1.0, 0.0, None),
    "attention.sliding_window": (0, None),
}


def refusal(path: Path, why: str) -> ModelLoadError:
    """What is said of a GGUF file that another engine can load."""
    return ModelLoadError(
        f"ctransformers cannot load {path}: {why}. llama.cpp loads it: set library = llama.cpp"
    )


def look(path: Path, model_type: str) -> GgufHeader | GgmlFile:
    """What is in the file, if it can be loaded. Raises ModelLoadError."""
    magic = _magic(path)
    if magic == MAGIC:
        header = _header(path)
        why = _unfit(header)
        if why is None and model_type not in ("", "llama"):
            why = f"model_type says {model_type!r}, and the file that it is a llama"
        if why is not None:
            raise refusal(path, why)
        _check_length(path, header)
        return header
    if magic in OLD_MAGIC:
        raise ModelLoadError(
            f"{path} is a llama model of the format {OLD_MAGIC[magic]} from before GGUF, which no "
            "engine here loads: obtain the model as GGUF"
        )
    if magic != ggml_file.MAGIC:
        raise ModelLoadError(f"{path} is neither a GGUF nor a GGML model file")
    if model_type not in FAMILY_OF:
        raise ModelLoadError(f"{path} is a GGML file, and model_type = {model_type!r} is for GGUF")
    return ggml_file.read_file(path, FAMILY_OF[model_type])


def _magic(path: Path) -> bytes:
    """A model file's first four bytes."""
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise ModelLoadError(
            f"cannot read the model file {path}: {error.strerror or error}"
        ) from error


def _header(path: Path) -> GgufHeader:
    try:
        return read_header(path, (TOKENS, TOKEN_TYPES, SCORES), VERSIONS)
    except GgufVersionError as error:
        raise ModelLoadError(str(error)) from error
    except GgufError as error:
        raise ModelLoadError(
            f"{error}. If the file was copied or downloaded, it may be incomplete: obtain it again."
        ) from error


def _unfit(header: GgufHeader) -> str | None:
    """Why a GGUF file cannot be loaded, if it cannot."""
    if header.architecture != "llama":
        return f"its architecture is {header.architecture!r}, not 'llama'"
    tokenizer = header.value("tokenizer.ggml.model")
    if tokenizer != "llama":
        return f"its tokenizer is {tokenizer!r}, not SentencePiece's ('llama')"
    for key, harmless in IGNORED.items():
        value = header.of_architecture(key)
        if value not in harmless:
            return f"it would ignore that {key} is {value!r}"
    for key, kind in header.item_kinds.items():
        if kind == ARRAY:  # ends the process
            return f"{key} is a list of lists"
    return _unfit_vocabulary(header) or _unfit_sizes(header) or _unfit_tensors(header)


def _unfit_vocabulary(header: GgufHeader) -> str | None:
    tokens = header.lists.get(TOKENS, ())
    for name, kind in ((TOKENS, STRING), (SCORES, FLOAT32), (TOKEN_TYPES, INT32)):
        if header.item_kinds.get(name) != kind or header.array_lengths[name] != len(tokens):
            return f"its vocabulary lacks the {name.rpartition('.')[2]} of each token"
    for key in header.kinds:
        is_id = key.startswith("tokenizer.ggml.") and key.endswith("_token_id")
        value = header.value(key)
        if is_id and not (isinstance(value, int) and 0 <= value < len(tokens)):
            return f"{key} is {value!r}, which is no token"
    # Its tokenizer ends the process where a byte has no token.
    if not {f"<0x{byte:02X}>" for byte in range(256)} <= set(tokens):
        return "its vocabulary lacks tokens of single bytes"
    return None


def _unfit_sizes(header: GgufHeader) -> str | None:
    names = (
        *("context_length", "embedding_length", "block_count", "feed_forward_length"),
        "attention.head_count",
    )
    sizes = {name: header.of_architecture(name) for name in names}
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            return f"its {name} is {value!r}"
    d, n_heads = sizes["embedding_length"], sizes["attention.head_count"]
    n_kv = header.of_architecture("attention.head_count_kv", n_heads)
    if not isinstance(n_kv, int) or n_kv < 1 or n_heads < 2 or n_heads % n_kv or d % n_heads:
        return f"its heads are {n_heads!r} and {n_kv!r}"
    for name in ("attention.key_length", "attention.value_length", "rope.dimension_count"):
        if header.of_architecture(name, d // n_heads) != d // n_heads:
            return f"its {name} is not the size of a head"
    return None


def _unfit_tensors(header: GgufHeader) -> str | None:
    d, n_ff = (header.of_architecture(f"{part}_length") for part in ("embedding", "feed_forward"))
    n_heads = header.of_architecture("attention.head_count")
    kv = d // n_heads * header.of_architecture("attention.head_count_kv", n_heads)
    n_vocab = header.n_vocab
    sizes: dict[str, tuple[int, ...]] = {"attn_norm": (d,), "ffn_norm": (d,)}
    sizes |= {"attn_q": (d, d), "attn_k": (d, kv), "attn_v": (d, kv), "attn_output": (d, d)}
    sizes |= {"ffn_gate": (d, n_ff), "ffn_down": (n_ff, d), "ffn_up": (d, n_ff)}
    wanted: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (d, n_vocab),
        "output_norm.weight": (d,),
    }
    wanted["output.weight"] = (d, n_vocab)
    for i in range(header.of_architecture("block_count")):
        wanted |= {f"blk.{i}.{part}.weight": size for part, size in sizes.items()}
    for tensor in header.tensors:
        if len(tensor.shape) == 1 and tensor.kind != F32:
            return f"{tensor.name} is of ggml type {tensor.kind}"
        if tensor.kind not in BLOCKS:
            return f"{tensor.name} is quantized in a later way (ggml type {tensor.kind})"
        if wanted.pop(tensor.name, None) != tensor.shape:
            return f"it has a tensor {tensor.name} of {tensor.shape}"
        if tensor.shape[0] % BLOCKS[tensor.kind][0]:
            return f"{tensor.name} has no whole blocks"
    return f"it lacks the tensor {min(wanted)}" if wanted else None


def _check_length(path: Path, header: GgufHeader) -> None:
    """That all weights can be in the file: its native reader maps it and does not look."""
    n_bytes = 0
    for tensor in header.tensors:
        n_values, n_block = BLOCKS[tensor.kind]
        rows = tensor.shape[1] if len(tensor.shape) > 1 else 1
        end = tensor.offset + tensor.shape[0] // n_values * n_block * rows
        n_bytes = max(n_bytes, header.weights_at + end)
    if path.stat().st_size < n_bytes:
        raise ModelLoadError(
            f"{path} is shorter than its weights: it is incomplete, obtain it again"
        )


def _variant(folder: Path) -> str | None:
    """Which of the prebuilt libraries suits this processor; None leaves it to ctransformers, which
    starts a process to find out, and takes what its user has compiled."""
    if platform.machine() not in ("x86_64", "AMD64") or (folder / "local").is_dir():
        return None
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    flags = set(text.partition("flags")[2].partition("\n")[0].split())
    if {"avx2", "fma", "f16c"} <= flags:
        return "avx2"
    return "avx" if {"avx", "f16c"} <= flags else "basic"


def create(path: Path, model_type: str, n_ctx: int) -> Any:
    """ctransformers' LLM for a file that `look` has accepted. Raises ModelLoadError."""
    try:
        from ctransformers import llm
    except ImportError as error:
        raise ModelLoadError(
            f"ctransformers is not installed, or does not load ({error}): "
            "run `pip install 'slm-lsp[ctransformers]'`, or set library = llama.cpp"
        ) from error
    variant = _variant(Path(llm.__file__).parent / "lib")
    try:
        return llm.LLM(str(path), model_type, config=llm.Config(context_length=n_ctx), lib=variant)
    except (RuntimeError, OSError, ValueError) as error:
        raise ModelLoadError(f"ctransformers cannot load {path}: {error}") from error
