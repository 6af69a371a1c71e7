"""How a definition is shown: its signature, or the outline of a class.

Owns: what is left out: bodies, and in a long class the members that matter least.

Invariant: pure. A text has at most MAX_CHARS and whole lines only.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Sequence

from slm_lsp.context.languages import Language
from slm_lsp.context.outline import Definition, Outline

MAX_CHARS = 1000
MAX_LINE_CHARS = 160
MAX_FIELDS, MAX_METHODS = 12, 16
FIELD_KINDS = frozenset(("field", "constant", "variable", "property", "member", "enumerator"))


def shown(language: Language, outline: Outline, definition: Definition) -> str:
    """The text that stands for a definition."""
    members = members_of(outline, definition)
    lines: list[str] = []
    depth = 0
    for around in _around(outline, definition):
        lines.append(_line(language, around, depth))
        depth += 1
    lines += _with_doc(language, definition, depth)
    if _is_holder(definition, members):
        for member in members:
            lines += _with_doc(language, member, depth + 1, with_doc=len(members) <= MAX_METHODS)
    return _cut(lines)


def members_of(outline: Outline, definition: Definition) -> list[Definition]:
    """What a class holds itself, less what matters least: fields first, then methods, public ones
    before others, all in the order of the text."""
    scope = (*definition.scope, definition.name)
    direct = [each for each in outline.definitions if each.scope == scope]
    fields = [each for each in direct if each.kind in FIELD_KINDS][:MAX_FIELDS]
    methods = [each for each in direct if each.kind not in FIELD_KINDS]
    if len(methods) > MAX_METHODS:
        kept = sorted(methods, key=lambda each: _is_private(each.name))[:MAX_METHODS]
        methods = [each for each in methods if each in kept]
    return fields + methods


def find(outline: Outline, name: str, line: int) -> Definition | None:
    """The definition of a name at a line, or where the file has changed, next to it."""
    named = [each for each in outline.definitions if each.name == name]
    plain = [each for each in named if each.kind not in FIELD_KINDS] or named
    return min(plain, key=lambda each: (abs(each.line - line), each.line), default=None)


def _is_holder(definition: Definition, members: Sequence[Definition]) -> bool:
    # What is defined in a function is nobody else's.
    return bool(members) and definition.kind not in ("function", "method", "constructor")


def _around(outline: Outline, definition: Definition) -> list[Definition]:
    found: list[Definition] = []
    for n, name in enumerate(definition.scope):
        scope = definition.scope[:n]
        holders = [
            each
            for each in outline.definitions
            if each.name == name and each.scope == scope and each.line <= definition.line
        ]
        found += holders[-1:]
    return found


def _with_doc(
    language: Language, definition: Definition, depth: int, *, with_doc: bool = True
) -> list[str]:
    lines = []
    if definition.doc and with_doc and language.line_comments:
        said = f"{language.line_comments[0]} {definition.doc}"
        lines.append(f"{language.unit * depth}{said[:MAX_LINE_CHARS]}")
    return [*lines, _line(language, definition, depth)]


def _line(language: Language, definition: Definition, depth: int) -> str:
    return f"{language.unit * depth}{definition.signature[: MAX_LINE_CHARS * 2]}"


def _cut(lines: Sequence[str]) -> str:
    n_chars, kept = 0, []
    for line in lines:
        n_chars += len(line) + 1
        if n_chars > MAX_CHARS:
            break
        kept.append(line)
    return "\n".join(kept)


def _is_private(name: str) -> bool:
    return name.startswith(("_", "#")) and not name.endswith("__")
