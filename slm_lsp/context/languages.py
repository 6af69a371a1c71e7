"""What the project knows of each programming language, as values.

Owns: the map from the language ids of the protocol (and file suffixes) to a grammar, the
node types that are strings, comments and definitions, and how blocks are opened.

Invariant: a language is values only. Nothing is imported to read this module, and no other
module tests for a language by its name.

Threads: any; everything here is immutable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

PLAIN_TEXT = "plaintext"


class Blocks(StrEnum):
    """How a block is opened."""

    COLON = "colon"
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
    """

    name: str
    module: str
    blocks: Blocks
    line_comments: tuple[str, ...]
    scopes: Mapping[str, Scope]
    strings: frozenset[str] = frozenset()
    comments: frozenset[str] = frozenset()
    holes: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
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


def _scopes(*types: str, **special: Scope) -> Mapping[str, Scope]:
    return MappingProxyType({**dict.fromkeys(types, Scope()), **special})


_C_BLOCK_COMMENT = ("/*", "*/")
_NO_BRACES = r"^\s*(?:\}\s*)?(?:else|(?:else\s+)?(?:if|for|while)\s*\((?:[^()]|\([^()]*\))*\))$"
_C_CONTINUES = rf"(?:(?<!\+)\+|(?<!-)-|[*/%&|^=?]|=>|{_NO_BRACES})$"
_C_CONTINUED = r"\.\w|->|\?[.\s]|&&|\|\||[+%^=:]\s"
_SWITCH_LABEL = r"(?:case\b|default\s*:)"

_PYTHON = Language(
    name="python",
    module="tree_sitter_python",
    blocks=Blocks.COLON,
    line_comments=("#",),
    strings=frozenset({"string"}),
    holes=frozenset({"interpolation"}),
    comments=frozenset({"comment"}),
    scopes=_scopes("function_definition", "class_definition"),
    header=r"(?:async\s+)?(?:def|class)\s+(\w+)",
    suffixes=(".py", ".pyi", ".pyw"),
    quotes=('"', "'"),
    long_quotes=('"""', "'''"),
    open_hole=r"\W?(?:[fF][rR]?|[rR][fF])[\"'].*(?<!\{)\{[^{}]*$",
    opener=r"(?:async|def|class|if|elif|else|for|while|with|try|except|finally|match|case)\b",
    breaker=r"(?:def|class|return|raise|import|while|try|pass|break|continue|del|global|nonlocal"
    r"|assert|@)\b",
    continues=r"\\$",
)

_NAMED_BY_PARENT = Scope(names=("name", "^name", "^property", "^key", "^left"))
_JAVASCRIPT = Language(
    name="javascript",
    module="tree_sitter_javascript",
    blocks=Blocks.BRACES,
    line_comments=("//",),
    block_comment=_C_BLOCK_COMMENT,
    continues=_C_CONTINUES,
    continued=_C_CONTINUED,
    strings=frozenset({"string", "template_string", "regex"}),
    holes=frozenset({"template_substitution"}),
    comments=frozenset({"comment", "html_comment"}),
    scopes=_scopes(
        "function_declaration",
        "generator_function_declaration",
        "class_declaration",
        "method_definition",
        **{
            "class": _NAMED_BY_PARENT,
            "function_expression": _NAMED_BY_PARENT,
            "generator_function": _NAMED_BY_PARENT,
            "arrow_function": _NAMED_BY_PARENT,
        },
    ),
    header=r"(?:export\s+)?(?:default\s+)?(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?"
    r"(?:(?:function\*?|class|interface|enum|namespace|module)\s+([\w$]+)"
    r"|(?:(?:const|let|var|static|public|private|protected|readonly)\s+)*([\w$#]+)\s*(?::[^=]+)?"
    r"=\s*(?:async\b\s*)?(?:function\b|\([^)]*\)[^=;]*=>|[\w$]+\s*=>)"
    r"|(?:(?:static|async|get|set|public|private|protected|readonly|override)\s+)*"
    r"(?!(?:if|for|while|switch|catch|with|function)\b)([\w$#]+)\s*\([^)]*\)[^;()]*\{\s*$)",
    suffixes=(".js", ".mjs", ".cjs"),
    quotes=('"', "'"),
    long_quotes=("`",),
    open_hole=r"[^`]{0,2}`.*\$\{[^{}]*$",
    opener=_SWITCH_LABEL,
    unit="  ",
)

_TYPESCRIPT = replace(
    _JAVASCRIPT,
    name="typescript",
    module="tree_sitter_typescript",
    function="language_typescript",
    suffixes=(".ts", ".mts", ".cts"),
    scopes=MappingProxyType(
        {
            **_JAVASCRIPT.scopes,
            **_scopes(
                "interface_declaration",
                "enum_declaration",
                "abstract_class_declaration",
                "internal_module",
                "module",
            ),
        }
    ),
)

_GO = Language(
    name="go",
    module="tree_sitter_go",
    blocks=Blocks.BRACES,
    line_comments=("//",),
    block_comment=_C_BLOCK_COMMENT,
    continues=_C_CONTINUES,
    continued=_C_CONTINUED,
    strings=frozenset({"interpreted_string_literal", "raw_string_literal", "rune_literal"}),
    comments=frozenset({"comment"}),
    scopes=_scopes("function_declaration", "method_declaration", type_spec=Scope(body="type")),
    header=r"(?:func\s+(?:\([^)]*\)\s*)?(\w+)|type\s+(\w+))",
    suffixes=(".go",),
    long_quotes=("`",),
    char_literals=True,
    opener=_SWITCH_LABEL,
    unit="\t",
)

_RUST = Language(
    name="rust",
    module="tree_sitter_rust",
    blocks=Blocks.BRACES,
    line_comments=("//",),
    block_comment=_C_BLOCK_COMMENT,
    continues=_C_CONTINUES,
    continued=_C_CONTINUED,
    strings=frozenset({"string_literal", "raw_string_literal", "char_literal"}),
    comments=frozenset({"line_comment", "block_comment"}),
    scopes=_scopes(
        "function_item",
        "trait_item",
        "mod_item",
        "struct_item",
        "enum_item",
        "union_item",
        impl_item=Scope(names=("type",)),
    ),
    header=r"(?:pub(?:\([^)]*\))?\s+)?(?:(?:default|async|const|unsafe|extern(?:\s*\"\w+\")?)\s+)*"
    r"(?:(?:fn|struct|enum|union|trait|mod)\s+(\w+)"
    r"|impl\b(?:\s*<[^>]*>)?(?:\s+[\w:<>', ]+\s+for)?\s+([\w:]+))",
    suffixes=(".rs",),
    char_literals=True,
)

_JAVA = Language(
    name="java",
    module="tree_sitter_java",
    blocks=Blocks.BRACES,
    line_comments=("//",),
    block_comment=_C_BLOCK_COMMENT,
    continues=_C_CONTINUES,
    continued=_C_CONTINUED,
    strings=frozenset({"string_literal", "character_literal"}),
    holes=frozenset({"string_interpolation"}),
    comments=frozenset({"line_comment", "block_comment"}),
    scopes=_scopes(
        "class_declaration",
        "interface_declaration",
        "enum_declaration",
        "record_declaration",
        "annotation_type_declaration",
        "method_declaration",
        "constructor_declaration",
        "compact_constructor_declaration",
    ),
    header=r"(?:(?:public|private|protected|static|final|abstract|sealed|default|synchronized)\s+)*"
    r"(?:(?:class|interface|enum|record|@interface)\s+(\w+)"
    r"|(?!(?:return|new|else|throw)\b)(?:[\w<>\[\],.?]+\s+)*"
    r"(?!(?:if|for|while|switch|catch|try|synchronized)\b)(\w+)\s*\([^;)]*\)[^;()]*\{\s*$)",
    suffixes=(".java",),
    long_quotes=('"""',),
    char_literals=True,
    opener=_SWITCH_LABEL,
)

_C = Language(
    name="c",
    module="tree_sitter_c",
    blocks=Blocks.BRACES,
    line_comments=("//",),
    block_comment=_C_BLOCK_COMMENT,
    continues=_C_CONTINUES,
    continued=_C_CONTINUED,
    strings=frozenset({"string_literal", "char_literal", "system_lib_string"}),
    comments=frozenset({"comment"}),
    scopes=_scopes(
        "struct_specifier",
        "union_specifier",
        "enum_specifier",
        function_definition=Scope(names=("declarator",)),
    ),
    header=r"(?:typedef\s+)?(?:(?:struct|union|enum|class|namespace)\s+(\w+)[^;()]*$"
    r"|(?!(?:return|else|case|goto|new|delete|throw|if|for|while|switch|catch)\b)"
    r"(?:(?:[\w:<>,]+[\s*&]+)+([\w:~]+)\s*\([^;]*$|([\w:~]+)\s*\([^;]*\{\s*$))",
    suffixes=(".c", ".h"),
    outside=r"#",
    char_literals=True,
    opener=_SWITCH_LABEL,
)

_CPP = replace(
    _C,
    name="cpp",
    module="tree_sitter_cpp",
    suffixes=(".cpp", ".cc", ".cxx", ".c++", ".hpp", ".hh", ".hxx", ".h++", ".ipp"),
    strings=_C.strings | {"raw_string_literal"},
    scopes=MappingProxyType({**_C.scopes, **_scopes("class_specifier", "namespace_definition")}),
    opener=r"(?:case\b|default\s*:|(?:public|private|protected)\s*:)",
)

LANGUAGES: Mapping[str, Language] = MappingProxyType(
    {
        language.name: language
        for language in (
            _PYTHON,
            _JAVASCRIPT,
            replace(_JAVASCRIPT, name="javascriptreact", suffixes=(".jsx",)),
            _TYPESCRIPT,
            replace(
                _TYPESCRIPT, name="typescriptreact", function="language_tsx", suffixes=(".tsx",)
            ),
            _GO,
            _RUST,
            _JAVA,
            _C,
            _CPP,
        )
    }
)

UNKNOWN = Language(
    name=PLAIN_TEXT,
    module="",
    blocks=Blocks.UNKNOWN,
    line_comments=("#", "//"),
    scopes=_scopes(),
    quotes=('"', "'", "`"),
    prose=True,
)

_BY_SUFFIX = {suffix: name for name, each in LANGUAGES.items() for suffix in each.suffixes}


def language_of_path(path: str) -> str:
    """The language id of a file by its suffix; `plaintext` if none is known."""
    dot = path.rfind(".")
    return _BY_SUFFIX.get(path[dot:].lower(), PLAIN_TEXT) if dot >= 0 else PLAIN_TEXT


def language_of(name: str) -> Language:
    """The language of a language id; `UNKNOWN` if it is not one of ours."""
    return LANGUAGES.get(name, UNKNOWN)
