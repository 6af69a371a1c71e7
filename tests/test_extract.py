"""What the syntax around a cursor says, in every language, in broken code and without a tree."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slm_lsp.context import suites
from slm_lsp.context.extract import MAX_BEFORE, extract
from slm_lsp.context.languages import LANGUAGES
from slm_lsp.context.lines import Line, lines_above
from slm_lsp.context.syntax import SyntaxTrees
from slm_lsp.types import CompletionContext, DocumentSnapshot, Want

CURSOR = "<CURSOR>"
TREES = SyntaxTrees()
CODE, STRING, COMMENT = (False, False), (True, False), (False, True)


def at_cursor(text: str, language: str, trees: SyntaxTrees | None = TREES) -> CompletionContext:
    offset = text.index(CURSOR)
    text = text.replace(CURSOR, "", 1)
    return extract(DocumentSnapshot("file:///a", 1, language, text), offset, trees)


def check(text: str, language: str = "python", tree: bool = True, **expected: object) -> None:
    """The named fields of the context have these values; `literal` stands for in_string and
    in_comment."""
    context = at_cursor(text, language, TREES if tree else None)
    if "literal" in expected:
        assert (context.in_string, context.in_comment) == expected.pop("literal")
    assert {name: getattr(context, name) for name in expected} == expected


def check_indent(text: str, indent: str, language: str = "python") -> None:
    """On an empty line, with the tree and without it, all of `indent` is to be inserted."""
    for tree in (True, False):
        check(text, language, tree, indent=indent, inferred_indent=indent)


# Indentation


@pytest.mark.parametrize(
    ("text", "indent"),
    [
        ("", ""),
        ("x = 1\n", ""),
        ("def f(x):\n", "    "),
        ("def f(x):  # why: because\n", "    "),
        ("def f(\n    x,\n):\n", "    "),
        ("def f(x,\n      y) -> int:\n", "    "),
        ("class A:\n  x = 1\n\n  def f(self):\n", "    "),
        ("if x:\n\tfoo()\n\tif y:\n", "\t\t"),
        ("if x:\n    # nothing yet\n", "    "),
        ("def f():\n    x = 1\n\n", "    "),
        ("async def f():\n", "    "),
        ("def f():\n    return 1\n", ""),
        ("class A:\n    def f(self):\n        raise E\n", "    "),
        ("while x:\n    if y:\n        break\n", "    "),
        ("returned = 1\nif x:\n    returned = 2\n", "    "),
        ("x = {a:\n", "     "),
        ("lambda x:\n", ""),
        ('x = "if x:"\n', ""),
        ("# if x:\n", ""),
        ("x = 1 + \\\n", "    "),
        ("x = 1 + \\\n    2 + \\\n", "    "),
        ("foo(\n", "    "),
        ("foo(  # c\n", "    "),
        ("foo(a,\n", "    "),
        ("    foo(bar(1), [2,\n", " " * 17),
        ("foo(\n  a,\n", "  "),
        ('x = {\n    "a":\n        1,\n', "    "),
        ("x = [\n    f(1,\n      2),\n", "    "),
        ("x = foo(\n\ndef g():\n", "    "),
        ("def f():\n    s = '''\n  odd\n'''\n", "    "),
        ('def f():\n    """Doc\n\n      more\n', "      "),
        ("class A:\n    def f(self):\n        x = 1\n\n\n", ""),
        ('def f():\n    """Doc."""\n\n\n', "    "),
    ],
)
def test_indent_after_what_is_above(text: str, indent: str) -> None:
    check_indent(text + CURSOR, indent)
    check_indent(text.replace("\n", "\r\n") + CURSOR, indent)


@pytest.mark.parametrize(
    ("text", "indent"),
    [
        # The line that opens the block below is missing.
        ("def f():\n    x = 1\n<CURSOR>\n        y = 2\n", "    "),
        ("x = 1\n<CURSOR>\n    y = 2\n", ""),
        # A block is open, whatever is below.
        ("def f():\n<CURSOR>\n\nx = 1\n", "    "),
        ("def f():\n<CURSOR>\n        x = 1\n", "        "),
        # Else the line below may tell.
        ("if x:\n    return 1\n<CURSOR>\n    y = 2\n", ""),
        ("if x:\n    return 1\n<CURSOR>\nelse:\n    y = 2\n", "    "),
        ("if x:\n    y = 1\n<CURSOR>\n    y = 2\n", ""),
        ("if x:\n    y = 1\n<CURSOR>\n    z = 2\n", "    "),
        ("if x:\n    y = 1\nelif z:\n    a()\n<CURSOR>\n    b()\n", ""),
        ("try:\n    a()\n<CURSOR>\n    b()\n", ""),
        ("try:\n    a()\n<CURSOR>\n    b()\nexcept E:\n    c()\n", "    "),
        ("try:\n    if a:\n        b()\n<CURSOR>\n    c()\nd()\n", ""),
        ("class A:\n    def f(self):\n        x()\n\n<CURSOR>\n    def g(self):\n", "    "),
        ("def f():\n    for x in y:\n        z()\n\n<CURSOR>\n    w()\n", "    "),
        ("def f():\n    for x in y:\n        z()\n<CURSOR>\n    w()\n", "        "),
        ("def f():\n    s = 0\n    for x in y:\n        s += x\n<CURSOR>\n\n\nf()\n", "    "),
        ("def f():\n    for x in y:\n        print(x)\n<CURSOR>\n\n\nf()\n", "        "),
        ("def f():\n    for x in y:\n        print(x)\n\n<CURSOR>", "    "),
        ("x = [\n    1,\n<CURSOR>\n]\n", "    "),
        ("x = [\n    1,\n<CURSOR>\ny = 1\n", ""),
        ("foo(\n<CURSOR>\n  b,\n)\n", "  "),
        ("<CURSOR>\n  x = 1\n", "  "),
    ],
)
def test_indent_between_lines(text: str, indent: str) -> None:
    check_indent(text, indent)


@pytest.mark.parametrize(
    ("language", "text", "indent"),
    [
        ("javascript", "function f() {\n<CURSOR>\n}\n", "  "),
        ("javascript", "function f() {\n    a();\n    if (b) {\n<CURSOR>\n    }\n}\n", "        "),
        ("javascript", "foo(a, () => {\n  b();\n});\n<CURSOR>", ""),
        ("javascript", "  foo\n    .bar()\n    .baz();\n<CURSOR>", "  "),
        ("javascript", "const x =\n<CURSOR>", "  "),
        ("javascript", "<CURSOR>\n * a\n */\nb();\n", ""),
        ("javascriptreact", "const A = () => {\n  const x = 1;\n<CURSOR>\n};\n", "  "),
        ("typescript", "interface I {\n\ta: string;\n<CURSOR>\n}\n", "\t"),
        ("typescript", "f({\n  a: [\n    1,\n<CURSOR>\n  ],\n});\n", "    "),
        ("typescriptreact", "export function A() {\n<CURSOR>\n}\n", "  "),
        ("go", "func f() {\n<CURSOR>\n}\n", "\t"),
        ("go", "func f() {\n\tswitch x {\n\tcase 1:\n<CURSOR>\n\t}\n}\n", "\t\t"),
        ("go", "type T struct {\n\tA int // a {\n<CURSOR>\n}\n", "\t"),
        ("rust", "impl A {\n    fn f(\n        &self,\n    ) {\n<CURSOR>\n    }\n}\n", "        "),
        ("rust", "match x {\n    A => 1,\n<CURSOR>\n}\n", "    "),
        ("rust", "fn f<'a>(x: &'a str) {\n    g('{');\n<CURSOR>\n}\n", "    "),
        ("java", "class A {\n    void f() {\n<CURSOR>\n    }\n}\n", "        "),
        ("java", "class A {\n    /* { */\n    int x;\n<CURSOR>\n}\n", "    "),
        ("java", "class A {\n    void f() {\n        g();\n<CURSOR>\n    int x;\n}\n", "    "),
        ("c", "int f(int x,\n      int y)\n{\n<CURSOR>\n}\n", "    "),
        ("c", "int f() {\n\tif (x)\n\t\treturn 1;\n<CURSOR>\n}\n", "\t"),
        ("c", "int f() {\n\tif (x)\n<CURSOR>\n}\n", "\t\t"),
        ("c", "int f() {\n\ta();\n#ifdef B\n<CURSOR>\n}\n", "\t"),
        ("cpp", "class A {\n public:\n  int x;\n  void f() {\n<CURSOR>\n  }\n};\n", "    "),
        ("cpp", "void f() {\n  g(1,\n    2);\n<CURSOR>\n}\n", "  "),
        ("cpp", "void f() {\n  if (x) {\n    y();\n<CURSOR>\n  z();\n}\n", "  "),
        # A brace at the end of parameters that are indented themselves: its block is not over.
        ("java", "class A {\n  A(\n      int x) {\n    y();\n<CURSOR>\n    z();\n  }\n}\n", "    "),
        ("c", "int f(int x,\n      int y) {\n  g();\n<CURSOR>\n  h();\n}\n", "  "),
        ("cpp", "A::A(int x)\n    : x_(x) {\n  g();\n<CURSOR>\n  h();\n}\n", "  "),
        ("cpp", "int f(\n    int y) {\n  g();\n  h();\n<CURSOR>\n\nint x;\n", ""),
        ("cpp", "void f() {\n  a << b\n    << c;\n<CURSOR>\n}\n", "  "),
        # A bracket in a pattern is none, and a word opens its block whatever the brackets say.
        ("ruby", "x(/#{a}/)\ndef f\n<CURSOR>\nend\n", "  "),
        ("plaintext", "key:\n<CURSOR>", "    "),
        ("yaml", "a:\n  b:\n    c: 1\nd:\n<CURSOR>\n", "  "),
        ("lua", "function f()\n<CURSOR>\n  x()\nend\n", "  "),
        ("php", "if ($x) {\n\tfoo();\n<CURSOR>\n}\n", "\t"),
    ],
)
def test_indent_in_other_languages(language: str, text: str, indent: str) -> None:
    check_indent(text, indent, language)


@pytest.mark.parametrize(
    ("text", "indent"),
    [
        ("def f():\n  <CURSOR>", "  "),
        ("def f():\n        <CURSOR>\n", "        "),
        ("def f():\n    x = <CURSOR>", "    "),
        ("def f():\n    <CURSOR>x = 1", "    "),
        ("def f():\n  <CURSOR>  x = 1", "  "),
        ("def f():\n<CURSOR>    x = 1", ""),
    ],
)
def test_white_space_that_is_there_stands(text: str, indent: str) -> None:
    check(text, indent=indent, inferred_indent="")


@pytest.mark.parametrize(
    ("language", "text", "block_indent"),
    [
        ("python", "def f(x):<CURSOR>", "    "),
        ("python", "class A:\n  def f(x,\n        y):<CURSOR>\n", "    "),
        ("python", "def f(x):\n    y = <CURSOR>\n", "    "),
        ("python", "def f(x):\n<CURSOR>\n", "    "),
        ("python", "if x:\n    foo(<CURSOR>)\n", "    "),
        ("python", "x = {a:<CURSOR>}", ""),
        ("python", "x: int = lambda:<CURSOR>", ""),
        ("javascript", "foo(() => {<CURSOR>});", "  "),
        ("javascript", "const s = `${<CURSOR>}`;", ""),
        ("go", "func f() {<CURSOR>}", "\t"),
        ("go", "func f() {\n\tif x {<CURSOR>\n}", "\t\t"),
        ("c", "int f(int x,\n      int y) {<CURSOR>", "    "),
        ("rust", "    x.foo(<CURSOR>)", "    "),
    ],
)
def test_block_indent(language: str, text: str, block_indent: str) -> None:
    check(text, language, block_indent=block_indent)
    check(text, language, tree=False, block_indent=block_indent)


# How much is wanted


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("pri<CURSOR>nt()", Want.NOTHING),
        ("ä<CURSOR>ö", Want.NOTHING),
        ("x = <CURSOR>y", Want.LINE),
        ("x<CURSOR> = y", Want.LINE),
        ("x = <CURSOR>", Want.LINE),
        ("foo(<CURSOR>)", Want.LINE),
        ("x = [foo(<CURSOR>)];  ", Want.LINE),
        ("# a <CURSOR>", Want.LINE),
        ('"""\n<CURSOR>\n"""', Want.LINE),
        ("<CURSOR>", Want.BLOCK),
        ("def f():\n<CURSOR>", Want.BLOCK),
        ("def f():<CURSOR>", Want.BLOCK),
        ("def f():<CURSOR>\n\n\nx = 1", Want.BLOCK),
        ("def f():<CURSOR>\n    x = 1", Want.LINE),
        ("def f():\n<CURSOR>\n\n    return 1", Want.LINE),
        ("def f():<CURSOR>  # c", Want.LINE),
        ("if x:\n    y()\n<CURSOR>\n    z()\n", Want.LINE),
        ("if x:\n    y()\n    <CURSOR>\n\n    z()\n", Want.BLOCK),
        ("if x:\n    y()\n<CURSOR>\nz()\n", Want.BLOCK),
        ("if x:\n    y()\n    <CURSOR>\nelse:\n    z()\n", Want.BLOCK),
        ("x = {a:<CURSOR>}", Want.LINE),
    ],
)
def test_want(text: str, want: Want) -> None:
    check(text, want=want)
    check(text.replace("\n", "\r\n"), want=want)


@pytest.mark.parametrize(
    ("language", "text", "want"),
    [
        ("javascript", "function f() {<CURSOR>}", Want.BLOCK),
        ("javascript", "foo(function () {<CURSOR>\n});", Want.BLOCK),
        ("typescript", "if (x) {<CURSOR>\n  y();\n}", Want.LINE),
        ("javascriptreact", "const s = `${<CURSOR>", Want.LINE),
        ("go", "func f() {\n<CURSOR>\n}", Want.BLOCK),
        ("rust", "fn f() {\n    a();\n<CURSOR>\n    b();\n}", Want.LINE),
        ("java", "class A {\n    int x;\n<CURSOR>\n}", Want.BLOCK),
        ("c", "int x<CURSOR>;", Want.LINE),
        ("cpp", 'f("<CURSOR>");', Want.LINE),
    ],
)
def test_want_in_other_languages(language: str, text: str, want: Want) -> None:
    check(text, language, want=want)


# Strings and comments


@pytest.mark.parametrize(
    ("language", "text", "literal"),
    [
        ("python", 'x = "a<CURSOR>b"', STRING),
        ("python", 'x = "ab"<CURSOR>', CODE),
        ("python", 'x = "a<CURSOR>\ny = 1\n', STRING),
        ("python", "x = 'it\\'s<CURSOR>\n", STRING),
        ("python", 'x = f"a{b<CURSOR>}"', CODE),
        ("python", 'x = f"a{<CURSOR>}"', CODE),
        ("python", 'x = f"a{<CURSOR>', CODE),
        ("python", 'x = f"a{{<CURSOR>', STRING),
        ("python", 'x = f"a{b}<CURSOR>"', STRING),
        ("python", 'x = "a{<CURSOR>', STRING),
        ("python", 'def f():\n    """Doc<CURSOR>\n    return 1\n', STRING),
        ("python", 'def f():\n    """Doc\n<CURSOR>\n    """\n', STRING),
        ("python", 'def f():\n    """Doc\n    """<CURSOR>\n', CODE),
        ("python", "# a<CURSOR>\nx", COMMENT),
        ("python", "# a\n<CURSOR>", CODE),
        ("python", "<CURSOR># a", CODE),
        ("python", 'x = "#"<CURSOR>', CODE),
        ("python", "x = (1,  # it's \"\n<CURSOR>", CODE),
        ("javascript", "const s = `a ${b<CURSOR>} c`;", CODE),
        ("javascript", "const s = `a ${b} <CURSOR>c`;", STRING),
        ("javascript", "const s = `a\n<CURSOR>", STRING),
        ("javascript", "function f() {\n  x = 'a<CURSOR>\n}\n", STRING),
        ("javascript", "x = /a\"<CURSOR>'/;", STRING),
        ("javascriptreact", "const a = <p>don't <CURSOR></p>;", CODE),
        ("javascriptreact", "const a = <p id='<CURSOR>'></p>;", STRING),
        ("javascriptreact", "/* a\n<CURSOR> */", COMMENT),
        ("typescript", "let x: 'a' | '<CURSOR>", STRING),
        ("typescript", "let x = 1; // a<CURSOR>", COMMENT),
        ("typescript", "/** a */<CURSOR>", CODE),
        ("typescriptreact", "const a = <p>{/* <CURSOR> */}</p>;", COMMENT),
        ("typescriptreact", 'const a = <p>{"<CURSOR>"}</p>;', STRING),
        ("typescriptreact", "const a = <p>{<CURSOR>}</p>;", CODE),
        ("go", "s := `raw \\<CURSOR>`", STRING),
        ("go", "r := '\"'; x<CURSOR>", CODE),
        ("go", "/* a\n<CURSOR>", COMMENT),
        ("rust", "fn f<'a>(x: &'a str<CURSOR>", CODE),
        ("rust", 'let s = r#"a " <CURSOR>"#;', STRING),
        ("rust", "/// doc\n<CURSOR>fn f() {}", CODE),
        ("rust", "/// doc<CURSOR>\nfn f() {}", COMMENT),
        ("java", 'String s = """\n  a <CURSOR>\n  """;', STRING),
        ("java", 'class A {\n    String s = "ab<CURSOR>\n}\n', STRING),
        ("java", "class A {\n    /** a\n     * <CURSOR>\n     */\n}", COMMENT),
        ("c", "#include <std<CURSOR>io.h>\n", STRING),
        ("c", "char c = '\"'; int x<CURSOR>", CODE),
        ("c", "int x; // it's<CURSOR>", COMMENT),
        ("cpp", 'auto s = R"(a " <CURSOR>)";', STRING),
        ("cpp", "int x = 1'000'000;<CURSOR>", CODE),
        ("cpp", 'f("\\"<CURSOR>', STRING),
        ("plaintext", "it's here<CURSOR>", CODE),
        ("ruby", "x = 'abc<CURSOR>", STRING),
        ("ruby", "x # abc<CURSOR>", COMMENT),
        ("css", "a { color: #fff<CURSOR>", CODE),
        ("groovy", "$x = 1; // abc<CURSOR>", COMMENT),
        ("text", "see https://x.org/a<CURSOR>", CODE),
    ],
)
def test_literal(language: str, text: str, literal: tuple[bool, bool]) -> None:
    check(text, language, literal=literal)


@pytest.mark.parametrize(
    ("language", "text", "literal"),
    [
        ("python", "x = 'a<CURSOR>", STRING),
        ("python", "'''\n<CURSOR>", STRING),
        ("python", "x  # a<CURSOR>", COMMENT),
        ("javascript", "x = `a\n${b<CURSOR>", CODE),
        ("c", "/* '\n<CURSOR>", COMMENT),
        ("go", 'x := `"\n<CURSOR>', STRING),
        ("java", '"\\\\" + x<CURSOR>', CODE),
    ],
)
def test_literal_without_a_tree(language: str, text: str, literal: tuple[bool, bool]) -> None:
    check(text, language, tree=False, literal=literal)


def test_a_scan_does_not_start_inside_of_a_docstring() -> None:
    text = 'def f():\n    """(\n' + "    don't [\n" * (MAX_BEFORE // 6) + '    """\n    x = 1\n'
    check(text + CURSOR, indent="    ", scope=("f",), literal=CODE)
    check(text.replace("    x", "    ä" * 500 + "\n    x") + CURSOR, indent="    ", literal=CODE)
    check(text.replace('    """\n', CURSOR + '    """\n'), literal=STRING)


# Enclosing definitions


@pytest.mark.parametrize(
    ("language", "text", "scope"),
    [
        ("python", "class A:\n    def f(self):\n        x = <CURSOR>1\n", ("A", "f")),
        ("python", "class A:\n    def f(self):\n        x = 1\n\n<CURSOR>", ("A", "f")),
        ("python", "class A:\n    def f(self):\n        return 1\n\n<CURSOR>", ("A",)),
        ("python", "class A:\n    def f(self):\n        x = 1\n    <CURSOR>", ("A",)),
        ("python", "class A:\r\n    def f(self):\r\n        x = 1\r\n\r\n<CURSOR>", ("A", "f")),
        ("python", "def f():\n    x = 1\n\n\n<CURSOR>", ()),
        ("python", "def f(x):<CURSOR>", ("f",)),
        ("python", "def f(x): return <CURSOR>", ("f",)),
        ("python", "def f(x<CURSOR>):\n    pass\n", ()),
        ("python", "@a\nasync def f():\n    <CURSOR>\n", ("f",)),
        ("python", 'def f():\n    """\nodd<CURSOR>\n"""\n', ("f",)),
        ("python", "class A:\n    def f(self):\n        x = foo(<CURSOR>\n", ("A", "f")),
        ("python", "class A:\n  def f(self):\n    if x ==\n      (<CURSOR>\n", ("A", "f")),
        ("javascript", "class A {\n  f() {\n    <CURSOR>\n  }\n}", ("A", "f")),
        ("javascript", "const g = () => {\n  <CURSOR>\n};", ("g",)),
        ("javascript", "a = { b: function () { <CURSOR> } };", ("b",)),
        ("javascript", "function f() {\n  const x = 'a<CURSOR>\n}", ("f",)),
        ("javascriptreact", "export default function A() {\n  return <p><CURSOR></p>;\n}", ("A",)),
        ("javascriptreact", "const A = () => {\n  return <div>\n    <CURSOR>\n", ("A",)),
        (
            "typescript",
            "module N {\n  class A {\n    f = () => {<CURSOR>}\n  }\n}",
            ("N", "A", "f"),
        ),
        ("typescript", "interface I {\n  <CURSOR>\n}", ("I",)),
        ("typescript", "enum E { A, <CURSOR> }", ("E",)),
        ("typescriptreact", "const A: React.FC = () => {\n  return <div>\n<CURSOR>\n", ("A",)),
        ("go", "func (s *S) Push(x int) {\n\t<CURSOR>\n}", ("Push",)),
        ("go", "type T struct {\n\t<CURSOR>\n}", ("T",)),
        ("go", "func f() {\n\tx := g(<CURSOR>\n", ("f",)),
        ("rust", "impl<T> Stack<T> {\n    fn f() {\n        <CURSOR>\n    }\n}", ("Stack", "f")),
        ("rust", "mod m {\n    trait T {\n        <CURSOR>\n    }\n}", ("m", "T")),
        ("rust", "pub async fn f() {\n    let x = (<CURSOR>\n", ("f",)),
        ("java", "class A {\n    int f() {\n        <CURSOR>\n    }\n}", ("A", "f")),
        ("java", "class A {\n    A(int x) {\n        <CURSOR>\n    }\n}", ("A", "A")),
        ("java", "enum E {\n    X;\n    void f() {\n        int x = (<CURSOR>\n", ("E", "f")),
        ("c", "static int *f(int x)\n{\n\t<CURSOR>\n}", ("f",)),
        ("c", "struct s {\n\tint a;\n\t<CURSOR>\n};", ("s",)),
        ("c", "int f(void) {\n  return g(<CURSOR>\n", ("f",)),
        ("cpp", "namespace a {\nclass B {\n  int f() {\n    <CURSOR>\n  }\n};\n}", ("a", "B", "f")),
        ("cpp", "void A::g() {\n  x<CURSOR>\n}", ("A::g",)),
        ("cpp", "void f() {\n}\n<CURSOR>", ()),
        ("nim", "proc f() =\n  <CURSOR>", ()),
    ],
)
def test_scope(language: str, text: str, scope: tuple[str, ...]) -> None:
    check(text, language, scope=scope)


@pytest.mark.parametrize(
    ("language", "text", "scope"),
    [
        ("python", "class A:\n    def f(self):\n        x = 1\n<CURSOR>", ("A", "f")),
        ("typescript", "export class A {\n  async f(x) {\n    y(<CURSOR>", ("A", "f")),
        ("go", "func (s *S) Push() {\n\tx<CURSOR>", ("Push",)),
        ("rust", "impl Display for A {\n    pub fn f() {\n        x<CURSOR>", ("A", "f")),
        ("java", "public class A {\n    private int f() {\n        x<CURSOR>", ("A", "f")),
        ("c", "static int\tf(int x)\n{\n  x<CURSOR>", ("f",)),
    ],
)
def test_scope_without_a_tree(language: str, text: str, scope: tuple[str, ...]) -> None:
    check(text, language, tree=False, scope=scope)


# Any input


@pytest.mark.parametrize("language", [*LANGUAGES, "plaintext"])
@pytest.mark.parametrize(
    "text",
    [
        "<CURSOR>",
        "\n<CURSOR>\n",
        "\r\n<CURSOR>\r\n",
        "if x:\r<CURSOR>\n",
        "a\ud800<CURSOR>\udfff",
        "\0<CURSOR>\0",
        "\u2028\x0c<CURSOR>\x85",
        "}}}))]]<CURSOR>",
        "((({{{[[[<CURSOR>",
        "\"'`'''\"\"\"\\<CURSOR>",
        "\\<CURSOR>",
        " \t \t<CURSOR>\t",
        "/*<CURSOR>",
        'f"{<CURSOR>',
    ],
)
def test_odd_text_gives_a_context(language: str, text: str) -> None:
    for trees in (TREES, None):
        context = at_cursor(text, language, trees)
        assert context.prefix + CURSOR + context.suffix == text


@pytest.mark.parametrize("offset", [-5, 0, 3, 10**9])
def test_an_offset_outside_of_the_text_is_moved_into_it(offset: int) -> None:
    context = extract(DocumentSnapshot("u", None, "python", "abc"), offset, None)
    assert context.prefix == "abc"[: max(offset, 0)]
    assert context.prefix + context.suffix == "abc"


ALPHABET = "ab \t\n\r\"'`#/*\\(){}[]:;,=é🙂\ud800\0$"


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    language=st.sampled_from([*LANGUAGES, "plaintext"]),
    text=st.lists(
        st.sampled_from([*ALPHABET, "def f():\n", "class A {\n", "    ", "return x\n", "${"]),
        max_size=30,
    ).map("".join),
    place=st.floats(0, 1),
)
def test_any_text_gives_a_sound_context(language: str, text: str, place: float) -> None:
    offset = round(place * len(text))
    for trees in (TREES, None):
        context = extract(DocumentSnapshot("u", 1, language, text), offset, trees)
        assert (context.prefix, context.suffix) == (text[:offset], text[offset:])
        assert context.indent.endswith(context.inferred_indent)
        assert not context.indent.strip(" \t")
        assert not context.block_indent.strip(" \t")
        assert not (context.in_string and context.in_comment)
        assert not context.inferred_indent or context.prefix[-1:] in ("", "\n", "\r")


@pytest.mark.parametrize(
    "text",
    [
        "x" * 3_000_000 + CURSOR + "y" * 2_000_000,
        " " * 3_000_000 + CURSOR,
        '"' * 1_000_001 + CURSOR,
        "x = 1\n" * 500_000 + CURSOR + "x\n" * 10_000,
        "é\n" * 600_000 + CURSOR,
    ],
)
def test_a_huge_text_takes_no_time(text: str) -> None:
    offset, text = text.index(CURSOR), text.replace(CURSOR, "")
    began = time.perf_counter()
    context = extract(DocumentSnapshot("u", 1, "python", text), offset, TREES)
    assert time.perf_counter() - began < 0.25
    assert len(context.prefix) == offset


def test_white_space_inside_of_a_huge_line_is_no_indentation() -> None:
    text = "x" + " " * MAX_BEFORE
    context = extract(DocumentSnapshot("u", 1, "python", text + "y"), len(text) + 1, None)
    assert context.indent == ""


def test_names_are_read_from_the_text_as_it_is_now() -> None:
    trees, uri = SyntaxTrees(), "file:///moved"
    before = "class First:\n    def second(self):\n        pass\n" + "\n" * 50
    extract(DocumentSnapshot(uri, 1, "python", before), 0, trees)
    filler = "x = [\n" + "    1,\n" * 2000 + "]\n"
    after = filler + before
    offset = after.index("pass")
    now = extract(DocumentSnapshot(uri, 2, "python", after), offset, trees, stop=lambda: True)
    assert now.scope == ("First", "second")


def test_a_stopped_parse_falls_back_to_the_text() -> None:
    text = "class A:\n    def f(self):\n        x = 1\n" * 500
    snapshot = DocumentSnapshot("file:///stopped", 1, "python", text)
    stopped = extract(snapshot, len(text), SyntaxTrees(), stop=lambda: True)
    whole = extract(snapshot, len(text), SyntaxTrees())
    assert stopped.scope == ("A", "f")
    for field in fields(CompletionContext):
        assert getattr(stopped, field.name) == getattr(whole, field.name)


def test_what_stands_above_a_line_in_no_block_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Line] = []

    def counted(*args: Any) -> Iterator[Line]:
        for line in lines_above(*args):
            read.append(line)
            yield line

    monkeypatch.setattr(suites, "lines_above", counted)
    functions = "".join(f"def f{i}(x):\n    y = x\n    return y\n\n\n" for i in range(30))
    context = at_cursor(functions + "def last(x):\n    y = x\n<CURSOR>\n    return y\n", "python")
    assert context.inferred_indent == "    "
    assert [line.code for line in read] == ["y = x", "def last(x):"]
