"""What `models info` says, of registry entries and of files without one; the memory they need.

Invariant: no model is loaded; what a file says of itself reaches the terminal on one line.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_gguf_header import TEXT, U32, gguf, key, listed, tensor, text
from vocabularies import family_bytes, vocabulary_bytes

from slm_lsp.registry.describe import describe, describe_model, one_line
from slm_lsp.registry.needs import (
    cache_bytes_per_token,
    memory_needed,
    memory_of,
    weights_bytes,
)
from slm_lsp.registry.quantizations import BITS
from slm_lsp.registry.specs import Shape, SpecError, load_specs, shipped_folder
from slm_lsp.types import ModelInfo

SPECS = load_specs(shipped_folder())
DEFAULT = Shape(
    n_parameters=134_515_008, n_layers=30, n_heads=9, key_width=192, value_width=192, n_vocab=49_152
)
MIB = 1 << 20


def info(specials: str, **metadata: str) -> ModelInfo:
    named = {name.replace("_", "."): value for name, value in metadata.items()}
    return ModelInfo("m", 4096, specials=frozenset(specials.split()), metadata=named)


# --- without a registry entry ---


def test_the_template_is_found_in_the_vocabulary() -> None:
    [first, order, other] = describe(info("<fim_prefix> <fim_suffix> <fim_middle> <|endoftext|>"))
    assert first == (
        "template: starcoder, found from the control tokens of its vocabulary: "
        "<fim_prefix> <fim_suffix> <fim_middle>"
    )
    assert order.startswith("  prefix first; stops at <|endoftext|> ")
    assert "as comments" in other


def test_the_name_in_the_metadata_decides_between_two() -> None:
    sentinels = "<fim_prefix> <fim_suffix> <fim_middle> <filename>"
    lines = describe(info(sentinels, general_name="Mellum 4b Base"))
    assert lines[0].startswith("template: mellum, found from the name in the file's metadata and")
    assert lines[1].startswith("  suffix first")
    assert "its own format mellum (<filename> " in lines[2]


def test_without_fim_tokens_it_works_from_the_prefix() -> None:
    [only] = describe(info("<s> </s>"))
    assert only.startswith("template: none")
    assert "before the cursor alone" in only


def test_a_chat_model_gets_a_warning() -> None:
    lines = describe(info("<|im_start|> <|im_end|>", tokenizer_chat__template="x"))
    assert len(lines) == 1  # the key is another
    chat = ModelInfo("m", 4096, metadata={"tokenizer.chat_template": "{{ messages }}"})
    [_, warning] = describe(chat)
    assert warning.startswith("WARNING: it has a chat template and no fill-in-the-middle tokens")
    fills = replace(chat, specials=frozenset({"<fim_prefix>", "<fim_suffix>", "<fim_middle>"}))
    assert not [line for line in describe(fills) if "WARNING" in line]


@pytest.mark.parametrize(
    ("family", "says"),
    [
        ("qwen", "template: qwen, found"),
        ("starcoder2", "in its own format starcoder2 (<repo_name> <file_sep> <fim_prefix>"),
        ("codellama", "template: codellama, found"),
        ("mellum", "template: mellum, found from the name"),
    ],
)
def test_a_file_describes_itself(tmp_path: Path, family: str, says: str) -> None:
    path = tmp_path / "some model.gguf"
    path.write_bytes(family_bytes(family))
    lines = describe_model(path)
    assert lines[0].startswith("some model.gguf: ")
    assert says in "\n".join(lines)


def test_a_file_of_a_plain_model(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(vocabulary_bytes("llama-spm"))
    lines = describe_model(path)
    assert "context: 4096 tokens" in lines
    assert "keys and values: 524288 bytes a token" in lines
    assert any(line.startswith("template: none") for line in lines)


def test_what_a_file_says_of_itself_stays_on_its_line(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\n\u202egpl\u2066" + "x" * 999
    data = gguf(
        key("general.name", TEXT, text(evil)),
        key("general.license", TEXT, text(evil)),
        key("general.architecture", TEXT, text(evil)),
        key(f"{evil}.context_length", U32, b"\xff\xff\xff\x7f"),
        key("tokenizer.ggml.tokens", 9, listed(TEXT, text(evil))),
        key("tokenizer.ggml.token_type", 9, listed(5, b"\3\0\0\0")),
        tensors=(tensor(10),),
        rest=b"\0" * 40,
    )
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    for line in describe_model(path):
        assert line.isprintable()
        assert len(line) < 400


@given(st.text())
def test_one_line_is_one_line(value: str) -> None:
    shown = one_line(value)
    assert len(shown) <= 201
    assert not set(shown) & set("\n\r\x1b\x07\x85\u202e")


# --- entries ---


@pytest.mark.parametrize("name", SPECS)
def test_every_entry_is_described(name: str) -> None:
    spec = SPECS[name]
    lines = describe_model(spec)
    said = "\n".join(lines)
    assert lines[0] == f"{name}: {spec.title}"
    assert f"licence: {spec.licence}" in lines
    assert spec.licence_note in said
    for known in spec.quantizations:
        assert f"quantization {known.name}" in said
    for unchecked in spec.unchecked:
        assert unchecked in said
    assert all(line.isprintable() for line in lines)


def test_an_entry_says_what_is_not_known() -> None:
    said = "\n".join(describe_model(SPECS["mellum-4b"]))
    assert "quantization Q8_0 (default): size not known, hf:JetBrains/" in said
    assert "sha256 not known" in said
    assert "memory at 2048 tokens: about 5.23 GB (weights estimated)" in said
    assert "made here from Q8_0 of hf:JetBrains/" in said
    assert said.endswith("not checked against its source: sha256 and size_bytes of Q8_0")


NOT_FREE = {
    "qwen2.5-coder-3b": "not for commercial use",
    "codestral-22b": "not at work",
    "codellama-7b": "Llama 2",
    "codegemma-2b": "Gemma Terms",
    "deepseek-coder-1.3b": "restrictions",
    "starcoder2-3b": "OpenRAIL-M",
    "stable-code-3b": "Stability",
}
FREE = {"Apache-2.0", "MIT"}


@pytest.mark.parametrize("name", SPECS)
def test_a_licence_that_is_not_free_has_a_note(name: str) -> None:
    spec = SPECS[name]
    assert bool(spec.licence_note) == (spec.licence not in FREE)
    assert NOT_FREE.get(name, "") in spec.licence_note


@pytest.mark.parametrize("name", SPECS)
def test_what_is_not_known_of_a_source_is_said(name: str) -> None:
    """A size or hash that is missing in an entry is named in `unchecked`."""
    spec = SPECS[name]
    unchecked = " ".join(spec.unchecked)
    for source in spec.sources:
        assert source.size_bytes is not None or "size_bytes" in unchecked
        assert source.sha256 is not None or "sha256" in unchecked
    assert spec.shape is not None


# --- memory ---


def test_the_cache_is_what_llama_cpp_allocates() -> None:
    """llama.cpp's own figures for the default model: 45 MiB at 2,048 tokens, 180 at 8,192."""
    assert cache_bytes_per_token(DEFAULT) == 23_040
    assert memory_of(DEFAULT, 0, 2048).cache_bytes == 45 * MIB
    assert memory_of(DEFAULT, 0, 8192).cache_bytes == 180 * MIB


@pytest.mark.parametrize(("n_ctx", "buffer_mib"), [(2048, 99.38), (8192, 166.38)])
def test_the_buffers_are_near_what_llama_cpp_allocates(n_ctx: int, buffer_mib: float) -> None:
    found = memory_of(DEFAULT, 0, n_ctx).buffer_bytes / MIB
    assert 0.85 * buffer_mib < found <= buffer_mib


@pytest.mark.parametrize(
    ("name", "quantization", "size_bytes"),
    [
        ("qwen2.5-coder-1.5b", "Q8_0", 1_646_573_056),
        ("qwen2.5-coder-3b", "Q8_0", 3_285_476_160),
        ("qwen2.5-coder-7b", "Q8_0", 8_098_525_600),
        # Rounded on the hub's pages.
        ("qwen2.5-coder-0.5b", "Q8_0", 531_000_000),
        ("starcoder2-3b", "Q8_0", 3_220_000_000),
        ("starcoder2-3b", "Q4_K_M", 1_850_000_000),
        ("codellama-7b", "Q4_K_M", 4_080_000_000),
        ("codegemma-2b", "Q4_K_M", 1_630_000_000),
        ("codestral-22b", "Q4_K_M", 13_300_000_000),
        ("deepseek-coder-v2-lite", "Q4_K_M", 10_400_000_000),
        ("granite-code-3b", "Q4_K_M", 2_130_000_000),
        ("stable-code-3b", "Q4_K_M", 1_710_000_000),
        ("refact-1.6b", "Q4_K_M", 968_337_696),
    ],
)
def test_estimated_sizes_are_near_true_ones(name: str, quantization: str, size_bytes: int) -> None:
    """Also that the parameters of an entry are right."""
    shape = SPECS[name].shape
    assert shape is not None
    estimate = weights_bytes(shape, quantization)
    assert estimate is not None
    assert abs(estimate - size_bytes) < 0.09 * size_bytes


@given(st.sampled_from(sorted(SPECS)), st.integers(1, 40_000), st.integers(1, 40_000))
def test_more_context_needs_more_memory(name: str, one: int, other: int) -> None:
    spec = SPECS[name]
    few, many = sorted((one, other))
    less, more = memory_needed(spec, n_ctx=few), memory_needed(spec, n_ctx=many)
    assert (less is None) == (more is None) == (spec.shape is None)
    if less is not None and more is not None:
        assert less.total_bytes <= more.total_bytes
        assert more.total_bytes <= (memory_needed(spec) or more).total_bytes


def test_memory_of_a_quantization_that_there_is_not() -> None:
    with pytest.raises(SpecError, match="no quantization Q9"):
        memory_needed(SPECS["mellum-4b"], "Q9")


def test_every_quantization_of_the_registry_has_its_bits() -> None:
    used = {known.name for spec in SPECS.values() for known in spec.quantizations}
    assert used <= set(BITS)
