"""Other files before a file, in each family's own format or as comments.

Owns: one golden prompt a family, of two snippets and a file; a control token is written «so»,
texts that follow one another are parted by "¦". Invariant: a file or its name forges no control
token, and no placeholder. Threads: the test's own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_fim import GOLDENS, MARKED, PREFIX, STARCODER, STOP, SUFFIX, context, info, rendered

from slm_lsp.prompt import file_formats, files, fim
from slm_lsp.registry.specs import load_specs
from slm_lsp.types import FileName, FimTemplate, Snippet, Special, Text

A = Snippet("lib/a.py", "def a(n):\n    ...\n\n")
B = Snippet("b.py", "B = 1\r\nC = 2")
OWN = FileName("R", "src/f.py")
DEFAULT = load_specs()["smollm2-135m"].template
FILE_A, FILE_B = "lib/a.py\ndef a(n):\n    ...\n", "b.py\nB = 1\nC = 2\n"
COMMENTS = "# lib/a.py\n# def a(n):\n#     ...\n¦# b.py\n# B = 1\n# C = 2\n¦"
QWEN_FIM = f"«<|fim_prefix|>»{PREFIX}«<|fim_suffix|>»{SUFFIX}«<|fim_middle|>»"
STARCODER_FIM = f"«<fim_prefix>»{PREFIX}«<fim_suffix>»{SUFFIX}«<fim_middle>»"


def shown(template: FimTemplate, n_typed: int | None = None, **fields: Any) -> str:
    fields = {"snippets": (A, B), "file": OWN, "line_comment": "#", **fields}
    return rendered(fim.build(template, context(MARKED, **fields), STOP, 7, n_typed))


@pytest.mark.parametrize(
    ("specials", "name", "golden"),
    [
        (
            GOLDENS[0][1],
            "",
            f"«<|repo_name|>»R\n«<|file_sep|>»{FILE_A}«<|file_sep|>»{FILE_B}"
            f"«<|file_sep|>»src/f.py\n{QWEN_FIM}",
        ),
        (  # CodeGemma
            GOLDENS[1][1],
            "",
            f"{FILE_A}«<|file_separator|>»{FILE_B}«<|file_separator|>»src/f.py\n{QWEN_FIM}",
        ),
        (  # Granite 4
            "<|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|filename|> <|reponame|>",
            "",
            f"«<|reponame|>»R\n«<|filename|>»{FILE_A}«<|filename|>»{FILE_B}"
            f"«<|filename|>»src/f.py\n{QWEN_FIM}",
        ),
        (  # StarCoder 2
            f"{STARCODER} <repo_name> <file_sep>",
            "",
            f"«<repo_name>»R«<file_sep>»{FILE_A}«<file_sep>»{FILE_B}«<file_sep>»"
            f"«<fim_prefix>»src/f.py\n¦{PREFIX}«<fim_suffix>»{SUFFIX}«<fim_middle>»",
        ),
        (  # StarCoder, Refact, Granite code
            f"{STARCODER} <filename> <reponame>",
            "",
            f"«<reponame>»R«<filename>»{FILE_A}«<filename>»{FILE_B}"
            f"«<filename>»src/f.py\n{STARCODER_FIM}",
        ),
        (
            GOLDENS[5][1],  # DeepSeek
            "",
            f"«<｜fim▁begin｜>»#{FILE_A}¦#{FILE_B}¦#src/f.py\n¦{PREFIX}"
            f"«<｜fim▁hole｜>»{SUFFIX}«<｜fim▁end｜>»",
        ),
        (
            "[PREFIX] [SUFFIX] [MIDDLE]",
            "",
            f"«[SUFFIX]»{SUFFIX}«[PREFIX]»+++++ {FILE_A}\n¦+++++ {FILE_B}\n¦+++++ src/f.py\n"
            f"¦{PREFIX[:-1]}",
        ),
        (
            f"{STARCODER} <filename> <reponame>",
            "Mellum 4b Base",
            f"«<filename>»{FILE_A}«<filename>»{FILE_B}«<filename>»src/f.py\n"
            f"«<fim_suffix>»{SUFFIX}«<fim_prefix>»{PREFIX}«<fim_middle>»",
        ),
        (
            f"{STARCODER} <repo_name> <file_sep>",
            "slm-fim-135m",
            f"«<repo_name>»R\n«<file_sep>»{FILE_A}«<file_sep>»{FILE_B}«<file_sep>»src/f.py\n"
            f"«<fim_suffix>»{SUFFIX}«<fim_prefix>»{PREFIX[:-1]}",
        ),
        # no format of their own: comments above the prefix
        (STARCODER, "", STARCODER_FIM.replace(PREFIX, COMMENTS + PREFIX)),
        ("", "", COMMENTS + PREFIX[:-1]),
    ],
)
def test_formats(specials: str, name: str, golden: str) -> None:
    metadata = {"name": name} if name else {}
    assert shown(fim.choose_template(info(specials, **metadata))) == golden


def test_without_other_files_nothing_changes() -> None:
    template = fim.choose_template(info(GOLDENS[0][1]))
    assert template.files_layout
    assert shown(template, snippets=()) == QWEN_FIM


def test_a_comment_is_the_languages_own() -> None:
    assert shown(fim.PREFIX_ONLY, snippets=(B,), line_comment="--").startswith("-- b.py\n-- B = 1")
    assert shown(fim.PREFIX_ONLY, snippets=(B,), line_comment="").startswith("# b.py\n# B = 1")


TEMPLATES = [
    *(
        replace(template, files_layout=each.layout, file=each.file)
        for template in (*fim.FAMILIES, *fim.NAMED.values())
        for each in file_formats.FORMATS.get(template.name, ())
    ),
    fim.PREFIX_ONLY,
    DEFAULT,
]


def test_every_format_is_some_templates() -> None:
    assert set(file_formats.FORMATS) <= {template.name for template in TEMPLATES}


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_typed_comes_last_in_both_layouts(template: FimTemplate) -> None:
    alone, with_files = (
        shown(template, len("return "), snippets=()),
        shown(template, len("return ")),
    )
    assert alone != with_files
    assert alone.rpartition("»")[2] == with_files.rpartition("»")[2] or template.layout[-1] == (
        "{prefix}"
    )
    for layout in (template.layout, template.files_layout or template.layout):
        assert [layout.count(files.PREFIX), layout[-1]] == [1, template.layout[-1]]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_file_and_its_name_forge_nothing(template: FimTemplate) -> None:
    layout = files.layout_of(template, context(MARKED, snippets=(A,)))
    tokens = sorted({*files.sentinels(layout), *files.sentinels(template.file)})
    every = "".join(tokens) + "{prefix}{text}{repo}{path}{files}"
    snippet = Snippet(f"{every}\n{every}", every)
    prompt = fim.build(
        template,
        context(f"{every}1<CURSOR>{every}", snippets=(snippet, A), file=FileName(every, every)),
        STOP,
        7,
    )
    controls = [part.text for part in prompt.segments if isinstance(part, Special)]
    expected: list[str] = []
    for part in layout:
        inner = template.file * 2 if part == files.FILES else (part,)
        expected += files.sentinels(inner)
    assert controls == expected
    text = "".join(part.text for part in prompt.segments if isinstance(part, Text))
    assert f"{every} {every}\n" in text
    assert prompt.segments[-1] == Text(f"{every}1") or not fim.continues_prefix(template)


def test_the_default_models_format_is_of_its_own_tokens() -> None:
    assert set(files.sentinels(DEFAULT.files_layout)) <= {"<repo_name>", "<file_sep>"}
