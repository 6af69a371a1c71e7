"""Which models can be measured here, and which could be obtained.

Owns: the way from the registry, its cache and given files to Candidates without figures, and the
quantizations worth trying.

Invariant: reads headers only; nothing is loaded, made or fetched.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slm_lsp.gguf.header import GgufError, GgufHeader
from slm_lsp.gguf.reader import read_header
from slm_lsp.registry.cache import cache_root, model_path, state
from slm_lsp.registry.describe import context_of, one_line, shape_of
from slm_lsp.registry.needs import cache_bytes_per_token, memory_of, weights_bytes
from slm_lsp.registry.quantizations import bits_per_weight
from slm_lsp.registry.specs import ModelSpec
from slm_lsp.tune.candidate import Candidate
from slm_lsp.tune.estimate import rough_memory
from slm_lsp.tune.recommend import N_CONTEXTS

# `general.file_type`: enum llama_ftype (llama.cpp, include/llama.h).
FILE_TYPES = {
    **{0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K"},
    **{11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S"},
    **{17: "Q5_K_M", 18: "Q6_K", 21: "Q2_K_S", 25: "IQ4_NL", 30: "IQ4_XS", 32: "BF16"},
}
# For files that are not in the registry: one that is read fast and costs little quality, and the
# one that is read and written fastest.
TRIED = ("Q8_0", "Q4_0")
# Architectures that compute with a part of their weights for each token: time does not go with
# their size, so nothing is estimated (llama.cpp, src/llama-arch.cpp).
SPARSE = ("moe", "deepseek2")
# Where files that were made here and chosen are kept.
KEPT_FOLDER = "requantized"


class FindError(Exception):
    """What was asked for is not here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """A candidate and its file; a `path` of None is to be made from `source`. `keep_as` is where it
    goes if it is chosen and nothing else would bring it back."""

    candidate: Candidate
    path: Path | None
    source: Path
    keep_as: Path | None = None


def find_ready(specs: Mapping[str, ModelSpec], names: Sequence[str] = ()) -> list[Found]:
    """Models of the registry that are here, in all their quantizations. Raises FindError."""
    found: list[Found] = []
    for name in names or specs:
        if name not in specs:
            known = ", ".join(specs)
            raise FindError(f"there is no model {name!r}; known are {known}, or give a file's path")
        ready = list(_of_spec(specs[name]))
        if names and not ready:
            raise FindError(
                f"{name} is not here: `slm-lsp models pull {name}` obtains it; without --model "
                "`slm-lsp tune` estimates what it would do"
            )
        found += ready
    return found


def _of_spec(spec: ModelSpec) -> Iterator[Found]:
    ready = [each.name for each in spec.quantizations if state(spec, each.name) == "ready"]
    if not ready:
        return
    finest = model_path(spec, max(ready, key=bits_per_weight))
    header = _header(finest)
    for each in spec.quantizations:
        path = model_path(spec, each.name) if each.name in ready else None
        size = path.stat().st_size if path is not None else each.size_bytes
        candidate = _candidate(
            header,
            model=spec.name,
            title=spec.name,
            quantization=each.name,
            made_from=spec.source_of(each.name).quantization,
            file_bytes=size or _size_as(header, each.name),
            is_here=path is not None,
        )
        yield Found(candidate, path, finest)


def find_file(path: Path, requantized: bool) -> list[Found]:
    """A GGUF file as it is, and as it could be made here. Raises FindError."""
    path = path.absolute()
    header = _header(path)
    own = FILE_TYPES.get(header.number("general.file_type"), "")
    title = one_line(path.name.removesuffix(".gguf"))

    def candidate(model: Path, quantization: str, size: int) -> Candidate:
        return _candidate(
            header,
            model=str(model),
            title=title,
            quantization=quantization,
            made_from=own or quantization,
            file_bytes=size,
            is_here=True,
        )

    found = [Found(candidate(path, own or "as it is", header.size_bytes), path, path)]
    for name in TRIED if requantized else ():
        kept = cache_root() / KEPT_FOLDER / f"{path.stem}.{name}.gguf"
        size = _size_as(header, name)
        # Wider than it is only where that is cheap: it may be read faster, but gains nothing.
        if name != own and size <= 1.9 * header.size_bytes:
            found.append(Found(candidate(kept, name, size), None, path, kept))
    return found


def _candidate(
    header: GgufHeader,
    *,
    model: str,
    title: str,
    quantization: str,
    made_from: str,
    file_bytes: int,
    is_here: bool,
) -> Candidate:
    shape = shape_of(header)
    return Candidate(
        model=model,
        title=title,
        quantization=quantization,
        made_from=made_from,
        n_parameters=max(1, header.n_parameters),
        file_bytes=file_bytes,
        cache_bytes_per_token=cache_bytes_per_token(shape) if shape is not None else 0,
        trained_tokens=context_of(header),
        is_here=is_here,
    )


def _size_as(header: GgufHeader, quantization: str) -> int:
    return int(header.n_parameters * bits_per_weight(quantization) / 8)


def _header(path: Path) -> GgufHeader:
    try:
        return read_header(path)
    except GgufError as error:
        raise FindError(str(error)) from error
    except OSError as error:
        raise FindError(f"cannot read {path}: {error.strerror or error}") from error


def absent(specs: Mapping[str, ModelSpec], n_ctx: int) -> list[tuple[Candidate, int]]:
    """Models of the registry that are not here in any quantization, without figures, and the memory
    each would take for itself; none of which too little is known."""
    candidates: list[tuple[Candidate, int]] = []
    for spec in specs.values():
        names = [each.name for each in spec.quantizations]
        sparse = any(part in spec.architecture for part in SPARSE)
        if not sparse and not any(state(spec, name) == "ready" for name in names):
            candidates += (each for name in names for each in _absent(spec, name, n_ctx))
    return candidates


def _absent(spec: ModelSpec, quantization: str, n_ctx: int) -> Iterator[tuple[Candidate, int]]:
    shape, bits = spec.shape, bits_per_weight(quantization)
    size = spec.quantization(quantization).size_bytes
    if size is None and shape is not None:
        size = weights_bytes(shape, quantization)
    if not size or not (shape or bits):
        return
    candidate = Candidate(
        model=spec.name,
        title=spec.name,
        quantization=quantization,
        made_from=spec.source_of(quantization).quantization,
        n_parameters=shape.n_parameters if shape else int(8 * size / bits),
        file_bytes=size,
        cache_bytes_per_token=cache_bytes_per_token(shape) if shape else 0,
        trained_tokens=spec.context_tokens,
        is_here=False,
    )
    if shape is None:
        yield candidate, rough_memory(candidate, n_ctx)
    else:
        yield candidate, memory_of(shape, size, N_CONTEXTS * n_ctx).total_bytes
