"""Excerpts: small, and as sound or broken as the document.

Owns: documents in several languages that are long enough to be cut.

Invariant: what an excerpt is judged by is a parse of it.
"""

from __future__ import annotations

import pytest

from slm_lsp.context.excerpt import SMALL_BYTES, Excerpt, around
from slm_lsp.context.languages import language_of_path
from slm_lsp.context.syntax import SyntaxTrees, errors
from slm_lsp.types import DocumentSnapshot

TREES = SyntaxTrees()
N = 200
PYTHON = (
    "import os\n\n\nclass A(Base):\n    x = 1\n"
    + "".join(
        f"\n    @each\n    def m{i}(self, a):\n        if a:\n            return [\n"
        f"                {i},\n                a,\n            ]\n        return {i}\n"
        for i in range(N)
    )
    + "\n\nif __name__ == '__main__':\n    A().m1(2)\n"
)
JAVASCRIPT = (
    "export class A {\n"
    + "".join(f"  m{i}(a) {{\n    if (a) {{\n      b({i});\n    }}\n  }}\n\n" for i in range(N))
    + "}\n"
)
C = (
    "#ifndef A_H\n#define A_H\n\n"
    + "".join(f"int f{i}(int a)\n{{\n    return a + {i};\n}}\n\n" for i in range(N))
    + "int values[] = {\n"
    + "".join(f"    {i},\n" for i in range(N))
    + "};\n\n#endif\n"
)
GO = "package a\n\n" + "".join(f"func f{i}() int {{\n\treturn {i}\n}}\n\n" for i in range(N))
FLAT = "".join(f"x{i} = {i}\n" for i in range(5 * N))
DOCUMENTS = {"a.py": PYTHON, "a.js": JAVASCRIPT, "a.c": C, "a.go": GO, "flat.py": FLAT}


def excerpt_at(file: str, text: str, offset: int) -> Excerpt:
    snapshot = DocumentSnapshot(file, 1, language_of_path(file), text)
    tree = TREES.tree(snapshot)
    assert tree is not None
    return around(tree, text.encode(), len(text[:offset].encode()))


def n_errors(file: str, text: str) -> int:
    tree = TREES.apart(language_of_path(file), text.encode())
    assert tree is not None
    return sum(1 for _ in errors(tree.root_node))


def places(text: str) -> list[int]:
    lines = [0]
    for line in text.split("\n")[:-1]:
        lines.append(lines[-1] + len(line) + 1)
    return lines[:: max(1, len(lines) // 25)]


@pytest.mark.parametrize("file", DOCUMENTS)
def test_an_excerpt_of_a_sound_file_is_sound_and_small(file: str) -> None:
    text = DOCUMENTS[file]
    assert n_errors(file, text) == 0
    for offset in places(text):
        found = excerpt_at(file, text, offset)
        assert n_errors(file, found.before + found.after) == 0
        assert len(found.before + found.after) < 2_000 < len(text) / 2


@pytest.mark.parametrize("file", DOCUMENTS)
def test_the_lines_around_the_cursor_stay(file: str) -> None:
    text = DOCUMENTS[file]
    for offset in places(text):
        found = excerpt_at(file, text, offset)
        assert text[:offset].endswith(found.before[-30:])
        assert text[offset:].startswith(found.after[:30])
        whole = text.split("\n")
        assert set((found.before + found.after).split("\n")) <= set(whole)


@pytest.mark.parametrize(
    ("file", "taken_out", "put_in"),
    [
        ("a.py", "        if a:\n", "        if a\n"),
        ("a.js", "    if (a) {\n", "    if (a) \n"),
        ("a.c", "int f100(int a)\n{\n", "int f100(int a)\n"),
        ("a.go", "func f100() int {\n", "func f100() int \n"),
    ],
)
def test_what_is_broken_can_be_mended_in_the_excerpt(
    file: str, taken_out: str, put_in: str
) -> None:
    """The two halves of a broken pair both stay, however far one is from the other."""
    text = DOCUMENTS[file]
    at = text.index(taken_out, len(text) // 3)
    broken = text[:at] + put_in + text[at + len(taken_out) :]
    offset = at + len(put_in) - 1
    found = excerpt_at(file, broken, offset)
    missing = taken_out[len(put_in) - 1 : -1]
    assert n_errors(file, found.before + found.after) > 0
    assert n_errors(file, found.before + missing + found.after) == 0
    assert len(found.before + found.after) < len(text)


def test_what_says_which_language_it_is_stays() -> None:
    functions = [f"function f{n}($a)\n{{\n    return $a + {n};\n}}\n" for n in range(300)]
    text = "<?php\n\n" + "\n".join(functions)
    broken = text.replace("return $a + 7;", "return $a + ;").replace("$a + 250;", "$a 250;")
    for source in (text, broken):
        offset = source.index("return $a + 100")
        found = excerpt_at("a.php", source, offset)
        assert found.before.startswith("<?php\n")
        assert len(found.before + found.after) < len(text) / 2
        assert n_errors("a.php", found.before + "+ = " + found.after) > 0


def test_a_tree_that_is_an_edit_old_does() -> None:
    TREES.forget("a.py")
    TREES.tree(DocumentSnapshot("a.py", 1, "python", PYTHON))
    at = PYTHON.index("        return 100\n")
    typed = PYTHON[:at] + "        value = (\n" + PYTHON[at:]
    moved = TREES.moved(DocumentSnapshot("a.py", 2, "python", typed))
    assert moved is not None
    found = around(moved[0], moved[1], at + len("        value = ("))
    assert found.before.endswith("        value = (")
    assert found.after.startswith("\n        return 100\n")
    assert n_errors("a.py", found.before + "1)" + found.after) == 0


def test_line_ends_are_plain_and_small_texts_whole() -> None:
    text = "def f():\r\n    return é\r\n"
    assert len(text) < SMALL_BYTES
    found = excerpt_at("a.py", text, text.index("\r\n    return") + 2)
    assert found == Excerpt("def f():\n", "    return é\n")
