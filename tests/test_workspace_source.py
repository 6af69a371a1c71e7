"""What is shown of other files at a place."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from workspace_scene import WorkspaceScene, write

from slm_lsp.workspace import pieces
from slm_lsp.workspace.identifiers import dice, token_set
from slm_lsp.workspace.names import defined_near, names_near, similar_to
from slm_lsp.workspace.pieces import (
    FEW_WORDS,
    LIKE_CURSOR,
    LIKE_EACH_OTHER,
    WITHIN_CURSOR,
    Piece,
    chosen,
    fused,
    window,
    windows,
)
from slm_lsp.workspace.roots import path_of
from slm_lsp.workspace.source import WorkspaceSource

CLIENT = '''
class Client:
    """Talks to a server."""

    def __init__(self, host: str) -> None:
        self.host = host

    def send(self, payload: bytes) -> int:
        """Send it."""
        return len(payload)
'''


def check(tmp_path: Path, files: dict[str, str], path: str, fixture: str, **expect: str) -> None:
    """What is shown at the cursor in `path` holds each of the texts `expect`, whose names are of
    files without their suffix and with `__` for a slash."""
    scene = WorkspaceScene(tmp_path, files)
    scene.build()
    shown = scene.shown(path, fixture)
    found = {key.rpartition(".")[0].replace("/", "__"): text for key, text in shown.items()}
    for name, text in expect.items():
        assert text in found.get(name, ""), shown


def test_an_imported_class_is_shown_as_its_outline(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {"net/client.py": CLIENT, "net/__init__.py": "x = 1\n"})
    scene.build()
    [snippet, *_] = scene.snippets(
        "app.py", "from net.client import Client\n\ndef run():\n    client = Client(<CURSOR>\n"
    )
    assert snippet.path == "net/client.py"
    assert snippet.text == (
        "# Talks to a server.\nclass Client:\n    self.host = host\n"
        "    def __init__(self, host: str) -> None:\n"
        "    # Send it.\n    def send(self, payload: bytes) -> int:"
    )


def test_imports_decide_among_namesakes(tmp_path: Path) -> None:
    others = {f"other/n{n}.py": "def load(path):\n    pass\n" for n in range(9)}
    check(
        tmp_path,
        {**others, "pkg/io.py": "def load(stream, *, strict):\n    pass\n"},
        "pkg/app.py",
        "from .io import load\n\nvalue = load(<CURSOR>\n",
        pkg__io="def load(stream, *, strict):",
    )


def test_a_name_that_is_called_otherwise_here(tmp_path: Path) -> None:
    check(
        tmp_path,
        {"pkg/io.py": "def load(stream):\n    pass\n"},
        "app.py",
        "from pkg.io import load as read_it\n\nvalue = read_it(<CURSOR>\n",
        pkg__io="def load(stream):",
    )


def test_what_a_package_offers_is_found_in_its_files(tmp_path: Path) -> None:
    homonyms = {f"zoo/n{n}.py": "class Engine:\n    pass\n" for n in range(9)}
    check(
        tmp_path,
        {
            **homonyms,
            "core/__init__.py": "from .engine import Engine\n",
            "core/engine.py": "class Engine:\n    def start(self, speed): ...\n",
        },
        "app.py",
        "from core import Engine\n\nengine = Engine()\nengine.<CURSOR>\n",
        core__engine="def start(self, speed)",
    )


@pytest.mark.parametrize(
    ("files", "path", "fixture", "name", "text"),
    [
        (
            {"src/box.ts": "export class Box {\n  area(scale: number): number {\n  }\n}\n"},
            "src/app.ts",
            "import { Box } from './box';\nconst box = new Box();\nbox.<CURSOR>\n",
            "src__box",
            "area(scale: number): number",
        ),
        (
            {"store/db.go": "package store\n\nfunc Open(path string) error {\n}\n"},
            "main.go",
            'package main\n\nimport "g.com/me/app/store"\n\nfunc main() {\n\tstore.Open(<CURSOR>\n',
            "store__db",
            "func Open(path string) error",
        ),
        (
            {"src/com/x/Name.java": "class Name {\n    String first() {\n    }\n}\n"},
            "src/com/y/App.java",
            "import com.x.Name;\nclass App {\n    void run(Name name) {\n        name.<CURSOR>\n",
            "src__com__x__Name",
            "String first()",
        ),
        (
            {"util/text.h": "struct text {\n    int length;\n};\n"},
            "src/app.c",
            '#include "util/text.h"\n\nint size(struct text *text) {\n    return text-><CURSOR>\n',
            "util__text",
            "int length",
        ),
        (
            {"src/net/client.rs": "pub fn connect(host: &str) -> Client {\n}\n"},
            "src/main.rs",
            "use crate::net::client::connect;\n\nfn main() {\n    connect(<CURSOR>\n",
            "src__net__client",
            "pub fn connect(host: &str) -> Client",
        ),
    ],
)
def test_imports_of_other_languages(
    tmp_path: Path, files: dict[str, str], path: str, fixture: str, name: str, text: str
) -> None:
    check(tmp_path, files, path, fixture, **{name: text})


def test_a_name_that_is_like_no_other_needs_no_import(tmp_path: Path) -> None:
    files = {"lib/a.py": "def parse_invoice(text):\n    pass\n", "b.py": "def get():\n    pass\n"}
    scene = WorkspaceScene(tmp_path, files)
    scene.build()
    shown = scene.shown("app.py", "x = get()\ny = parse_invoice(<CURSOR>\n")
    assert shown == {"lib/a.py": "def parse_invoice(text):"}


def test_an_open_document_counts_as_it_is_now(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {"lib.py": "def make_thing(old):\n    pass\n"})
    scene.build()
    fixture = "from lib import make_thing\nmake_thing(<CURSOR>\n"
    scene.open("lib.py", "\n\n\ndef make_thing(new, unsaved):\n    pass\n")
    assert scene.shown("app.py", fixture)["lib.py"] == "def make_thing(new, unsaved):"
    # Closed without being saved, it is what the disk has.
    scene.source.forget((scene.folder / "lib.py").as_uri())
    assert scene.shown("app.py", fixture)["lib.py"] == "def make_thing(old):"


def test_saves_renames_and_deletions_are_reflected(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {"lib.py": "def make_thing(one):\n    pass\n"})
    scene.build()
    fixture = "value = make_thing(<CURSOR>\n"
    assert scene.shown("app.py", fixture) == {"lib.py": "def make_thing(one):"}
    write(scene.folder, {"lib.py": "def make_thing(one, two):\n    pass\n"})
    scene.build("lib.py")
    assert scene.shown("app.py", fixture) == {"lib.py": "def make_thing(one, two):"}
    (scene.folder / "lib.py").rename(scene.folder / "moved.py")
    scene.build("lib.py", "moved.py")
    assert scene.shown("app.py", fixture) == {"moved.py": "def make_thing(one, two):"}
    (scene.folder / "moved.py").unlink()
    assert scene.shown("app.py", fixture) in ({}, {"moved.py": "def make_thing(one, two):"})
    scene.build("moved.py")
    assert scene.shown("app.py", fixture) == {}


SIMILAR = """
def read_orders(connection, customer_id):
    cursor = connection.cursor()
    cursor.execute("select total, currency from orders where customer = ?", [customer_id])
    orders = [Order(total, currency) for total, currency in cursor.fetchall()]
    cursor.close()
    return sorted(orders, key=order_total)
"""
ALIKE = """
def read_refunds(connection, account_number):
    cursor = connection.cursor()
    cursor.execute("select amount, reason from refunds where account = ?", [account_number])
    refunds = [Refund(amount, reason) for amount, reason in cursor.fetchall()]
    cursor.close()
    <CURSOR>
"""
UNLIKE = "".join(f"def unrelated_{n}(alpha, beta):\n    return alpha * {n}\n\n\n" for n in range(9))


def test_similar_stretches_are_found_in_the_workspace(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {"db/orders.py": UNLIKE + SIMILAR, "other.py": UNLIKE})
    scene.build()
    shown = scene.shown("db/refunds.py", ALIKE)
    assert "cursor.fetchall()" in shown["db/orders.py"]
    assert "other.py" not in shown


def test_similar_stretches_of_documents_need_no_index(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {"other.py": UNLIKE})
    scene.open("orders.py", UNLIKE + SIMILAR)
    scene.open("other.py")
    assert "cursor.fetchall()" in scene.shown("refunds.py", ALIKE)["orders.py"]


def test_what_was_edited_last_is_shown_if_it_is_like_the_place(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {})
    far = UNLIKE * 5
    scene.open("orders.py", far)
    scene.open("orders.py", far + SIMILAR)
    [piece] = scene.source._live.edited("another")
    assert "read_orders" in piece.text
    assert "read_orders" in scene.shown("refunds.py", ALIKE)["orders.py"]


def test_nothing_like_the_surroundings_is_shown(tmp_path: Path) -> None:
    copy = ALIKE.replace("<CURSOR>", "return refunds")
    scene = WorkspaceScene(tmp_path, {"copy.py": UNLIKE + copy, "db/orders.py": SIMILAR})
    scene.build()
    shown = scene.shown("refunds.py", UNLIKE + ALIKE)
    assert not any("read_refunds" in text for text in shown.values())
    assert "db/orders.py" in shown


def test_of_two_copies_one_is_shown(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {"a/orders.py": UNLIKE + SIMILAR, "b/orders.py": SIMILAR})
    scene.build()
    texts = [each.text for each in scene.snippets("refunds.py", ALIKE)]
    assert sum("read_orders" in text for text in texts) == 1


@pytest.mark.parametrize("rule", ["orders.py\n", "db/\n"])
def test_an_ignored_document_is_not_shown_though_it_is_open(tmp_path: Path, rule: str) -> None:
    scene = WorkspaceScene(tmp_path, {"db/orders.py": SIMILAR, ".slmignore": rule})
    scene.build()
    scene.open("db/orders.py")
    assert scene.shown("refunds.py", ALIKE) == {}
    write(scene.folder, {".slmignore": "\n"})
    scene.source.watched([(scene.folder / ".slmignore").as_uri()])
    assert "db/orders.py" in scene.shown("refunds.py", ALIKE)


def test_a_secret_document_is_not_shown_though_it_is_open(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {"keys/id_rsa_orders.py": SIMILAR})
    scene.build()
    scene.open("keys/id_rsa_orders.py")
    assert scene.shown("refunds.py", ALIKE) == {}


def test_the_room_is_kept_to(tmp_path: Path) -> None:
    files = {f"m{n}.py": f"class Model{n}Name:\n    field_{n}: int\n" for n in range(9)}
    scene = WorkspaceScene(tmp_path, files)
    scene.build()
    names = ", ".join(f"Model{n}Name" for n in range(9))
    for max_chars in (0, 50, 100, 400):
        found = scene.snippets("app.py", f"use_them({names}, <CURSOR>\n", max_chars)
        assert sum(len(each.path) + len(each.text) for each in found) <= max_chars
        assert bool(found) is (max_chars >= 50)


def test_files_that_are_no_utf8_are_shown_as_text(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {})
    source = "def grüße_alle(name):\n    return name\n\ndef make_thing(value):\n    pass\n"
    source += UNLIKE
    (scene.folder / "lib.py").write_bytes(source.encode("latin-1"))
    scene.build()
    assert scene.shown("app.py", "make_thing(<CURSOR>\n")["lib.py"] == "def make_thing(value):"


def test_several_folders_tell_their_files_apart(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {"lib.py": "def make_thing(here):\n    pass\n"})
    scene.build()
    other = tmp_path / "second"
    write(other, {"lib.py": "def make_other(there):\n    pass\n"})
    scene.source.set_folders([scene.folder, other])
    shown = scene.shown("app.py", "make_thing(<CURSOR>\n")
    assert shown == {"project/lib.py": "def make_thing(here):"}
    assert scene.source.name_of((other / "lib.py").as_uri()) == ("second", "second/lib.py")
    scene.source.set_folders([scene.folder])
    assert scene.source.name_of((scene.folder / "lib.py").as_uri()) == ("project", "lib.py")
    assert scene.source.name_of((other / "lib.py").as_uri()) == ("", "lib.py")


def test_two_servers_read_one_index(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, {"lib.py": "def make_thing(value):\n    pass\n"})
    scene.build()
    fixture = "make_thing(<CURSOR>\n"
    first = scene.snippets("app.py", fixture)
    scene.source = WorkspaceSource(scene.indexes, [scene.folder])
    assert scene.snippets("app.py", fixture) == first != []


# --- time and order ---

BUSY_FILES = {
    "net/client.py": CLIENT,
    "db/orders.py": UNLIKE + SIMILAR,
    "lib/tools.py": "def make_thing(value):\n    pass\n",
}
BUSY_PLACE = "from net.client import Client\n" + ALIKE.replace("<CURSOR>", "make_thing(<CURSOR>")


def test_the_same_place_gives_the_same_whatever_was_asked_before(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, BUSY_FILES)
    scene.build()
    first = scene.snippets("app.py", BUSY_PLACE)
    assert len(first) >= 2
    again = WorkspaceScene(tmp_path, {})
    again.snippets("app.py", "other = unrelated_3(<CURSOR>\n")
    again.snippets("app.py", ALIKE)
    assert again.snippets("app.py", BUSY_PLACE) == first
    # An index built in another order.
    shutil.rmtree(scene.indexes)
    for path in sorted(BUSY_FILES, reverse=True):
        (scene.folder / path).touch()
    scene.build()
    assert scene.snippets("app.py", BUSY_PLACE) == first


def test_typing_a_word_changes_nothing(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, BUSY_FILES)
    scene.build()
    first = scene.snippets("app.py", BUSY_PLACE)
    for typed in ("v", "va", "val"):
        place = scene.place("app.py", BUSY_PLACE.replace("<CURSOR>", f"{typed}<CURSOR>"))
        assert list(scene.source.collect(place, lambda: False)) == first


def test_collect_opens_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = WorkspaceScene(tmp_path, BUSY_FILES)
    scene.build()
    scene.open("db/orders.py")
    place = scene.place("app.py", BUSY_PLACE)

    def opened(*_: object) -> None:
        raise AssertionError("a file was opened")

    with monkeypatch.context() as patched:
        patched.setattr("slm_lsp.workspace.reading.os.open", opened)
        assert scene.source.collect(place, lambda: False) == ()
    assert scene.source.is_waiting
    scene.settle()
    with monkeypatch.context() as patched:
        patched.setattr("slm_lsp.workspace.reading.os.open", opened)
        assert len(scene.source.collect(place, lambda: False)) >= 2
    assert not scene.source.is_waiting


def test_nothing_is_looked_up_once_there_is_no_time(tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, BUSY_FILES)
    scene.build()
    place = scene.place("app.py", BUSY_PLACE)
    [root] = scene.source._roots.all
    n_before = root.reader.n_queries
    assert scene.source.collect(place, lambda: True) == ()
    assert root.reader.n_queries - n_before <= 1  # whether somebody wrote
    assert not scene.source.advance(lambda: True)
    assert scene.source.is_waiting


@pytest.mark.parametrize("n_looks", [0, 1, 3, 7, 20, 50])
def test_being_stopped_anywhere_only_delays(n_looks: int, tmp_path: Path) -> None:
    scene = WorkspaceScene(tmp_path, BUSY_FILES)
    scene.build()
    whole = scene.snippets("app.py", BUSY_PLACE)
    scene.source = WorkspaceSource(scene.indexes, [scene.folder])
    place = scene.place("app.py", BUSY_PLACE)
    for turn in itertools.count(n_looks):
        assert turn < n_looks + 100
        scene.source.collect(place, after(n_looks))
        # A little more time every turn, as one that is given none ends nothing.
        if scene.source.advance(after(turn)):
            break
    assert list(scene.source.collect(place, lambda: False)) == whole


def after(n_looks: int) -> Callable[[], bool]:
    """A `stop` that becomes true when it has been asked so often."""
    asked = itertools.count()
    return lambda: next(asked) >= n_looks


# --- the parts ---


def test_names_are_those_near_the_cursor() -> None:
    prefix = (
        "def total_of(orders):\n    # not these words\n    for order in orders:\n"
        "        tax = rate_of(order, 'string') + par"
    )
    names = names_near("python", prefix, "\n    next_line()\n")
    assert names[:3] == ("order", "rate_of", "tax")
    assert "par" not in names
    assert not {"words", "string", "for"} & set(names)
    assert {"total_of", "orders", "next_line"} <= set(names)


def test_what_is_defined_around_a_place_is_found_on_both_sides() -> None:
    own = defined_near(
        "python", "def first():\n    pass\ndef here(", "):\ndef below():\n    pass\n"
    )
    assert own == {"first", "here", "below"}


def test_the_line_itself_does_not_say_what_is_similar() -> None:
    above = "alpha = 1\nbeta = 2\n"
    assert similar_to(above, "") == similar_to(above + "gamma", "delta\n") == {"alpha", "beta"}


@given(st.text(alphabet="abc \n_(", max_size=200), st.text(alphabet="abc \n_(", max_size=100))
def test_no_two_pieces_are_nearly_the_same(text: str, around: str) -> None:
    pieces = [*windows("a", text), *windows("b", text)]
    taken = chosen(pieces, around, "", 10_000)
    for one, other in itertools.combinations(taken, 2):
        assert dice(one.words, other.words) <= LIKE_EACH_OTHER
    for each in taken:
        most = LIKE_CURSOR if len(each.words) > FEW_WORDS else LIKE_EACH_OTHER
        assert dice(each.words, token_set(around)) <= most


LINES = st.lists(st.frozensets(st.sampled_from([f"word_{n}" for n in range(40)]), max_size=2))


# Of the text around, one part is like it and all of it is not.
ONE_PART = [frozenset({f"word_{n // 2}"}) for n in range(80)]


@example(ONE_PART, 0, 16, [], False)
@example(ONE_PART, 8, 16, [frozenset({"word_30"})], False)
@example(ONE_PART, 4, 16, [], False)
@example(ONE_PART, 0, 8, [], True)
@given(LINES, st.integers(0, 40), st.integers(0, 16), LINES, st.booleans())
def test_likeness_is_to_any_part_of_the_text_around(
    lines: list[frozenset[str]],
    start: int,
    n_lines: int,
    others: list[frozenset[str]],
    is_window: bool,
) -> None:
    words = frozenset[str]().union(*lines[start : start + n_lines], *others[:3])
    around = "\n".join(" ".join(sorted(line)) for line in lines)
    parts = [
        token_set("\n".join(around.split("\n")[at : at + 16]))
        for at in range(0, max(1, around.count("\n") - 7), 8)
    ]
    is_long = len(words) > FEW_WORDS
    most = LIKE_CURSOR if is_long else LIKE_EACH_OTHER
    everything = token_set(around)
    is_alike = (is_window or is_long) and (
        any(dice(words, each) > most for each in (everything, *parts))
        or (is_window and is_long and len(words & everything) > WITHIN_CURSOR * len(words))
    )
    piece = Piece("a", 0, "", words, is_window)
    assert pieces.likeness(around, "")(piece) == is_alike


def test_windows_cover_a_text_without_blank_edges() -> None:
    text = "\n\n".join(f"line_{n} = {n}" for n in range(100))
    pieces = list(windows("a", text))
    covered = {line for each in pieces for line in each.text.split("\n")}
    assert covered >= {f"line_{n} = {n}" for n in range(100)}
    assert all(each.text == each.text.strip("\n") for each in pieces)
    assert window("a", ["", " "], 0, 2) is None


def test_what_several_lists_name_comes_first() -> None:
    a, b, c = (Piece(name, 0, name, frozenset((name,))) for name in "abc")
    assert fused([(1.0, [a, b]), (1.0, [b, c])]) == [b, a, c]
    assert fused([(1.0, [a]), (2.0, [c])]) == [c, a]


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///a/b%20c.py", "/a/b c.py"),
        ("file:///a/../b.py", "/b.py"),
        ("untitled:Untitled-1", None),
        ("file://host/a.py", None),
        ("vscode-notebook-cell:/a.ipynb#x", None),
        ("file:///a%00b", None),
        ("", None),
        ("file://[", None),
    ],
)
def test_uris_are_files_or_not(uri: str, path: str | None) -> None:
    assert path_of(uri) == (Path(path) if path is not None else None)


def test_all_of_a_machine_is_no_workspace(tmp_path: Path) -> None:
    source = WorkspaceSource(tmp_path)
    uris = ["file:///", Path.home().as_uri(), tmp_path.as_uri(), "untitled:x"]
    source.set_folder_uris(uris)
    assert source.folders == (tmp_path,)


def test_typing_takes_apart_the_line_that_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(text: str) -> frozenset[str]:
        read.append(text)
        return token_set(text)

    monkeypatch.setattr(pieces, "token_set", counted)
    pieces._remembered.cache_clear()
    above = "".join(f"value_{i} = compute_{i}()\n" for i in range(100))
    piece = Piece("a", 0, "", frozenset(f"value_{i}" for i in range(20)), is_window=True)
    assert pieces.likeness(above + "tot", "")(piece)
    assert len(read) == 101
    assert pieces.likeness(above + "tota", "\n")(piece)
    assert read[101:] == ["tota", ""]
