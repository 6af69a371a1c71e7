"""The program that runs llama.cpp's server: MODEL THREADS BATCH_THREADS CONTEXT_TOKENS.

Owns: the settings of the server, which are those that llama.cpp's own presets for llama.vim
(`--fim-qwen-1.5b-default`) use: batches of 1024, reuse of moved chunks from 256 tokens on.

Invariant: nothing of this project is imported, so that an interpreter with the wheel
`xllamacpp` alone can run it. It ends when its stdin does.

Threads: the main thread waits; the server's are its own.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any


def serve(xllamacpp: Any, model: str, n_threads: int, n_threads_batch: int, n_ctx: int) -> Any:
    """A running server on a free port of the loopback."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.port = 0
    params.n_ctx = n_ctx
    params.n_parallel = 1
    params.n_batch = params.n_ubatch = 1024
    params.n_cache_reuse = 256
    params.cpuparams.n_threads = n_threads
    params.cpuparams_batch.n_threads = n_threads_batch
    # Fitting parameters to the memory would change what was asked for.
    params.fit_params = False
    return xllamacpp.Server(params)


def main(arguments: list[str]) -> int:
    """Serve until stdin ends."""
    xllamacpp: Any = importlib.import_module("xllamacpp")
    model, *numbers = arguments
    server = serve(xllamacpp, model, *map(int, numbers))
    said = {"url": server.listening_address, "system": xllamacpp.get_system_info()}
    print("\nready " + json.dumps(said), flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    # The server's own threads would outlive the main thread.
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
