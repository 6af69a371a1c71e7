"""What the syntax lets stand of a text, case by case and for every text.

Owns: `check`, which goes through the real context extraction, filters and parsers.

Invariant: no model; errors are counted here by parsing the whole document.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.completion import postprocess
from slm_lsp.completion.place import Place
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.completion.syntax_gate import State, Verdict, judge
from slm_lsp.context.extract import extract
from slm_lsp.context.languages import language_of, language_of_path
from slm_lsp.context.syntax import SyntaxTrees, errors
from slm_lsp.context.trial import MAX_PARSES, Trial
from slm_lsp.types import DocumentSnapshot, Finish

TREES = SyntaxTrees()
PYTHON = "def f(x):\n    <CURSOR>\n"
ARGUMENTS = "def f(x):\n    foo(<CURSOR>\n    y = 1\n"
JAVASCRIPT = "function f() {\n  <CURSOR>\n}\n"
JAVA = "class A {\n    void f() {\n        <CURSOR>\n    }\n}\n"
C = "int f(void) {\n    <CURSOR>\n}\n"
GO = "func f() {\n\t<CURSOR>\n}\n"
RUST = "fn f() {\n    <CURSOR>\n}\n"


def never() -> bool:
    return False


def placed(
    fixture: str, file: str, finish: Finish, stop: Callable[[], bool] = never
) -> tuple[Place, Trial, str, str]:
    before, cursor, after = fixture.partition("<CURSOR>")
    assert cursor
    language = language_of_path(file)
    TREES.forget(file)
    snapshot = DocumentSnapshot(file, 1, language, before + after)
    context = extract(snapshot, len(before), TREES)
    trial = Trial.at(TREES, snapshot, len(before), stop)
    assert trial is not None
    return Place.of(context, finish, language_of(language)), trial, before, after


def check(
    fixture: str,
    says: str,
    expect: str | None,
    file: str = "a.py",
    *,
    finish: Finish = Finish.STOP,
) -> None:
    """The document with `<CURSOR>`, what the model says, and what is shown; None: nothing is."""
    place, trial, _, _ = placed(fixture, file, finish)
    left = postprocess.filtered(says, place)
    assert not isinstance(left, RejectReason)
    verdict = judge(left, place, trial)
    assert (verdict.text or None) == expect
    assert trial.n_parses <= MAX_PARSES
    if expect is None:
        assert verdict.state is State.DROPPED
    elif expect == left:
        assert verdict.state is State.OK
    else:
        assert verdict.state is (State.CUT if left.startswith(expect) else State.CLOSED)


@pytest.mark.parametrize(
    ("fixture", "says", "file"),
    [
        ("def f(x):\n    return <CURSOR>\n", "x + 1", "a.py"),
        (PYTHON, "y = 1\n    return y", "a.py"),
        (JAVASCRIPT, "const x = foo(1);\n  return x;", "a.js"),
        (JAVASCRIPT, "return 1", "a.js"),
        (JAVASCRIPT, "const x: number = 1;", "a.ts"),
        (JAVA, "int x = 1;", "A.java"),
        (C, "int x = 1;", "a.c"),
        (C, "auto x = std::vector<int>{1};", "a.cpp"),
        (GO, "x := 1", "a.go"),
        (RUST, "let x = 1;", "a.rs"),
        # In a comment or a string there is no syntax to break.
        ("x = 1  # <CURSOR>\n", "the (first", "a.py"),
        ('x = "<CURSOR>"\n', "the (first", "a.py"),
    ],
)
def test_a_sound_text_is_kept(fixture: str, says: str, file: str) -> None:
    check(fixture, says, says, file)


@pytest.mark.parametrize(
    ("fixture", "says", "expect", "file"),
    [
        (PYTHON, "y = 1\n    z = = 2", "y = 1", "a.py"),
        (PYTHON, "y = foo(1) bar", "y = foo(1)", "a.py"),
        (PYTHON, "y = 1\n    if x:\n    z = 2", "y = 1\n    if x:\n    z = 2", "a.py"),
        (JAVASCRIPT, "a();\n  b() c();", "a();", "a.js"),
        # A last line that asks for another is not shown, nor are lines that leave a block open.
        (JAVASCRIPT, "a();\n  if (b) {", "a();", "a.js"),
        (JAVASCRIPT, "a();\n  if (b) {\n    c();", "a();", "a.js"),
        (JAVASCRIPT, "a.b = function (c) {", "a.b", "a.js"),
        (GO, "a()\n\tfor i := range x {", "a()", "a.go"),
        (JAVA, "int x = 1;\n        int y 2;", "int x = 1;", "A.java"),
        (C, "a();\n    b(;", "a();", "a.c"),
        (GO, "a()\n\tb := := 1", "a()", "a.go"),
        (RUST, "let a = 1;\n    let b 2;", "let a = 1;", "a.rs"),
    ],
)
def test_what_breaks_is_cut(fixture: str, says: str, expect: str, file: str) -> None:
    check(fixture, says, expect, file)


@pytest.mark.parametrize(
    ("fixture", "says", "file"),
    [
        (PYTHON, "= 1", "a.py"),
        (JAVA, "int 1 = x;", "A.java"),
        # A statement without its end is not one.
        (C, "return false = = ;", "a.c"),
        (GO, ":= 1", "a.go"),
        # A comma or a bracket in a string that is left open asks for nothing.
        ('x = [\n    "a",\n    <CURSOR>\n    "c",\n]\n', '"b,', "a.py"),
        ('x = [\n    "a",\n    <CURSOR>\n    "c",\n]\n', '"b(', "a.py"),
    ],
)
def test_what_leaves_nothing_is_dropped(fixture: str, says: str, file: str) -> None:
    check(fixture, says, None, file)


@pytest.mark.parametrize(
    ("fixture", "says", "file"),
    [
        # What the parser takes for a block without statements.
        (PYTHON, "if x:", "a.py"),
        (PYTHON, "match x:", "a.py"),
        # The body is there, and so is what closes it.
        ("def f():\n    <CURSOR>\n        return 1\n    finally:\n        pass\n", "try:", "a.py"),
        ("function f() {\n  <CURSOR>\n    a();\n  }\n}\n", "if (x) {", "a.js"),
        ("class A {\n    <CURSOR>\n    void f() {}\n}\n", "@Override", "A.java"),
        ("<CURSOR>\n    return 1;\n}\n", "int f() {", "a.c"),
        # The user has opened it.
        (ARGUMENTS, "a,", "a.py"),
        ("function f() {\n  if (x)<CURSOR>\n", " {", "a.js"),
    ],
)
def test_a_line_that_asks_for_another_stands_where_that_is(
    fixture: str, says: str, file: str
) -> None:
    check(fixture, says, says, file)


@pytest.mark.parametrize(
    ("fixture", "says", "expect", "file"),
    [
        (PYTHON, "foo(", "foo", "a.py"),
        (PYTHON, "foo(a,", "foo", "a.py"),
        (PYTHON, "x = [", "x", "a.py"),
        ("class A:\n    <CURSOR>\n", "@property", None, "a.py"),
        (JAVASCRIPT, "if (x) {", None, "a.js"),
        (JAVASCRIPT, "try {", None, "a.js"),
        (JAVASCRIPT, "const x = a +", "const x = a", "a.js"),
        (JAVA, "if (x) {", None, "A.java"),
        ("class A {\n    <CURSOR>\n}\n", "public int f() {", None, "A.java"),
        ("class A {\n    <CURSOR>\n}\n", "@Override", None, "A.java"),
        (C, "int x[] = {", None, "a.c"),
        (C, "do {", None, "a.c"),
        ("<CURSOR>\n", "template <typename T>", None, "a.cpp"),
        (GO, "for i := range x {", None, "a.go"),
        (RUST, "let x = match y {", None, "a.rs"),
    ],
)
def test_and_not_where_it_may_never_be(
    fixture: str, says: str, expect: str | None, file: str
) -> None:
    check(fixture, says, expect, file)


@pytest.mark.parametrize(
    ("fixture", "says", "expect", "file"),
    [
        (PYTHON, "foo(a, b", "foo(a, b)", "a.py"),
        (PYTHON, "x = [foo(a), {'b': 1", "x = [foo(a), {'b': 1}]", "a.py"),
        (ARGUMENTS, "a, b", "a, b)", "a.py"),
        (ARGUMENTS, '"a', '"a")', "a.py"),
        ('def f(x):\n    print("<CURSOR>\n', "hello", 'hello")', "a.py"),
        # An editor has closed the one that the user opened.
        ("foo(<CURSOR>)\n", "bar(a", "bar(a)", "a.py"),
        (JAVASCRIPT, "foo({a: 1", "foo({a: 1})", "a.js"),
        (JAVA, "int x = foo(1", "int x = foo(1);", "A.java"),
        (JAVA, "int x = foo(1)", "int x = foo(1);", "A.java"),
        (RUST, "let x = foo(1", "let x = foo(1);", "a.rs"),
        (GO, "foo(1", "foo(1)", "a.go"),
    ],
)
def test_brackets_and_quotes_are_closed(fixture: str, says: str, expect: str, file: str) -> None:
    check(fixture, says, expect, file)


@pytest.mark.parametrize(
    ("fixture", "says", "file"),
    [
        # The suffix has the closing bracket, on this line or on another.
        ("foo(<CURSOR>)\n", "a, b", "a.py"),
        ("foo(<CURSOR>\n)\n", "a, b", "a.py"),
        # What was opened above may have more to it.
        ("foo(\n    a,\n    <CURSOR>\n\ny = 1\n", "b", "a.py"),
        (ARGUMENTS, "a,", "a.py"),
        # The brace of a block stands on a line of its own.
        ("function f() {\n  <CURSOR>\n", "foo();", "a.js"),
    ],
)
def test_nothing_is_closed_that_need_not_be(fixture: str, says: str, file: str) -> None:
    check(fixture, says, says, file)


def test_what_comments_set_apart_is_seen() -> None:
    comments = "    // a comment\n" * 40
    body = "    let a = 1;\n" * 40
    check(f"fn f() {{\n    <CURSOR>\n{comments}{body}}}\n", "g()", "g();", "a.rs")


def test_a_text_that_ran_out_of_time_lacks_no_end() -> None:
    check(JAVA, "int x = foo(1)", "int x = foo(1)", "A.java", finish=Finish.DEADLINE)
    check(JAVA, "int x = foo(1)", None, "A.java", finish=Finish.LENGTH)


@pytest.mark.parametrize(
    ("fixture", "says", "file"),
    [
        # Broken elsewhere, near and far.
        ("def g(:\n    pass\n\n\ndef f(x):\n    y = 1\n    <CURSOR>\n", "z = 2", "a.py"),
        ("x = = 1\n" + "y = 1\n" * 400 + "def f():\n    <CURSOR>\n", "z = 2", "a.py"),
        ("function f() {\n  const x = <CURSOR>\n", "foo(1);", "a.js"),
        ("int f() {\n  if (a) {\n    <CURSOR>\n", "b();", "a.c"),
    ],
)
def test_only_added_errors_count(fixture: str, says: str, file: str) -> None:
    check(fixture, says, says, file)


def test_of_a_text_that_mends_a_place_as_much_is_shown_as_does() -> None:
    check("x = <CURSOR>\n", "1 + 2 3", "1 + 2")
    check("def g(:\n    pass\n\n\nx = <CURSOR>\n", "1 + 2 3", "1 + 2")


@pytest.mark.parametrize(
    ("fixture", "says", "expect", "file"),
    [
        # At the top level one definition is a block.
        (
            "import os\n\n<CURSOR>\n",
            "def a():\n    return 1\n\n\ndef b():\n    return 2",
            "def a():\n    return 1",
            "a.py",
        ),
        (
            "import os\n\n<CURSOR>\n",
            "@a\ndef a():\n    return 1\n\n\nx = 2",
            "@a\ndef a():\n    return 1",
            "a.py",
        ),
        (
            "import os\n\n<CURSOR>\n",
            "x = 1\ny = 2\n\n# about b\ndef b():\n    return 2",
            "x = 1\ny = 2",
            "a.py",
        ),
        (
            "<CURSOR>\n",
            "export const a = () => {\n  b();\n};\n\nexport const c = 1;",
            "export const a = () => {\n  b();\n};",
            "a.js",
        ),
        # A definition that was begun ends the text where it ends.
        (
            "function f() {\n  <CURSOR>\n",
            "return x;\n}\n\nfunction g() {\n  return 1;\n}",
            "return x;\n}",
            "a.js",
        ),
        (
            "const f = () => {\n  <CURSOR>\n",
            "return x;\n};\n\nfoo(f);",
            "return x;\n};",
            "a.js",
        ),
        ("def f():\n    a = 1\n    <CURSOR>\n", "b = 2\n\ndef g():\n    pass", "b = 2", "a.py"),
        # A class may have more than one method.
        (
            "class A:\n    <CURSOR>\n",
            "def a(self):\n        pass\n    def b(self):\n        pass",
            "def a(self):\n        pass\n    def b(self):\n        pass",
            "a.py",
        ),
    ],
)
def test_a_block_ends_where_the_syntax_says(
    fixture: str, says: str, expect: str, file: str
) -> None:
    check(fixture, says, expect, file)


# --- laws ---

CODE = st.lists(
    st.sampled_from(
        [*"()[]{}\"':;,.=\n ", "x", "1", "return ", "if x", "    ", "def f", "else", "\n    y = 1"]
    ),
    max_size=10,
).map("".join)
FIXTURES = st.sampled_from(
    [
        ("a.py", PYTHON),
        ("a.py", ARGUMENTS),
        ("a.py", "x = [\n    1,\n    <CURSOR>\n]\n"),
        ("a.js", JAVASCRIPT),
        ("A.java", JAVA),
        ("a.c", C),
    ]
)
QUICK = settings(derandomize=True, deadline=None, max_examples=150, database=None)


def n_errors(file: str, text: str) -> int:
    tree = TREES.apart(language_of_path(file), text.encode())
    assert tree is not None
    return sum(1 for _ in errors(tree.root_node))


@QUICK
@given(FIXTURES, CODE, st.sampled_from(Finish))
def test_what_is_shown_is_a_beginning_and_closers(
    fixture: tuple[str, str], says: str, finish: Finish
) -> None:
    file, document = fixture
    place, trial, before, after = placed(document, file, finish)
    left = postprocess.filtered(says, place)
    if isinstance(left, RejectReason):
        return
    verdict = judge(left, place, trial)
    assert trial.n_parses <= MAX_PARSES
    closed = verdict.state is State.CLOSED
    kept = left if closed else verdict.text
    assert left.startswith(kept)
    assert set(verdict.text[len(kept) :]) <= set(")]}\"';")
    # No text may end a sound file's soundness, unless its last line asks for another.
    if verdict.state in (State.CUT, State.CLOSED) and verdict.text[-1] not in "([{,=":
        put = postprocess.put(verdict.text, place)
        assert n_errors(file, before + put + after) <= max(
            n_errors(file, before + after), n_errors(file, before + postprocess.put(left, place))
        )


# --- time ---


@pytest.mark.parametrize("says", ["x = 1", "x = = 1", "y = 1\n    z = = 2"])
def test_without_time_a_text_stays_as_it_is(says: str) -> None:
    place, trial, _, _ = placed(PYTHON, "a.py", Finish.STOP, stop=lambda: True)
    assert judge(says, place, trial) == Verdict(says, State.UNCHECKED)
    assert trial.n_parses == 0


def test_time_that_runs_out_between_two_parses_is_no_verdict() -> None:
    asked: list[Any] = []

    def stop() -> bool:
        return len(asked) > 0 and trial.n_parses > 0

    place, trial, _, _ = placed(PYTHON, "a.py", Finish.STOP, stop)
    asked.append(True)
    assert judge("x = = 1", place, trial) == Verdict("x = = 1", State.UNCHECKED)


def test_what_is_known_to_break_is_not_shown_when_time_runs_out() -> None:
    asked: list[Any] = []

    def stop() -> bool:
        return len(asked) > 0 and trial.n_parses > 1  # the text, and the place without it

    place, trial, _, _ = placed(PYTHON, "a.py", Finish.STOP, stop)
    asked.append(True)
    assert judge("x = = 1", place, trial) == Verdict("", State.DROPPED)


def test_a_text_that_takes_the_parser_long_is_left_as_it_is() -> None:
    broken = "x = (\n" * 4_000
    place, trial, _, _ = placed(broken + "<CURSOR>\n", "a.py", Finish.STOP)
    assert judge("y = 1", place, trial) == Verdict("y = 1", State.UNCHECKED)


def test_a_text_with_many_lines_takes_few_parses() -> None:
    says = "\n".join(f"    y{i} = foo({i}) bar" for i in range(60)).strip()
    place, trial, _, _ = placed(PYTHON, "a.py", Finish.STOP)
    judge(says, place, trial)
    assert trial.n_parses <= MAX_PARSES
