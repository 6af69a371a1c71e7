"""The outline of a text: by its language's grammar, or where there is none, by its lines.

Owns: the choice between the two, and what is taken from both: what an object sets of itself
(`self.name = …`) is no definition to a grammar.

Invariant: total.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Callable

from slm_lsp.context import outline as grammars
from slm_lsp.context.languages import language_of
from slm_lsp.context.outline import Outline
from slm_lsp.workspace import lines_outline

_OWN = ("self.", "this.")


def outline_of(language: str, text: str, stop: Callable[[], bool] = lambda: False) -> Outline:
    """The outline of a text; perhaps only a part of it once `stop` is true."""
    found = grammars.outline(language_of(language), text, stop)
    if stop():
        return found
    by_lines = lines_outline.outline_of(language, text, stop)
    if not found.definitions and not found.imports:
        return by_lines
    known = {(each.scope, each.name) for each in found.definitions}
    own = [
        each
        for each in by_lines.definitions
        if each.signature.startswith(_OWN) and (each.scope, each.name) not in known
    ]
    return Outline((*found.definitions, *own), found.imports)
