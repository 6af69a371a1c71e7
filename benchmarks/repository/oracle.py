"""The definition that a hole calls, as a snippet: what could be gained if it were always found.

Owns: the shape of a definition's snippet: its signature, and of a class that of `__init__` or its
fields, with the first line of the docstring.

Invariant: pure; the lines are the file's own, but for an ellipsis where a body stood.

Threads: any.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from random import Random

from benchmarks.repository.definitions import Defining, Definition, Modules
from benchmarks.repository.holes import Hole
from benchmarks.repository.packages import Repository
from slm_lsp.prompt.snippets import fitting
from slm_lsp.types import Snippet
from slm_lsp.workspace.base import PlaceQuery

MAX_FIELDS = 12


def signature(definition: Definition, text: str) -> Snippet:
    """The definition's outline, from the text of its file."""
    return Snippet(definition.path, "\n".join(_outline(definition.node, text.split("\n"))) + "\n")


def _outline(node: Defining, lines: list[str]) -> Iterator[str]:
    first = node.body[0]
    begin = min((each.lineno for each in node.decorator_list), default=node.lineno)
    # Of a body on the same line as its header the whole is shown.
    yield from lines[begin - 1 : max(first.lineno - 1, node.lineno)]
    indent = " " * first.col_offset
    if ast.get_docstring(node):
        said = (ast.get_docstring(node) or "").split("\n")[0]
        yield f'{indent}"""{said}"""'
    if isinstance(node, ast.ClassDef):
        fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
        for annotated in fields[:MAX_FIELDS]:
            yield from lines[annotated.lineno - 1 : annotated.end_lineno]
        for each in node.body:
            if isinstance(each, ast.FunctionDef) and each.name in ("__init__", "__new__"):
                yield from _outline(each, lines)
                return
    yield f"{indent}..."


class OracleSource:
    """A source that always finds what the hole calls, and with it some of what else the file
    imports: the definition comes first, as from a source that ranks well."""

    def __init__(self, repositories: Mapping[str, Repository], n_others: int = 0) -> None:
        self.found: tuple[Snippet, ...] = ()
        self._repositories = repositories
        self._modules = {name: Modules(each.files) for name, each in repositories.items()}
        self._n_others = n_others
        self._next: tuple[Snippet, ...] = ()

    def at(self, hole: Hole) -> None:
        """What `collect` finds from now on."""
        files = self._repositories[hole.repository].files
        called = (hole.definition.path, hole.definition.name)
        others = [
            each
            for each in self._modules[hole.repository].used_by(hole.path)
            if (each.path, each.name) != called
        ]
        Random(hole.name).shuffle(others)
        shown = (hole.definition, *others[: self._n_others])
        self._next = tuple(signature(each, files[each.path]) for each in shown)

    def collect(self, place: PlaceQuery, stop: Callable[[], bool]) -> tuple[Snippet, ...]:
        """See SnippetSource."""
        self.found = fitting(self._next, place.max_chars)
        return self.found

    def close(self) -> None:
        """Nothing is held."""
