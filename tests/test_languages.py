"""Every language as data: which text is in which, what is read when, and what each one's values
make of strings, comments, blocks and their ends.

The languages that there were first are in test_extract.

Invariant: each row is judged with the tree and, unless it says so, without it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import fields, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slm_lsp.completion.brackets import open_quote, scan
from slm_lsp.context import foreign, languages
from slm_lsp.context.extract import extract
from slm_lsp.context.foreign import MAX_LOOK
from slm_lsp.context.languages import FOLDER, LANGUAGES, UNKNOWN, Language, language_of
from slm_lsp.context.syntax import SyntaxTrees
from slm_lsp.types import CompletionContext, DocumentSnapshot, Want

CURSOR = "<CURSOR>"
TREES = SyntaxTrees()
CODE, STRING, COMMENT = "code", "string", "comment"
NO_PATTERNS = ("name", "module", "function", "brackets", "unit")
PATTERNS = [
    each.name for each in fields(Language) if each.type == "str" and each.name not in NO_PATTERNS
]


def context_of(
    text: str, language: str, trees: SyntaxTrees | None = TREES, in_notebook: bool = False
) -> CompletionContext:
    offset, text = text.index(CURSOR), text.replace(CURSOR, "", 1)
    snapshot = DocumentSnapshot("file:///a", 1, language, text, in_notebook=in_notebook)
    return extract(snapshot, offset, trees)


def check(
    language: str,
    text: str,
    *,
    only_tree: bool = False,
    literal: str | None = None,
    notebook: bool = False,
    **expected: object,
) -> None:
    """The named fields of the context have these values; `indent` is all to be inserted."""
    if "indent" in expected:
        expected["inferred_indent"] = expected["indent"]
    for trees in (TREES,) if only_tree else (TREES, None):
        context = context_of(text, language, trees, notebook)
        found = {name: getattr(context, name) for name in expected}
        assert found == expected, "with the tree" if trees else "without it"
        if literal is not None:
            is_in = STRING if context.in_string else COMMENT if context.in_comment else CODE
            assert is_in == literal, "with the tree" if trees else "without it"


# Strings and comments


@pytest.mark.parametrize(
    ("language", "text", "literal"),
    [
        ("csharp", 'var s = "a<CURSOR>";', STRING),
        ("csharp", 'var s = $"a {b<CURSOR>}";', CODE),
        ("csharp", "int x; // a<CURSOR>", COMMENT),
        ("csharp", "var c = '\"'; x<CURSOR>", CODE),
        ("kotlin", 'val s = "a<CURSOR>"', STRING),
        ("kotlin", 'val s = "a ${b<CURSOR>}"', CODE),
        ("kotlin", 'val s = """a\n"<CURSOR>\n"""', STRING),
        ("kotlin", "/* a\n<CURSOR> */", COMMENT),
        ("ruby", "x = 'a<CURSOR>'", STRING),
        ("ruby", 'x = "a #{b<CURSOR>}"', CODE),
        ("ruby", "x # a<CURSOR>", COMMENT),
        ("ruby", 'x = "#<CURSOR>"', STRING),
        ("php", "<?php $x = 'a<CURSOR>';", STRING),
        ("php", "<?php $x = 1; # a<CURSOR>", COMMENT),
        ("php", "<?php $x = 1; // a<CURSOR>", COMMENT),
        ("swift", 'let s = "a<CURSOR>"', STRING),
        ("swift", 'let s = "a \\(b<CURSOR>)"', CODE),
        ("swift", "// a<CURSOR>", COMMENT),
        ("scala", 'val s = "a<CURSOR>"', STRING),
        ("scala", 'val s = s"a ${b<CURSOR>}"', CODE),
        ("scala", "/* a <CURSOR> */", COMMENT),
        ("lua", "x = 'a<CURSOR>'", STRING),
        ("lua", "x = [[a\n<CURSOR>]]", STRING),
        ("lua", "x = 1 -- a<CURSOR>", COMMENT),
        ("lua", "--[[ a\n<CURSOR>\n]]", COMMENT),
        ("lua", "--[[ a ]] x<CURSOR>", CODE),
        ("shellscript", "echo 'a<CURSOR>'", STRING),
        ("shellscript", "echo '\\' x<CURSOR>", CODE),
        ("shellscript", 'echo "a $(b<CURSOR>)"', CODE),
        ("shellscript", "echo $# x<CURSOR>", CODE),
        ("shellscript", "echo a # b<CURSOR>", COMMENT),
        ("sql", "SELECT 'it''s<CURSOR>'", STRING),
        ("sql", "SELECT '\\' <CURSOR>", CODE),
        ("sql", "SELECT 1 -- a<CURSOR>", COMMENT),
        ("sql", "/* a <CURSOR> */", COMMENT),
        ("html", "<p>don't <CURSOR></p>", CODE),
        ("html", "<!-- a\n<CURSOR> -->", COMMENT),
        ("css", "/* a<CURSOR> */", COMMENT),
        ("css", "a { b: '<CURSOR>' }", STRING),
        ("css", "a { color: #fff; <CURSOR> }", CODE),
        ("scss", "a { // b<CURSOR>", COMMENT),
        ("json", '{"a<CURSOR>": 1}', STRING),
        ("json", '{"a": <CURSOR>}', CODE),
        ("jsonc", '{"a": 1} // b<CURSOR>', COMMENT),
        ("yaml", "a: 'b<CURSOR>'", STRING),
        ("yaml", "a: it's b<CURSOR>", CODE),
        ("yaml", "a: b#c<CURSOR>", CODE),
        ("yaml", "a: b # c<CURSOR>", COMMENT),
        ("toml", "a = 'b\\<CURSOR>'", STRING),
        ("toml", "a = 'b\\' <CURSOR>", CODE),
        ("toml", "a = '''\nb<CURSOR>\n'''", STRING),
        ("toml", "a = 1 # b<CURSOR>", COMMENT),
        ("markdown", "don't `x` \"a <CURSOR>", CODE),
        ("markdown", "<!-- a <CURSOR> -->", COMMENT),
        ("haskell", 'x = "a<CURSOR>"', STRING),
        ("haskell", "x = foldl' y <CURSOR>", CODE),
        ("haskell", "x = 1 -- a<CURSOR>", COMMENT),
        ("haskell", "{- a\n<CURSOR> -}", COMMENT),
        ("ocaml", 'let x = "a<CURSOR>"', STRING),
        ("ocaml", "(* a <CURSOR> *)", COMMENT),
        ("ocaml", "let f (x : 'a) = <CURSOR>", CODE),
        ("zig", 'const x = "a<CURSOR>";', STRING),
        ("zig", "// a<CURSOR>", COMMENT),
        ("elixir", 'x = "a<CURSOR>"', STRING),
        ("elixir", 'x = "a #{b<CURSOR>}"', CODE),
        ("elixir", '@doc """\na <CURSOR>\n"""', STRING),
        ("elixir", "x # a<CURSOR>", COMMENT),
        ("julia", "x = 1 #= a\n<CURSOR> =#", COMMENT),
        ("perl", "print 'a<CURSOR>'", STRING),
        ("dart", "// a<CURSOR>", COMMENT),
        ("ini", "a = it's <CURSOR>", CODE),
        ("dockerfile", "RUN a # b<CURSOR>", COMMENT),
    ],
)
def test_literal(language: str, text: str, literal: str) -> None:
    check(language, text, literal=literal)


@pytest.mark.parametrize(
    ("language", "text", "literal"),
    [
        ("html", "<p class='a<CURSOR>'>", STRING),
        ("ruby", "x = /a'<CURSOR>/", STRING),
        ("ruby", "x = <<~A\n  it's <CURSOR>\nA\n", STRING),
        ("csharp", 'var s = @"a\\<CURSOR>";', STRING),
        ("shellscript", "cat <<A\nit's <CURSOR>\nA\n", STRING),
        ("elixir", "x = ~s(a<CURSOR>)", STRING),
    ],
)
def test_literal_that_only_a_tree_shows(language: str, text: str, literal: str) -> None:
    check(language, text, only_tree=True, literal=literal)


@pytest.mark.parametrize(
    ("language", "text", "open_"),
    [
        ("ocaml", "(* ( *) [", "["),
        ("html", "<!-- ( --> [", "["),
        ("lua", "--[[ ( ]] [", "["),
        ("shellscript", "echo '\\' '('", ""),
        ("toml", "x = ['\\', '('", "["),
        ("python", "x = '\\' ('", ""),
        ("markdown", "don't (", "("),
        ("json", '{"(": [', "{["),
    ],
)
def test_brackets_outside_of_strings_and_comments(language: str, text: str, open_: str) -> None:
    assert scan(text, language_of(language)).open == open_


# Blocks: the first line inside of one, what follows it, and its end


@pytest.mark.parametrize(
    ("language", "text", "indent"),
    [
        ("csharp", "class A\n{\n    void F()\n    {\n<CURSOR>\n    }\n}\n", " " * 8),
        ("kotlin", "class A {\n    fun f() {\n<CURSOR>\n    }\n}\n", " " * 8),
        ("kotlin", "when (x) {\n    1 ->\n<CURSOR>\n}\n", " " * 8),
        ("ruby", "class A\n  def f(x)\n<CURSOR>\n  end\nend\n", "    "),
        ("ruby", "x.each do |y|\n<CURSOR>\nend\n", "  "),
        ("ruby", "x.map { |y|\n<CURSOR>\n}\n", "  "),
        ("ruby", "if x\n  y\nelse\n<CURSOR>\nend\n", "  "),
        ("ruby", "def f\n  x\n<CURSOR>\nend\n", "  "),
        ("ruby", "def f = 1\n<CURSOR>", ""),
        ("ruby", "class E < B; end\n<CURSOR>", ""),
        ("ruby", "  x = y if z\n<CURSOR>", "  "),
        ("ruby", "def f\n  if x\n    y\n<CURSOR>\n  z\nend\n", "  "),
        ("ruby", "def f\n  if x\n    y\n<CURSOR>\n  end\nend\n", "    "),
        ("php", "<?php\nfunction f() {\n<CURSOR>\n}\n", "    "),
        ("php", "<?php\nif ($x):\n<CURSOR>\nendif;\n", "    "),
        ("swift", "func f() {\n<CURSOR>\n}\n", "    "),
        ("swift", "x.map { y in\n<CURSOR>\n}\n", "    "),
        ("scala", "object A {\n  def f = {\n<CURSOR>\n  }\n}\n", "    "),
        ("scala", "x match {\n  case A =>\n<CURSOR>\n}\n", "    "),
        ("scala", "def f(x: Int): Int =\n<CURSOR>", "  "),
        ("lua", "local function f(a)\n<CURSOR>\nend\n", "  "),
        ("lua", "if x then\n  y()\nelse\n<CURSOR>\nend\n", "  "),
        ("lua", "foo(function(a)\n<CURSOR>\nend)\n", "  "),
        ("lua", "local t = {\n<CURSOR>\n}\n", "  "),
        ("lua", "local f = function() return 1 end\n<CURSOR>", ""),
        ("shellscript", "if x; then\n<CURSOR>\nfi\n", "    "),
        ("shellscript", "for x in y; do\n  a\n<CURSOR>\ndone\n", "  "),
        ("shellscript", "f() {\n<CURSOR>\n}\n", "    "),
        ("shellscript", "case $x in\n  a)\n<CURSOR>\nesac\n", "    "),
        ("shellscript", "case $x in\n  a)\n    b\n    ;;\n<CURSOR>\nesac\n", "  "),
        ("shellscript", "x=$(y)\n<CURSOR>", ""),
        ("shellscript", "foo \\\n<CURSOR>", "    "),
        ("sql", "CREATE TABLE t (\n<CURSOR>\n);\n", "    "),
        ("sql", "CREATE TABLE t (\n  id INT,\n<CURSOR>\n);\n", "  "),
        ("sql", "SELECT\n<CURSOR>\nFROM t;\n", "    "),
        ("sql", "SELECT a\n  FROM b\n WHERE c;\n<CURSOR>", ""),
        ("sql", "BEGIN\n<CURSOR>\nEND;\n", "    "),
        ("html", "<ul>\n  <li>\n<CURSOR>\n  </li>\n</ul>\n", "    "),
        ("html", "<ul>\n  <li>a</li>\n<CURSOR>\n</ul>\n", "  "),
        ("html", "<p>\n  <br>\n<CURSOR>\n</p>\n", "  "),
        ("html", "<p>\n  <img src='a' />\n<CURSOR>\n</p>\n", "  "),
        ("html", "<div\n  a='b'\n>\n<CURSOR>\n</div>\n", "  "),
        ("html", "<a>\n  <b>\n    x\n<CURSOR>\n  <c></c>\n</a>\n", "  "),
        ("xml", "<a>\n\t<b x='y'>\n<CURSOR>\n\t</b>\n</a>\n", "\t\t"),
        ("css", "a {\n<CURSOR>\n}\n", "  "),
        ("css", "@media (x) {\n  a {\n    b: c;\n<CURSOR>\n  }\n}\n", "    "),
        ("json", '{\n  "a": {\n<CURSOR>\n  }\n}\n', "    "),
        ("json", '{\n    "a": 1,\n<CURSOR>\n}\n', "    "),
        ("json", "[\n  1,\n<CURSOR>\n]\n", "  "),
        ("yaml", "a:\n  b:\n<CURSOR>\n", "    "),
        ("yaml", "a:\n  b: 1\n<CURSOR>\n", "  "),
        ("yaml", "a:\n<CURSOR>\n- b\n", ""),
        ("yaml", "a:\n<CURSOR>\n    b: 1\n", "    "),
        ("yaml", "a:\n  - b: 1\n<CURSOR>\n", "    "),
        ("yaml", "a:\n  - b\n<CURSOR>\n", "  "),
        ("yaml", "a: |\n<CURSOR>\n", "  "),
        ("yaml", "a: [\n<CURSOR>\n]\n", "  "),
        ("yaml", "a: 1  # b:\n<CURSOR>", ""),
        ("toml", "[a]\nb = 1\n<CURSOR>", ""),
        ("toml", "a = [\n<CURSOR>\n]\n", "    "),
        ("markdown", "- a\n  b\n<CURSOR>", "  "),
        ("markdown", "a (b\n<CURSOR>", ""),
        ("haskell", "f x =\n<CURSOR>", "  "),
        ("haskell", "main = do\n<CURSOR>", "  "),
        ("haskell", "main = do\n    a\n<CURSOR>", "    "),
        ("haskell", "f x = y\n  where\n<CURSOR>", "    "),
        ("ocaml", "let f x =\n<CURSOR>", "  "),
        ("ocaml", "module M = struct\n<CURSOR>\nend\n", "  "),
        ("ocaml", "let f x =\n  let y = 1 in\n<CURSOR>", "  "),
        ("zig", "fn f() void {\n<CURSOR>\n}\n", "    "),
        ("elixir", "def f(x) do\n<CURSOR>\nend\n", "  "),
        ("elixir", "case x do\n  1 ->\n<CURSOR>\nend\n", "    "),
        ("elixir", "x\n|> y()\n<CURSOR>", ""),
        ("elixir", "if x do\n  y\nelse\n<CURSOR>\nend\n", "  "),
        ("javascriptreact", "return (\n  <div>\n<CURSOR>\n  </div>\n);\n", "    "),
        ("typescriptreact", "return (\n  <A<B>>\n    {x.map(y => (\n<CURSOR>\n    ))}\n", "      "),
        ("typescriptreact", "return (\n  <>\n    <B />\n<CURSOR>\n  </>\n);\n", "    "),
        ("typescriptreact", "const x: A<B>\n<CURSOR>", ""),
        ("julia", "function f(x)\n<CURSOR>\nend\n", "    "),
        ("cmake", "if(X)\n<CURSOR>\nendif()\n", "  "),
        ("makefile", "all: x\n<CURSOR>", "\t"),
        ("makefile", "all: x\n\ta\n<CURSOR>", "\t"),
        ("makefile", "A := b\n<CURSOR>", ""),
        ("dockerfile", "RUN a && \\\n<CURSOR>", "    "),
        ("r", "f <- function(x) {\n<CURSOR>\n}\n", "  "),
        # Nobody knows these.
        ("fortran", "do i = 1, 2\n  x = 1\n<CURSOR>\nend do\n", "  "),
        ("nim", "proc f() =\n<CURSOR>\n  x\n", "  "),
    ],
)
def test_indent(language: str, text: str, indent: str) -> None:
    check(language, text, indent=indent)


@pytest.mark.parametrize(
    ("language", "text", "want"),
    [
        ("ruby", "def f<CURSOR>", Want.BLOCK),
        ("ruby", "def f\n<CURSOR>\nend", Want.BLOCK),
        ("ruby", "def f\n  x\n<CURSOR>\nend", Want.BLOCK),
        ("ruby", "def f\n<CURSOR>\n  x\nend", Want.LINE),
        ("ruby", "x = <CURSOR>", Want.LINE),
        ("lua", "if x then<CURSOR>", Want.BLOCK),
        ("lua", "if x then<CURSOR>\n  y()\nend", Want.LINE),
        ("lua", "if x then\n  y()\n  <CURSOR>\nelse\n  z()\nend", Want.BLOCK),
        ("shellscript", "while x; do<CURSOR>\ndone", Want.BLOCK),
        ("shellscript", "case $x in\n  a)\n    <CURSOR>\n    ;;\nesac", Want.BLOCK),
        ("elixir", "def f do\n<CURSOR>\nend", Want.BLOCK),
        ("elixir", "x |> <CURSOR>", Want.LINE),
        ("html", "<ul>\n<CURSOR>\n</ul>", Want.BLOCK),
        ("html", "<p><CURSOR></p>", Want.LINE),
        ("html", "<!-- <CURSOR> -->", Want.LINE),
        ("yaml", "a:<CURSOR>", Want.BLOCK),
        ("yaml", "a: <CURSOR>", Want.BLOCK),
        ("yaml", "a: b<CURSOR>", Want.LINE),
        ("yaml", "a:\n  <CURSOR>\n  b: 1", Want.LINE),
        ("json", '{\n  "a": {<CURSOR>}\n}', Want.BLOCK),
        ("json", '{\n  "a": <CURSOR>\n}', Want.LINE),
        ("css", "a {<CURSOR>}", Want.BLOCK),
        ("css", "a {\n  b: <CURSOR>;\n}", Want.LINE),
        ("toml", "a = <CURSOR>", Want.LINE),
        ("haskell", "f x =<CURSOR>", Want.BLOCK),
        ("ocaml", "let f x = <CURSOR>", Want.BLOCK),
        ("kotlin", "fun f() {<CURSOR>}", Want.BLOCK),
        ("csharp", "void F() {<CURSOR>}", Want.BLOCK),
        ("swift", "func f() {<CURSOR>}", Want.BLOCK),
        ("scala", "def f = {<CURSOR>}", Want.BLOCK),
        ("php", "<?php\nfunction f() {<CURSOR>}", Want.BLOCK),
        ("zig", "fn f() void {<CURSOR>}", Want.BLOCK),
        ("sql", "SELECT <CURSOR>", Want.BLOCK),
        ("sql", "SELECT a FROM <CURSOR>;", Want.LINE),
        ("markdown", "some text <CURSOR>", Want.LINE),
        ("ruby", "na<CURSOR>me", Want.NOTHING),
    ],
)
def test_want(language: str, text: str, want: Want) -> None:
    check(language, text, want=want)


@pytest.mark.parametrize(
    ("language", "text", "scope"),
    [
        ("csharp", "class A {\n    int F(int x) {\n        <CURSOR>\n    }\n}", ("A", "F")),
        ("kotlin", "class A {\n    fun f() {\n        <CURSOR>\n    }\n}", ("A", "f")),
        (
            "ruby",
            "module M\n  class A\n    def f\n      <CURSOR>\n    end\n  end\nend",
            ("M", "A", "f"),
        ),
        ("ruby", "class A\n  def f\n    x\n  end\n  <CURSOR>\nend", ("A",)),
        ("php", "<?php\nclass A {\n    function f() {\n        <CURSOR>\n    }\n}", ("A", "f")),
        ("swift", "class A {\n    func f() {\n        <CURSOR>\n    }\n}", ("A", "f")),
        ("scala", "object A {\n  def f = {\n    <CURSOR>\n  }\n}", ("A", "f")),
        ("lua", "function M.f()\n  <CURSOR>\nend", ("M.f",)),
        ("shellscript", "f() {\n  <CURSOR>\n}", ("f",)),
        ("sql", "CREATE TABLE t (\n  <CURSOR>\n);", ("t",)),
        ("html", "<body>\n  <ul>\n    <CURSOR>\n  </ul>\n</body>", ("body", "ul")),
        ("css", ".a > b {\n  <CURSOR>\n}", (".a > b",)),
        ("json", '{\n  "a": {\n    <CURSOR>\n  }\n}', ("a",)),
        ("yaml", "a:\n  b:\n    <CURSOR>", ("a", "b")),
        ("haskell", "f x = do\n  <CURSOR>", ("f",)),
        ("ocaml", "module M = struct\n  let f x =\n    <CURSOR>\nend", ("M", "f")),
        ("zig", "fn f() void {\n    <CURSOR>\n}", ("f",)),
        ("elixir", "defmodule A do\n  def f(x) do\n    <CURSOR>\n  end\nend", ("A", "f")),
        ("julia", "function f(x)\n    <CURSOR>\nend", ("f",)),
    ],
)
def test_scope(language: str, text: str, scope: tuple[str, ...]) -> None:
    check(language, text, scope=scope)


def test_scope_of_a_section() -> None:
    check("toml", "[a.b]\nx = 1\ny = <CURSOR>2\n", only_tree=True, scope=("a.b",))


# Other languages inside of a text


@pytest.mark.parametrize(
    ("language", "text", "inside"),
    [
        ("markdown", "# A\n\n```python\nx<CURSOR>\n```\n", "python"),
        ("markdown", "# A\n\n```python\nx\n```\n<CURSOR>", "markdown"),
        ("markdown", "```\nx<CURSOR>\n```\n", "markdown"),
        ("markdown", "```\nx\n```\n\n```sh\nx<CURSOR>", "sh"),
        ("markdown", "- a\n\n  ~~~{.python}\n  x<CURSOR>\n", "python"),
        ("markdown", "```python<CURSOR>\n", "markdown"),
        ("markdown", "---\na: <CURSOR>\n---\n", "yaml"),
        ("markdown", "```html\n<script>\nx<CURSOR>\n</script>\n```\n", "javascript"),
        ("html", "<script>x<CURSOR></script>", "javascript"),
        ("html", "<style>\na<CURSOR>\n</style>", "css"),
        ("html", "<script>x</script><p><CURSOR>", "html"),
        ("html", "<SCRIPT>x</SCRIPT><p><CURSOR>", "html"),
        ("vue", '<script lang="ts">\nx<CURSOR>\n</script>', "typescript"),
        ("vue", "<script>\nx<CURSOR>\n</script>", "javascript"),
        ("python", "%%bash\nx<CURSOR>", "bash"),
        ("python", "x = 1\n<CURSOR>", "python"),
    ],
)
def test_language_inside(language: str, text: str, inside: str) -> None:
    for trees in (TREES, None):
        assert context_of(text, language, trees).language == inside


def test_inside_of_a_fence_its_language_counts() -> None:
    text = "# A\n\n```python\nclass A:\n    def f(self):\n<CURSOR>\n```\n\ntext\n"
    check("markdown", text, indent=" " * 8, scope=("A", "f"), want=Want.BLOCK)
    check("markdown", "```python\nx = 'a<CURSOR>'\n```\n", literal=STRING)
    check("markdown", "```python\nx = 1\n<CURSOR>\n```\n", indent="", want=Want.BLOCK)
    context = context_of("# A\n\n```python\nx = <CURSOR>\n```\n", "markdown")
    assert (context.prefix, context.suffix) == ("# A\n\n```python\nx = ", "\n```\n")


def test_a_fence_far_above_is_not_looked_for() -> None:
    text = "```python\n" + "x = 1\n" * MAX_LOOK + CURSOR
    assert context_of(text, "markdown").language == "markdown"


# Notebooks


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%time f()\ndef g():\n<CURSOR>", {"indent": "    ", "literal": CODE}),
        ("!ls 'a <CURSOR>", {"want": Want.LINE}),
        ("!ls <CURSOR>", {"literal": CODE, "want": Want.LINE}),
        ("%matplotlib <CURSOR>inline\n", {"literal": CODE, "want": Want.LINE}),
        ("def g():\n    !ls\n    x = 'a<CURSOR>'", {"literal": STRING}),
        ("f??\nx = [\n<CURSOR>", {"indent": "    "}),
        ("x = (a\n  % b<CURSOR>)", {"literal": CODE}),
        ("%%time\nfor x in y:\n<CURSOR>", {"indent": "    "}),
    ],
)
def test_magic_lines_of_a_cell(text: str, expected: dict[str, object]) -> None:
    check("python", text, notebook=True, **expected)  # type: ignore[arg-type]


def test_a_tree_of_a_cell_has_no_errors_from_magic_lines() -> None:
    cell = DocumentSnapshot("file:///c", 1, "python", "%time f()\n!ls\nf?\nx = 1\n", "", True)
    tree = SyntaxTrees().tree(cell)
    assert tree is not None
    assert not tree.root_node.has_error
    bare = SyntaxTrees().tree(replace(cell, in_notebook=False))
    assert bare is not None
    assert bare.root_node.has_error


def test_a_preamble_stands_before_the_prefix_and_nowhere_else() -> None:
    cell = DocumentSnapshot("file:///d", 1, "python", "if x:\n    y\n", "def f():\n    '''\n", True)
    for offset in (0, 6, len(cell.text)):
        context = extract(cell, offset, TREES)
        assert context.prefix == cell.preamble + cell.text[:offset]
        assert context.suffix == cell.text[offset:]
        assert not context.in_string
        assert context.scope == ()


# The files


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_file_holds_what_it_may(language: str) -> None:
    known = LANGUAGES[language]
    assert known.name == language
    for name in PATTERNS:
        re.compile(getattr(known, name))
    for each in known.embedded:
        assert each.language or "(?P<language>" in each.opens
        assert not each.language or language_of(each.language) is not UNKNOWN
    assert set(known.queries) <= {"definitions", "imports"}


def test_what_begins_a_text_is_not_searched_for_in_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[tuple[str, int, int]] = []

    class Pattern:
        def match(self, _text: str, start: int, end: int) -> None:
            tried.append(("match", start, end))

        def finditer(self, _text: str, start: int, end: int) -> list[re.Match[str]]:
            tried.append(("search", start, end))
            return []

    monkeypatch.setattr(foreign, "_events", lambda _language: Pattern())
    for offset in (100, MAX_LOOK + 1):
        assert foreign.stretch_at(language_of("python"), "x = 1\n" * MAX_LOOK, offset) is None
    assert tried == [("match", 0, 100)]


def test_every_file_is_named_and_every_name_has_a_file() -> None:
    files = {path.stem for path in FOLDER.glob("*.toml") if not path.stem.startswith("_")}
    assert files - {"names"} == set(LANGUAGES)


def test_no_id_suffix_or_file_name_means_two_languages() -> None:
    names = tomllib.loads((FOLDER / languages.NAMES_FILE).read_text(encoding="utf-8"))
    for kind in ("ids", "suffixes", "files"):
        every = [one for each in names.values() for one in each.get(kind, ())]
        assert len(every) == len(set(every))
        assert kind != "ids" or not set(every) & set(names)
    suffixes = [one for each in names.values() for one in each.get("suffixes", ())]
    assert all(one.startswith(".") and one == one.lower() for one in suffixes)


def test_a_key_that_is_not_known_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "_toml", lambda file: {"blocks": "braces", "commments": []})
    with pytest.raises(ValueError, match="commments"):
        languages._read.__wrapped__("go")


@pytest.mark.parametrize(
    ("name", "expect"),
    [
        ("bash", "shellscript"),
        ("jsx", "javascriptreact"),
        ("tsx", "typescriptreact"),
        ("c-sharp", "csharp"),
        ("Python", "python"),
        ("dockercompose", "yaml"),
        ("cobol", "plaintext"),
        ("", "plaintext"),
    ],
)
def test_language_of_what_clients_call_it(name: str, expect: str) -> None:
    assert language_of(name).name == expect


def test_a_language_is_read_when_it_is_needed() -> None:
    code = (
        "import sys, slm_lsp.context.languages as l\n"
        "assert not l._names.cache_info().currsize and 'tomllib' not in sys.modules\n"
        "assert l.language_of_path('a.rs') == 'rust' and 'python' in l.LANGUAGES\n"
        "assert not l._read.cache_info().currsize\n"
        "l.language_of('rust')\n"
        "assert l._read.cache_info().currsize == 1"
    )
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


# Any text


PIECES = [
    *"ab \t\n\r\"'`#/*\\(){}[]<>:;,=-|é🙂\ud800\0$%!?",
    "if x",
    "do",
    "end",
    "<a>",
    "```python\n",
    "    ",
    "- ",
]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    language=st.sampled_from([*LANGUAGES, "plaintext"]),
    text=st.lists(st.sampled_from(PIECES), max_size=30).map("".join),
    place=st.floats(0, 1),
    is_cell=st.booleans(),
)
def test_any_text_gives_a_context(language: str, text: str, place: float, is_cell: bool) -> None:
    offset = round(place * len(text))
    snapshot = DocumentSnapshot("u", 1, language, text, "x\n" if is_cell else "", is_cell)
    for trees in (TREES, None):
        context = extract(snapshot, offset, trees)
        assert context.prefix == snapshot.preamble + text[:offset]
        assert context.suffix == text[offset:]
        assert not (context.indent + context.block_indent).strip(" \t")
        assert context.indent.endswith(context.inferred_indent)
        assert not (context.in_string and context.in_comment)
    known = language_of(language)
    scan(text, known)
    open_quote(text, known)
