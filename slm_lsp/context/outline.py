"""What a source text defines and imports, as plain values.

Owns: reading the queries `definitions` and `imports` of a language: the captures `@name`,
`@body`, `@owner` of what `@definition.KIND` is the whole of, and `@module`, `@name`,
`@alias`, `@default` of an `@import`.

Invariant: total: any text in any language gives an outline, an empty one where there is no
grammar. A pure function of the text; broken code gives what could be read of it.

Threads: any; each thread has parsers of its own.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slm_lsp.context.languages import Language
from slm_lsp.context.syntax import encode, matches, parse, parser_of

if TYPE_CHECKING:
    from slm_lsp.context.syntax import Node, Parser, Tree

MAX_CHARS = 400_000
MAX_SIGNATURE_CHARS = 400
MAX_DOC_CHARS = 200
DEFAULT, ALL = "default", "*"

_DEFINITION = "definition."
_SPACE = re.compile(r"\s+")
_NAME = re.compile(r"[\w$.:~#?!'@-]+")
_WORD = re.compile(r"\w")
_MARKS = re.compile(r"^[/*#!\-;{%|\"'`(<>\s]+|^[rRbuU]?[\"']+|[\s*/\-}\"'>)]+$")
_ATTRIBUTES = ("@", "#[")
_MAX_LOOK_BYTES = 4_000
_parsers = threading.local()


@dataclass(frozen=True, slots=True)
class Definition:
    """One named thing. Lines count from 0; `end_line` is its last.

    `kind`: class, interface, type, module, function, method, field, constant, macro, ...
    `scope`: the names of the definitions around it, outermost first.
    `signature`: its text up to its body, white space collapsed, in one line.
    `doc`: the first line of its documentation, without the comment's marks.
    """

    name: str
    kind: str
    line: int
    end_line: int
    signature: str
    doc: str = ""
    scope: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Imported:
    """A name that is imported, and what it is called here. `name` is `default` for a module's
    default export and `*` for all names of a module."""

    name: str
    local: str


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, spelt as in the source (`.a.b`, `./a/b`, `a/b.h`, `a::b`).

    `local` is what the module itself is called here, if it is.
    """

    module: str
    names: tuple[Imported, ...] = ()
    line: int = 0
    local: str = ""


@dataclass(frozen=True, slots=True)
class Outline:
    """All definitions and imports, in the order of the text."""

    definitions: tuple[Definition, ...] = ()
    imports: tuple[Import, ...] = ()


def outline(language: Language, source: str, stop: Callable[[], bool] | None = None) -> Outline:
    """The outline of a text; empty without a grammar, for too long a text, and if stopped."""
    text = encode(source)
    tree = _tree(language, text, stop)
    if tree is None:
        return Outline()
    found = _unless(stop, matches(tree, language, "definitions"))
    definitions = _definitions(language, text, found)
    if stop is not None and stop():
        return Outline()
    return Outline(definitions, _imports(text, matches(tree, language, "imports")))


def imports(
    language: Language, source: str, stop: Callable[[], bool] | None = None
) -> tuple[Import, ...]:
    """The imports of an outline, in a fraction of its time; none where that would be empty."""
    text = encode(source)
    tree = _tree(language, text, stop)
    return _imports(text, matches(tree, language, "imports")) if tree is not None else ()


def _tree(language: Language, source: bytes, stop: Callable[[], bool] | None) -> Tree | None:
    parser = _parser(language)
    if parser is None or len(source) > MAX_CHARS:
        return None
    return parse(parser, source, stop)


def _unless(
    stop: Callable[[], bool] | None, found: Iterable[Mapping[str, list[Node]]]
) -> Iterator[Mapping[str, list[Node]]]:
    for match in found:
        if stop is not None and stop():
            return
        yield match


def _parser(language: Language) -> Parser | None:
    known: dict[str, Parser | None] = _parsers.__dict__.setdefault("by_name", {})
    if language.name not in known:
        known[language.name] = parser_of(language)
    return known[language.name]


# --- definitions ---


@dataclass(frozen=True, slots=True)
class _Found:
    kind: str
    node: Node
    name: str
    body: Node | None
    owner: str
    doc: str

    @property
    def n_known(self) -> int:
        return bool(self.doc) + (self.body is not None)


def _definitions(
    language: Language, source: bytes, found: Iterable[Mapping[str, list[Node]]]
) -> tuple[Definition, ...]:
    nodes: dict[tuple[int, int], _Found] = {}
    for match in found:
        each = _found(source, match)
        if each is not None:
            key = each.node.start_byte, -each.node.end_byte
            # A pattern that knows more of it tells more.
            if key not in nodes or each.n_known > nodes[key].n_known:
                nodes[key] = each
    definitions: list[Definition] = []
    around: list[_Found] = []
    for _, each in sorted(nodes.items()):
        while around and around[-1].node.end_byte <= each.node.start_byte:
            around.pop()
        owners = [*(outer.name for outer in around), *each.name.split("::")[:-1]]
        scope = (*owners, each.owner) if each.owner else tuple(owners)
        definitions.append(_definition(language, source, each, scope))
        around.append(each)
    return tuple(definitions)


def _found(source: bytes, match: Mapping[str, list[Node]]) -> _Found | None:
    for capture, nodes in match.items():
        if capture.startswith(_DEFINITION):
            name = _name(source, match)
            body = match.get("body", (None,))[0]
            owner = _plain_name(_text(source, match["owner"][0])) if "owner" in match else ""
            doc = _first_line(_text(source, match["doc"][0]).split("\n")) if "doc" in match else ""
            kind = capture.removeprefix(_DEFINITION)
            return _Found(kind, nodes[0], name, body, owner, doc) if name else None
    return None


def _name(source: bytes, match: Mapping[str, list[Node]]) -> str:
    if "name" not in match:
        return ""
    node = match["name"][0]
    # In C a name is wrapped in what makes it a pointer, an array or a function.
    while (inner := node.child_by_field_name("declarator")) is not None:
        node = inner
    return _plain_name(_text(source, node))


def _plain_name(text: str) -> str:
    found = _NAME.search(text)
    return found.group() if found else ""


def _definition(
    language: Language, source: bytes, found: _Found, scope: tuple[str, ...]
) -> Definition:
    node, body = found.node, found.body
    end = node.end_byte if body is None else body.start_byte
    start = node.start_byte
    head = source[start : min(end, start + 4 * MAX_SIGNATURE_CHARS)].decode(errors="ignore")
    signature = _SPACE.sub(" ", head).strip()[:MAX_SIGNATURE_CHARS].rstrip(" ={")
    line = node.start_point.row
    doc = found.doc or _doc_above(language, source, start)
    name = found.name.rpartition("::")[2]
    return Definition(name, found.kind, line, node.end_point.row, signature, doc, scope)


def _doc_above(language: Language, source: bytes, start: int) -> str:
    """The first line of the comment that ends right above a definition."""
    above = source[max(0, start - _MAX_LOOK_BYTES) : start].decode(errors="ignore")
    lines = [line.strip() for line in above.split("\n")[:-1]]
    while lines and lines[-1].startswith(_ATTRIBUTES):
        lines.pop()
    if not lines:
        return ""
    if language.block_comment is not None and lines[-1].endswith(language.block_comment[1]):
        opened = language.block_comment[0]
        at = next((i for i, line in enumerate(reversed(lines)) if line.startswith(opened)), None)
        return _first_line(lines[len(lines) - 1 - at :]) if at is not None else ""
    comment: list[str] = []
    while lines and language.line_comments and lines[-1].startswith(language.line_comments):
        comment.append(lines.pop())
    return _first_line(reversed(comment))


def _first_line(lines: Iterable[str]) -> str:
    """The first line that says something, without the marks of comments and strings."""
    plain = (_MARKS.sub("", line) for line in lines)
    return next((line for line in plain if _WORD.search(line)), "")[:MAX_DOC_CHARS]


def _text(source: bytes, node: Node) -> str:
    return source[node.start_byte : node.end_byte].decode(errors="replace")


# --- imports ---


def _imports(source: bytes, found: Iterable[Mapping[str, list[Node]]]) -> tuple[Import, ...]:
    by_place: dict[tuple[int, str], Import] = {}
    for match in found:
        if "module" not in match:
            continue
        first, last = match["module"][0], match["module"][-1]
        module = (
            source[first.start_byte : last.end_byte].decode(errors="replace").strip("<>\"'` \t\n;")
        )
        line = (match["import"][0] if "import" in match else match["module"][0]).start_point.row
        known = by_place.get((line, module), Import(module, line=line))
        by_place[line, module] = _joined(source, known, match)
    return tuple(sorted(by_place.values(), key=lambda each: each.line))


def _joined(source: bytes, known: Import, match: Mapping[str, list[Node]]) -> Import:
    alias = _text(source, match["alias"][0]) if "alias" in match else ""
    names, local = list(known.names), known.local
    for node in match.get("name", ()):
        name = _text(source, node)
        names.append(Imported(name, alias or name))
    for node in match.get("default", ()):
        names.append(Imported(DEFAULT, _text(source, node)))
    if alias and "name" not in match:
        local = alias
    return Import(known.module, tuple(dict.fromkeys(names)), known.line, local)
