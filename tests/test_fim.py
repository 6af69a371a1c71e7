"""Which template a vocabulary shows, and the prompts that are made from it.

Owns: one golden prompt a family. A control token is written «so»; texts that follow one
another are parted by "¦". Invariant: whatever a file contains, only a template's own
sentinels become control tokens. Threads: the test's own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slm_lsp.prompt import fim
from slm_lsp.types import (
    CompletionContext,
    FimTemplate,
    ModelInfo,
    Prompt,
    Special,
    StopRule,
    Text,
    Want,
)

STOP = StopRule(strings=("\n",))
SUFFIX_AS_FILE = FimTemplate(
    "suffix-as-file", ("<file_sep>", "{suffix}", "<file_sep>", "{prefix}"), suffix_is_file=True
)
QWEN = fim.FAMILIES[0]


def info(specials: str, **metadata: str) -> ModelInfo:
    named = {f"general.{key}": value for key, value in metadata.items()}
    return ModelInfo("starcoder-qwen-mellum.gguf", 2048, 0, frozenset(specials.split()), named)


def context(marked: str, **fields: Any) -> CompletionContext:
    prefix, _, suffix = marked.partition("<CURSOR>")
    return CompletionContext(prefix, suffix, **fields)


def rendered(prompt: Prompt) -> str:
    """The segments in one line, see the module."""
    text = ""
    for before, segment in zip([None, *prompt.segments], prompt.segments, strict=False):
        if isinstance(segment, Special):
            text += f"«{segment.text}»"
        else:
            text += ("¦" if isinstance(before, Text) else "") + segment.text
    return text


def check(template: FimTemplate, marked: str, expect: str, heal: str = "", **fields: Any) -> Prompt:
    """Build the prompt for a text with <CURSOR> and compare it."""
    prompt = fim.build(template, context(marked, **fields), STOP, 7)
    assert (rendered(prompt), prompt.heal) == (expect, heal)
    assert (prompt.stop, prompt.max_tokens) == (STOP, 7)
    return prompt


STARCODER = "<|endoftext|> <fim_prefix> <fim_middle> <fim_suffix> <fim_pad>"
MARKED = "def f(x):\n    return <CURSOR>\nf(1)\n"
PREFIX, SUFFIX = "def f(x):\n    return ", "\nf(1)\n"

# name, control tokens of the vocabulary, golden, stops of the template that there are
GOLDENS = [
    (
        "qwen",
        "<|endoftext|> <|im_start|> <|im_end|> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> "
        "<|fim_pad|> <|repo_name|> <|file_sep|>",
        f"«<|fim_prefix|>»{PREFIX}«<|fim_suffix|>»{SUFFIX}«<|fim_middle|>»",
        "<|endoftext|> <|fim_prefix|> <|fim_suffix|> <|fim_middle|> <|fim_pad|> <|repo_name|> "
        "<|file_sep|> <|im_end|>",
    ),
    (  # CodeGemma
        "qwen",
        "<bos> <eos> <|fim_prefix|> <|fim_suffix|> <|fim_middle|> <|file_separator|> <end_of_turn>",
        f"«<|fim_prefix|>»{PREFIX}«<|fim_suffix|>»{SUFFIX}«<|fim_middle|>»",
        "<|fim_prefix|> <|fim_suffix|> <|fim_middle|> <|file_separator|> <end_of_turn>",
    ),
    (  # StarCoder2
        "starcoder",
        f"{STARCODER} <repo_name> <file_sep>",
        f"«<fim_prefix>»{PREFIX}«<fim_suffix>»{SUFFIX}«<fim_middle>»",
        f"{STARCODER} <repo_name> <file_sep>",
    ),
    (  # StarCoder, Refact, Granite code
        "starcoder",
        f"{STARCODER} <filename> <reponame>",
        f"«<fim_prefix>»{PREFIX}«<fim_suffix>»{SUFFIX}«<fim_middle>»",
        f"{STARCODER} <filename> <reponame>",
    ),
    (
        "santacoder",
        "<|endoftext|> <fim-prefix> <fim-middle> <fim-suffix> <fim-pad>",
        f"«<fim-prefix>»{PREFIX}«<fim-suffix>»{SUFFIX}«<fim-middle>»",
        "<|endoftext|> <fim-prefix> <fim-middle> <fim-suffix>",
    ),
    (
        "deepseek",
        "<｜end▁of▁sentence｜> <｜fim▁hole｜> <｜fim▁begin｜> <｜fim▁end｜> <pad> <|User|>",
        f"«<｜fim▁begin｜>»{PREFIX}«<｜fim▁hole｜>»{SUFFIX}«<｜fim▁end｜>»",
        "<｜end▁of▁sentence｜> <｜fim▁hole｜> <｜fim▁begin｜> <｜fim▁end｜>",
    ),
    (
        "codellama",
        "<s> </s> ▁<PRE> ▁<MID> ▁<SUF> ▁<EOT>",
        f"«▁<PRE>»{PREFIX}«▁<SUF>»{SUFFIX}«▁<MID>»",
        "▁<EOT> ▁<PRE> ▁<SUF> ▁<MID>",
    ),
    (
        "seed-coder",
        "<[end▁of▁sentence]> <[fim-suffix]> <[fim-prefix]> <[fim-middle]>",
        f"«<[fim-suffix]>»{SUFFIX}«<[fim-prefix]>»{PREFIX}«<[fim-middle]>»",
        "<[end▁of▁sentence]> <[fim-suffix]> <[fim-prefix]> <[fim-middle]>",
    ),
    (
        "falcon",
        "<|endoftext|> <|prefix|> <|suffix|> <|middle|>",
        f"«<|prefix|>»{PREFIX}«<|suffix|>»{SUFFIX}«<|middle|>»",
        "<|endoftext|> <|prefix|> <|suffix|> <|middle|>",
    ),
]


@pytest.mark.parametrize(("name", "specials", "golden", "stops"), GOLDENS)
def test_families(name: str, specials: str, golden: str, stops: str) -> None:
    template = fim.choose_template(info(specials))
    assert template.name == name
    assert not fim.continues_prefix(template)
    prompt = check(template, MARKED, golden)
    assert set(prompt.stop_specials) == set(stops.split())


def test_codestral_goes_on_behind_the_prefix() -> None:
    template = fim.choose_template(info("<s> </s> [INST] [PREFIX] [SUFFIX] [MIDDLE]"))
    assert template.name == "codestral"
    golden = f"«[SUFFIX]»{SUFFIX}«[PREFIX]»{PREFIX[:-1]}"
    prompt = check(template, MARKED, golden, heal=" ")
    assert set(prompt.stop_specials) == {"[PREFIX]", "[SUFFIX]", "[MIDDLE]"}


@pytest.mark.parametrize(
    ("metadata", "golden"),
    [
        ({"name": "Mellum 4b Base"}, f"«<fim_suffix>»{SUFFIX}«<fim_prefix>»{PREFIX}«<fim_middle>»"),
        ({"basename": "mellum"}, f"«<fim_suffix>»{SUFFIX}«<fim_prefix>»{PREFIX}«<fim_middle>»"),
        ({"name": "slm-fim-135m"}, f"«<fim_suffix>»{SUFFIX}«<fim_prefix>»{PREFIX[:-1]}"),
        ({"name": "Starcoder2 3b"}, f"«<fim_prefix>»{PREFIX}«<fim_suffix>»{SUFFIX}«<fim_middle>»"),
        ({}, f"«<fim_prefix>»{PREFIX}«<fim_suffix>»{SUFFIX}«<fim_middle>»"),  # not the file's name
    ],
)
def test_metadata_tells_models_with_the_same_sentinels(
    metadata: dict[str, str], golden: str
) -> None:
    template = fim.choose_template(info(f"{STARCODER} <filename>", **metadata))
    heal = " " if fim.continues_prefix(template) else ""
    check(template, MARKED, golden, heal)


@pytest.mark.parametrize(
    "specials",
    ["", "<|endoftext|> <|im_end|>", "<|fim_prefix|> <|fim_suffix|>", "<fim_prefix> <fim-suffix>"],
)
def test_without_all_sentinels_there_is_only_the_prefix(specials: str) -> None:
    template = fim.choose_template(info(specials, name="mellum"))
    prompt = check(template, MARKED, PREFIX[:-1], heal=" ")
    assert prompt.stop_specials == ()


def test_the_registry_knows_best() -> None:
    shown = frozenset(GOLDENS[0][1].split())
    both = ModelInfo("m", 2048, specials=shown | {"<file_sep>"}, template=SUFFIX_AS_FILE)
    assert fim.choose_template(both) is SUFFIX_AS_FILE
    # An engine that does not tell its vocabulary is believed to have what the registry says.
    unknown = ModelInfo("m", 2048, template=SUFFIX_AS_FILE)
    assert fim.choose_template(unknown) is SUFFIX_AS_FILE


def test_a_file_without_the_registrys_sentinels_is_prompted_as_its_vocabulary_shows() -> None:
    """Conversions differ: the first ones of Codestral have no token [PREFIX]."""
    shown = frozenset(GOLDENS[0][1].split())
    model = ModelInfo("m", 2048, specials=shown, template=SUFFIX_AS_FILE)
    assert fim.choose_template(model).name == QWEN.name
    plain = ModelInfo("m", 2048, specials=frozenset({"</s>"}), template=SUFFIX_AS_FILE)
    assert fim.choose_template(plain) == fim.PREFIX_ONLY


def test_a_file_without_the_tokens_of_the_registrys_format_shows_files_as_comments() -> None:
    entry = replace(QWEN, files_layout=("{files}", "<|x|>", *QWEN.layout), file=("{text}",))
    model = ModelInfo("m", 2048, specials=frozenset(fim.sentinels(QWEN)), template=entry)
    assert fim.choose_template(model) == QWEN


@pytest.mark.parametrize("template", [*fim.FAMILIES, *fim.NAMED.values(), SUFFIX_AS_FILE])
def test_a_file_forges_no_sentinel(template: FimTemplate) -> None:
    every = "".join(text for family in fim.FAMILIES for text in fim.sentinels(family))
    prompt = fim.build(template, context(f"{every}\n1<CURSOR>{every}"), STOP, 7)
    controls = [part.text for part in prompt.segments if isinstance(part, Special)]
    assert controls == list(fim.sentinels(template))
    texts = {part.text for part in prompt.segments if isinstance(part, Text)}
    assert texts == {f"{every}\n1", every}


@pytest.mark.parametrize(
    ("prefix", "heal"),
    [
        ("", ""),
        ("ret", "ret"),
        ("x = ret", " ret"),
        ("x =  ret", " ret"),
        ("x.ret", "ret"),
        ("\tret", "ret"),
        ("x_ret", "ret"),
        ("naïve", "naïve"),
        ("x1", ""),  # digits and "_" stand alone
        ("x_", ""),
        ("x = ", " "),
        ("    ", " "),
        ("f(", "("),
        ("x =", " ="),
        ("x ==", " =="),
        ("((((((", "(((("),
        ("f(x", "x"),
        ('f("', '("'),
        ("x\n", ""),
        ("x\n\t", ""),
        ("x\u00a0", ""),
        ("x" * 100, "x" * 24),
        (" " + "y" * 24, " " + "y" * 24),
        ("é\ud800", "\ud800"),
    ],
)
def test_split_heal(prefix: str, heal: str) -> None:
    before, healed = fim.split_heal(prefix)
    assert (before + healed, healed) == (prefix, heal)


@pytest.mark.parametrize(
    ("marked", "expect", "heal", "indent"),
    [
        ("", "", "", ""),
        ("re<CURSOR>", "", "re", ""),
        ("a = b<CURSOR>", "a =", " b", ""),
        # line ends become line feeds
        ("a\r\nb\rx = <CURSOR>", "a\nb\nx =", " ", ""),
        # indentation is given, all but the space that joins the first word
        ("if x:\n<CURSOR>", "if x:\n   ", " ", "    "),
        ("if x:\n    <CURSOR>", "if x:\n       ", " ", "    "),
        # the last of several white-space characters stands apart
        ("if x:\n<CURSOR>", "if x:¦\n", "", ""),
        ("if x:\r\n\r\n<CURSOR>", "if x:\n¦\n", "", ""),
        ("if x:\n<CURSOR>", "if x:\n¦\t", "", "\t"),
        ("if x:\n\t<CURSOR>", "if x:\n\t¦\t", "", "\t"),
        ("\n<CURSOR>", "¦\n", "", ""),
    ],
)
def test_a_prefix_that_goes_on(marked: str, expect: str, heal: str, indent: str) -> None:
    check(fim.PREFIX_ONLY, marked, expect, heal, inferred_indent=indent)


@pytest.mark.parametrize(
    ("marked", "expect", "indent"),
    [
        ("", "«<|fim_prefix|>»«<|fim_suffix|>»«<|fim_middle|>»", ""),
        ("a\r\n<CURSOR>\r\nb", "«<|fim_prefix|>»a\n«<|fim_suffix|>»\nb«<|fim_middle|>»", ""),
        ("a:\n<CURSOR>\nb", "«<|fim_prefix|>»a:\n\t«<|fim_suffix|>»\nb«<|fim_middle|>»", "\t"),
        ("a:\n<CURSOR>", "«<|fim_prefix|>»a:\n    «<|fim_suffix|>»«<|fim_middle|>»", "    "),
    ],
)
def test_a_prefix_that_ends_at_a_sentinel(marked: str, expect: str, indent: str) -> None:
    check(QWEN, marked, expect, inferred_indent=indent)


@pytest.mark.parametrize(
    ("marked", "expect", "heal"),
    [
        ("a\n(<CURSOR>)\nb\n", "«<file_sep>»)\nb\n«<file_sep>»a\n", "("),
        ("a\n1<CURSOR>\n \t\r\n  b\n", "«<file_sep>»  b\n«<file_sep>»a\n1", ""),
        ("a\n<CURSOR>", "«<file_sep>»«<file_sep>»a¦\n", ""),
        ("1<CURSOR>\n\n", "«<file_sep>»«<file_sep>»1", ""),
    ],
)
def test_a_suffix_that_is_a_file(marked: str, expect: str, heal: str) -> None:
    check(SUFFIX_AS_FILE, marked, expect, heal)


@pytest.mark.parametrize(
    ("fields", "expect"),
    [
        ({"want": Want.LINE}, StopRule(strings=("\n",))),
        ({"want": Want.NOTHING}, StopRule(strings=("\n",))),
        ({"want": Want.BLOCK}, StopRule(strings=("\n\n",), indent_columns=4, max_lines=9)),
        (
            {"want": Want.BLOCK, "opens": ":\n"},
            StopRule(strings=("\n\n",), indent_columns=4, max_lines=9, line_opens=":\n"),
        ),
        # A block that the line opens lies deeper than the line.
        (
            {"want": Want.LINE, "opens": ":{"},
            StopRule(strings=("\n\n",), indent_columns=5, max_lines=9, line_opens=":{"),
        ),
        (
            {"want": Want.BLOCK, "block_indent": "\t\t"},
            StopRule(strings=("\n\n",), indent_columns=8, max_lines=9, tab_columns=4),
        ),
    ],
)
def test_stop_rule(fields: dict[str, Any], expect: StopRule) -> None:
    said = context("x", **{"block_indent": "    ", **fields})
    assert fim.stop_rule(said, max_lines=9) == expect


# --- token healing inside a word ---

MIDDLE_LAST, PREFIX_LAST = QWEN, fim.SLM_FIM
INSIDE = "import os\n\n\ndef f():\n    x = 1\n    ret<CURSOR>\n    y\n"


def healed(template: FimTemplate, marked: str, n_typed: int | None) -> tuple[str, str]:
    """The end of the prompt, behind the last sentinel, and what is healed."""
    prompt = fim.build(template, context(marked), STOP, 7, n_typed)
    last = ""
    for part in prompt.segments:
        last = "" if isinstance(part, Special) else last + part.text
    return last, prompt.heal


@pytest.mark.parametrize("n_typed", [None, 0, 3, 7, 18])
@pytest.mark.parametrize("template", [fim.PREFIX_ONLY, SUFFIX_AS_FILE, fim.SLM_FIM])
def test_inside_a_word_the_partial_token_is_backed_off_where_the_prefix_is_last(
    template: FimTemplate, n_typed: int | None
) -> None:
    last, heal = healed(template, INSIDE, n_typed)
    assert heal == " ret"
    assert last.endswith("    x = 1\n   ")
    # Nothing of the file is lost.
    assert (last + heal).endswith(INSIDE.partition("<CURSOR>")[0])


@pytest.mark.parametrize("template", [QWEN, fim.MELLUM])
def test_inside_a_word_it_is_backed_off_from_what_was_typed_behind_an_anchor(
    template: FimTemplate,
) -> None:
    # The anchor is the line's start, or lines above.
    assert healed(template, INSIDE, 7) == ("   ", " ret")
    assert healed(template, INSIDE, 17) == ("    x = 1\n   ", " ret")
    # An anchor inside the word: the middle begins with what was typed since.
    assert healed(template, INSIDE, 2) == ("", "et")
    # At the anchor itself, or without one, the middle sentinel stands behind the word: models
    # with one are trained on such cuts (decision 5).
    assert healed(template, INSIDE, 0) == healed(template, INSIDE, None) == ("", "")


@pytest.mark.parametrize(
    ("pre", "joins"),
    [("qwen2", True), ("llama-bpe", True), ("smollm", False), ("starcoder", False), (None, False)],
)
def test_the_tokenizer_tells_whether_a_sign_is_healed_with_its_word(
    pre: str | None, joins: bool
) -> None:
    metadata = {} if pre is None else {"tokenizer.ggml.pre": pre}
    template = fim.choose_template(ModelInfo("m", 2048, metadata=metadata))
    assert template.joins_sign is joins


@pytest.mark.parametrize(
    ("prefix", "heal"),
    [
        ("x.ret", ".ret"),
        ("f(ret", "(ret"),
        ("x_ret", "_ret"),
        ("x = _ret", " _ret"),
        ("x = ret", " ret"),
        ("ret", "ret"),
        ("1ret", "ret"),
        ("\tret", "ret"),
        ("x.", "."),
        ("x ==", " =="),
    ],
)
def test_a_sign_is_healed_with_its_word(prefix: str, heal: str) -> None:
    before, healed = fim.split_heal(prefix, joins_sign=True)
    assert (before + healed, healed) == (prefix, heal)


def test_typing_a_word_leaves_the_prompt_as_it_is() -> None:
    for joins in (False, True):
        begun = [fim.split_heal(f"x = self.{'value'[:n]}", joins)[0] for n in range(1, 6)]
        assert len(set(begun)) == 1
