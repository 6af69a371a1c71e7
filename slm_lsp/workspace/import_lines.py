"""The imports of a text, read off its lines.

Owns: the forms in which languages write imports. They do not contradict each other, so all are
looked for in every text.

Invariant: total, and in one pass over the first MAX_CHARS. What is no import but looks like one
names a module that no workspace has.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from slm_lsp.context.outline import Import, Imported

MAX_CHARS = 60_000
MAX_IMPORTS = 200
_STRING = r"[\"'<]([^\"'<>\n]{1,200})[\"'>]"
_FORM = re.compile(
    # A literal first character lets the search skip from line to line.
    r"\n[ \t]*(?:"
    # from a.b import c, d as e
    r"from[ \t]+(?P<base>\.*[\w.]*)[ \t]+import[ \t]+(?P<few>\([^()]*\)|[^\n]*)"
    # import C, {d as e} from './a'; export * from './a'
    r"|(?:import|export)[ \t]+(?:type[ \t]+)?(?P<named>[\w$*\s,{}]{1,2000}?)[ \t\n]*from[ \t]*"
    rf"{_STRING.replace('(', '(?P<origin>', 1)}"
    # const a = require('./a'); import './a'; import "a/b"
    r"|(?:(?:const|let|var)[ \t]+(?P<taken>[\w$\s,:{}]{1,2000}?)=[ \t]*)?"
    rf"require(?:_relative)?[ \t]*\(?[ \t]*{_STRING.replace('(', '(?P<required>', 1)}"
    rf"|import[ \t]+(?:[\w.]+[ \t]+)?{_STRING.replace('(', '(?P<plain>', 1)}"
    # import ( "a/b" ) with one a line
    r"|import[ \t]*\((?P<several>[^()]{1,5000})\)"
    # use a::b::{c, d as e};
    r"|(?:pub(?:\([^)\n]*\))?[ \t]+)?use[ \t]+(?P<path>\w+(?:::\w+)*(?:::\{[^;]{1,2000}\})?)"
    # #include "a/b.h"
    rf"|\#[ \t]*(?:include|import)[ \t]*{_STRING.replace('(', '(?P<included>', 1)}"
    # import a.b.C; import a.b as c, d; using A.B
    r"|(?:import|using)[ \t]+(?:static[ \t]+)?(?P<dotted>[\w.]+[^\n;]*)"
    r")"
)
_ALIAS = re.compile(r"^(?P<name>[\w$*]+)(?:\s*(?::|\bas\b)\s*(?P<local>[\w$]+))?$")
_QUOTED = re.compile(r"\"([^\"\n]{1,200})\"")


def imports_of(text: str) -> tuple[Import, ...]:
    """The imports of a text, in its order."""
    found: list[Import] = []
    for match in _FORM.finditer(f"\n{text[:MAX_CHARS]}"):
        found.extend(_imports(match))
        if len(found) >= MAX_IMPORTS:
            break
    return tuple(found[:MAX_IMPORTS])


def _imports(match: re.Match[str]) -> Iterator[Import]:
    if match["base"]:
        yield Import(match["base"], _names(match["few"].partition("#")[0].strip("()")))
    elif match["origin"]:
        yield Import(match["origin"], _names(re.sub(r"[{}]", ",", match["named"])))
    elif match["required"]:
        yield Import(match["required"], _names(re.sub(r"[{}]", ",", match["taken"] or "")))
    elif match["path"]:
        yield _path(match["path"])
    elif match["several"]:
        yield from (Import(module) for module in _QUOTED.findall(match["several"]))
    elif match["dotted"]:
        for part in match["dotted"].split(","):
            module = part.split()[0].strip("; ") if part.split() else ""
            if re.fullmatch(r"[\w.]*\w(?:\.\*)?|[\w.]+\.", module):
                last = module.rpartition(".")[2]
                yield Import(module.rstrip(".*"), (Imported(last, last),) if last else ())
    else:
        module = match["plain"] or match["included"]
        if module:
            yield Import(module)


def _path(path: str) -> Import:
    """`a::b::{c, d}` and `a::b::c`: what comes last is a name."""
    module, brace, names = path.partition("::{")
    if brace:
        # Of nested ones the names are enough.
        return Import(module, _names(re.sub(r"[{}]", ",", names.replace("::", ","))))
    module, _, last = path.rpartition("::")
    return Import(module or last, _names(last))


def _names(text: str) -> tuple[Imported, ...]:
    found = []
    for part in text.split(","):
        match = _ALIAS.match(part.strip())
        if match is not None and match["name"] != "*":
            found.append(Imported(match["name"], match["local"] or match["name"]))
    return tuple(found)
