"""A model in one quantization, as far as choosing needs it.

Owns: the value, and the order of quality.

Invariant: pure. Quality depends on the weights alone, never on how fast they are here.

Threads: any.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from slm_lsp.registry.quantizations import bits_per_weight
from slm_lsp.tune.measurement import Measurement

# What of a weight survives another quantization on top of one: about a bit less. The default
# model, published as Q4_1: 22.5 % exact lines as Q4_0 made from that, 30.0 % as Q8_0, which only
# widens it (models/smollm2-135m.toml).
TWICE_BITS = 1.0
# From here on a published quantization is as good as none.
WHOLE_BITS = 8.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """`model` and `quantization` are what the settings would say; `made_from` is the quantization
    of the weights it comes from, which may be its own. `measured` is None for what could not be
    measured, and `trouble` says why. `is_here`: choosing it needs no download."""

    model: str
    title: str
    quantization: str
    made_from: str
    n_parameters: int
    file_bytes: int
    cache_bytes_per_token: int
    trained_tokens: int
    measured: Measurement | None = None
    is_estimate: bool = False
    is_here: bool = True
    trouble: str = ""

    @property
    def label(self) -> str:
        return f"{self.title} {self.quantization}"

    @property
    def bits(self) -> float:
        """Bits a weight takes in the file."""
        return bits_per_weight(self.quantization) or 8.0 * self.file_bytes / self.n_parameters

    @property
    def faithful_bits(self) -> float:
        """Bits of the trained weights that are left: a wider type gives none back."""
        origin = bits_per_weight(self.made_from) or self.bits
        if self.quantization == self.made_from:
            return self.bits
        if origin < WHOLE_BITS and self.bits <= origin:
            return self.bits - TWICE_BITS
        return min(origin, self.bits)

    @property
    def quality(self) -> float:
        """Parameters, less what quantizing cost: a rule of thumb, and the order of preference."""
        return self.n_parameters * (1.0 - math.pow(2.0, 1.0 - self.faithful_bits))
