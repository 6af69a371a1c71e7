"""What a user sees of a model's text, case by case.

Owns: `check`, which goes through the real context extraction. The laws that hold for every
text are in `test_postprocess_laws`.

Invariant: no model; what is expected is what a user would want, whatever filter does it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

import pytest

from slm_lsp.completion import closing, drift, filters, indentation, overlap, repetition
from slm_lsp.completion.place import Place
from slm_lsp.completion.postprocess import FILTERS, RejectReason, apply
from slm_lsp.context.extract import extract
from slm_lsp.context.languages import language_of, language_of_path
from slm_lsp.context.syntax import SyntaxTrees
from slm_lsp.types import DocumentSnapshot, Finish, Snippet, Trigger

TREES = SyntaxTrees()


def check(
    fixture: str,
    says: str,
    expect: str | RejectReason,
    *,
    finish: Finish = Finish.STOP,
    file: str = "a.py",
    trigger: Trigger = Trigger.INVOKED,
    snippets: tuple[str, ...] = (),
    specials: tuple[str, ...] = (),
) -> None:
    """The document with `<CURSOR>`, what the model says there, and what is shown of it."""
    before, cursor, after = fixture.partition("<CURSOR>")
    assert cursor
    language = language_of_path(file)
    uri = f"file:///{PurePath(file)}"
    TREES.forget(uri)
    snapshot = DocumentSnapshot(uri, 1, language, before + after)
    context = extract(snapshot, len(before), TREES, trigger=trigger)
    context = replace(context, snippets=tuple(Snippet("b", each) for each in snippets))
    place = Place.of(context, finish, language_of(language))
    assert apply(says, replace(place, specials=specials)) == expect


def test_a_good_text_is_shown_as_it_is() -> None:
    check("def f(x):\n    return <CURSOR>\n", says="x + 1", expect="x + 1")


@pytest.mark.parametrize(
    ("fixture", "says", "expect"),
    [
        ("foo(<CURSOR>)", "a, b)", "a, b"),
        ("foo(<CURSOR>)", "bar(x)", "bar(x)"),
        ("foo(<CURSOR>)", "bar(x))", "bar(x)"),
        ("foo(<CURSOR>", "bar(x))", "bar(x))"),
        ("foo(<CURSOR>", "bar(x)))", "bar(x))"),
        ("foo(bar(<CURSOR>)", "x)", "x)"),
        ("foo(bar(<CURSOR>))", "x))", "x"),
        # The bracket behind the next argument is the outer one's.
        ("foo(bar(<CURSOR>), c)", "x), c)", "x"),
        ("foo(a, [<CURSOR>])", "1, 2])", "1, 2"),
        ("foo(a, [<CURSOR>)", "1, 2])", "1, 2]"),
        ("foo(<CURSOR>)", "a]", "a"),
        ("foo(<CURSOR>)", ")", RejectReason.STRAY_CLOSER),
        ("foo(<CURSOR>)", "a, b) + c", "a, b"),
        ("x = y<CURSOR>", ")", RejectReason.STRAY_CLOSER),
        ("x = {'a': <CURSOR>}", "1}", "1"),
        ("x = [i for i in <CURSOR>]", "range(10)]", "range(10)"),
        ("print(f'{x<CURSOR>}')", ".y}')", ".y"),
        ("print(f'{<CURSOR>", "x.y}')", "x.y}')"),
        # Brackets in strings and comments are none.
        ("foo(')', <CURSOR>", "a)", "a)"),
        ("foo('(', <CURSOR>)", "a)", "a"),
        ("foo(a,  # 1) first\n    <CURSOR>\n)\n", "b)", "b"),
        ("foo(<CURSOR>\n# 1) first\n", "a)", "a)"),
        ("foo(<CURSOR>)", "')', a)", "')', a"),
    ],
)
def test_brackets(fixture: str, says: str, expect: str | RejectReason) -> None:
    check(fixture, says, expect)


@pytest.mark.parametrize(
    ("fixture", "says", "expect"),
    [
        ('print("<CURSOR>")', 'hello")', "hello"),
        ('print("<CURSOR>")', "hello", "hello"),
        ('print("<CURSOR>")', 'hello", file=sys.stderr)', "hello"),
        ('print("<CURSOR>', 'hello", file=sys.stderr)', 'hello", file=sys.stderr)'),
        ('print("<CURSOR>', 'hello"))', 'hello")'),
        ('print("a <CURSOR>", x["b"])', 'to", y)', "to"),
        ('print("<CURSOR>")', 'say \\"hi\\" twice")', 'say \\"hi\\" twice'),
        ('print("(<CURSOR>")', 'a)")', "a)"),
        ('print("<CURSOR>")', '")', RejectReason.STRAY_QUOTE),
        ("x = '<CURSOR>'", 'it is "so"', 'it is "so"'),
        ('x = """a <CURSOR>"""\n', 'b"""', "b"),
        ('"""Says <CURSOR>"""\n', 'a "word" or two."""', 'a "word" or two.'),
        ('"""\nSee 1) and <CURSOR>\n"""\n', "2) too", "2) too"),
        ("s = 'one'  # the user's <CURSOR>\n", "file)", "file)"),
        ("foo(<CURSOR>'b')", "'a', ", "'a',"),
        ("x = <CURSOR>", "'a' + 'b'", "'a' + 'b'"),
    ],
)
def test_strings_and_comments(fixture: str, says: str, expect: str | RejectReason) -> None:
    check(fixture, says, expect)


@pytest.mark.parametrize(
    ("fixture", "says"),
    [
        ("x = 'one <CURSOR>\n", "two'\ny = 3"),
        ("# one <CURSOR>\n", "two'\n# three"),
        ("foo(<CURSOR>)\n", "two'\nbar("),
        ("x = <CURSOR>\n", "two'\n\ndef f():\n    pass"),
    ],
)
def test_one_line_where_one_is_wanted(fixture: str, says: str) -> None:
    check(fixture, says, "two'")


@pytest.mark.parametrize(
    ("fixture", "says", "expect"),
    [
        # The rest of the line.
        ("for i in <CURSOR>:\n    pass\n", "range(10):\n    print(i)", "range(10)"),
        ("if x <CURSOR>:\n    pass\n", "> 0: return y", "> 0"),
        ("y = x[<CURSOR>:\n", "1:2", "1:2"),
        ("if f(<CURSOR>):\n    pass\n", "a, b):", "a, b"),
        ("x = <CURSOR>  # seconds\n", "5  # seconds", "5"),
        ("x = <CURSOR> + y\n", "a + y", "a"),
        ("x = <CURSOR> + y\n", "a", "a"),
        ("return x.<CURSOR>end\n", "append", "app"),
        ("x = <CURSOR>:\n", ":", RejectReason.REPEATS_REST),
        ("x = <CURSOR>e\n", "value", "value"),
        # The next line.
        ("def f(a):\n    x = 1\n    <CURSOR>\n    return x\n", "y = 2\n    return x", "y = 2"),
        ("def f(a):\n    <CURSOR>\n    return x\n", "return x", RejectReason.REPEATS_BELOW),
        ("a = 1\n<CURSOR>\n\n\nreturn_code = 0\n", "return_code = 0", RejectReason.REPEATS_BELOW),
        (
            "for a in b:\n    t += a\n    <CURSOR>\nreturn t\n",
            "return t",
            RejectReason.REPEATS_BELOW,
        ),
        # The whole block.
        (
            "def f():\n<CURSOR>\n    x = 1\n    y = 2\n",
            "x = 1\n    y = 2",
            RejectReason.REPEATS_BELOW,
        ),
        ("x = {\n    'a': 1,\n    <CURSOR>\n}\n", "'b': 2,\n}", "'b': 2,"),
        ("x = [\n    1,\n    <CURSOR>\n]\n", "2,\n]\n", "2,"),
        ("foo(\n    a,\n    <CURSOR>\n)\n", "b,\n)", "b,"),
        # What is begun at another indentation is meant.
        ("if a:\n    return <CURSOR>\nreturn None\n", "None", "None"),
        ("if a:\n    <CURSOR>\nelse:\n    b()\n", "c()\nelse:\n    b()", "c()"),
        # Short lines are often the same.
        ("if a:\n    if b:\n        <CURSOR>\n    pass\n", "pass", "pass"),
    ],
)
def test_what_follows_is_not_said_again(
    fixture: str, says: str, expect: str | RejectReason
) -> None:
    check(fixture, says, expect)


@pytest.mark.parametrize(
    ("fixture", "says", "expect"),
    [
        ("x = compute(1)\n<CURSOR>\n", "x = compute(1)", RejectReason.REPEATS_ABOVE),
        ("x = compute(1)\n\n<CURSOR>\n", "x = compute(1)\ny = 2", RejectReason.REPEATS_ABOVE),
        (
            "x = one(1)\ny = two(2)\n<CURSOR>\n",
            "x = one(1)\ny = two(2)",
            RejectReason.REPEATS_ABOVE,
        ),
        ("def f():\n    <CURSOR>\n", "a = one(1)\n    a = one(1)\n    a = one(1)", "a = one(1)"),
        ("def f():\n    <CURSOR>\n", "a = 1\n    b = 2\n    a = 1\n    b = 2", "a = 1\n    b = 2"),
        # No head is left without its body.
        (
            "def f():\n    <CURSOR>\n",
            "if a:\n        c()\n        d()\n" + "    if b:\n        c()\n        d()\n" * 2,
            "if a:\n        c()\n        d()",
        ),
        (
            "def f():\n<CURSOR>\n",
            "if aa:\n        cc()\n    if aa:\n        cc()\n",
            "    if aa:\n        cc()",
        ),
        # What the user has begun is meant, and short lines are often the same.
        ("queue.get()\nqueue.<CURSOR>\n", "get()", "get()"),
        ("i += 1\n<CURSOR>\n", "i += 1", "i += 1"),
        ("def f():\n    <CURSOR>\n", "a()\n    b()\n    a()", "a()\n    b()\n    a()"),
    ],
)
def test_what_stands_above_is_not_said_again(
    fixture: str, says: str, expect: str | RejectReason
) -> None:
    check(fixture, says, expect)


@pytest.mark.parametrize(
    ("file", "fixture", "says", "expect"),
    [
        ("a.js", "if (x) {<CURSOR>\n}", "\n  foo();\n}", "\n  foo();"),
        ("a.js", "if (x) {<CURSOR>", "\n  foo();\n}", "\n  foo();\n}"),
        # Between two brackets that an editor set side by side, the second gets a line.
        ("a.js", "if (x) {<CURSOR>}", "\n  foo();\n}", "\n  foo();\n"),
        ("a.js", "  if (x) {<CURSOR>}\n", "\n    foo();", "\n    foo();\n  "),
        ("a.js", "if (x) { <CURSOR> }", "foo();", "foo();"),
        ("a.js", "f() {\n  if (x) {<CURSOR>\n}", "\n    g();\n  }", "\n    g();\n  }"),
        ("a.js", "f() {\n  if (x) {<CURSOR>\n}", "\n    g();\n  }\n}", "\n    g();\n  }"),
        ("a.js", "foo({\n  a: 1,\n  <CURSOR>\n});\n", "b: 2,\n});", "b: 2,"),
        ("a.js", "const s = `x ${<CURSOR>}`;", "y}`;", "y"),
        ("a.js", "const s = `x <CURSOR>`;", "y) z`;", "y) z"),
        ("a.js", "foo(<CURSOR>);\n", "a); bar();", "a"),
        ("a.js", "x = <CURSOR>;\n", "1; y = 2;", "1"),
        ("a.js", "/* see <CURSOR> */\n", "that */", "that"),
        ("a.ts", "function f(a: string<CURSOR>) {\n}\n", ", b: number) {", ", b: number"),
        ("a.go", "func f() {\n\tx := 1\n\t<CURSOR>\n}\n", "return x\n}", "return x"),
        ("a.go", "func f() {\n\t<CURSOR>\n\treturn x\n}\n", "x := 1\n\treturn x\n}", "x := 1"),
        ("a.rs", "fn f<'a>(x: &'a str<CURSOR>) {}", ", y: u8) {", ", y: u8"),
        ("a.rs", "let c = ('(', <CURSOR>);", "')');", "')'"),
        ("A.java", "class A {\n  void f() {<CURSOR>\n  }\n}\n", "\n    g();\n  }\n}", "\n    g();"),
        ("a.c", "int main() {\n  if (a) {\n    <CURSOR>\n  }\n}\n", "b();\n  }\n}", "b();"),
        ("a.cpp", "std::vector<int> v{<CURSOR>};\n", "1, 2};", "1, 2"),
        ("a.html", "<b><CURSOR></b>", "hello</b>", "hello"),
        ("a.css", "#a {\n  color: <CURSOR>\n}\n", "red;\n}", "red;"),
    ],
)
def test_other_languages(file: str, fixture: str, says: str, expect: str | RejectReason) -> None:
    check(fixture, says, expect, file=file)


@pytest.mark.parametrize("finish", [Finish.DEADLINE, Finish.LENGTH])
@pytest.mark.parametrize(
    ("fixture", "says", "expect"),
    [
        ("def f():\n    <CURSOR>\n", "a = 1\n    return a + va", "a = 1"),
        ("def f():\n    <CURSOR>\n", "a = 1\n    b = 2\n", "a = 1\n    b = 2"),
        ("def f():\n    return <CURSOR>\n", "x + valu", "x"),
        ("def f():\n    return <CURSOR>\n", "g(x)", "g(x)"),
        ("def f():\n    return <CURSOR>\n", "g(1, ba", "g"),
        ("def f():\n    return <CURSOR>\n", "'done'", "'done'"),
        ("def f():\n    return <CURSOR>\n", "x + 'do", "x"),
        ("def f():\n    return '<CURSOR>'\n", "some text is he", "some text is"),
        ("def f():\n    return self.<CURSOR>\n", "val", RejectReason.UNFINISHED),
        # Nothing that was opened stays open before what follows.
        ("x = [<CURSOR>]\n", "a, g(1, ba", "a, g"),
        ("x = [<CURSOR>]\n", "a, 'some te", "a"),
        ("x = [<CURSOR>]\n", "(1, ba", RejectReason.UNFINISHED),
        ("x = <CURSOR>\n", "one\ntwo", "one"),
    ],
)
def test_unfinished_text_ends_at_a_boundary(
    fixture: str, says: str, expect: str | RejectReason, finish: Finish
) -> None:
    check(fixture, says, expect, finish=finish)


@pytest.mark.parametrize("finish", [Finish.EOS, Finish.STOP])
def test_finished_text_is_not_cut(finish: Finish) -> None:
    check("def f():\n    return <CURSOR>\n", "value", "value", finish=finish)


@pytest.mark.parametrize(
    ("says", "expect"),
    [
        ("a\ufffdb", "a"),
        ("\ufffd", RejectReason.GARBLED),
        ("a\x00b", "a"),
        ("a\x1b[0m", "a"),
        ("a\ud83d", "a"),
        ("a  # \u202e", "a  #"),
        ("a = '🙂'", "a = '🙂'"),
        ("a\tb", "a\tb"),
    ],
)
def test_what_is_no_text_is_not_shown(says: str, expect: str | RejectReason) -> None:
    check("x = <CURSOR>\n", says, expect)


@pytest.mark.parametrize("says", ["", " ", "\n", " \t\n \n"])
def test_blank_text(says: str) -> None:
    check("x = <CURSOR>\n", says, RejectReason.EMPTY)
    check("x = <CURSOR>\n", says, RejectReason.EMPTY, finish=Finish.LENGTH)
    check("x = <CURSOR>\n", says, RejectReason.NO_TIME, finish=Finish.DEADLINE)


@pytest.mark.parametrize(
    ("fixture", "says", "expect"),
    [
        ("def f():\r\n    <CURSOR>\r\n", "a = 1\n    b = 2", "a = 1\r\n    b = 2"),
        ("def f():\r\n    <CURSOR>\r\n", "a = 1\r\n    b = 2\r\n", "a = 1\r\n    b = 2"),
        ("def f():<CURSOR>\r\n", "\n    pass", "\r\n    pass"),
        ("a = 1\r\ndef f():\n    <CURSOR>\n", "a = 1\n    b = 2", "a = 1\n    b = 2"),
        ("def f():\r    <CURSOR>\r", "a = 1\n    b = 2", "a = 1\r    b = 2"),
        ("x = foo(<CURSOR>)\r\n", "a)", "a"),
        ("x = 1\r\n<CURSOR>\r\ny = 2\r\n", "z = 3\ny = 2", "z = 3"),
        ("x = compute(1)\r\n<CURSOR>\r\n", "x = compute(1)", RejectReason.REPEATS_ABOVE),
    ],
)
def test_line_ends_are_the_documents(fixture: str, says: str, expect: str | RejectReason) -> None:
    check(fixture, says, expect)


@pytest.mark.parametrize(
    ("fixture", "says", "expect"),
    [
        ("$this\n<CURSOR>\n    ->b();\n", "->a()", "    ->a()"),
        ("f(a)\n    .b()\n<CURSOR>\n", ".c();", "    .c();"),
        ("{\n  x = a\n<CURSOR>\n}\n", "&& b;", "    && b;"),
        ("{\n  a();\n<CURSOR>\n}\n", ".b();", "  .b();"),
    ],
)
def test_what_goes_on_with_the_line_above_stands_deeper(
    fixture: str, says: str, expect: str
) -> None:
    check(fixture, says, expect, file="a.js")


def test_inferred_indentation_is_put_in_front() -> None:
    check("def f():\n<CURSOR>\n", "return 1", "    return 1")
    check("def f():\n\tx = 1\n<CURSOR>\n\treturn x\n", "x = 2", "\tx = 2")
    check("def f():\n    <CURSOR>\n", "return 1", "return 1")
    check("def f():\n<CURSOR>\n    return 1\n", "return 1", RejectReason.REPEATS_BELOW)
    # No blanks at the end of a line that stays empty.
    check("def f():\n<CURSOR>\n", "\n    return 1", "\n    return 1")


def test_each_filter_has_a_reason_and_each_reason_a_filter() -> None:
    modules = (closing, drift, filters, indentation, overlap, repetition)
    verbs = ("cut_", "trim_", "drop_", "fit_", "close_")
    public = {name for module in modules for name in vars(module) if name.startswith(verbs)}
    assert {each.__name__ for each, _ in FILTERS} == public
    named = [reason for _, reason in FILTERS if reason is not RejectReason.EMPTY]
    assert len(named) == len(set(named))
