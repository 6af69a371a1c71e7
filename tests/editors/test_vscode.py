"""The extension in a real VS Code, before a server with scripted words.

One VS Code and one browser for all tests of the module; each has a file of its own.

Invariant: keys are pressed as a person does; what is asserted is the saved file, the ghost text,
the screen, the messages and the server's counters.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vscode_driver import VSCode, until
from vscode_obtain import ROOT

pytestmark = pytest.mark.unfinished

SCRIPT = [
    {
        "before": "def add(a, b):\n    ",
        "texts": ["return a + b", "return b + a", "return sum((a, b))"],
    },
    {"before": "def loop(names):\n    ", "texts": ["for name in names:\n        print(name)"]},
    {"before": "face = '😀'\nx = ", "texts": ["len(face)"]},
    {"before": "smile('😀', ", "texts": ["face)"]},
    {"before": "x = average_of", "texts": ["(numbers)"]},
    {"before": "def cell(a):\n    ", "texts": ["return a * 2"]},
    {"before": "t = (", "texts": ["1, 2, 3)"]},
]
ADD = b"def add(a, b):"
FILES = {
    **{f"{name}.py": ADD for name in ("tab", "words", "cycle", "typed", "escape", "killed")},
    **{f"{name}.py": ADD for name in ("paused", "off")},
    "loop.py": b"def loop(names):",
    "crlf.py": b"# one\r\ndef loop(names):\r\n",
    "emoji.py": "face = '😀'\nx =".encode(),
    "inside.py": "smile('😀',".encode(),
    "popup.py": b"def average_of(numbers):\n    pass\n\n\nx = aver",
    "timing.py": b"",
    "demo.py": b"",
    "cells.ipynb": json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "execution_count": None,
                    "metadata": {},
                    "outputs": [],
                    "source": ["def cell(a):"],
                }
            ],
            "metadata": {"language_info": {"name": "python"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    ).encode(),
}
# VS Code's own wait between a key and its request (`InlineCompletionsDebounce`, min and max).
VSCODE_DEBOUNCE_MS = 50


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures and figures go."""
    named = os.environ.get("SLM_LSP_CAPTURES")
    folder = Path(named) if named else tmp_path_factory.mktemp("captures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VSCode]:
    folder = tmp_path_factory.mktemp("vscode")
    script = folder / "script.json"
    script.write_text(json.dumps(SCRIPT))
    server = [sys.executable, str(ROOT / "tests" / "serve_scripted.py"), str(script)]
    vscode = VSCode(folder, FILES, server)
    yield vscode
    vscode.close()


@pytest.fixture(autouse=True)
def picture_of_a_failure(request: pytest.FixtureRequest, captures: Path) -> Iterator[None]:
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed and "code" in request.fixturenames:
        request.getfixturevalue("code").screenshot(captures / f"failed-{request.node.name}.png")


def counters(code: VSCode) -> dict[str, Any]:
    """What the server counted of suggestions."""
    stats = code.stats()
    names = ("n_shown", "n_accepted", "n_partly_accepted", "n_rejected")
    return {name: stats[name] for name in names}


def grew(code: VSCode, before: dict[str, Any], **by: int) -> None:
    """Wait until exactly these counters have grown."""
    wanted = {name: n + by.get(name, 0) for name, n in before.items()}
    try:
        until(lambda: counters(code) == wanted, "counters")
    except AssertionError as error:
        raise AssertionError(f"{error}: {wanted}, but {counters(code)}") from None


def test_first_start_shows_the_walkthrough_and_the_status(code: VSCode, captures: Path) -> None:
    code.until_text(".gettingStartedContainer", "Get started with slm-lsp")
    code.until_bar("scripted")
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
    code.press("Tab")
    assert code.saved("tab.py") == b"def add(a, b):\n    return a + b"
    grew(code, before, n_shown=1, n_accepted=1)
    code.press("Control+z")
    assert code.saved("tab.py").rstrip() == ADD
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
    code.open("loop.py")
    code.press("Enter")
    code.until_ghost("for name in names:        print(name)")
    code.screenshot(captures / "vscode-block.png")
    before = counters(code)
    code.press("Control+ArrowDown")
    grew(code, before, n_partly_accepted=1)
    assert code.saved("loop.py").startswith(b"def loop(names):\n    for name in names:")
    until(lambda: "print(name)" in code.ghost(), "the second line")
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
    code.open("typed.py")
    code.press("Enter")
    code.until_ghost("return a + b")
    n_requests = code.stats()["engine"]["n_requests"]
    shown = counters(code)
    code.evaluate("window.ghostFrames.length = 0")
    code.type("return a", delay_ms=60)
    code.until_ghost(" + b")
    frames = [each["text"] for each in code.evaluate("window.ghostFrames")]
    assert frames
    assert "" not in frames
    assert code.stats()["engine"]["n_requests"] == n_requests
    # It was one suggestion all the time.
    assert counters(code) == shown
    code.press("Tab")
    assert code.saved("typed.py") == b"def add(a, b):\n    return a + b"


def test_escape_hides_and_a_key_asks_again(code: VSCode) -> None:
    code.open("escape.py")
    code.press("Enter")
    code.until_ghost("return a + b")
    before = counters(code)
    code.press("Escape")
    code.until_ghost("")
    grew(code, before, n_rejected=1)
    code.press("Alt+\\")
    code.until_ghost("return a + b")
    kinds = [
        each["params"]["context"]["triggerKind"]
        for each in code.messages("textDocument/inlineCompletion")
    ]
    assert kinds[-1] == 1


def test_an_item_of_the_popup(code: VSCode, captures: Path) -> None:
    code.open("popup.py")
    code.press("Control+Space")
    code.wait(".suggest-widget.visible .monaco-list-row.focused[aria-label^='average_of']")

    def told() -> list[Any]:
        asked = code.messages("textDocument/inlineCompletion")
        return [each["params"]["context"].get("selectedCompletionInfo") for each in asked]

    until(lambda: any(told()), "selectedCompletionInfo in a request")
    assert next(filter(None, told()))["text"] == "average_of"
    code.screenshot(captures / "vscode-popup.png")
    code.press("Enter")
    code.until_ghost("(numbers)")
    code.press("Tab")
    assert code.saved("popup.py").endswith(b"\nx = average_of(numbers)")


def test_crlf(code: VSCode) -> None:
    code.open("crlf.py", line=2)
    code.press("Enter")
    code.until_ghost("for name in names:        print(name)")
    code.press("Tab")
    saved = code.saved("crlf.py")
    expected = "# one\ndef loop(names):\n    for name in names:\n        print(name)\n"
    assert saved == expected.replace("\n", "\r\n").encode()


def test_an_emoji_before_the_cursor(code: VSCode) -> None:
    code.open("emoji.py")
    code.type(" ")
    code.until_ghost("len(face)")
    code.press("Tab")
    assert code.saved("emoji.py") == "face = '😀'\nx = len(face)".encode()
    code.open("inside.py")
    code.type(" ")
    code.until_ghost("face)")
    code.press("Tab")
    assert code.saved("inside.py") == "smile('😀', face)".encode()


def test_a_cell_of_a_notebook(code: VSCode, captures: Path) -> None:
    code.click(".explorer-folders-view .monaco-list-row[aria-label^='cells.ipynb']")
    code.wait(".notebookOverlay .cell .monaco-editor .view-lines")
    until(lambda: code.messages("notebookDocument/didOpen"), "the notebook's didOpen")
    code.click(".notebookOverlay .cell .monaco-editor .view-lines")
    code.wait(".notebookOverlay .monaco-editor.focused")
    code.press("Control+End", "Enter")
    code.until_ghost("return a * 2")
    code.screenshot(captures / "vscode-notebook.png")
    code.press("Tab")
    saved = json.loads(code.saved("cells.ipynb"))
    assert "".join(saved["cells"][0]["source"]) == "def cell(a):\n    return a * 2"


def test_the_server_killed_and_back(code: VSCode) -> None:
    code.open("killed.py")
    n_starts = len(code.messages("initialize"))
    pid = int((code.tap / "pid").read_text())
    os.kill(pid, signal.SIGKILL)
    code.until_text(".notification-toast", "slm-lsp ended unexpectedly")
    until(lambda: len(code.messages("initialize")) == n_starts + 1, "a new server")
    uri = (code.workspace / "killed.py").as_uri()

    def opened() -> int:
        return sum(
            each["params"]["textDocument"]["uri"] == uri
            for each in code.messages("textDocument/didOpen")
        )

    until(lambda: opened() == 2, "the document opened anew")
    code.until_bar("scripted")
    code.press("Enter")
    code.until_ghost("return a + b")
    code.command("Notifications: Clear All Notifications")


def test_restart_by_hand(code: VSCode) -> None:
    n_starts = len(code.messages("initialize"))
    code.command("slm-lsp: Restart Server")
    until(lambda: len(code.messages("initialize")) == n_starts + 1, "a new server")
    code.until_bar("scripted")


def n_answers(code: VSCode) -> int:
    asked = {each["id"] for each in code.messages("textDocument/inlineCompletion")}
    lines = (code.tap / "messages.jsonl").read_text().splitlines()
    sent = [json.loads(line) for line in lines]
    return sum(
        each["from"] == "server"
        and each["message"].get("id") in asked
        and "result" in each["message"]
        for each in sent
    )


def test_the_menu_pauses_and_resumes(code: VSCode, captures: Path) -> None:
    code.open("paused.py")
    code.click("[id='slm-lsp.slm-lsp.slm-lsp.status'] a")
    code.until_text(".quick-input-widget .monaco-list-row", "Snooze 30 Minutes")
    code.screenshot(captures / "vscode-menu.png")
    code.choose("Snooze 5 Minutes")
    code.until_bar("paused")
    status = code.ask("slm-lsp.status")
    assert status["state"] == "paused"
    assert status["paused_until_s"] is not None
    code.click(".editor-instance .monaco-editor .view-lines")
    n_before = n_answers(code)
    code.press("Control+End", "Enter")
    until(lambda: n_answers(code) > n_before, "an answer")
    assert code.ghost() == ""
    code.menu("Resume")
    code.until_bar("ready")
    code.press("Alt+\\")
    code.until_ghost("return a + b")


def test_why_statistics_and_models(code: VSCode) -> None:
    code.open("paused.py")
    code.type("\n")
    code.menu("Why No Suggestion?")
    code.until_text(".notification-toast", "slm-lsp:")
    code.command("Notifications: Clear All Notifications")
    code.menu("Choose Model…")
    code.until_text(".quick-input-widget .monaco-list-row", "smollm2-135m")
    code.press("Escape")
    code.menu("Statistics")
    code.until_text(".view-lines", "n_requests")
    code.command("View: Close All Editors")


def test_a_language_switched_off(code: VSCode) -> None:
    code.open("off.py")
    code.menu("Switch Off for python")
    code.until_bar("Switched off")
    n_before = len(code.messages("textDocument/inlineCompletion"))
    code.press("Control+End", "Enter")
    # A sign of life that comes after the request would have.
    assert code.saved("off.py").startswith(ADD)
    code.menu("Switch On for python")
    until(lambda: "Switched off" not in code.bar(), "the language is on")
    assert len(code.messages("textDocument/inlineCompletion")) == n_before
    code.press("Alt+\\")
    code.until_ghost("return a + b")


def test_time_from_key_to_ghost_text(code: VSCode, captures: Path) -> None:
    """No time is asserted; the figures are written down."""
    code.open("timing.py")
    times_ms: list[float] = []
    for _ in range(12):
        code.type("t = ", delay_ms=60)
        code.evaluate("window.ghostFrames.length = window.keys.length = 0")
        code.type("(")
        code.until_ghost("1, 2, 3")
        frames, keys = code.evaluate("window.ghostFrames"), code.evaluate("window.keys")
        shown_ms = next(each["at_ms"] for each in frames if each["text"])
        times_ms.append(shown_ms - keys[-1]["at_ms"])
        code.press("Tab", "End", "Enter")
    figures = {
        "what": "key down to the frame with ghost text, scripted engine; rough: machine not idle",
        "n": len(times_ms),
        "median_ms": round(statistics.median(times_ms), 1),
        "min_ms": round(min(times_ms), 1),
        "max_ms": round(max(times_ms), 1),
        "vscode_debounce_ms": VSCODE_DEBOUNCE_MS,
        "server_last_ms": code.ask("slm-lsp.status")["last_ms"],
    }
    (captures / "vscode-latency.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))
