"""What is known of a model, in plain words: for `slm-lsp models info`.

Owns: the wording, for an entry of the registry and for a GGUF file that has none.

Invariant: nothing is loaded; text that comes from a file is shown on one line, without control
characters and of bounded length. What is an estimate or unchecked is called so.

Threads: the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from slm_lsp.gguf.header import GgufHeader
from slm_lsp.gguf.reader import read_header
from slm_lsp.prompt import file_formats, files, fim
from slm_lsp.prompt.chat import chat_warning
from slm_lsp.registry.needs import cache_bytes_per_token, memory_needed, memory_of
from slm_lsp.registry.specs import FileSource, ModelSpec, Shape, SourceSpec
from slm_lsp.types import FimTemplate, ModelInfo

SHOWN_CONTEXTS = (2048, 8192)
MAX_SHOWN_CHARS = 200
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


def describe_model(model: ModelSpec | Path) -> list[str]:
    """The lines that `models info` prints of a registry entry, or of a GGUF file.

    Raises `GgufError` and `OSError` where a file cannot be read.
    """
    return list(_entry(model) if isinstance(model, ModelSpec) else _file(model))


def info_of(header: GgufHeader, name: str) -> ModelInfo:
    """What the template is chosen by, as an engine would say it."""
    return ModelInfo(
        name=name,
        n_ctx=context_of(header),
        n_vocab=header.n_vocab,
        specials=header.specials(fim.all_sentinels()),
        metadata={key: str(value) for key, value in header.metadata.items()},
    )


def describe(info: ModelInfo) -> list[str]:
    """How a model without a registry entry is prompted, and how that was found."""
    template = fim.choose_template(info)
    if template.name == fim.PREFIX_ONLY.name:
        return list(_without_fim(info))
    named = " ".join(info.metadata.get(key, "") for key in fim.NAME_KEYS).lower()
    by_name = any(part in named for part, each in fim.NAMED.items() if each.name == template.name)
    how = "the name in the file's metadata and the " if by_name else "the "
    sentinels = " ".join(fim.sentinels(template))
    return [
        f"template: {template.name}, found from {how}control tokens of its vocabulary: {sentinels}",
        *_prompting(template),
    ]


def context_of(header: GgufHeader) -> int:
    """How many tokens the model was trained on; 0 where the file does not say."""
    return header.number(f"{header.architecture}.context_length")


def shape_of(header: GgufHeader) -> Shape | None:
    """The shape by the metadata; None where that does not say enough, or layers differ."""
    prefix = header.architecture
    n_layers = header.number(f"{prefix}.block_count")
    n_heads = header.number(f"{prefix}.attention.head_count")
    n_kv_heads = header.number(f"{prefix}.attention.head_count_kv") or n_heads
    if f"{prefix}.attention.head_count_kv" in header.array_lengths or not n_layers * n_heads:
        return None
    width = header.number(f"{prefix}.embedding_length") // n_heads
    return Shape(
        n_parameters=header.n_parameters,
        n_layers=n_layers,
        n_heads=n_heads,
        key_width=n_kv_heads * header.number(f"{prefix}.attention.key_length")
        or n_kv_heads * width,
        value_width=n_kv_heads * header.number(f"{prefix}.attention.value_length")
        or n_kv_heads * width,
        n_vocab=header.n_vocab,
    )


def one_line(text: str) -> str:
    """A text from a file as it may be shown on a terminal."""
    text = _UNPRINTABLE.sub(" ", text)
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…"


def _entry(spec: ModelSpec) -> Iterator[str]:
    yield f"{spec.name}: {spec.title}"
    yield f"licence: {spec.licence}"
    if spec.licence_note:
        yield f"  note: {spec.licence_note}"
    yield f"architecture: {spec.architecture}"
    if spec.shape is not None:
        yield f"parameters: {_count(spec.shape.n_parameters)}"
    yield f"context: {spec.context_tokens} tokens"
    yield f"template: {spec.template.name}, from the registry: {' '.join(spec.template.layout)!r}"
    yield from _prompting(spec.template)
    for index, known in enumerate(spec.quantizations):
        mark = " (default)" if index == 0 else ""
        size = "size not known" if known.size_bytes is None else _size(known.size_bytes)
        yield f"quantization {known.name}{mark}: {size}, {_origin(spec, known.name)}"
        yield from _entry_memory(spec, known.name)
    for note in spec.notes:
        yield f"note: {note}"
    if spec.unchecked:
        yield f"not checked against its source: {', '.join(spec.unchecked)}"


def _entry_memory(spec: ModelSpec, quantization: str) -> Iterator[str]:
    for n_ctx in SHOWN_CONTEXTS:
        need = memory_needed(spec, quantization, n_ctx)
        if need is not None and n_ctx <= spec.context_tokens:
            about = " (weights estimated)" if need.is_estimate else ""
            yield f"  memory at {n_ctx} tokens: about {_size(need.total_bytes)}{about}"


def _origin(spec: ModelSpec, quantization: str) -> str:
    source = spec.source_of(quantization)
    known = "sha256 known" if source.sha256 else "sha256 not known: the first pull records it"
    made = (
        "" if source.quantization == quantization else f"made here from {source.quantization} of "
    )
    return f"{made}{place_of(source)}, {known}"


def place_of(source: SourceSpec) -> str:
    """Where a source lies, in a word."""
    if isinstance(source, FileSource):
        return source.location
    return f"pypi:{source.package}=={source.version}"


def _file(path: Path) -> Iterator[str]:
    header = read_header(path)
    info, shape = info_of(header, path.name), shape_of(header)
    title = header.text("general.name") or path.name
    yield f"{one_line(path.name)}: {one_line(title)}"
    yield f"licence: {one_line(header.text('general.license')) or 'the file does not say'}"
    architecture = one_line(header.architecture)
    yield f"architecture: {architecture or 'the file does not say'}"
    if header.n_parameters:
        yield f"parameters: {_count(header.n_parameters)}"
    yield f"size: {_size(header.size_bytes)}; vocabulary: {header.n_vocab} tokens"
    if info.n_ctx:
        yield f"context: {info.n_ctx} tokens"
    yield from describe(info)
    for n_ctx in SHOWN_CONTEXTS if shape is not None and header.tensors else ():
        if shape is not None and n_ctx <= (info.n_ctx or n_ctx):
            need = memory_of(shape, header.size_bytes, n_ctx)
            yield f"memory at {n_ctx} tokens: about {_size(need.total_bytes)}"
    if shape is not None:
        yield f"keys and values: {cache_bytes_per_token(shape)} bytes a token"


def _prompting(template: FimTemplate) -> Iterator[str]:
    first = "suffix first" if fim.is_suffix_first(template) else "prefix first"
    yield f"  {first}; stops at {' '.join(template.stop) or 'its own end tokens alone'}"
    if template.files_layout:
        own = files.sentinels((*template.files_layout, *template.file))
        shown = " ".join(dict.fromkeys(own))
        known = file_formats.name_of(template)
        yield f"  other files: in its own format{known and ' ' + known} ({shown})"
    else:
        yield "  other files: as comments before the prefix; no format of its own is known"


def _without_fim(info: ModelInfo) -> Iterator[str]:
    yield (
        "template: none; no family's fill-in-the-middle tokens are in its vocabulary. It completes "
        "from the text before the cursor alone and does not see what comes after."
    )
    if warning := chat_warning(info):
        yield f"WARNING: {warning}"


def _count(number: int) -> str:
    return f"{number / 1e9:.2f} billion" if number >= 1e9 else f"{number / 1e6:.0f} million"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"
