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

    COLON = "colon"  # a colon; less indentation ends it
    BRACES = "braces"
    WORDS = "words"  # a word such as `do`; another such as `end` ends it
    TAGS = "tags"  # <a>, </a>
    INDENT = "indent"  # more indentation, after a sign or a word; less ends it
    NONE = "none"  # there are none, but for brackets
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Scope:
    """A definition that has a name and a body.

    `names` are the fields that may hold the name, the first found wins; `^` looks at the
    parent, for a function that takes its name from what it is assigned to. `body` is a field
    or, where the grammar has none, a node type; empty: all below the definition's first line.
    """

    names: tuple[str, ...] = ("name",)
    body: str = "body"


@dataclass(frozen=True, slots=True)
class Embedded:
    """A stretch of another language: behind what `opens` matches, up to what `closes` does.

    `language`, where it is not given, is the match's group of that name, a language id.
    """

    opens: str
    closes: str
    language: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """One language. Regular expressions are kept as text; unless said otherwise they match
    from a line's first character that is not white space.

    `module`: what holds the grammar; empty where there is none.
    `line_comments`: the first is the one to write. `spaced_comments`: they begin a comment
    only behind white space.
    `quotes` end at the line's end, `long_quotes` do not; in those of them that are
    `raw_quotes` a backslash means nothing. `long_strings`: the two ends of strings whose ends
    differ. `char_literals`: the single quote holds one character and is otherwise no quote.
    `brackets`: the characters that come in pairs.
    `holes`: nodes inside strings that hold code; `open_hole`: the same for a string that
    is still open, matched from two characters before its quote to its end.
    `header`: a definition; its first group that matches is the name.
    `opener`: a line that begins like this opens a block; where blocks are of colons or braces
    it does so only if it also ends in a colon. `opener_end`: searched at a line's end, the
    same. `one_liner`: searched in a line, which then opens none after all.
    `closer`: a line that ends a block; `divider`: one that also opens the next, as `else`.
    `leaves`: searched in a line; what follows stands outside of its block.
    `item`: its first group is what the lines after it are indented by, as by `- ` in a list.
    `breaker`: a line that can only be a new statement, whatever brackets are open above.
    `outside`: a line whose indentation means nothing.
    `continues` (searched at a line's end) and `continued`: the statement goes on.
    `magic`: in a notebook, a line that is not in the language.
    `prose`: may be no code at all, so that quotes and comments are believed less.
    `embedded`: stretches of other languages.
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
    spaced_comments: bool = False
    quotes: tuple[str, ...] = ('"',)
    long_quotes: tuple[str, ...] = ()
    raw_quotes: tuple[str, ...] = ()
    long_strings: tuple[tuple[str, str], ...] = ()
    char_literals: bool = False
    brackets: str = "()[]{}"
    open_hole: str = ""
    header: str = ""
    opener: str = ""
    opener_end: str = ""
    one_liner: str = ""
    closer: str = ""
    divider: str = ""
    leaves: str = ""
    item: str = ""
    breaker: str = ""
    outside: str = ""
    continues: str = ""
    continued: str = ""
    magic: str = ""
    prose: bool = False
    unit: str = "    "
    embedded: tuple[Embedded, ...] = ()
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

    def __contains__(self, name: object) -> bool:
        return name in _names().known

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
    match kind:
        case "Blocks":
            return Blocks(value)
        case "str":
            # A long regular expression may be written as a list of alternatives.
            return f"(?:{'|'.join(value)})" if isinstance(value, list) else value
        case "Mapping[str, Scope]":
            return MappingProxyType({key: Scope(**_tuples(each)) for key, each in value.items()})
        case "tuple[Embedded, ...]":
            return tuple(Embedded(**each) for each in value)
        case "frozenset[str]":
            return frozenset(value)
    return _tuples(value)


def _tuples(value: Any) -> Any:
    """The value with tuples for lists, all the way down."""
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {key: _tuples(each) for key, each in value.items()} if isinstance(value, dict) else value


def _toml(file: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads((FOLDER / file).read_text(encoding="utf-8"))
