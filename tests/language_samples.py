"""One text for each language with a grammar, and what an outline of it says.

Invariant: every text is one that its grammar accepts.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """`definitions`: kind and dotted path; `imports`: the module, `module:name` for each name
    of it, `=local` where it is called otherwise."""

    text: str
    definitions: str = ""
    imports: str = ""


PYTHON = Sample(
    "import os.path as p, sys\n"
    "from .a import b as c, d\n"
    "from x import *\n"
    "LIMIT = 1\n"
    "\n"
    "\n"
    "class Ä(B):\n"
    '    """Doc €."""\n'
    "\n"
    "    y: int = 2\n"
    "\n"
    "    def f(self, x):\n"
    '        return f"{x} 🙂"\n'
    "\n"
    "\n"
    "x = [1,\n"
    "     2]\n",
    "constant:LIMIT class:Ä field:Ä.y function:Ä.f constant:x",
    "os.path=p sys .a:b=c .a:d x:*",
)
JAVASCRIPT = Sample(
    "import A, {b as c, d} from './m';\n"
    "import * as N from 'n';\n"
    "import 'side';\n"
    "const r = require('q');\n"
    "export class K {\n"
    "  f(x) {\n"
    "    return `ä ${x} €`;\n"
    "  }\n"
    "}\n"
    "const g = () => /a/g;\n"
    "function h() {}\n",
    "constant:r class:K method:K.f function:g function:h",
    "./m:default=A ./m:d ./m:b=c n=N side q=r",
)
JSX = Sample(
    "const A = () => <p>ä {x}</p>;\n",
    "function:A",
)
TYPESCRIPT = Sample(
    "import { x } from './x';\n"
    "interface I { a: string }\n"
    "type T = I | null;\n"
    "enum E { A }\n"
    "namespace N { export const x: number = 1; }\n"
    "abstract class K<T> { y: number = 1; m(a: T): void {} }\n",
    "interface:I type:T type:E module:N class:K field:K.y method:K.m",
    "./x:x",
)
TSX = Sample(
    "const A = (p: P) => <p>ä {p.x}</p>;\n",
    "function:A",
)
GO = Sample(
    "package a\n"
    "\n"
    "import (\n"
    '\t"fmt"\n'
    '\tx "a/b"\n'
    ")\n"
    "\n"
    "const C = 1\n"
    "\n"
    "type S struct {\n"
    "\tA int\n"
    "}\n"
    "\n"
    "func (s *S) F(x int) string {\n"
    '\treturn "€" + `raw`\n'
    "}\n"
    "\n"
    "func g() {}\n",
    "constant:C type:S method:S.F function:g",
    "fmt a/b=x",
)
RUST = Sample(
    "use a::b::{c, d as e};\n"
    "use std::fmt;\n"
    "mod m;\n"
    "pub struct S { x: i32 }\n"
    "/// doc ä\n"
    "impl S {\n"
    "    fn f<'a>(&'a self) -> char { '🙂' }\n"
    "}\n"
    "trait T { fn g(&self); }\n"
    "const C: i32 = 1;\n",
    "type:S impl:S function:S.f interface:T function:T.g constant:C",
    "a::b:c a::b:d=e std::fmt m",
)
JAVA = Sample(
    "package p;\n"
    "import a.b.C;\n"
    "class A {\n"
    "    int y;\n"
    "    A(int y) {}\n"
    '    String f(int x) { return "ä" + x; } // €\n'
    "}\n"
    "interface I { void g(); }\n",
    "class:A field:A.y method:A.A method:A.f interface:I method:I.g",
    "a.b.C",
)
C = Sample(
    "#include <stdio.h>\n"
    '#include "a/b.h"\n'
    "#define MAX 1\n"
    "struct s { int a; };\n"
    "typedef int t;\n"
    "int *g(void);\n"
    "int f(char *s) {\n"
    '  return s["ä"[0]]; /* € */\n'
    "}\n",
    "constant:MAX type:s type:t function:g function:f",
    "stdio.h a/b.h",
)
CPP = Sample(
    "#include <vector>\n"
    "namespace a {\n"
    "class B { int f() const { return 1; } void h(); };\n"
    'auto s = R"(ä)";\n'
    "}\n"
    "void a::B::h() {}\n"
    "using T = int;\n",
    "module:a class:a.B function:a.B.f method:a.B.h function:a.B.h type:T",
    "vector",
)
CSHARP = Sample(
    "using System.IO;\n"
    "using X = A.B;\n"
    "namespace N.M {\n"
    "class A : B {\n"
    "  int x = 1;\n"
    "  string P { get; set; }\n"
    "  A(int y) { }\n"
    '  string F(int a) { return $"ä {a}" + @"v" + \'c\'; }\n'
    "}\n"
    "interface I { void G(); }\n"
    "enum E { P }\n"
    "}\n",
    "module:N.M class:N.M.A field:N.M.A.x field:N.M.A.P method:N.M.A.A method:N.M.A.F "
    "interface:N.M.I method:N.M.I.G type:N.M.E",
    "System.IO A.B=X",
)
KOTLIN = Sample(
    "package a.b\n"
    "import c.d.E as F\n"
    "import x.y\n"
    "class A(val x: Int) : B() {\n"
    '  val y = "ä ${x + 1}"\n'
    '  fun f(a: Int): String { return """r""" }\n'
    "}\n"
    "object O\n"
    "fun g() = 'c'\n"
    "val top = 1\n",
    "class:A field:A.y function:A.f class:O function:g constant:top",
    "c.d.E=F x.y",
)
RUBY = Sample(
    'require "a/b"\n'
    'require_relative "../c"\n'
    "module M\n"
    "  class A < B\n"
    "    X = 1\n"
    "    # Doc of f.\n"
    "    def f(a, b = 2)\n"
    "      \"ä #{a}\" + 'q' + %w[a b].to_s + /re/.to_s\n"
    "    end\n"
    "\n"
    "    def self.g; end\n"
    "  end\n"
    "end\n",
    "module:M class:M.A constant:M.A.X method:M.A.f method:M.A.g",
    "a/b ../c",
)
PHP = Sample(
    "<?php\n"
    "namespace N;\n"
    "use C\\D as E;\n"
    "use F\\G;\n"
    "class A extends B {\n"
    "  public int $y = 2;\n"
    "  public function f(int $a): string { return \"ä {$a}\" . 'q'; }\n"
    "}\n"
    "interface I { function g(); }\n"
    "function h($x) { }\n",
    "class:A field:A.y method:A.f interface:I method:I.g function:h",
    "C\\D=E F\\G",
)
SWIFT = Sample(
    "import Foundation\n"
    "class A: B {\n"
    "  var x: Int = 1\n"
    "  init(y: Int) { }\n"
    '  func f(_ a: Int) -> String { return "ä \\(a)" }\n'
    "}\n"
    "protocol P { func g() }\n"
    "typealias T = Int\n"
    "let top = 1\n",
    "class:A field:A.x method:A.init function:A.f interface:P method:P.g type:T constant:top",
    "Foundation",
)
SCALA = Sample(
    "package a.b\n"
    "import c.d\n"
    "import e.{F, G => H}\n"
    "class A(x: Int) extends B {\n"
    '  val y = s"ä ${x}"\n'
    '  def f(a: Int): String = { """r""" }\n'
    "}\n"
    "object O { def g = 1 }\n"
    "trait T\n",
    "class:A field:A.y function:A.f class:O function:O.g interface:T",
    "c.d e:F e:G=H",
)
LUA = Sample(
    'local m = require("a.b")\n'
    "-- Doc of f.\n"
    "local function f(a) return \"ä\" .. 'q' .. [[long]] end\n"
    "function M.g(x)\n"
    "end\n"
    "function M:h() end\n"
    "local k = function(a) return a end\n",
    "function:f function:M.g method:M.h function:k",
    "a.b=m",
)
SHELL = Sample(
    "source ./a.sh\n"
    ". b.sh\n"
    "X=1\n"
    "function f() { echo 'q'; }\n"
    "# Doc of g.\n"
    "g() {\n"
    "  cat <<EOF\n"
    " ä $X\n"
    "EOF\n"
    "}\n"
    'echo "a $(ls)"\n',
    "constant:X function:f function:g",
    "./a.sh b.sh",
)
SQL = Sample(
    "-- c\nCREATE TABLE t (id INT, name TEXT DEFAULT 'ä');\nCREATE VIEW v AS SELECT id FROM t;\n",
    "type:t type:v",
)
HTML = Sample(
    "<!DOCTYPE html>\n"
    "<!-- ä -->\n"
    '<html><head><script src="a.js">var x = "1";</script></head>'
    "<body id=\"x\"><p class='y'>don't</p></body></html>\n",
    "element:x",
    "a.js",
)
CSS = Sample(
    '@import "a.css";\n'
    "/* ä */\n"
    ":root { --x: 1px; }\n"
    '.a > b:hover { color: "s"; }\n'
    "@keyframes k { from { a: b } }\n",
    "rule::root constant::root.--x rule:.a rule:k",
    "a.css",
)
JSON = Sample(
    '{"a": [1, "ä", null], "b": {"c": 1}}\n',
    "key:a key:b",
)
YAML = Sample(
    "# ä\na: 1\nb:\n  - c: \"s\"\n    d: 'q'\nf: |\n  text\n",
    "key:a key:b key:f",
)
TOML = Sample(
    "# ä\nz = 1\n[a.b]\nx = \"s\"\ny = 'q'\n[[c]]\nd = 1\n",
    "key:z table:a.b table:c",
)
MARKDOWN = Sample(
    "# Ä\n\ntext\n\n```python\nx = 1\n```\n\n- a\n",
    "heading:Ä",
)
HASKELL = Sample(
    "module A.B (f) where\n"
    "import C.D (x, Y)\n"
    "import qualified E as F\n"
    "data T = P Int | Q\n"
    "-- | Doc of f.\n"
    "f :: Int -> Int\n"
    "f x = y\n"
    "  where y = \"ä\" ++ ['c']\n"
    "class K a where\n"
    "  m :: a -> Int\n",
    "type:T function:f interface:K function:K.m",
    "C.D:x C.D:Y E=F",
)
OCAML = Sample(
    "open A.B\n"
    "(* ä *)\n"
    "type t = P of int | Q\n"
    'let f x = "s" ^ {|q|}\n'
    "module M = struct\n"
    "  let y = 'c'\n"
    "end\n",
    "type:t function:f module:M function:M.y",
    "A.B",
)
OCAML_INTERFACE = Sample(
    "open A\ntype t\nval f : t -> int\n",
    "type:t function:f",
    "A",
)
ZIG = Sample(
    'const std = @import("std");\n'
    "/// ä\n"
    "pub const S = struct {\n"
    "    x: u8,\n"
    "    pub fn f(self: S) u8 { return 'c'; }\n"
    "};\n"
    'fn g(a: u8) void { const s = "s"; }\n',
    "type:S field:S.x function:S.f function:g",
    "std=std",
)
ELIXIR = Sample(
    "defmodule A.B do\n"
    "  alias C.D\n"
    "  import G, only: [x: 1]\n"
    "  # Doc of f.\n"
    "  def f(a, b) do\n"
    "    \"ä #{a}\" <> 'q'\n"
    "  end\n"
    "  defp g(x) when x > 1, do: x\n"
    "end\n",
    "module:A.B function:A.B.f function:A.B.g",
    "C.D G",
)
SAMPLES = {
    "python": PYTHON,
    "javascript": JAVASCRIPT,
    "javascriptreact": JSX,
    "typescript": TYPESCRIPT,
    "typescriptreact": TSX,
    "go": GO,
    "rust": RUST,
    "java": JAVA,
    "c": C,
    "cpp": CPP,
    "csharp": CSHARP,
    "kotlin": KOTLIN,
    "ruby": RUBY,
    "php": PHP,
    "swift": SWIFT,
    "scala": SCALA,
    "lua": LUA,
    "shellscript": SHELL,
    "sql": SQL,
    "html": HTML,
    "vue": HTML,
    "svelte": HTML,
    "css": CSS,
    "json": JSON,
    "jsonc": JSON,
    "yaml": YAML,
    "toml": TOML,
    "markdown": MARKDOWN,
    "haskell": HASKELL,
    "ocaml": OCAML,
    "ocaml-interface": OCAML_INTERFACE,
    "zig": ZIG,
    "elixir": ELIXIR,
}
