"""Places in code, and how a prompt is written down to be compared byte for byte.

Owns: the cases of fixtures/golden_prompts, one file for each entry of the registry. In such a
file ⟦ ⟧ stand around control tokens; all else is text, as it goes to the tokenizer.

Invariant: what is written is all of a prompt. `SLM_LSP_UPDATE_GOLDEN=1 pytest …` writes the files
anew; look at the difference before committing it. Threads: the test's own.
"""

from __future__ import annotations

import os
from pathlib import Path

from slm_lsp.prompt import fim
from slm_lsp.types import (
    CompletionContext,
    FileName,
    FimTemplate,
    ModelInfo,
    Prompt,
    Snippet,
    Special,
    StopRule,
)

FOLDER = Path(__file__).parent / "fixtures" / "golden_prompts"
UPDATE = os.environ.get("SLM_LSP_UPDATE_GOLDEN") == "1"

BEFORE = "from shapes import Shape\n\n\nclass Square(Shape):\n    def area(self):\n        return "
AFTER = "\n\n    def name(self):\n        return 'square'\n"
OTHER = (
    Snippet("shapes.py", "class Shape:\n    def area(self):\n        raise NotImplementedError\n"),
    Snippet("docs/é.py", "# 漢字\n"),
)
FILE = FileName("geometry", "src/square.py")
# What a file may hold that is about models: each family's sentinels, as text.
FORGED = "".join(sorted(fim.all_sentinels())) + "<file_sep><|file_sep|><filename><|im_end|></s>"
CASES = {
    "within a function": CompletionContext(BEFORE, AFTER),
    "nothing behind": CompletionContext(BEFORE, ""),
    "nothing before": CompletionContext("", AFTER),
    "with other files": CompletionContext(BEFORE, AFTER, snippets=OTHER, file=FILE),
    "with other files, nothing behind": CompletionContext(BEFORE, "", snippets=OTHER, file=FILE),
    "text that looks like control tokens": CompletionContext(
        f"x = '{FORGED}'\ny", f"\nz = '{FORGED}'\n", snippets=(Snippet(FORGED, FORGED),), file=FILE
    ),
}


def template_of(name: str, template: FimTemplate) -> FimTemplate:
    """What is used of an entry's template where the model's vocabulary has all of its tokens."""
    return fim.choose_template(ModelInfo(name, 8192, template=template))


def prompt_of(template: FimTemplate, case: str) -> Prompt:
    """The prompt of a case."""
    return fim.build(template, CASES[case], StopRule(), 32)


def written(prompt: Prompt) -> str:
    """All of a prompt as one text."""
    parts = [
        f"⟦{part.text}⟧" if isinstance(part, Special) else part.text for part in prompt.segments
    ]
    return "".join(parts)


def golden_text(template: FimTemplate) -> str:
    """The file of an entry."""
    found = []
    for case in CASES:
        prompt = prompt_of(template, case)
        found.append(f"=== {case}; begins with {prompt.heal!r}\n{written(prompt)}\n")
    return "".join(found) + f"=== stops at\n{' '.join(template.stop)}\n"


def check_golden(file: Path, text: str) -> None:
    """Compare with the file, or write it where that is asked for."""
    if UPDATE:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    assert file.read_bytes().decode() == text
