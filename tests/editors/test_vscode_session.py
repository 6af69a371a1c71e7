"""The extension in a real VS Code: its server's life, the menu and what it does.

Invariant: as in test_vscode; the entries of the menu are clicked as a person does.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from vscode_driver import VSCode, until
from vscode_scene import ADD, n_answers

from slm_lsp.registry.specs import DEFAULT_MODEL

pytest_plugins = ["vscode_fixtures"]
pytestmark = [pytest.mark.editor, pytest.mark.usefixtures("picture_of_a_failure")]
ROW = ".quick-input-widget .monaco-list-row"


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


@pytest.mark.parametrize(
    ("entry", "by_itself"), [("Pause", False), ("Snooze 5 Minutes", True)], ids=["pause", "snooze"]
)
def test_the_menu_pauses_and_resumes(
    code: VSCode, captures: Path, entry: str, by_itself: bool
) -> None:
    code.open("paused.py")
    code.click("[id='slm-lsp.slm-lsp.slm-lsp.status'] a")
    code.until_text(ROW, "Snooze 30 Minutes")
    code.screenshot(captures / "vscode-menu.png")
    code.choose(entry)
    code.until_bar("paused")
    status = code.ask("slm-lsp.status")
    assert status["state"] == "paused"
    assert (status["paused_until_s"] is not None) is by_itself
    code.click(".editor-instance .monaco-editor .view-lines")
    n_before = n_answers(code)
    code.press("Control+End", "Enter")
    until(lambda: n_answers(code) > n_before, "an answer")
    assert code.ghost() == ""
    code.menu("Resume")
    code.until_bar("ready")
    code.click(".editor-instance .monaco-editor .view-lines")
    code.press("Control+End", "Alt+\\")
    code.until_ghost("return a + b")
    code.press("Escape", "Control+z")
    code.saved("paused.py")


def test_why_there_was_no_suggestion(code: VSCode) -> None:
    code.open("why.py")
    # Behind a name that nobody knows how to go on from.
    n_before = n_answers(code)
    code.type("\nzzz")
    until(lambda: n_answers(code) > n_before, "an answer")
    code.saved("why.py")
    sentence = until(lambda: (code.ask("slm-lsp.why") or {}).get("sentence"), "a reason")
    code.menu("Why No Suggestion?")
    code.until_text(".notification-toast", f"slm-lsp: {sentence}")
    code.command("Notifications: Clear All Notifications")


def test_statistics(code: VSCode) -> None:
    code.menu("Statistics")
    code.until_text(".view-lines", "n_requests")


def test_a_model_is_chosen_in_the_menu(code: VSCode) -> None:
    code.open("model.py")
    code.menu("Choose Model…")
    code.wait(ROW)
    code.type(f"{DEFAULT_MODEL} Q4_0")
    code.choose(f"{DEFAULT_MODEL} Q4_0")
    code.until_bar(f"{DEFAULT_MODEL}, ready")
    [used] = [each for each in code.ask("slm-lsp.models") if each["in_use"]]
    assert used["name"] == DEFAULT_MODEL
    assert [each["name"] for each in used["quantizations"] if each["in_use"]] == ["Q4_0"]
    code.click(".editor-instance .monaco-editor .view-lines")
    code.press("Control+End", "Enter")
    code.until_ghost("return a + b")
    code.menu("Choose Model…")
    code.wait(ROW)
    code.type(f"{DEFAULT_MODEL} Q4_0")
    row = code.until_text(ROW, f"{DEFAULT_MODEL} Q4_0")
    assert "check" in row
    code.press("Escape")
    code.command("slm-lsp: Restart Server")
    code.until_bar("scripted")


def test_a_language_switched_off(code: VSCode) -> None:
    code.open("off.py")
    code.menu("Switch Off for python")
    code.until_bar("Switched off")
    code.click(".editor-instance .monaco-editor .view-lines")
    n_before = len(code.messages("textDocument/inlineCompletion"))
    code.press("Control+End", "Enter")
    # A sign of life that comes after the request would have.
    assert code.saved("off.py").startswith(ADD)
    code.menu("Switch On for python")
    until(lambda: "Switched off" not in code.bar(), "the language is on")
    assert len(code.messages("textDocument/inlineCompletion")) == n_before
    code.click(".editor-instance .monaco-editor .view-lines")
    code.press("Control+End", "Alt+\\")
    code.until_ghost("return a + b")
