"""The formats in which families of models were trained on whole repositories, as data.

Owns: for each template by its name, the layouts with other files; the first of which the
vocabulary has all control tokens is the model's. A template without one shows other files as
comments. Sources of the formats: each family's report or model card, see the table.

Invariant: pure data. A format shows prefix and suffix as the template's own layout does, and
ends as that does, so that what was typed since comes last in both.

Threads: any.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass

from slm_lsp.prompt.files import sentinels
from slm_lsp.types import FimTemplate


@dataclass(frozen=True, slots=True)
class FilesFormat:
    """See `files_layout` and `file` of FimTemplate; `name` is what registry entries call it."""

    name: str
    layout: tuple[str, ...]
    file: tuple[str, ...]


_QWEN = ("<|fim_prefix|>", "{prefix}", "<|fim_suffix|>", "{suffix}", "<|fim_middle|>")
_STARCODER = ("<fim_prefix>", "{prefix}", "<fim_suffix>", "{suffix}", "<fim_middle>")

FORMATS = {
    "qwen": (
        # Qwen2.5-Coder: technical report 2409.12186, and "repository-level" of its README.
        FilesFormat(
            "qwen",
            ("<|repo_name|>", "{repo}\n", "{files}", "<|file_sep|>", "{path}\n", *_QWEN),
            ("<|file_sep|>", "{path}\n{text}"),
        ),
        # CodeGemma (2406.11409): the path before a file, the separator behind it.
        FilesFormat(
            "codegemma",
            ("{files}", "{path}\n", *_QWEN),
            ("{path}\n{text}", "<|file_separator|>"),
        ),
        # Granite 4 names its tokens so; in which order it saw them is not published.
        FilesFormat(
            "granite-4",
            ("<|reponame|>", "{repo}\n", "{files}", "<|filename|>", "{path}\n", *_QWEN),
            ("<|filename|>", "{path}\n{text}"),
        ),
    ),
    "starcoder": (
        # StarCoder 2 (2402.19173): the path stands inside of the prefix.
        FilesFormat(
            "starcoder2",
            (
                *("<repo_name>", "{repo}", "{files}", "<file_sep>", "<fim_prefix>", "{path}\n"),
                *_STARCODER[1:],
            ),
            ("<file_sep>", "{path}\n{text}"),
        ),
        # StarCoder (2305.06161), which saw one file a sample; Refact, Granite code.
        FilesFormat(
            "starcoder",
            ("<reponame>", "{repo}", "{files}", "<filename>", "{path}\n", *_STARCODER),
            ("<filename>", "{path}\n{text}"),
        ),
    ),
    # DeepSeek-Coder (2401.14196): files of a repository in one document, each behind its path.
    "deepseek": (
        FilesFormat(
            "deepseek",
            (
                *("<｜fim▁begin｜>", "{files}", "#{path}\n", "{prefix}"),
                *("<｜fim▁hole｜>", "{suffix}", "<｜fim▁end｜>"),
            ),
            ("#{path}\n{text}",),
        ),
    ),
    # Codestral, as Continue shows it files: inside of the prefix.
    "codestral": (
        FilesFormat(
            "codestral",
            ("[SUFFIX]", "{suffix}", "[PREFIX]", "{files}", "+++++ {path}\n", "{prefix}"),
            ("+++++ {path}\n{text}\n",),
        ),
    ),
    # Mellum: model card of JetBrains/Mellum-4b-base.
    "mellum": (
        FilesFormat(
            "mellum",
            (
                *("{files}", "<filename>", "{path}\n"),
                *("<fim_suffix>", "{suffix}", "<fim_prefix>", "{prefix}", "<fim_middle>"),
            ),
            ("<filename>", "{path}\n{text}"),
        ),
    ),
    # models/training/headers.py
    "slm-fim": (
        FilesFormat(
            "slm-fim",
            (
                *("<repo_name>", "{repo}\n", "{files}", "<file_sep>", "{path}\n"),
                *("<fim_suffix>", "{suffix}", "<fim_prefix>", "{prefix}"),
            ),
            ("<file_sep>", "{path}\n{text}"),
        ),
    ),
}


def with_files(template: FimTemplate, specials: Collection[str]) -> FimTemplate:
    """The template with the format that a vocabulary shows, or without any."""
    for each in FORMATS.get(template.name, ()):
        if set(specials).issuperset(sentinels((*each.layout, *each.file))):
            return with_format(template, each)
    return template


def with_format(template: FimTemplate, chosen: FilesFormat) -> FimTemplate:
    """The template with that format."""
    return dataclasses.replace(template, files_layout=chosen.layout, file=chosen.file)


def name_of(template: FimTemplate) -> str:
    """What the template's format is called; empty where it has none of these."""
    for each in FORMATS.get(template.name, ()):
        if (each.layout, each.file) == (template.files_layout, template.file):
            return each.name
    return ""
