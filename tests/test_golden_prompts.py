"""The prompt of every registry entry, byte for byte, and in tokens where we have the vocabulary.

Invariant: what stands in a file or its name never becomes a control token.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from golden_prompts import (
    AFTER,
    BEFORE,
    CASES,
    FOLDER,
    UPDATE,
    check_golden,
    golden_text,
    prompt_of,
    template_of,
    written,
)
from vocabularies import FAMILIES, family_bytes

from slm_lsp.engine.llama import LlamaDecoder
from slm_lsp.prompt import fim
from slm_lsp.registry.specs import load_specs, shipped_folder
from slm_lsp.types import ModelInfo, Special, Text

SPECS = load_specs(shipped_folder())
# `prefix + suffix` as the model's own card or README writes it, by hand.
CARDS: dict[str, Callable[[str, str], str]] = {
    "qwen2.5-coder-1.5b": lambda p, s: f"<|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>",
    "qwen3-coder-30b": lambda p, s: f"<|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>",
    "codegemma-2b": lambda p, s: f"<|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>",
    "granite-4-micro": lambda p, s: f"<|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>",
    "starcoder2-3b": lambda p, s: f"<fim_prefix>{p}<fim_suffix>{s}<fim_middle>",
    "starcoder-1b": lambda p, s: f"<fim_prefix>{p}<fim_suffix>{s}<fim_middle>",
    "tiny-starcoder-py": lambda p, s: f"<fim_prefix>{p}<fim_suffix>{s}<fim_middle>",
    "stable-code-3b": lambda p, s: f"<fim_prefix>{p}<fim_suffix>{s}<fim_middle>",
    "refact-1.6b": lambda p, s: f"<fim_prefix>{p}<fim_suffix>{s}<fim_middle>",
    "santacoder-1.1b": lambda p, s: f"<fim-prefix>{p}<fim-suffix>{s}<fim-middle>",
    "deepseek-coder-1.3b": lambda p, s: f"<｜fim▁begin｜>{p}<｜fim▁hole｜>{s}<｜fim▁end｜>",
    "deepseek-coder-v2-lite": lambda p, s: f"<｜fim▁begin｜>{p}<｜fim▁hole｜>{s}<｜fim▁end｜>",
    # "▁" is how its vocabulary writes a space.
    "codellama-7b": lambda p, s: f"▁<PRE>{p}▁<SUF>{s}▁<MID>",
    "codestral-22b": lambda p, s: f"[SUFFIX]{s}[PREFIX]{p}",
    "mellum-4b": lambda p, s: f"<fim_suffix>{s}<fim_prefix>{p}<fim_middle>",
    "seed-coder-8b": lambda p, s: f"<[fim-suffix]>{s}<[fim-prefix]>{p}<[fim-middle]>",
}
# Entries whose vocabulary we have, or one with the same tokens at other places (`vocabularies`).
TOKENS = {
    "qwen2.5-coder-0.5b": "qwen",
    "qwen3-coder-30b": "qwen",
    "starcoder2-3b": "starcoder2",
    "deepseek-coder-6.7b": "deepseek",
    "refact-1.6b": "refact",
    "codellama-7b": "codellama",
    "mellum-4b": "mellum",
    "codestral-22b": "codestral",
    "santacoder-1.1b": "santacoder",
    "seed-coder-8b": "seed-coder",
    "codegemma-2b": "codegemma",
}


def unmarked(text: str) -> str:
    return text.replace("⟦", "").replace("⟧", "")


@pytest.mark.parametrize("name", SPECS)
def test_prompts_are_as_written_down(name: str) -> None:
    check_golden(FOLDER / f"{name}.txt", golden_text(template_of(name, SPECS[name].template)))


def test_every_file_is_of_an_entry() -> None:
    assert {file.stem for file in FOLDER.glob("*.txt")} == set(SPECS)


@pytest.mark.parametrize("name", CARDS)
def test_prompts_are_as_the_models_card_writes_them(name: str) -> None:
    template = template_of(name, SPECS[name].template)
    for case, suffix in (("within a function", AFTER), ("nothing behind", "")):
        prompt = prompt_of(template, case)
        assert unmarked(written(prompt)) + prompt.heal == CARDS[name](BEFORE, suffix) + (
            "" if prompt.heal and BEFORE.endswith(prompt.heal) else prompt.heal
        )


def test_several_files_are_shown_as_qwens_example_does() -> None:
    """examples/Qwen2.5-Coder-repolevel-fim.py of QwenLM/Qwen3-Coder."""
    template = template_of("qwen", SPECS["qwen2.5-coder-7b"].template)
    shown = unmarked(written(prompt_of(template, "with other files")))
    assert shown.startswith("<|repo_name|>geometry\n<|file_sep|>shapes.py\nclass Shape:\n")
    assert "\n<|file_sep|>docs/é.py\n# 漢字\n<|file_sep|>src/square.py\n<|fim_prefix|>from" in shown
    assert shown.endswith("return 'square'\n<|fim_middle|>")


def test_several_files_are_shown_as_starcoder2s_paper_does() -> None:
    template = template_of("starcoder2", SPECS["starcoder2-7b"].template)
    shown = unmarked(written(prompt_of(template, "with other files")))
    assert shown.startswith("<repo_name>geometry<file_sep>shapes.py\nclass Shape:\n")
    assert "<file_sep><fim_prefix>src/square.py\nfrom shapes" in shown


def test_several_files_are_shown_as_mellums_card_does() -> None:
    template = template_of("mellum", SPECS["mellum-4b"].template)
    shown = unmarked(written(prompt_of(template, "with other files")))
    assert shown.startswith("<filename>shapes.py\nclass Shape:\n")
    assert "<filename>src/square.py\n<fim_suffix>\n\n    def name" in shown


@pytest.mark.parametrize("name", SPECS)
def test_text_never_becomes_a_control_token(name: str) -> None:
    """The control tokens of a prompt are those of the layout, whatever its texts say."""
    template = template_of(name, SPECS[name].template)
    case = "text that looks like control tokens"
    found = [part.text for part in prompt_of(template, case).segments if isinstance(part, Special)]
    layout = template.files_layout or template.layout
    in_file = [part for part in template.file if "{" not in part]
    expected: list[str] = []
    for part in layout:
        expected += in_file if part == "{files}" else [part] if "{" not in part else []
    assert found == expected


@pytest.mark.parametrize("name", SPECS)
def test_an_entry_agrees_with_what_its_vocabulary_shows(name: str) -> None:
    """Without the entry the same layout would be found, from the tokens that it names."""
    spec = SPECS[name]
    if spec.template.name not in fim.family_names():
        pytest.skip("a layout of its own")
    texts = {*fim.control_texts(spec.template), *spec.template.stop}
    metadata = {"general.name": spec.title}
    found = fim.choose_template(ModelInfo("", 8192, specials=frozenset(texts), metadata=metadata))
    assert (found.name, found.layout) == (spec.template.name, spec.template.layout)
    family = fim.family(spec.template.name)
    assert family is not None
    assert set(spec.template.stop) <= set(family.stop)


# --- in tokens ---


@pytest.fixture(scope="module")
def decoder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LlamaDecoder]:
    folder = tmp_path_factory.mktemp("vocabs")
    opened: dict[str, LlamaDecoder] = {}

    def decoder_of(family: str) -> LlamaDecoder:
        if family not in opened:
            path = folder / f"{family}.gguf"
            path.write_bytes(family_bytes(family))
            opened[family] = LlamaDecoder(path, family, vocab_only=True)
        return opened[family]

    return decoder_of


@pytest.mark.model
@pytest.mark.parametrize("name", TOKENS)
def test_tokens_are_as_written_down(name: str, decoder_of: Callable[[str], LlamaDecoder]) -> None:
    decoder = decoder_of(TOKENS[name])
    info = ModelInfo(
        name,
        8192,
        specials=decoder.info.specials,
        metadata=decoder.info.metadata,
        template=SPECS[name].template,
    )
    template = fim.choose_template(info)
    assert template.name == SPECS[name].template.name
    found: dict[str, list[int]] = {}
    controls = {decoder.special(text) for text in decoder.info.specials if text[0] in "<[▁"}
    for case in CASES:
        segments = prompt_of(template, case).segments
        tokens = found[case] = decoder.tokenize(segments)
        own = [decoder.special(part.text) for part in segments if isinstance(part, Special)]
        begins = [decoder.vocabulary.bos] if decoder.vocabulary.adds_bos else []
        assert [token for token in tokens if token in controls] == begins + own
        text = b"".join(map(decoder.piece, tokens)).decode()
        said = "".join(part.text for part in segments if isinstance(part, Text))
        spaced = bool(decoder.vocabulary.lead)
        assert text.removeprefix(" ") == said.replace("▁", " ") if spaced else text == said
    lines = ",\n".join(f"  {json.dumps(case)}: {json.dumps(ids)}" for case, ids in found.items())
    check_golden(FOLDER / "tokens" / f"{name}.json", f"{{\n{lines}\n}}\n")


def test_every_tokens_file_is_of_an_entry() -> None:
    assert {file.stem for file in (FOLDER / "tokens").glob("*.json")} == set(TOKENS)
    assert set(TOKENS.values()) <= set(FAMILIES)
    assert not UPDATE, "the golden files were written anew: look at the difference"
