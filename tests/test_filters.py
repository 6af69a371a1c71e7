"""What is cut from a model's text, filter by filter; and what must not be.

Owns: the cases of drift, repetition, likeness, loops, white space and trifles. Brackets, quotes
and boundaries are in `test_postprocess`.

Invariant: no model; every filter has cases of good text that it leaves alone.
"""

from __future__ import annotations

import pytest
from test_postprocess import check

from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.types import Finish, Trigger

BODY = "def f():\n    <CURSOR>\n"


# Control tokens and drift


@pytest.mark.parametrize(
    ("says", "expect"),
    [
        ("xs + 1<|endoftext|>", "xs + 1"),
        ("xs<|fim_middle|>ys", "xs"),
        ("xs <file_sep>b.py\ny", "xs"),
        ("xs<fim-suffix>", "xs"),
        ("xs<｜end▁of▁sentence｜>", "xs"),
        ("xs<[fim-suffix]>", "xs"),
        ("xs <EOT>", "xs"),
        ("<COMPLETION>xs</COMPLETION>", RejectReason.SPECIAL_TOKEN),
        ("<|im_end|>", RejectReason.SPECIAL_TOKEN),
        # What looks like them.
        ("a <b> c", "a <b> c"),
        ("a <| b |> c", "a <| b |> c"),
        ("'<filename>'", "'<filename>'"),
        ("xs[PREFIX]", "xs[PREFIX]"),
        ("List<String>", "List<String>"),
    ],
)
def test_control_tokens_as_text(says: str, expect: str | RejectReason) -> None:
    check("def f(x):\n    return <CURSOR>\n", says, expect)


def test_the_models_own_control_tokens() -> None:
    own = ("▁<PRE>", "[SUFFIX]", "<filename>")
    for special in ("<PRE>", "[SUFFIX]", "<filename>"):
        check("x = <CURSOR>\n", "xs " + special, "xs", specials=own)


def test_who_writes_about_control_tokens_may() -> None:
    check('STOP = ["<|fim_pad|>", <CURSOR>]\n', '"<|fim_pad|>"', '"<|fim_pad|>"')
    check('STOP = ["<EOT>", <CURSOR>]\n', '"<EOT>"', '"<EOT>"', specials=("▁<EOT>",))


@pytest.mark.parametrize(
    ("says", "expect"),
    [
        ("return 1\n    ```\nThis", "return 1"),
        ("```python\n    return 1", RejectReason.DRIFT),
        ("return 1\ndiff --git a/x b/x", "return 1"),
        ("return 1\n    # Path: src/b.py\n    x = 2", "return 1"),
        ("return 1\n    Here is the code that you asked for", "return 1"),
        ("Sure, this returns one:", RejectReason.DRIFT),
        ("return 1\n    This function returns the value of the thing.", "return 1"),
        ("I'm sorry, but I cannot", RejectReason.DRIFT),
        # In a string or a comment, everybody writes prose.
        (
            '"""Return one.\n    Here is the reason for this.\n    """\n    return 1',
            '"""Return one.\n    Here is the reason for this.\n    """\n    return 1',
        ),
        ("# Here is the code\n    return 1", "# Here is the code\n    return 1"),
        ("xs not in ys and zs is None", "xs not in ys and zs is None"),
        ("Here = is_it(x)", "Here = is_it(x)"),
        ("# Path to the file\n    path = 1", "# Path to the file\n    path = 1"),
        ("return -1\n    --x", "return -1\n    --x"),
    ],
)
def test_drift(says: str, expect: str | RejectReason) -> None:
    check(BODY, says, expect)


def test_drift_is_where_code_is() -> None:
    fences = "Some text and some more.\n\n<CURSOR>\n"
    prose = "x = 1\nThis is what we all have been waiting for\n<CURSOR>\n"
    sentence = "This is the text that all the users are going to read."
    check(prose, sentence, sentence)
    check(fences, "```python", "```python", file="a.md")
    check(fences, "Here is the code that you want:", "Here is the code that you want:", file="a.md")
    check('"""Text\n\n<CURSOR>\n"""\n', "Here is the code", "Here is the code")
    check("# Text\n# <CURSOR>\n", "Here is the code", "Here is the code")
    patch = "A = 1\n<CURSOR>\nB = '''\ndiff --git a/x b/x\n'''\n"
    check(patch, "diff --git a/y b/y", "diff --git a/y b/y")
    markup = "const a = <p>\n  <CURSOR>\n</p>;\n"
    check(markup, sentence, sentence, file="a.jsx")


# Comments


@pytest.mark.parametrize(
    ("file", "fixture", "says", "expect"),
    [
        ("a.py", BODY, "# TODO: do it", RejectReason.COMMENT_ONLY),
        ("a.py", "<CURSOR>\n\nx = 1\n", "# Copyright 2020\n# Licence", RejectReason.COMMENT_ONLY),
        ("a.js", "f();\n<CURSOR>\ng();\n", "// then", RejectReason.COMMENT_ONLY),
        ("a.js", "<CURSOR>\n", "/*\n * Licence\n */", RejectReason.COMMENT_ONLY),
        # Comments are good next to code and to other comments.
        ("a.py", BODY, "# Add\n    return a + b", "# Add\n    return a + b"),
        ("a.py", "# The first\n<CURSOR>\n", "# The second", "# The second"),
        ("a.py", "# The <CURSOR>\n", "first", "first"),
        ("a.py", "x = 1  <CURSOR>\n", "# seconds", "# seconds"),
        ("a.md", "Text\n<CURSOR>\n", "# Heading", "# Heading"),
        ("a.py", "x = 1\n<CURSOR>\n", "#!x", "#!x"),
        ("a.c", "int a;\n<CURSOR>\n", "#include <stdio.h>", "#include <stdio.h>"),
        ("a.c", "int a;\n<CURSOR>\n", "*p = 1;", "*p = 1;"),
    ],
)
def test_comments_only(file: str, fixture: str, says: str, expect: str | RejectReason) -> None:
    check(fixture, says, expect, file=file)


# What stands behind


@pytest.mark.parametrize(
    ("fixture", "says", "expect"),
    [
        ("load(<CURSOR>, timeout = 10)\n", "url, timeout=10)", "url"),
        ("load(<CURSOR>timeout = 10)\n", "url, timeout=10)", "url,"),
        ("load(<CURSOR>, mode='binary')\n", 'url, mode="binary")', "url"),
        ("return <CURSOR>one.total(of, the, items)\n", "one.total(of, all, the, items)", None),
        # Another value is another argument's.
        ("load(<CURSOR>, timeout=10)\n", "url, timeout=20", "url, timeout=20"),
        ("load(<CURSOR>b=2)\n", "a=2, ", "a=2,"),
    ],
)
def test_the_rest_of_the_line(fixture: str, says: str, expect: str | None) -> None:
    check(fixture, says, expect if expect is not None else RejectReason.REPEATS_REST)


# What stands below


@pytest.mark.parametrize(
    ("fixture", "says", "expect"),
    [
        # Other spelling.
        (
            "def f():\n    <CURSOR>\n    print('a b c')\n",
            'print("a b c")',
            RejectReason.REPEATS_BELOW,
        ),
        ("f(\n    <CURSOR>\n    one_value,\n)\n", "one_value", RejectReason.REPEATS_BELOW),
        ("def f():\n    <CURSOR>\n    return a + b\n", "x = 1\n    return a+b", "x = 1"),
        # A word more.
        (
            "def f():\n    <CURSOR>\n    return self.cart.total_of(items, tax)\n",
            "return self.cart.total_of(items, tax, rate)",
            RejectReason.REPEATS_BELOW,
        ),
        # The lines after the next.
        (
            "def f():\n    <CURSOR>\n    aa = 1\n    bb = compute(aa)\n    return bb * 2\n",
            "cc = 0\n    bb = compute(aa)\n    return bb * 2",
            "cc = 0",
        ),
        # Series are meant.
        ("<CURSOR>\npoint.y += velocity\n", "point.x += velocity", "point.x += velocity"),
        ("<CURSOR>\nassert add(1, 2) == 3\n", "assert add(1, 1) == 2", "assert add(1, 1) == 2"),
        ("<CURSOR>\nself.height = height\n", "self.width = width", "self.width = width"),
        ("<CURSOR>\nbalance -= amount\n", "balance += amount", "balance += amount"),
        ("x = [\n    <CURSOR>\n    (10, 21),\n]\n", "(10, 20),", "(10, 20),"),
        (
            "test_it('a b c d', one)\n<CURSOR>\ntest_it('a b c d', one, two)\n",
            "test_it('a b c d', one, 3)",
            "test_it('a b c d', one, 3)",
        ),
        # Other branches say the same.
        (
            "if aa:\n    <CURSOR>\nelse:\n    log_it('done')\n    return value\n",
            "log_it('done')\n    return value",
            "log_it('done')\n    return value",
        ),
        ('<CURSOR>\nprint(title)\nprint("-" * 20)\n', 'print("-" * 20)', 'print("-" * 20)'),
    ],
)
def test_lines_below(fixture: str, says: str, expect: str | RejectReason) -> None:
    check(fixture, says, expect)


def test_brackets_are_no_evidence() -> None:
    text = "if (a) {\n    b();\n  }"
    check("function f() {\n  <CURSOR>\n}\n", text, text, file="a.js")
    check(
        "function f() {\n  if (x) {\n    <CURSOR>\n  }\n}\n",
        text,
        "if (a) {\n    b();",
        file="a.js",
    )


# What stands above


@pytest.mark.parametrize(
    ("fixture", "says", "expect"),
    [
        ("total = add(1,2)\n<CURSOR>\n", "total = add(1, 2)", RejectReason.REPEATS_ABOVE),
        ("a = 'some text'\n<CURSOR>\n", 'a = "some text"', RejectReason.REPEATS_ABOVE),
        (BODY, "x()\n    x()\n    x()\n    x()", "x()"),
        (BODY, "go()\n    go()", "go()\n    go()"),
        # Tables and rows.
        ("x = [\n    [0, 0, 0, 0],\n    <CURSOR>\n]\n", "[0, 0, 0, 0],", "[0, 0, 0, 0],"),
        (
            "x = [\n    row(a, b),\n    row(a, b),\n    <CURSOR>\n]\n",
            "row(a, b),",
            "row(a, b),",
        ),
        ("print('one line')\n<CURSOR>\n", "print('two lines')", "print('two lines')"),
        # Imports and definitions.
        ("import os\n\nclass One:\n    x = 1\n\n\n<CURSOR>\n", "class One:", "class One:"),
        ("import os\nimport sys\n<CURSOR>\n", "import os", RejectReason.DEFINED_ALREADY),
        ("import os\nimport sys\n<CURSOR>\n", "import re\nimport os", "import re"),
        (
            "def load(path):\n    return 1\n\n\n<CURSOR>\n",
            "def load(path):\n    return 2",
            RejectReason.DEFINED_ALREADY,
        ),
        (
            "class A:\n    def __init__(self):\n        pass\n\nclass B:\n    <CURSOR>\n",
            "def __init__(self):\n        pass",
            "def __init__(self):\n        pass",
        ),
        (
            "def f():\n    import json\n\n\ndef g():\n    <CURSOR>\n",
            "import json",
            "import json",
        ),
    ],
)
def test_lines_above(fixture: str, says: str, expect: str | RejectReason) -> None:
    check(fixture, says, expect)


ABOVE = "first_thing(1)\nsecond_thing(2)\nthird_thing(3)\n"


@pytest.mark.parametrize(
    ("fixture", "says", "expect"),
    [
        (ABOVE + "<CURSOR>\n", "first_thing(1)\nsecond_thing(2)", RejectReason.PROMPT_ECHO),
        # One line may well come again, and what goes on otherwise is no copy.
        (ABOVE + "<CURSOR>\n", "first_thing(1)", "first_thing(1)"),
        (
            ABOVE + "<CURSOR>\n",
            "first_thing(1)\nsecond_thing(4)",
            "first_thing(1)\nsecond_thing(4)",
        ),
        # Nor is the same branch of another statement.
        (
            "try:\n    aa()\nexcept E:\n    print('bad')\n    return None\ntry:\n    bb()\n"
            "except E:\n    <CURSOR>\n",
            "print('bad')\n    return None",
            "print('bad')\n    return None",
        ),
    ],
)
def test_echo(fixture: str, says: str, expect: str | RejectReason) -> None:
    check(fixture, says, expect)


def test_the_beginning_of_another_file() -> None:
    other = "import json\nfrom app import Shop\n\nclass A: ...\n"
    text = "import json\nfrom app import Shop\nx = 1"
    check("<CURSOR>\n", text, RejectReason.PROMPT_ECHO, snippets=(other,))
    check("<CURSOR>\n", "import json\nimport os", "import json\nimport os", snippets=(other,))


@pytest.mark.parametrize(
    ("says", "expect"),
    [
        ("a, a, a, a", "a"),
        ("f(x, x, x, x, x", "f(x"),
        ("a.b.a.b.a.b.a.b.", "a.b"),
        ("the same the same the same the same the", "the same"),
        # Rows, rules and numbers.
        ("0, 0, 0, 0", "0, 0, 0, 0"),
        ("[None, None, None, None]", "[None, None, None, None]"),
        ("0x00, 0x00, 0x00, 0x00,", "0x00, 0x00, 0x00, 0x00,"),
        ("'----------------'", "'----------------'"),
        ("0xffffffffffff", "0xffffffffffff"),
        ("10000000000", "10000000000"),
        ("a + a + a", "a + a + a"),
        ("a[i], a[j], a[k], a[l]", "a[i], a[j], a[k], a[l]"),
    ],
)
def test_loops_within_a_line(says: str, expect: str) -> None:
    check("x = (<CURSOR>\n", says, expect)


# White space


@pytest.mark.parametrize(
    ("file", "fixture", "says", "expect"),
    [
        # The first line.
        ("a.py", BODY, "    return 1", "return 1"),
        ("a.py", "def f():\n<CURSOR>\n", "    return 1", "    return 1"),
        ("a.py", BODY, "    if a:\n            b()", "if a:\n        b()"),
        ("a.py", "def f():\n    x = 1\n  <CURSOR>\n", "  return x", "  return x"),
        ("a.py", "x = <CURSOR>\n", " 12", "12"),
        ("a.py", "x =<CURSOR>\n", " 12", " 12"),
        ("a.py", "x = 12 <CURSOR>\n", " # seconds", " # seconds"),
        ("a.py", "xs   = 1\ny  <CURSOR>\n", "  = 2", "  = 2"),
        ("a.md", "- a\n<CURSOR>\n", "  - b", "  - b"),
        ("a.py", '"""\n    a\n    <CURSOR>\n"""\n', "    b", "    b"),
        # Tabs and blanks.
        (
            "a.go",
            "func f() {\n\tx := 1\n\t<CURSOR>\n}\n",
            "if x > 0 {\n        y()\n    }\n    z()",
            "if x > 0 {\n\t\ty()\n\t}\n\tz()",
        ),
        ("a.go", "func f() {<CURSOR>\n}\n\nfunc g() {\n\tx()\n}\n", "\n    y()", "\n\ty()"),
        (
            "a.py",
            "def g():\n    pass\n\n\ndef f():\n    <CURSOR>\n",
            "if a:\n\t\tb()\n\tc()",
            "if a:\n        b()\n    c()",
        ),
        # Steps.
        (
            "a.py",
            "def g():\n    pass\n\n\ndef f():\n    <CURSOR>\n",
            "if a:\n      if b:\n        c()",
            "if a:\n        if b:\n            c()",
        ),
        (
            "a.js",
            "function g() {\n  f();\n}\n\nfunction h() {\n  <CURSOR>\n}\n",
            "if (a) {\n      b();\n  }",
            "if (a) {\n    b();\n  }",
        ),
        # What is as it is for a reason.
        (
            "a.py",
            "def g():\n    pass\n\n\ndef f():\n    <CURSOR>\n",
            "return f(\n            a, b)",
            "return f(\n            a, b)",
        ),
        (
            "a.js",
            "function h() {\n\tx();\n\t<CURSOR>\n}\n",
            "/**\n\t * Says.\n\t */\n\ty();",
            "/**\n\t * Says.\n\t */\n\ty();",
        ),
        (
            "a.c",
            "int f() {\n\tg(a,\n\t  b);\n\t<CURSOR>\n}\n",
            "h(a,\n\t  b);",
            "h(a,\n\t  b);",
        ),
        ("a.py", "x = 1\n<CURSOR>\n", "if x:\n  y()", "if x:\n  y()"),
        # At the end of lines.
        ("a.py", BODY, "a = 1  \n    b = 2   ", "a = 1\n    b = 2"),
        ("a.md", "Text\n<CURSOR>\n", "one  \ntwo", "one  \ntwo"),
    ],
)
def test_white_space(file: str, fixture: str, says: str, expect: str) -> None:
    check(fixture, says, expect, file=file)


# The end of a string


@pytest.mark.parametrize(
    ("file", "fixture", "says", "expect"),
    [
        ("a.py", BODY, '"""Return it.', '"""Return it."""'),
        ("a.py", BODY, '"""Return it.\n    Or not.', '"""Return it.\n    Or not.\n    """'),
        ("a.py", "def f():\n<CURSOR>\n", '"""One.\n    Two.', '    """One.\n    Two.\n    """'),
        ("a.py", BODY, '"""', RejectReason.UNCLOSED_QUOTE),
        ("a.py", BODY, 'x = 1\n    """', "x = 1"),
        ("a.py", BODY, '"""Return it."""\n    return 1', '"""Return it."""\n    return 1'),
        ("a.py", 'def f():\n    <CURSOR>\n    more.\n    """\n', '"""Return it.', '"""Return it.'),
        ("a.py", 'x = """a <CURSOR>\n', "b", "b"),
        ("a.js", "const a = <CURSOR>\n", "`one ${b}", "`one ${b}`"),
        ("a.js", "const a = one.<CURSOR>\n", "two`", "two`"),
        ("a.py", "x = f(<CURSOR>\n", 'rf"""one', 'rf"""one"""'),
    ],
)
def test_the_end_of_a_string(
    file: str, fixture: str, says: str, expect: str | RejectReason
) -> None:
    check(fixture, says, expect, file=file)


# Too little


@pytest.mark.parametrize(
    ("fixture", "says", "is_shown"),
    [
        ("total = <CURSOR>\n", "x", False),
        ("total = f(<CURSOR>)\n", "1", False),
        ("def load(path)<CURSOR>\n", ":", False),
        ("total = one<CURSOR>\n", ";", False),
        ("total = [one<CURSOR>]\n", ", ", False),
        ("total = f(one<CURSOR>\n", ")", True),
        ("total = [one<CURSOR>\n", "]", True),
        ("total = 'one<CURSOR>\n", "'", True),
        ("def load(path<CURSOR>\n", "):", True),
        ("total = <CURSOR>\n", "[]", True),
        ("total = <CURSOR>\n", "10", True),
        ("def load(path):\n    <CURSOR>\n", "...", True),
    ],
)
def test_trifles(fixture: str, says: str, is_shown: bool) -> None:
    expect: str | RejectReason = says.strip() if is_shown else RejectReason.TRIFLE
    check(fixture, says, expect, trigger=Trigger.AUTOMATIC)
    check(fixture, says, says.strip())


# What goes on behind the first line


@pytest.mark.parametrize(
    ("file", "fixture", "says", "expect"),
    [
        ("a.py", "def load(a<CURSOR>\n", "):\n    return a\n\n\nx = 1", "):\n    return a"),
        ("a.py", "def load(a<CURSOR>\n    return a\n", "):\n    return b", "):"),
        ("a.py", "x = <CURSOR>\n", "f(\n    a,\n    b,\n)\ny = 2", "f(\n    a,\n    b,\n)"),
        ("a.py", "if a:<CURSOR>\n", " return 1\n    x = 2", " return 1"),
        ("a.js", "f(<CURSOR>);\n", "() => {\n  g();\n});\nh();", "() => {\n  g();\n}"),
        ("a.js", "if (x)<CURSOR>\n", " {\n  y();\n}\nz();", " {\n  y();\n}"),
        ("a.py", "f(\n    a,\n    <CURSOR>\n)\n", "b,\n    c,\n    d,", "b,"),
    ],
)
def test_the_first_line_decides(file: str, fixture: str, says: str, expect: str) -> None:
    check(fixture, says, expect, file=file)


def test_a_line_is_kept_where_its_block_was_cut() -> None:
    check("def load(a<CURSOR>\n", "):\n    retu", "):", finish=Finish.DEADLINE)
    check("x = <CURSOR>\n", "f(\n    a,\n   b", "f", finish=Finish.DEADLINE)
