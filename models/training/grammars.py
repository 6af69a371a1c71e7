"""What a syntax tree says about a source text, as offsets into that text.

Owns: which node types of each grammar are functions, blocks, statements, arguments,
identifiers, imports and docstrings, and the one query that collects them.

Invariant: pure; offsets are code points. The only module of the training pipeline that
imports tree_sitter. A text without a usable tree has no nodes, which is not an error.

Threads: any process; the compiled queries are kept per process.
"""

from __future__ import annotations

import importlib
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING

from slm_lsp.context.languages import LANGUAGES

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Query

MAX_CHARS = 400_000

Extent = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Grammar:
    """Node types of one grammar.

    `containers`: each named child is a statement. `functions` have a field `body`.
    `docstring`: a query pattern for strings that stand alone.
    """

    functions: tuple[str, ...]
    blocks: tuple[str, ...]
    containers: tuple[str, ...]
    arguments: tuple[str, ...]
    identifiers: tuple[str, ...]
    imports: tuple[str, ...]
    docstring: str = ""


_PYTHON = Grammar(
    functions=("function_definition",),
    blocks=("block",),
    containers=("module", "block"),
    arguments=("argument_list", "parameters"),
    identifiers=("identifier",),
    imports=("import_statement", "import_from_statement", "future_import_statement"),
    docstring="(expression_statement . (string) .)",
)
_JAVASCRIPT = Grammar(
    functions=(
        "function_declaration",
        "generator_function_declaration",
        "method_definition",
        "function_expression",
        "arrow_function",
    ),
    blocks=("statement_block", "class_body"),
    containers=("program", "statement_block", "class_body"),
    arguments=("arguments", "formal_parameters"),
    identifiers=("identifier", "property_identifier", "shorthand_property_identifier"),
    imports=("import_statement",),
)
_GO = Grammar(
    functions=("function_declaration", "method_declaration", "func_literal"),
    blocks=("block",),
    containers=("source_file", "statement_list"),
    arguments=("argument_list", "parameter_list"),
    identifiers=("identifier", "field_identifier", "type_identifier"),
    imports=("import_declaration", "package_clause"),
)
_RUST = Grammar(
    functions=("function_item",),
    blocks=("block", "declaration_list"),
    containers=("source_file", "block", "declaration_list"),
    arguments=("arguments", "parameters"),
    identifiers=("identifier", "field_identifier", "type_identifier"),
    imports=("use_declaration", "extern_crate_declaration"),
)
_JAVA = Grammar(
    functions=("method_declaration", "constructor_declaration"),
    blocks=("block", "constructor_body"),
    containers=("block", "constructor_body", "class_body"),
    arguments=("argument_list", "formal_parameters"),
    identifiers=("identifier", "type_identifier"),
    imports=("import_declaration", "package_declaration"),
)
_C = Grammar(
    functions=("function_definition",),
    blocks=("compound_statement",),
    containers=("translation_unit", "compound_statement"),
    arguments=("argument_list", "parameter_list"),
    identifiers=("identifier", "field_identifier", "type_identifier"),
    imports=("preproc_include",),
)
_CPP = Grammar(
    functions=("function_definition",),
    blocks=("compound_statement",),
    containers=(*_C.containers, "field_declaration_list", "declaration_list"),
    arguments=_C.arguments,
    identifiers=(*_C.identifiers, "namespace_identifier"),
    imports=("preproc_include", "using_declaration"),
)

GRAMMARS: Mapping[str, Grammar] = {
    "python": _PYTHON,
    "javascript": _JAVASCRIPT,
    "javascriptreact": _JAVASCRIPT,
    "typescript": _JAVASCRIPT,
    "typescriptreact": _JAVASCRIPT,
    "go": _GO,
    "rust": _RUST,
    "java": _JAVA,
    "c": _C,
    "cpp": _CPP,
}


@dataclass(frozen=True, slots=True)
class Function:
    """A function and its body, without the brackets or blank space around the body."""

    start: int
    body: Extent


@dataclass(frozen=True, slots=True)
class Syntax:
    """Extents (start, end) by what they are, each list in order of start.

    Blocks and arguments are what is between the brackets, where there are brackets.
    """

    functions: list[Function]
    blocks: list[Extent]
    statements: list[Extent]
    arguments: list[Extent]
    identifiers: list[Extent]
    imports: list[Extent]
    docstrings: list[Extent]
    comments: list[Extent]

    def documented(self, body: Extent) -> int:
        """Where the body goes on behind a docstring at its start; its start if there is none."""
        at = bisect_left(self.docstrings, (body[0], 0))
        if at < len(self.docstrings) and self.docstrings[at][0] == body[0]:
            return self.docstrings[at][1]
        return body[0]


def parse(text: str, language: str) -> Syntax | None:
    """The syntax of `text`; None if the language has no grammar or the text no tree."""
    if language not in GRAMMARS or len(text) > MAX_CHARS:
        return None
    from tree_sitter import QueryCursor

    parser, query = _compiled(language)
    source = text.encode("utf-8", "replace")
    root = parser.parse(source).root_node
    if root.type == "ERROR":
        return None
    found = QueryCursor(query).captures(root)
    offset = _offsets(text, source)

    def extents(capture: str) -> list[Extent]:
        nodes = found.get(capture, ())
        return sorted({(offset(node.start_byte), offset(node.end_byte)) for node in nodes})

    return Syntax(
        functions=_functions(text, found.get("function", ()), offset),
        blocks=[_inside(text, extent) for extent in extents("block")],
        statements=extents("statement"),
        arguments=[_inside(text, extent) for extent in extents("arguments")],
        identifiers=extents("identifier"),
        imports=extents("import"),
        docstrings=extents("docstring"),
        comments=extents("comment"),
    )


def _functions(
    text: str, nodes: list[Node] | tuple[()], offset: Callable[[int], int]
) -> list[Function]:
    functions = []
    for node in nodes:
        body = node.child_by_field_name("body")
        if body is not None:
            inside = _inside(text, (offset(body.start_byte), offset(body.end_byte)))
            functions.append(Function(offset(node.start_byte), inside))
    return sorted(functions, key=lambda function: function.start)


def _inside(text: str, extent: Extent) -> Extent:
    start, end = extent
    if end - start >= 2 and text[start] + text[end - 1] in ("()", "{}", "[]"):
        start, end = start + 1, end - 1
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _offsets(text: str, source: bytes) -> Callable[[int], int]:
    if len(text) == len(source):
        return int
    # The number of code points that begin before each byte.
    return list(accumulate((byte & 0xC0 != 0x80 for byte in source), initial=0)).__getitem__


@cache
def _compiled(language: str) -> tuple[Parser, Query]:
    import tree_sitter

    known, grammar = LANGUAGES[language], GRAMMARS[language]
    load = getattr(importlib.import_module(known.module), known.function)
    compiled = tree_sitter.Language(load())
    return tree_sitter.Parser(compiled), tree_sitter.Query(
        compiled, _query(grammar, known.comments)
    )


def _query(grammar: Grammar, comments: frozenset[str]) -> str:
    known = {
        "function": grammar.functions,
        "block": grammar.blocks,
        "arguments": grammar.arguments,
        "identifier": grammar.identifiers,
        "import": grammar.imports,
        "comment": sorted(comments),
    }
    patterns = [
        f"[{' '.join(f'({kind})' for kind in kinds)}] @{name}" for name, kinds in known.items()
    ]
    patterns += [f"({kind} (_) @statement)" for kind in grammar.containers]
    if grammar.docstring:
        patterns.append(f"{grammar.docstring} @docstring")
    return "\n".join(patterns)
