"""Models that were made to talk, not to go on with a text.

Owns: how one is told, and what a user should read of it.

Invariant: pure. Whoever wrote a registry entry has said how its model is prompted, so nothing is
said of that.

Threads: any.
"""

from __future__ import annotations

from slm_lsp.prompt import fim
from slm_lsp.types import ModelInfo

TEMPLATE_KEY = "tokenizer.chat_template"


def chat_warning(info: ModelInfo) -> str:
    """What to expect of a model that is for chat alone; empty for any other."""
    if info.template is not None or not info.metadata.get(TEMPLATE_KEY):
        return ""
    if fim.choose_template(info).name != fim.PREFIX_ONLY.name:
        return ""
    return (
        "it has a chat template and no fill-in-the-middle tokens, so it was made to talk about "
        "code rather than to continue it: expect explanations and code fences in completions. A "
        "base or code model is the better choice (`slm-lsp models list`)."
    )
