"""llama.cpp itself: the library, its log, a model's file, and a context for it.

Owns: the import of llama_cpp and what is done once: initializing, loading, choosing the
parameters of a context. What is done again and again is LlamaDecoder's (`llama`). Only
`llama_cpp.llama_*` is used. (`registry.quantize`, a process of its own, is the other import.)

Invariant: importing this module imports neither llama_cpp nor numpy: a server answers
`initialize` without them. Whatever cannot be loaded raises ModelLoadError.

Threads: the one that constructs a LlamaDecoder.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from slm_lsp.engine.base import ModelLoadError
from slm_lsp.engine.ggml_file import MAGIC as GGML_MAGIC
from slm_lsp.engine.gguf_check import check_header

GGUF_MAGIC = b"GGUF"
N_BATCH = 512
MIN_CONTEXT = 256
SPIN_COUNT = "2000"
ALL_LAYERS = 10_000


def _library() -> Any:
    # GNU OpenMP lets a thread that waits for another spin for about a millisecond. When something
    # else runs on the machine the other is often not running at all, and the model slows down
    # twentyfold. A short spin costs little when nothing else runs.
    if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
    try:
        import llama_cpp
    except ImportError as error:
        raise ModelLoadError(
            "llama-cpp-python is not installed, or does not load "
            f"({error}); run `slm-lsp doctor`, then `pip install llama-cpp-python`"
        ) from error
    return llama_cpp


def check_file(path: Path) -> None:
    """Raise ModelLoadError unless `path` is a GGUF file whose header can be believed."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelLoadError(
            f"cannot read the model file {path}: {error.strerror or error}"
        ) from error
    if magic == GGML_MAGIC:
        raise ModelLoadError(
            f"{path} is a GGML file from before GGUF, which llama.cpp does not load: "
            "set library = ctransformers, or obtain the model as GGUF"
        )
    if magic != GGUF_MAGIC:
        raise ModelLoadError(f"{path} is not a GGUF model file (it does not begin with 'GGUF')")
    check_header(path)


class _NativeLog:
    """llama.cpp's log lines; the last errors explain a failed load."""

    def __init__(self, native: Any) -> None:
        self.errors: list[str] = []
        # The callback must outlive every native call, so it is an attribute.
        self._callback = native.llama_log_callback(self._receive)
        native.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _receive(self, level: int, text: bytes, _: Any) -> None:
        if level == 4:  # GGML_LOG_LEVEL_ERROR
            self.errors.append(text.decode("utf-8", "replace").strip())
            del self.errors[:-20]


_log: _NativeLog | None = None


def start_native() -> Any:
    """llama_cpp, initialised once a process; its log is empty then."""
    global _log
    native = _library()
    if _log is None:
        _log = _NativeLog(native)
        native.llama_backend_init()
    _log.errors.clear()
    return native


def check_gpu(native: Any, n_gpu_layers: int) -> None:
    """Raise ModelLoadError where layers are wanted on a GPU that this build cannot use."""
    if n_gpu_layers and not native.llama_supports_gpu_offload():
        raise ModelLoadError(
            f"gpu_layers is {n_gpu_layers}, but llama-cpp-python was built without GPU support. "
            "Build it for yours, for instance `CMAKE_ARGS=-DGGML_CUDA=on pip install "
            "--force-reinstall --no-cache-dir llama-cpp-python` (Vulkan: -DGGML_VULKAN=on; "
            "Metal: -DGGML_METAL=on), or set gpu_layers = 0"
        )


def load_model(native: Any, path: Path, vocab_only: bool, n_gpu_layers: int = 0) -> Any:
    """The native model in the file `path`; -1 puts all of its layers on the GPU."""
    check_gpu(native, n_gpu_layers)
    params = native.llama_model_default_params()
    params.n_gpu_layers = n_gpu_layers if n_gpu_layers >= 0 else ALL_LAYERS
    params.vocab_only = vocab_only
    model = native.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        errors = _log.errors[-3:] if _log is not None else []
        why = "; ".join(errors) or "no reason given"
        raise ModelLoadError(
            f"llama.cpp cannot load {path}: {why}. If the file was copied or downloaded, "
            "it may be incomplete: obtain it again."
        )
    return model


def open_context(
    native: Any,
    model: Any,
    path: Path,
    *,
    n_ctx: int,
    n_sequences: int,
    unified: bool,
    n_threads: int,
    n_threads_batch: int,
) -> tuple[Any, int]:
    """A native context, and how many tokens one of its sequences may hold."""
    trained = int(native.llama_model_n_ctx_train(model))
    params = native.llama_context_default_params()
    n_ctx = max(MIN_CONTEXT, min(n_ctx, trained) if trained > 0 else n_ctx)
    params.n_ctx = n_ctx if unified else n_ctx * n_sequences
    params.n_batch = params.n_ubatch = N_BATCH
    params.n_seq_max = n_sequences
    params.kv_unified = unified
    params.n_threads = n_threads
    params.n_threads_batch = n_threads_batch
    params.no_perf = True
    # With llama.cpp's flash attention on a CPU, logits depend on the size of the batch they
    # were computed in (by 0.5 for this project's default model), so a completion would depend
    # on how its prompt happened to be cut into chunks. Without it they do not, single
    # tokens aside.
    params.flash_attn_type = native.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = native.llama_init_from_model(model, params)
    if not context:
        raise ModelLoadError(
            f"no memory for a context of {params.n_ctx} tokens of {path}: "
            "set a smaller `context_tokens`"
        )
    n_cells = int(native.llama_n_ctx(context))
    return context, n_cells if unified else n_cells // n_sequences


def is_recurrent(native: Any, model: Any) -> bool:
    """Whether the model's memory is a state, of which no part can be cut off."""
    return bool(native.llama_model_is_recurrent(model) or native.llama_model_is_hybrid(model))


def metadata(native: Any, model: Any) -> dict[str, str]:
    """The file's metadata, as texts."""
    found: dict[str, str] = {}
    buffer = ctypes.create_string_buffer(512)
    for i in range(native.llama_model_meta_count(model)):
        if native.llama_model_meta_key_by_index(model, i, buffer, 512) < 0:
            continue
        key = buffer.value.decode("utf-8", "replace")
        if native.llama_model_meta_val_str_by_index(model, i, buffer, 512) >= 0:
            found[key] = buffer.value.decode("utf-8", "replace")
    return found
