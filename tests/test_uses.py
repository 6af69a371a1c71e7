"""Other calls of what is being called at a cursor."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workspace_scene import WorkspaceScene

from slm_lsp.workspace.identifiers import token_set
from slm_lsp.workspace.names import called_at
from slm_lsp.workspace.pieces import Piece
from slm_lsp.workspace.uses import MAX_A_FILE, MAX_CHARS, MAX_LINES, brief, calls_in, likest

LIB = "def make_thing(size, *, colour):\n    pass\n"
# So much that what is above it is not in the prompt of what is below.
FAR = "".join(f"value_{n} = {n}\n" for n in range(300))


@pytest.mark.parametrize(
    ("fixture", "name"),
    [
        ("make_thing(", "make_thing"),
        ("x = make_thing(1, colour=", "make_thing"),
        ("make_thing(other(1), ", "make_thing"),
        ("make_thing(other(", "other"),
        ("make_thing((1 + ", "make_thing"),
        ("make_thing([1, {'a': ", "make_thing"),
        ("make_thing(\n    1,\n    ", "make_thing"),
        ("make_thing(')', ", "make_thing"),
        ("tools.make_thing(", "make_thing"),
        ("make_thing(1)", ""),
        ("make_thing", ""),
        ("def make_thing(", ""),
        ("while (", ""),
        ("(", ""),
        ("", ""),
        ("make_thing(" + "\n" * 40, ""),
    ],
)
def test_what_is_being_called(fixture: str, name: str) -> None:
    assert called_at("python", fixture) == name


@given(st.text(alphabet="ab_( )[]{}\"'\n", max_size=60))
def test_any_text_has_a_call_or_none(text: str) -> None:
    assert called_at("python", text) in {"", *token_set(text)}


def check(text: str, *expect: str) -> None:
    """These are the calls of `make_thing` in a text, as they are shown."""
    assert [each.text for each in calls_in("a.py", text, "python", "make_thing")] == list(expect)


def test_calls_of_a_text() -> None:
    check("a = 1\nb = make_thing(a)\nc = 2\n", "a = 1\nb = make_thing(a)")
    check(
        "x = [\n    make_thing(\n        1,\n    ),\n]\n",
        "x = [\n    make_thing(\n        1,\n    ),",
    )


def test_neither_the_definition_nor_another_name_is_a_call() -> None:
    check(LIB + "remake_thing(1)\nmake_things(2)\nmake_thing = 3\n")


def test_calls_next_to_each_other_are_shown_once() -> None:
    check("make_thing(1)\nmake_thing(2)\n", "make_thing(1)", "make_thing(2)")
    check("make_thing(make_thing(1))\n", "make_thing(make_thing(1))")


def test_calls_are_bounded() -> None:
    assert len(calls_in("a.py", "make_thing(1)\n" * 99, "python", "make_thing")) == MAX_A_FILE
    [open_one] = calls_in("a.py", "make_thing(\n" + "1,\n" * 99, "python", "make_thing")
    assert open_one.text.count("\n") == MAX_LINES - 1
    check("make_thing(" + "1, " * 500 + ")\n")


def test_the_likest_come_first_and_of_equals_those_of_the_file_itself() -> None:
    pieces = [Piece("a.py", n, text, token_set(text)) for n, text in enumerate(("one", "two"))]
    assert likest(pieces[:1], pieces[1:], frozenset(["two"])) == pieces[::-1]
    assert likest(pieces[1:], pieces[:1], frozenset()) == pieces[::-1]


def texts(scene: WorkspaceScene, fixture: str) -> list[str]:
    return [each.text for each in scene.snippets("app.py", fixture)]


def test_the_definition_comes_first_and_then_how_others_call_it(tmp_path: Path) -> None:
    use = "def draw(palette):\n    return make_thing(3, colour=palette.red)\n"
    scene = WorkspaceScene(tmp_path, {"lib.py": LIB, "use.py": use})
    scene.build()
    found = texts(scene, "from lib import make_thing\n\nthing = make_thing(<CURSOR>\n")
    assert found[0] == "def make_thing(size, *, colour):"
    assert "make_thing(3, colour=palette.red)" in found[1]


def test_uses_come_before_the_definitions_of_other_names(tmp_path: Path) -> None:
    lib = LIB + "def other_thing(amount):\n    pass\n"
    use = "def draw(palette):\n    return make_thing(3, colour=palette.red)\n"
    scene = WorkspaceScene(tmp_path, {"lib.py": lib, "use.py": use})
    scene.build()
    fixture = (
        "from lib import make_thing, other_thing\n\nother_thing(1)\nthing = make_thing(<CURSOR>\n"
    )
    found = texts(scene, fixture)
    at = [next(n for n, text in enumerate(found) if part in text) for part in ("red", "amount")]
    assert at == [1, 2]


def test_of_a_class_that_is_called_the_constructor_is_enough(tmp_path: Path) -> None:
    methods = [f"    def method_{n}(self, value: int) -> None: ...\n" for n in range(12)]
    made = "    def __init__(self, size: int) -> None: ...\n"
    lib = "".join(["class BigThing:\n", *methods[:6], made, *methods[6:]])
    files = {"lib.py": lib, "use.py": "BigThing(size=7)\n"}
    scene = WorkspaceScene(tmp_path, files)
    scene.build()
    found = texts(scene, "from lib import BigThing\n\nthing = BigThing(<CURSOR>\n")
    assert found == [
        "class BigThing:\n    def __init__(self, size: int) -> None:",
        "BigThing(size=7)",
    ]


def test_what_a_class_begins_with_stands_for_a_constructor() -> None:
    fields = "".join(f"    field_{n}: int\n" for n in range(99))
    text = f"class BigThing:\n{fields}"
    shown = brief(Piece("a.py", 0, text, token_set(text)), "BigThing").text
    assert text.startswith(shown)
    assert 300 < len(shown) <= MAX_CHARS


def test_an_open_document_is_taken_as_it_is_now(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {"lib.py": LIB, "use.py": "make_thing(1, colour=old)\n"})
    scene.build()
    scene.open("use.py", "make_thing(2, colour=unsaved)\n")
    found = texts(scene, "thing = make_thing(<CURSOR>\n")
    assert "make_thing(2, colour=unsaved)" in found
    assert not any("old" in text for text in found)


def test_calls_in_the_file_itself_are_shown_unless_the_prompt_has_them(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {})
    far, near = "make_thing(1, colour=distant)\n", "make_thing(2, colour=adjacent)\n"
    fixture = far + FAR + near + "thing = make_thing(<CURSOR>\n"
    assert texts(scene, fixture) == [far.strip()]
    assert texts(scene, fixture.replace("(<CURSOR>", "(3)\n<CURSOR>")) == []


def test_calls_right_above_do_not_hide_those_far_below(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {})
    near = "".join(f"make_thing({n})\n" for n in range(2 * MAX_A_FILE))
    fixture = near + "thing = make_thing(<CURSOR>\n" + FAR + "make_thing(7, colour=distant)\n"
    assert any("distant" in text for text in texts(scene, fixture))


def test_files_of_other_languages_are_left_out(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {"use.js": "make_thing(1, red);\n"})
    scene.build()
    assert texts(scene, "thing = make_thing(<CURSOR>\n") == []


def test_a_file_is_read_once_for_a_name(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {"use.py": "make_thing(1, colour=red)\n"})
    scene.build()
    fixture = "thing = make_thing(<CURSOR>\n"
    first = texts(scene, fixture)
    (scene.folder / "use.py").unlink()  # nobody has told
    assert texts(scene, fixture.replace("<CURSOR>", "1<CURSOR>")) == first != []
