"""The extension in a real VS Code, before a server with scripted words: ghost text and its keys.

Invariant: keys are pressed as a person does; what is asserted is the saved file, the ghost text,
the screen, the messages and the server's counters. Each test has a file of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from vscode_driver import VSCode, until
from vscode_scene import ADD, LOOP, counters, grew, n_engine_calls

pytest_plugins = ["vscode_fixtures"]
pytestmark = [pytest.mark.editor, pytest.mark.usefixtures("picture_of_a_failure")]
CELL = ".notebookOverlay .cell .monaco-editor .view-lines"
N_OPENINGS, OPENING_S = 3, 15.0


def test_first_start_shows_the_walkthrough_and_the_status(code: VSCode, captures: Path) -> None:
    # The fixture has waited for both.
    code.screenshot(captures / "vscode-walkthrough.png")
    code.command("View: Close All Editors")
    opened = code.messages("initialize")
    assert len(opened) == 1
    # Nothing was set, so nothing is said: the server's own file and variables count.
    assert opened[0]["params"]["initializationOptions"] == {}
    assert opened[0]["params"]["capabilities"]["experimental"]["slmLspStatus"] is True


def test_ghost_text_tab_and_undo(code: VSCode, captures: Path) -> None:
    before = counters(code)
    code.open("tab.py")
    code.press("Enter")
    code.until_ghost("return a + b")
    grew(code, before, n_shown=1)
    code.screenshot(captures / "vscode-ghost-text.png")
    as_it_was = code.saved("tab.py")
    assert as_it_was == b"def add(a, b):\n    "
    code.press("Tab")
    assert code.saved("tab.py") == b"def add(a, b):\n    return a + b"
    grew(code, before, n_shown=1, n_accepted=1)
    code.press("Control+z")
    assert code.saved("tab.py") == as_it_was
    code.press("Control+z", "Control+z")
    assert code.saved("tab.py") == ADD


def test_words(code: VSCode) -> None:
    before = counters(code)
    code.open("words.py")
    code.press("Enter")
    code.until_ghost("return a + b")
    code.press("Control+ArrowRight")
    code.until_ghost(" a + b")
    grew(code, before, n_shown=1, n_partly_accepted=1)
    # White space is a word of its own to VS Code.
    code.press("Control+ArrowRight")
    code.until_ghost("a + b")
    code.press("Control+ArrowRight")
    code.until_ghost(" + b")
    assert code.saved("words.py") == b"def add(a, b):\n    return a"
    grew(code, before, n_shown=1, n_partly_accepted=3)
    for each in code.messages("textDocument/didPartiallyAcceptCompletion")[-3:]:
        item, length = each["params"]["item"], each["params"]["acceptedLength"]
        start = item["range"]["start"]["character"]
        said = item["insertText"][:length]
        assert "    return a"[: start + length].endswith(said)


def test_lines_and_their_indentation(code: VSCode, captures: Path) -> None:
    before = counters(code)
    code.open("loop.py")
    code.press("Enter")
    code.until_ghost(LOOP)
    grew(code, before, n_shown=1)
    code.screenshot(captures / "vscode-block.png")
    code.press("Control+ArrowDown")
    until(lambda: counters(code)["n_partly_accepted"] > before["n_partly_accepted"], "the line")
    assert code.saved("loop.py") == b"def loop(names):\n    for name in names:\n"
    code.until_ghost("        print(name)")
    # VS Code's rule where a text begins with a line's indentation: the first Tab types that.
    code.press("Tab")
    code.until_ghost("print(name)")
    code.press("Tab")
    expected = b"def loop(names):\n    for name in names:\n        print(name)"
    assert code.saved("loop.py") == expected


def test_cycling_by_hand(code: VSCode) -> None:
    code.open("cycle.py")
    code.press("Enter")
    code.until_ghost("return a + b")
    code.press("Alt+]")
    code.until_ghost("return b + a")
    code.press("Alt+]")
    code.until_ghost("return sum((a, b))")
    code.press("Alt+[")
    code.until_ghost("return b + a")
    code.press("Tab")
    assert code.saved("cycle.py") == b"def add(a, b):\n    return b + a"


def test_typed_through_asks_nothing_and_does_not_flicker(code: VSCode) -> None:
    before = counters(code)
    code.open("typed.py")
    code.press("Enter")
    code.until_ghost("return a + b")
    grew(code, before, n_shown=1)
    n_calls = n_engine_calls(code)
    code.evaluate("window.ghostFrames.length = 0")
    code.type("return a", delay_ms=60)
    code.until_ghost(" + b")
    frames = [each["text"] for each in code.evaluate("window.ghostFrames")]
    assert frames
    assert "" not in frames
    assert n_engine_calls(code) == n_calls
    # It was one suggestion all the time.
    grew(code, before, n_shown=1)
    code.press("Tab")
    assert code.saved("typed.py") == b"def add(a, b):\n    return a + b"


def test_escape_hides_and_a_key_asks_again(code: VSCode) -> None:
    before = counters(code)
    code.open("escape.py")
    code.press("Enter")
    code.until_ghost("return a + b")
    grew(code, before, n_shown=1)
    code.press("Escape")
    code.until_ghost("")
    grew(code, before, n_shown=1, n_rejected=1)
    code.press("Alt+\\")
    code.until_ghost("return a + b")
    kinds = [
        each["params"]["context"]["triggerKind"]
        for each in code.messages("textDocument/inlineCompletion")
    ]
    assert kinds[-1] == 1


def test_ghost_text_goes_on_from_the_item_of_the_popup(code: VSCode, captures: Path) -> None:
    code.open("popup.py")
    code.press("Control+Space")
    focused = ".suggest-widget.visible .monaco-list-row.focused[aria-label^='{}']"
    code.wait(focused.format("average_of"))
    # What the item would put in, and behind it what the model says to that.
    code.until_ghost("age_of(numbers)")
    told = [
        each["params"]["context"].get("selectedCompletionInfo")
        for each in code.messages("textDocument/inlineCompletion")
    ]
    assert next(filter(None, told))["text"] == "average_of"
    code.screenshot(captures / "vscode-popup.png")
    code.press("ArrowDown")
    code.wait(focused.format("averages"))
    code.until_ghost("ages.pop()")
    code.press("ArrowUp")
    code.until_ghost("age_of(numbers)")
    n_calls = n_engine_calls(code)
    code.press("Enter")
    code.until_ghost("(numbers)")
    # It was written while the popup was there.
    assert n_engine_calls(code) == n_calls
    code.press("Tab")
    assert code.saved("popup.py").endswith(b"\nx = average_of(numbers)")


def test_crlf(code: VSCode) -> None:
    code.open("crlf.py", line=2)
    code.press("Enter")
    code.until_ghost(LOOP)
    code.press("Tab")
    saved = code.saved("crlf.py")
    expected = "# one\ndef loop(names):\n    for name in names:\n        print(name)\n"
    assert saved == expected.replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    ("name", "ghost", "expected"),
    [
        ("emoji.py", "len(face)", "face = '😀'\nx = len(face)"),
        ("inside.py", "face)", "smile('😀', face)"),
    ],
)
def test_an_emoji_before_the_cursor(code: VSCode, name: str, ghost: str, expected: str) -> None:
    code.open(name)
    code.type(" ")
    code.until_ghost(ghost)
    code.press("Tab")
    assert code.saved(name) == expected.encode()


def open_notebook(code: VSCode) -> None:
    """Open it; VS Code's frame for outputs does not always come up, and cells wait for that."""
    for _ in range(N_OPENINGS - 1):
        code.click(".explorer-folders-view .monaco-list-row[aria-label^='cells.ipynb']")
        try:
            return code.wait(CELL, OPENING_S)
        except AssertionError:
            code.command("View: Close Editor")
    code.click(".explorer-folders-view .monaco-list-row[aria-label^='cells.ipynb']")
    code.wait(CELL)


def test_a_cell_of_a_notebook(code: VSCode, captures: Path) -> None:
    open_notebook(code)
    until(lambda: code.messages("notebookDocument/didOpen"), "the notebook's didOpen")
    code.click(CELL)
    code.wait(".notebookOverlay .monaco-editor.focused")
    code.press("Control+End", "Enter")
    code.until_ghost("return a * 2")
    code.screenshot(captures / "vscode-notebook.png")
    code.press("Tab")
    saved: dict[str, Any] = json.loads(code.saved("cells.ipynb"))
    assert "".join(saved["cells"][0]["source"]) == "def cell(a):\n    return a * 2"
