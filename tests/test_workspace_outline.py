"""What is read off a file's lines: definitions, imports, and where imports lead."""

from __future__ import annotations

import re
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm_lsp.context.languages import LANGUAGES, language_of
from slm_lsp.context.outline import Import, Imported
from slm_lsp.workspace.headers import definitions, line_bound
from slm_lsp.workspace.import_lines import imports_of
from slm_lsp.workspace.imports import are_kin, candidates, stem_of
from slm_lsp.workspace.lines_outline import outline_of
from slm_lsp.workspace.rendering import MAX_CHARS, find, shown


def check_shown(language: str, text: str, name: str, expect: str) -> None:
    """`expect` is what stands for the definition of a name."""
    outline = outline_of(language, textwrap.dedent(text))
    definition = find(outline, name, 0)
    assert definition is not None
    assert shown(language_of(language), outline, definition) == textwrap.dedent(expect).strip("\n")


def test_a_class_is_its_fields_and_signatures() -> None:
    check_shown(
        "python",
        '''
        @dataclass
        class Client(Base,
                     Other):
            """The client.

            More of it.
            """
            timeout: float = 1.0

            def __init__(self, host: str) -> None:
                self.host = host
                self.port: int = 80

            async def send(
                self, data: bytes
            ) -> int:
                """Send it."""
                return len(data)
        ''',
        "Client",
        """
        # The client.
        class Client(Base, Other):
            timeout: float = 1.0
            self.host = host
            self.port: int = 80
            def __init__(self, host: str) -> None:
            # Send it.
            async def send(self, data: bytes) -> int:
        """,
    )


def test_a_method_is_shown_in_its_class() -> None:
    check_shown(
        "typescript",
        """
        export class Box extends Base {
          private width: number = 3;
          // Area of it.
          area(scale: number): number {
            return this.width * scale
          }
        }
        """,
        "area",
        """
        export class Box extends Base
          // Area of it.
          area(scale: number): number
        """,
    )


@pytest.mark.parametrize(
    ("language", "text", "name", "expect"),
    [
        (
            "go",
            "// Run it.\nfunc Run(n int) error {\n}\n",
            "Run",
            "// Run it.\nfunc Run(n int) error",
        ),
        (
            "go",
            "type Server struct {\n\tAddr string\n\tport int\n}\n",
            "Server",
            "type Server struct\n\tAddr string\n\tport int",
        ),
        (
            "rust",
            "/// A point.\npub struct Point {\n    x: f64,\n    y: f64,\n}\n",
            "Point",
            "// A point.\npub struct Point\n    x: f64\n    y: f64",
        ),
        (
            "c",
            "struct foo {\n  int x;\n  char *y;\n};\n",
            "foo",
            "struct foo\n    int x\n    char *y",
        ),
        ("c", "int run(struct foo *f,\n   int n)\n{\n}\n", "run", "int run(struct foo *f, int n)"),
        (
            "java",
            "public class A {\n  private int x;\n  public int getX() {\n  }\n}\n",
            "A",
            "public class A\n    private int x\n    public int getX()",
        ),
    ],
)
def test_other_languages(language: str, text: str, name: str, expect: str) -> None:
    check_shown(language, text, name, expect)


def test_a_huge_class_is_cut_at_a_line() -> None:
    methods = "".join(
        f"    def method_{n}(self, argument_{n}: int) -> None: ...\n" for n in range(99)
    )
    outline = outline_of("python", f"class Large:\n{methods}")
    definition = find(outline, "Large", 0)
    assert definition is not None
    text = shown(language_of("python"), outline, definition)
    assert len(text) <= MAX_CHARS
    assert text.endswith("-> None: ...")


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_a_header_means_the_same_in_a_text_as_in_its_line(language: str) -> None:
    """The expression that searches a whole text finds what the language's own finds by line."""
    header = re.compile(language_of(language).header)
    lines = [
        "def name(a, b):",
        "    async def inner(self):",
        "class Name(Base):",
        "export default class Name extends Base {",
        "const f = async (x) => {",
        "  method(a, b) {",
        "func (s *Server) Run(n int) error {",
        "type Server struct {",
        "pub(crate) fn run<T>(x: T) -> T {",
        "impl<T> Trait for Point<T> {",
        "public static int getX(int y) {",
        "struct foo {",
        "int main(int argc,",
        "    char **argv) {",
        "if (a) {",
        "return f(x);",
        "",
        "// class of things",
    ]
    expect = []
    for n, line in enumerate(lines):
        found = header.match(line.lstrip())
        name = next((group for group in found.groups() if group), "") if found else ""
        if name:
            expect.append((re.split(r"::|\.", name)[-1], n))
    assert list(definitions(language, "\n".join(lines))) == expect


def test_classes_in_expressions_stay_classes() -> None:
    assert line_bound(r"a\s+[^)]*[\s*&]\S") == r"a[ \t\r]+[^\n)]*[ \t\r*&][^\s]"


@given(st.text(alphabet="defclas imporuns{}()[];:=.,*\"'\n\t #/@xyz", max_size=400))
def test_any_text_has_an_outline(text: str) -> None:
    for language in ("python", "typescript", "java", "c", "rust", "plaintext"):
        n_lines = text.count("\n") + 1
        for each in outline_of(language, text).definitions:
            assert 0 <= each.line <= each.end_line < n_lines + 1


def check_imports(text: str, *expect: tuple[str, str]) -> None:
    """The modules of a text, each with its names, `name` or `name=local`."""
    found = [
        (
            each.module,
            " ".join(n.name if n.name == n.local else f"{n.name}={n.local}" for n in each.names),
        )
        for each in imports_of(text)
    ]
    assert found == list(expect)


def test_imports_of_many_languages() -> None:
    check_imports("from .a.b import (C,\n    D as E)\n", (".a.b", "C D=E"))
    check_imports("from . import x  # why\n", (".", "x"))
    check_imports("import os, a.b as c\n", ("os", "os"), ("a.b", "b"))
    check_imports("import R, {a as b, c} from './m';\n", ("./m", "R a=b c"))
    check_imports('import type { T } from "../t"\n', ("../t", "T"))
    check_imports("const {a, b: c} = require('./lib')\n", ("./lib", "a b=c"))
    check_imports("import './side'\n", ("./side", ""))
    check_imports('import (\n  "fmt"\n  x "g.com/a/b"\n)\n', ("fmt", ""), ("g.com/a/b", ""))
    check_imports("import static a.b.C.d;\n", ("a.b.C.d", "d"))
    check_imports("use crate::a::{B, C as D};\n", ("crate::a", "B C=D"))
    check_imports("use std::fmt;\n", ("std", "fmt"))
    check_imports('#include "a/b.h"\n#include <stdio.h>\n', ("a/b.h", ""), ("stdio.h", ""))
    check_imports("x = 'from a import b'\nimportant = 1\n")


@pytest.mark.parametrize(
    ("module", "names", "importer", "expect"),
    [
        (".b", (), "pkg/a.py", "pkg/b"),
        ("..b.c", (), "pkg/sub/a.py", "pkg/b/c"),
        (".", ("b",), "pkg/a.py", "pkg/b"),
        ("pkg", ("b",), "x.py", "pkg/b"),
        ("pkg.b", ("f",), "x.py", "pkg/b"),
        ("./b", (), "src/a.ts", "src/b"),
        ("./b.js", (), "src/a.ts", "src/b"),
        ("../lib", (), "src/a.ts", "lib/index"),
        ("crate::net::client", (), "src/main.rs", "net/client"),
        ("com.x.Name", ("Name",), "src/com/y/A.java", "com/x/Name"),
        ("util/str.h", (), "src/a.c", "src/util/str"),
    ],
)
def test_where_an_import_leads(
    module: str, names: tuple[str, ...], importer: str, expect: str
) -> None:
    each = Import(module, tuple(Imported(name, name) for name in names))
    found = candidates(each, importer)
    assert expect in (*found.stems, *found.endings)


def test_who_reads_whose_files() -> None:
    assert are_kin("typescript", "javascript")
    assert are_kin("c", "cpp")
    assert are_kin("python", "python")
    assert not are_kin("python", "ruby")
    assert not are_kin("go", "rust")
    assert not are_kin("plaintext", "python")
    assert (stem_of("a/b.test.ts"), stem_of("a.b/c")) == ("a/b.test", "a.b/c")


def test_a_published_package_is_a_folder() -> None:
    found = candidates(Import("example.com/me/app/store"), "main.go")
    assert "store" in found.folders


def test_no_import_leads_out_of_the_workspace() -> None:
    found = candidates(Import("../../../etc/passwd"), "a.ts")
    assert not any(path.startswith("..") for path in found.stems)
