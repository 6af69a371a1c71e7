"""The program that rewrites one GGUF file in another quantization: SOURCE TARGET TYPE.

Owns: the one native call of the registry. `steps.requantize` runs this file as a program of
its own.

Invariant: nothing of this project is imported and llama.cpp only inside the call, so that
a crash of native code or its chatter on stderr stays in this child.

Threads: the child's main thread; llama.cpp starts its own.
"""

from __future__ import annotations

import ctypes
import os
import sys


def rewrite(source: str, target: str, quantization: str) -> int:
    """Write `source` as `target` in that quantization; returns llama.cpp's code, 0 for success.

    Raises `AttributeError` for a quantization that llama.cpp does not know.
    """
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{quantization}")
    # The published file is already quantized; llama.cpp refuses those unless told.
    params.allow_requantize = True
    return int(
        llama_cpp.llama_model_quantize(
            os.fsencode(source), os.fsencode(target), ctypes.byref(params)
        )
    )


def main(arguments: list[str]) -> int:
    """Run `rewrite` on the three arguments; the exit status is 0 or 1."""
    source, target, quantization = arguments
    return 1 if rewrite(source, target, quantization) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
