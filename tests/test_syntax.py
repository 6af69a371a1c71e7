"""Incremental trees against full ones, edits in bytes, and the limits of what is parsed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from language_samples import SAMPLES

from slm_lsp.context import syntax
from slm_lsp.context.edits import Edit, apply_edit, edit_between, row_at
from slm_lsp.context.languages import LANGUAGES, PLAIN_TEXT, language_of, language_of_path
from slm_lsp.context.syntax import SyntaxTrees, encode, nodes_at
from slm_lsp.text.position import byte_offset
from slm_lsp.types import DocumentSnapshot

if TYPE_CHECKING:
    from slm_lsp.context.syntax import Node, Tree

SOURCES = {name: sample.text for name, sample in SAMPLES.items()}

PIECES = [
    "\n",
    "    ",
    "(",
    ")",
    '"',
    '"""',
    "`",
    "/*",
    "é",
    "🙂",
    "x",
    ":",
    "{",
    "}",
    "def f():\n",
]


def snapshot(text: str, language: str = "python", uri: str = "file:///a") -> DocumentSnapshot:
    return DocumentSnapshot(uri, 1, language, text)


def shape(root: Node) -> list[object]:
    """All that can be seen of a tree, in the order of its text."""
    cursor, found = root.walk(), list[object]()
    while True:
        node = cursor.node
        assert node is not None
        found.append(
            (cursor.depth, node.kind_id, node.byte_range, node.start_point, node.end_point)
        )
        if cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return found


def full(text: str, language: str) -> Tree:
    tree = TREES.tree(snapshot(text, language, uri=f"full:{language}:{hash(text)}"))
    assert tree is not None
    return tree


TREES = SyntaxTrees()


def check(tree: Tree | None, text: str, language: str) -> None:
    """The tree is the one that a parse of the whole text gives."""
    assert tree is not None
    expected = full(text, language)
    # A grammar may give a broken text up before its end: YAML's then misses an end of file.
    assert tree.root_node.has_error or tree.root_node.end_byte == len(encode(text))
    # How broken code is mended may depend on what is reused; sound code leaves no choice.
    if not expected.root_node.has_error:
        assert shape(tree.root_node) == shape(expected.root_node)


def test_every_language_with_a_grammar_has_a_sample() -> None:
    assert set(SAMPLES) == {name for name, each in LANGUAGES.items() if each.module}


@pytest.mark.parametrize("language", SOURCES)
def test_every_grammar_loads_and_accepts_its_source(language: str) -> None:
    tree = SyntaxTrees().tree(snapshot(SOURCES[language], language))
    assert tree is not None
    assert not tree.root_node.has_error


@pytest.mark.parametrize("language", SOURCES)
def test_node_types_named_in_languages_exist_in_the_grammar(language: str) -> None:
    known = language_of(language)
    grammar = full(SOURCES[language], language).language
    names = known.strings | known.comments | known.holes | set(known.scopes)
    assert {name for name in names if grammar.id_for_node_kind(name, True) is None} == set()


edits = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 6), st.sampled_from(["", *PIECES])),
    min_size=1,
    max_size=5,
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(language=st.sampled_from(sorted(SOURCES)), changes=edits)
@example(language="yaml", changes=[(0.53125, 5, "")])
def test_incremental_tree_equals_full_tree(
    language: str, changes: list[tuple[float, int, str]]
) -> None:
    trees, text = SyntaxTrees(), SOURCES[language]
    trees.tree(snapshot(text, language))
    for place, n_removed, inserted in changes:
        at = round(place * len(text))
        text = text[:at] + inserted + text[at + n_removed :]
        check(trees.tree(snapshot(text, language)), text, language)
    check(trees.tree(snapshot(SOURCES[language], language)), SOURCES[language], language)


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet="aä€🙂🙃\n", max_size=12),
    st.text(alphabet="aä€🙂🙃\n", max_size=12),
)
def test_edit_between_is_minimal_and_cut_at_code_points(old: str, new: str) -> None:
    old_bytes, new_bytes = encode(old), encode(new)
    edit = edit_between(old_bytes, new_bytes)
    middle = new_bytes[edit.start : edit.new_end]
    assert old_bytes[: edit.start] + middle + old_bytes[edit.old_end :] == new_bytes
    removed = old_bytes[edit.start : edit.old_end].decode()
    assert old_bytes[: edit.start].decode() + removed + old_bytes[edit.old_end :].decode() == old
    added = middle.decode()
    if removed and added:
        assert removed[0] != added[0]
        assert removed[-1] != added[-1]


@pytest.mark.parametrize(
    ("old", "new", "expect"),
    [
        ("abc", "abxc", Edit(2, 2, 3)),
        ("abxc", "abc", Edit(2, 3, 2)),
        ("aaa", "aaaa", Edit(3, 3, 4)),
        ("", "ä", Edit(0, 0, 2)),
        ("ä", "å", Edit(0, 2, 2)),
        ("🙂x", "🙃x", Edit(0, 4, 4)),
        ("same", "same", Edit(4, 4, 4)),
    ],
)
def test_edit_between(old: str, new: str, expect: Edit) -> None:
    assert edit_between(encode(old), encode(new)) == expect


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a = 1\nb = 2", "a = 1\n\nb = 2"),
        ("a = 1\n\nb = 2", "a = 1\nb = 2"),
        ("a = 1; b = 2", "a = 1; é = 3; b = 2"),
        ("a = [1,\n  2]; b = 2", "a = [1]; b = 2"),
        ("a = 'é\\\nx'; b = 2", "a = 'x'\n\n\nb = 22"),
    ],
)
def test_apply_edit_moves_what_is_behind_the_edit(old: str, new: str) -> None:
    tree = full(old, "python").copy()
    old_bytes, new_bytes = encode(old), encode(new)
    edit = edit_between(old_bytes, new_bytes)
    apply_edit(tree, old_bytes, new_bytes, edit, row_at(old_bytes, edit.start))
    assert tree.root_node.end_byte == len(new_bytes)
    assert tree.root_node.end_point == full(new, "python").root_node.end_point


@given(st.text(alphabet="a\n", max_size=20).map(str.encode), st.integers(0, 20), st.integers(0, 20))
def test_a_row_counted_from_another_place_is_the_same(source: bytes, at: int, near: int) -> None:
    at, near = min(at, len(source)), min(near, len(source))
    row = source.count(b"\n", 0, near)
    assert row_at(source, at, (near, row)) == row_at(source, at) == source.count(b"\n", 0, at)


@settings(deadline=None)
@given(st.text(alphabet="aä€🙂\ud800\udfff\n", max_size=20), st.integers(0, 20))
def test_byte_offset_fits_the_encoding(text: str, offset: int) -> None:
    offset = min(offset, len(text))
    assert encode(text[:offset]) == encode(text)[: byte_offset(text, offset)]


def test_a_lone_surrogate_keeps_its_place() -> None:
    text = "a\ud800b\udfffc"
    assert encode(text).decode() == "a\ufffdb\ufffdc"
    assert [byte_offset(text, i) for i in range(6)] == [0, 1, 4, 5, 8, 9]
    tree = TREES.tree(snapshot(f'x = "{text}"\n'))
    assert tree is not None
    assert not tree.root_node.has_error


def test_a_tree_that_was_handed_out_does_not_change() -> None:
    trees = SyntaxTrees()
    first = trees.tree(snapshot("def f():\n    pass\n"))
    assert first is not None
    before = shape(first.root_node)
    trees.tree(snapshot("x = 1\n\ndef f():\n    pass\n"))
    assert shape(first.root_node) == before


def test_the_same_text_is_not_parsed_again() -> None:
    trees = SyntaxTrees()
    assert trees.tree(snapshot("x = 1\n")) is trees.tree(snapshot("x = " + "1\n"))


def test_an_unknown_language_has_no_tree() -> None:
    assert TREES.tree(snapshot("x", "cobol")) is None


def test_a_changed_language_is_parsed_afresh() -> None:
    trees = SyntaxTrees()
    trees.tree(snapshot("int x;\n", "python"))
    tree = trees.tree(snapshot("int x;\n", "c"))
    assert tree is not None
    assert tree.root_node.type == "translation_unit"


def test_the_least_recently_used_document_is_dropped() -> None:
    trees = SyntaxTrees(max_documents=2)
    first = trees.tree(snapshot("a", uri="1"))
    second = trees.tree(snapshot("b", uri="2"))
    assert trees.tree(snapshot("a", uri="1")) is first
    trees.tree(snapshot("c", uri="3"))
    assert trees.tree(snapshot("a", uri="1")) is first
    assert trees.tree(snapshot("b", uri="2")) is not second


def test_forget_drops_the_tree() -> None:
    trees = SyntaxTrees()
    tree = trees.tree(snapshot("a"))
    trees.forget("file:///a")
    trees.forget("file:///never opened")
    assert trees.tree(snapshot("a")) is not tree


@pytest.mark.parametrize(
    "text", ["x = 1\n" * 200_000, "x" * 5_000_000, "\0\1\2" * 1000, "PK\3\4\0" + "é" * 1000]
)
def test_long_and_binary_text_has_no_tree_and_takes_no_time(text: str) -> None:
    began = time.perf_counter()
    assert SyntaxTrees().tree(snapshot(text)) is None
    assert time.perf_counter() - began < 0.25


def test_text_that_is_too_much_work_is_given_up_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syntax, "MAX_REPORTS", 20)
    trees = SyntaxTrees()
    assert trees.tree(snapshot("(" * 50_000)) is None
    assert trees.tree(snapshot("x = 1\n")) is None
    trees.forget("file:///a")
    check(trees.tree(snapshot("x = 1\n")), "x = 1\n", "python")


def test_a_stopped_parse_gives_the_old_tree_moved() -> None:
    trees, text = SyntaxTrees(), "def f(x):\n    return x\n" * 200
    assert trees.tree(snapshot(text), stop=lambda: True) is None
    old = trees.tree(snapshot(text))
    added = "y = [\n" + "    1,\n" * 1000 + "]\n"
    longer = added + text
    stale = trees.tree(snapshot(longer), stop=lambda: True)
    assert stale is not None
    last = stale.root_node.children[-1]
    assert longer[last.start_byte :].startswith("def f(x):")
    assert last.start_point.row == longer.count("\n", 0, last.start_byte)
    assert trees.tree(snapshot(text), stop=lambda: True) is old
    check(trees.tree(snapshot(longer)), longer, "python")


def test_edits_far_apart_leave_what_stands_between_as_it_was() -> None:
    trees, lines = SyntaxTrees(), [f"value_{i} = {i}" for i in range(300)]
    trees.tree(snapshot("\n".join(lines)))
    for at in (10, 290):  # neither parse comes to an end
        lines[at] += " + 1"
        trees.tree(snapshot("\n".join(lines)), stop=lambda: True)
    text = "\n".join(lines)
    found = trees.moved(snapshot(text))
    assert found is not None
    changed = [i for i, child in enumerate(found[0].root_node.children) if child.has_changes]
    assert {10, 290} <= set(changed) <= {9, 10, 11, 289, 290, 291}
    middle = found[0].root_node.children[150]
    assert text[middle.start_byte : middle.end_byte] == lines[150]
    check(trees.tree(snapshot(text)), text, "python")


def test_nobody_waits_until_an_ended_parse_is_forgotten() -> None:
    trees, n_stops = SyntaxTrees(), syntax._MAX_ENDED + 1
    text = "def f(x):\n    return x\n" * 2000
    for n in range(n_stops):
        assert trees.tree(snapshot(f"{n}\n{text}", uri=f"file:///{n}"), stop=lambda: True) is None
        # The next text is parsed by itself, in whichever way it is asked for.
        assert trees.apart("python", b"x = 1\n") is not None
        check(trees.tree(snapshot(f"x = {n}\n", uri="file:///a")), f"x = {n}\n", "python")
        assert 0 < len(trees._ended) <= syntax._MAX_ENDED
    trees.tidy()
    assert not trees._ended


@pytest.mark.parametrize(("n_lines", "is_parsed"), [(100, True), (4000, False)])
def test_a_hurried_call_does_not_repeat_a_long_parse(n_lines: int, is_parsed: bool) -> None:
    asked = False

    def stop() -> bool:
        nonlocal asked
        asked = True
        return False

    trees, text = SyntaxTrees(), "xyz = 1\n" * n_lines
    trees.tree(snapshot(text))
    longer = text + "y = [\n" + "    1,\n" * 200 + "]\n"
    assert trees.tree(snapshot(longer), stop, hurried=True) is not None
    assert asked is is_parsed
    check(trees.tree(snapshot(longer)), longer, "python")


def test_hurried_calls_wait_until_parses_are_short_again() -> None:
    trees, text = SyntaxTrees(), "xyz = 1\n" * 200

    def asks(text: str) -> bool:
        """Whether a hurried call parses the text, which is caught up with afterwards."""
        n_asked = 0

        def stop() -> bool:
            nonlocal n_asked
            n_asked += 1
            return False

        assert trees.tree(snapshot(text), stop, hurried=True) is not None
        caught_up = trees.tree(snapshot(text))
        assert caught_up is not None
        assert caught_up.root_node.end_byte == len(text)
        return n_asked > 0

    trees.tree(snapshot(text))
    longer = text + "y = [\n" + "    1,\n" * 4_000 + "]\n"
    assert asks(text + "a")
    assert asks(longer)  # which nobody could know
    after = [asks(longer + "b" * n) for n in range(1, 12)]
    assert (after[:2], after[-1]) == ([False, False], True)
    last = longer + "b" * 11
    check(trees.tree(snapshot(last)), last, "python")
    assert after == sorted(after)
    # What could not be done in time once is not begun again before it was caught up with.
    edited = longer + "c" * 20
    assert trees.tree(snapshot(edited), lambda: True, hurried=True) is not None
    n_asked = 0

    def counting() -> bool:
        nonlocal n_asked
        n_asked += 1
        return True

    trees.tree(snapshot(edited + "\nd = 1"), counting, hurried=True)
    assert n_asked == 0


def test_nodes_at_go_outwards_from_the_byte_before() -> None:
    tree = full("def f(x):\n    return x\n", "python")
    types = [node.type for node in nodes_at(tree, len("def f(x):\n    return"))]
    assert types == ["return", "return_statement", "block", "function_definition", "module"]
    for at in (0, 1, 10**6):
        assert nodes_at(tree, at)[-1] == tree.root_node


@pytest.mark.parametrize(
    ("path", "expect"),
    [
        ("/a/b.py", "python"),
        ("b.PYI", "python"),
        ("a.b.tsx", "typescriptreact"),
        ("a.jsx", "javascriptreact"),
        ("a.mjs", "javascript"),
        ("x.h", "c"),
        ("x.hpp", "cpp"),
        ("Main.java", "java"),
        ("m.go", "go"),
        ("m.rs", "rust"),
        ("m.ts", "typescript"),
        ("a/Makefile", "makefile"),
        ("a\\Gemfile", "ruby"),
        ("x.SH", "shellscript"),
        ("tsconfig.json", "jsonc"),
        ("unknown.xyz", PLAIN_TEXT),
        ("a.py/README", PLAIN_TEXT),
        ("", PLAIN_TEXT),
    ],
)
def test_language_of_path(path: str, expect: str) -> None:
    assert language_of_path(path) == expect


def test_no_grammar_is_imported_before_the_first_tree() -> None:
    code = (
        "import sys, slm_lsp.context.extract, slm_lsp.context.syntax as s; s.SyntaxTrees()\n"
        "sys.exit(any(name.startswith('tree_sitter') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_edit_is_found_and_its_text_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    trees = SyntaxTrees()
    lines = [f"value_{i} = compute({i})" for i in range(3_000)]
    trees.tree(snapshot("\n".join(lines)))
    counts = {"encode": 0, "edit_between": 0}
    for name in counts:
        call = getattr(syntax, name)

        def counted(*args: object, name: str = name, call: Callable[..., Any] = call) -> Any:
            counts[name] += 1
            return call(*args)

        monkeypatch.setattr(syntax, name, counted)
    lines[1_500] += " + 1"
    edited = snapshot("\n".join(lines))
    # The context's hurried tree, the look at a text's syntax, and what is caught up with.
    hurried = trees.tree(edited, lambda: True, hurried=True)
    moved = trees.moved(edited)
    assert hurried is not None
    assert moved is not None
    assert moved[1] == trees.source(edited.text) == edited.text.encode()
    tree = trees.tree(edited)
    assert tree is not None
    assert counts == {"encode": 1, "edit_between": 1}
    assert shape(tree.root_node) == shape(full(edited.text, "python").root_node)
