"""How many bits a weight takes in each of llama.cpp's quantizations.

Owns: that table. A file's true size depends on which tensors get which type; what is computed
from here is an estimate and is called one wherever it is shown.

Invariant: pure. Threads: any.
"""

from __future__ import annotations

# The single types follow from their blocks (llama.cpp, ggml/src/ggml-common.h). The mixed ones
# (_S, _M, _L) were measured on Llama 3.1 8B (llama.cpp, tools/quantize/README.md).
BITS = {
    "F32": 32.0,
    "F16": 16.0,
    "BF16": 16.0,
    "Q8_0": 8.5,
    "Q6_K": 6.5625,
    "Q5_1": 6.0,
    "Q5_K_M": 5.7036,
    "Q5_0": 5.5,
    "Q5_K_S": 5.5704,
    "Q4_1": 5.0,
    "Q4_K_M": 4.8944,
    "Q4_K_S": 4.6672,
    "Q4_0": 4.5,
    "IQ4_NL": 4.6818,
    "IQ4_XS": 4.4597,
    "Q3_K_L": 4.2979,
    "Q3_K_M": 3.9960,
    "Q3_K_S": 3.6429,
    "Q2_K": 3.1593,
    "Q2_K_S": 2.9697,
}


def bits_per_weight(quantization: str) -> float:
    """Bits a weight takes; 0 for a quantization that is not in the table."""
    return BITS.get(quantization, 0.0)
