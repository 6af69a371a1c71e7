"""What the project knows of each programming language, read from `slm_lsp/languages/`.

Owns: the map from the protocol's language ids, file suffixes and names to a language
(`names.toml`), and the values of each language (one file each, read when first needed): its
grammar, the node types that are strings, comments and definitions, how blocks are opened.

Invariant: a language is values only, and no other module tests for one by its name. Nothing
is read to import this module; a language nobody asked for is never read.

Threads: any; everything here is immutable, and reading a file twice gives the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

PLAIN_TEXT = "plaintext"
FOLDER = Path(__file__).parents[1] / "languages"
NAMES_FILE = "names.toml"


class Blocks(StrEnum):
    """How a block is opened, and what ends it."""

    COLON = "colon"  # a colon, and less indentation
    BRACES = "braces"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Scope:
    """A definition that has a name and a body.

    `names` are the fields that may hold the name, the first found wins; `^` looks at the
    parent, for a function that takes its name from what it is assigned to.
    """

    names: tuple[str, ...] = ("name",)
    body: str = "body"


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """One language. Regular expressions are kept as text; unless said otherwise they match
    from a line's first character that is not white space.

    `module`: what holds the grammar; empty where there is none.
    `line_comments`: the first is the one to write.
    `quotes` end at the line's end, `long_quotes` do not. `char_literals`: the single quote
    holds one character and is otherwise no quote at all.
    `holes`: nodes inside strings that hold code; `open_hole`: the same for a string that
    is still open, matched from two characters before its quote to its end.
    `header`: a definition; its first group that matches is the name.
    `opener`: a line ending in a colon opens a block only if it begins like this.
    `breaker`: a line that can only be a new statement, whatever brackets are open above.
    `outside`: a line whose indentation means nothing.
    `continues` (searched at a line's end) and `continued`: the statement goes on.
    `prose`: may be no code at all, so that quotes and comments are believed less.
    `queries`: tree-sitter queries by name, see `outline`.
    """

    name: str
    blocks: Blocks
    line_comments: tuple[str, ...] = ()
    scopes: Mapping[str, Scope] = field(default_factory=lambda: MappingProxyType({}))
    module: str = ""
    strings: frozenset[str] = frozenset()
    comments: frozenset[str] = frozenset()
    holes: frozenset[str] = frozenset()
    function: str = "language"
    block_comment: tuple[str, str] | None = None
    quotes: tuple[str, ...] = ('"',)
    long_quotes: tuple[str, ...] = ()
    char_literals: bool = False
    open_hole: str = ""
    header: str = ""
    opener: str = ""
    breaker: str = ""
    outside: str = ""
    continues: str = ""
    continued: str = ""
    prose: bool = False
    unit: str = "    "
    queries: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class _Names:
    """What `names.toml` says: the languages, and what stands for each of them."""

    known: tuple[str, ...]
    by_id: Mapping[str, str]
    by_suffix: Mapping[str, str]
    by_file: Mapping[str, str]


class _Languages(Mapping[str, Language]):
    """Every language by its own name; a file is read when its language is taken."""

    def __getitem__(self, name: str) -> Language:
        if name not in _names().known:
            raise KeyError(name)
        return _read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_names().known)

    def __len__(self) -> int:
        return len(_names().known)


LANGUAGES: Mapping[str, Language] = _Languages()

UNKNOWN = Language(
    name=PLAIN_TEXT,
    blocks=Blocks.UNKNOWN,
    line_comments=("#", "//"),
    quotes=('"', "'", "`"),
    prose=True,
)


def language_of_path(path: str) -> str:
    """The language of a file by its name or suffix; `plaintext` if none is known."""
    names, name = _names(), re.split(r"[/\\]", path)[-1]
    if name in names.by_file:
        return names.by_file[name]
    dot = name.rfind(".")
    return names.by_suffix.get(name[dot:].lower(), PLAIN_TEXT) if dot >= 0 else PLAIN_TEXT


def language_of(name: str) -> Language:
    """The language of a client's language id; `UNKNOWN` if it is not one of ours."""
    known = _names().by_id.get(name) or _names().by_id.get(name.lower())
    return _read(known) if known is not None else UNKNOWN


@cache
def _names() -> _Names:
    table = _toml(NAMES_FILE)
    by_id = {name: name for name in table}
    by_suffix: dict[str, str] = {}
    by_file: dict[str, str] = {}
    for name, each in table.items():
        by_id |= dict.fromkeys(each.get("ids", ()), name)
        by_suffix |= dict.fromkeys(each.get("suffixes", ()), name)
        by_file |= dict.fromkeys(each.get("files", ()), name)
    return _Names(tuple(table), by_id, by_suffix, by_file)


@cache
def _read(name: str) -> Language:
    """The language that a file describes. Raises ValueError for a key that is not known."""
    table = _whole(name)
    known = {each.name: each for each in fields(Language)}
    if unknown := table.keys() - known.keys():
        raise ValueError(f"{name}.toml: unknown keys {', '.join(sorted(unknown))}")
    values = {key: _value(str(known[key].type), value) for key, value in table.items()}
    return Language(name=name, **values)


def _whole(name: str) -> dict[str, Any]:
    """A file with what it `extends`: tables are joined, queries put behind each other, and
    all else is replaced."""
    table = _toml(f"{name}.toml")
    extended = table.pop("extends", None)
    if extended is None:
        return table
    base = _whole(extended)
    queries = base.get("queries", {})
    for kind, text in table.get("queries", {}).items():
        queries[kind] = queries.get(kind, "") + text
    scopes = base.get("scopes", {}) | table.get("scopes", {})
    return base | table | {"scopes": scopes, "queries": queries}


def _value(kind: str, value: Any) -> Any:
    if kind == "Blocks":
        return Blocks(value)
    if kind == "str":
        # A long regular expression may be written as a list of alternatives.
        return f"(?:{'|'.join(value)})" if isinstance(value, list) else value
    if kind == "Mapping[str, Scope]":
        scopes = {
            key: Scope(**{k: _value("", v) for k, v in each.items()}) for key, each in value.items()
        }
        return MappingProxyType(scopes)
    if kind == "Mapping[str, str]":
        return MappingProxyType(value)
    if kind == "frozenset[str]":
        return frozenset(value)
    return tuple(value) if isinstance(value, list) else value


def _toml(file: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads((FOLDER / file).read_text(encoding="utf-8"))
