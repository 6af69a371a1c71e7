"""Fill-in-the-middle templates: which one a model wants, and prompts made from it.

Owns: the table of families and the assembly of segments. A template's sentinels are
control tokens of the model's own vocabulary or its metadata; the name of the file is never
looked at. Sources of the formats: each family's model card or paper, see the table.

Invariant: pure functions. Prefix and suffix become Text segments only, so a file that
contains a sentinel's text cannot forge one.

Threads: any.
"""

from __future__ import annotations

import dataclasses
import re
from functools import lru_cache
from itertools import chain

from slm_lsp.prompt import files
from slm_lsp.prompt.file_formats import with_files
from slm_lsp.prompt.start import start_of
from slm_lsp.text.whitespace import columns, unix_lines
from slm_lsp.types import (
    CompletionContext,
    FimTemplate,
    ModelInfo,
    Prompt,
    StopRule,
    Text,
    Want,
)

PREFIX_ONLY = FimTemplate("prefix-only", ("{prefix}",))


def _texts(listed: str) -> tuple[str, ...]:
    return tuple(listed.split())


# First match wins: every sentinel of the layout is a control token of the vocabulary.
FAMILIES = (
    # Qwen2.5-Coder (technical report 2409.12186), CodeGemma (2406.11409) and Granite 4
    # share these strings; their stop sets differ, and the union is harmless.
    FimTemplate(
        "qwen",
        ("<|fim_prefix|>", "{prefix}", "<|fim_suffix|>", "{suffix}", "<|fim_middle|>"),
        _texts(
            "<|endoftext|> <|fim_prefix|> <|fim_suffix|> <|fim_middle|> <|fim_pad|> "
            "<|repo_name|> <|file_sep|> <|file_separator|> <|im_end|> <end_of_turn> "
            "<|reponame|> <|filename|> <|end_of_text|>"
        ),
    ),
    # Seed-Coder (2506.03524): suffix first.
    FimTemplate(
        "seed-coder",
        ("<[fim-suffix]>", "{suffix}", "<[fim-prefix]>", "{prefix}", "<[fim-middle]>"),
        ("<[fim-suffix]>", "<[fim-prefix]>", "<[fim-middle]>", "<[end▁of▁sentence]>"),
    ),
    # DeepSeek-Coder (2401.14196) and V2-Lite.
    FimTemplate(
        "deepseek",
        ("<｜fim▁begin｜>", "{prefix}", "<｜fim▁hole｜>", "{suffix}", "<｜fim▁end｜>"),
        ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "<｜end▁of▁sentence｜>", "<|EOT|>"),
    ),
    # CodeLlama 7B and 13B (2308.12950, and its reference generation.py).
    FimTemplate(
        "codellama",
        ("▁<PRE>", "{prefix}", "▁<SUF>", "{suffix}", "▁<MID>"),
        ("▁<EOT>", "▁<PRE>", "▁<SUF>", "▁<MID>"),
    ),
    # Codestral (mistral-common): suffix first, no middle sentinel.
    FimTemplate(
        "codestral",
        ("[SUFFIX]", "{suffix}", "[PREFIX]", "{prefix}"),
        ("[SUFFIX]", "[PREFIX]", "[MIDDLE]"),
    ),
    # SantaCoder (2301.03988): hyphens.
    FimTemplate(
        "santacoder",
        ("<fim-prefix>", "{prefix}", "<fim-suffix>", "{suffix}", "<fim-middle>"),
        ("<fim-prefix>", "<fim-suffix>", "<fim-middle>", "<|endoftext|>"),
    ),
    # StarCoder 1 and 2 (2305.06161, 2402.19173), tiny_starcoder_py, Stable-Code, Refact,
    # Granite code 3B/8B.
    FimTemplate(
        "starcoder",
        ("<fim_prefix>", "{prefix}", "<fim_suffix>", "{suffix}", "<fim_middle>"),
        _texts(
            "<|endoftext|> <file_sep> <repo_name> <filename> <reponame> "
            "<fim_prefix> <fim_suffix> <fim_middle> <fim_pad>"
        ),
    ),
    # Falcon-H1-Tiny-Coder.
    FimTemplate(
        "falcon",
        ("<|prefix|>", "{prefix}", "<|suffix|>", "{suffix}", "<|middle|>"),
        ("<|prefix|>", "<|suffix|>", "<|middle|>", "<|endoftext|>"),
    ),
)

# Mellum (model card, JetBrains/Mellum-4b-base) has StarCoder's sentinels, suffix first.
# Only its own metadata tells the two apart.
MELLUM = FimTemplate(
    "mellum",
    ("<fim_suffix>", "{suffix}", "<fim_prefix>", "{prefix}", "<fim_middle>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<filename>", "<reponame>", "<|endoftext|>"),
)
# What models/training makes of SmolLM2: suffix first, the middle simply continues the prefix.
SLM_FIM = FimTemplate(
    "slm-fim",
    ("<fim_suffix>", "{suffix}", "<fim_prefix>", "{prefix}"),
    _texts("<|endoftext|> <fim_prefix> <fim_suffix> <fim_middle> <repo_name> <file_sep>"),
    suffix_lines=10,
)
# By a part of the model's name; the sentinels of all these are StarCoder's.
NAMED = {"mellum": MELLUM, "slm-fim": SLM_FIM}
NAME_KEYS = ("general.name", "general.basename", "general.base_model.0.name")

# The end of a prefix that a tokenizer would have merged with what comes next: a word with
# its space, a run of punctuation, a space. Digits and "_" stand alone.
HEALABLE = re.compile(r"(?: ?[^\W\d_]{1,24}| ?[^\s\w]{1,4}| )\Z")
# The same for tokenizers that join a sign with the word behind it: those whose pattern has
# `[^\r\n\p{L}\p{N}]?\p{L}+`, by their name in the model file (llama.cpp, src/llama-vocab.cpp).
HEALABLE_JOINED = re.compile(r"(?:(?:[^\w\s]| ?_| )?[^\W\d_]{1,24}| ?[^\s\w]{1,4}| )\Z")
JOINING = frozenset(
    _texts(
        "chatglm-bpe dbrx gpt-4o llama-bpe llama-v3 llama3 llama4 qwen2 seed-coder smaug-bpe "
        "stablelm2 tekken"
    )
)
PRE_TOKENIZER_KEY = "tokenizer.ggml.pre"
LEADING_BLANK_LINES = re.compile(r"\A(?:[ \t]*\n)+")


def family(name: str) -> FimTemplate | None:
    """The family of that name, as registry entries call it."""
    return next((each for each in (*FAMILIES, *NAMED.values()) if each.name == name), None)


def family_names() -> tuple[str, ...]:
    """All names that `family` knows."""
    return tuple(each.name for each in (*FAMILIES, *NAMED.values()))


def sentinels(template: FimTemplate) -> tuple[str, ...]:
    """The control texts of a layout."""
    return files.sentinels(template.layout)


@lru_cache(maxsize=8)
def control_texts(template: FimTemplate) -> tuple[str, ...]:
    """What a model may spell out of a template: its sentinels, and what ends a generation."""
    return (*sentinels(template), *template.stop)


def all_sentinels() -> frozenset[str]:
    """The sentinels of every family."""
    return frozenset(chain.from_iterable(map(sentinels, (*FAMILIES, *NAMED.values()))))


def choose_template(info: ModelInfo) -> FimTemplate:
    """The registry's template where the vocabulary has its sentinels, or the family that it shows,
    or the prefix alone; with what the model's tokenizer does."""
    template = _choose(info)
    if info.metadata.get(PRE_TOKENIZER_KEY) in JOINING:
        return dataclasses.replace(template, joins_sign=True)
    return template


def _choose(info: ModelInfo) -> FimTemplate:
    if info.template is not None and fits(info.template, info):
        return _with_known(info.template, info)
    names = " ".join(info.metadata.get(key, "") for key in NAME_KEYS).lower()
    named = [template for part, template in NAMED.items() if part in names]
    for family in (*named, *FAMILIES):
        if info.specials.issuperset(sentinels(family)):
            return with_files(_known_stops(family, info), info.specials)
    return PREFIX_ONLY


def fits(template: FimTemplate, info: ModelInfo) -> bool:
    """Whether a vocabulary has a template's sentinels; one that is not known has all."""
    return not info.specials or info.specials.issuperset(sentinels(template))


def _with_known(template: FimTemplate, info: ModelInfo) -> FimTemplate:
    """Without a format for other files of which the vocabulary lacks a token."""
    named = files.sentinels((*template.files_layout, *template.file))
    if info.specials and not info.specials.issuperset(named):
        return dataclasses.replace(template, files_layout=(), file=())
    return template


def _known_stops(template: FimTemplate, info: ModelInfo) -> FimTemplate:
    stops = tuple(text for text in template.stop if text in info.specials)
    return dataclasses.replace(template, stop=stops)


def continues_prefix(template: FimTemplate) -> bool:
    """Whether the model goes on writing right behind the prefix, with nothing between."""
    return template.layout[-1] == "{prefix}"


def is_suffix_first(template: FimTemplate) -> bool:
    """Whether the suffix stands before the prefix."""
    layout = template.layout
    return "{suffix}" in layout and layout.index("{suffix}") < layout.index("{prefix}")


def split_heal(prefix: str, joins_sign: bool = False) -> tuple[str, str]:
    """Split off the end of `prefix` that has to be tokenized together with what follows.

    See llama.cpp#5765 and the "token healing" of guidance: a prompt that ends inside what
    would have been one token makes the model leave its usual path.
    """
    healable = HEALABLE_JOINED if joins_sign else HEALABLE
    found = healable.search(prefix, max(0, len(prefix) - 32))
    return (prefix[: found.start()], found.group()) if found else (prefix, "")


def build(
    template: FimTemplate,
    context: CompletionContext,
    stop: StopRule,
    max_tokens: int,
    n_typed: int | None = None,
) -> Prompt:
    """The prompt for a context whose prefix and suffix already fit the model.

    Inferred indentation is part of the prompt: the model is not asked to produce it. The last
    `n_typed` characters of the prefix were typed since it was anchored (`prompt.anchor`): they
    come last, as the beginning of the middle. None: there is no anchor.
    """
    head, typed = unix_lines(context.prefix), ""
    if n_typed is not None and not continues_prefix(template):
        at = len(context.prefix) - n_typed
        head, typed = unix_lines(context.prefix[:at]), unix_lines(context.prefix[at:])
    suffix = unix_lines(context.suffix)
    if template.suffix_is_file:
        suffix = LEADING_BLANK_LINES.sub("", suffix)
    last = heal = ""
    if continues_prefix(template):
        head, last, heal = _split_end(head + context.inferred_indent, template.joins_sign)
    elif n_typed is None:
        head += context.inferred_indent
    else:
        typed, last, heal = _split_end(typed + context.inferred_indent, template.joins_sign)
    segments = files.segments(template, context, head, suffix)
    segments.extend(Text(part) for part in (typed, last) if part)
    return Prompt(tuple(segments), stop, template.stop, max_tokens, heal, start_of(context))


def _split_end(text: str, joins_sign: bool) -> tuple[str, str, str]:
    """The text that the model goes on writing behind, a white-space character to be tokenized
    apart from it, and what is to be healed."""
    text, heal = split_heal(text, joins_sign)
    if not heal and text.endswith(("\n", "\t")):
        # Before a word, tokenizers keep the last of several white-space characters apart.
        return text[:-1], text[-1], ""
    return text, "", heal


def stop_rule(context: CompletionContext, max_lines: int | None) -> StopRule:
    """When a completion of this context is complete.

    Where one line is wanted, the block that its first line may open lies deeper.
    """
    # Next to tabs, a model may write four blanks where it means one.
    tab_columns = 4 if "\t" in context.block_indent else StopRule().tab_columns
    width = columns(context.block_indent, tab_columns)
    is_block = context.want is Want.BLOCK
    if not is_block and not context.opens:
        return StopRule(strings=("\n",))
    return StopRule(
        strings=("\n\n",),
        indent_columns=width if is_block else width + 1,
        max_lines=max_lines,
        tab_columns=tab_columns,
        line_opens=context.opens or None,
    )
