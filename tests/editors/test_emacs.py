"""The client in a real Emacs 28.2, before a server with scripted words.

Invariant: keys are pressed as a person does; what is asserted is the buffer, the ghost text, the
screen and the server's counters.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emacs_driver import CLIENT, Emacs, batch, obtain
from script import SCRIPT
from terminal import ROOT, captures_folder

pytestmark = pytest.mark.editor

SERVER = ROOT / "tests" / "serve_scripted.py"
TAB, UNDO, ENTER = "\t", "\x1f", "\r"
README = CLIENT / "README.md"
Start = Callable[..., Emacs]


def lisp(value: object) -> str:
    """A string or list of strings as Lisp writes it."""
    if isinstance(value, list):
        return "(" + " ".join(map(lisp, value)) + ")"
    return json.dumps(str(value), ensure_ascii=False)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Opens a file of the given bytes in an Emacs with the client, point at its end."""
    editors: list[Emacs] = []
    (tmp_path / "script.json").write_text(json.dumps(SCRIPT))
    command = [sys.executable, str(SERVER), str(tmp_path / "script.json")]

    def open_(content: bytes, init: str = "") -> Emacs:
        (tmp_path / "a.py").write_bytes(content)
        client = f"""
(add-to-list 'load-path {lisp(CLIENT)})
(require 'slm-lsp)
(defvar answered nil)
(setq slm-lsp-command '{lisp(command)})
(electric-indent-mode -1)
{init}
(global-slm-lsp-mode 1)
"""
        editor = Emacs(obtain(), tmp_path, client, tmp_path / "a.py")
        editors.append(editor)
        editor.until_ready()
        editor.type("\x1b>")
        return editor

    yield open_
    for editor in editors:
        editor.close()


def test_tab_accepts_ghost_text_and_undo_restores_the_buffer(start: Start) -> None:
    emacs = start(b"def add(a, b):\n    # there")
    before = "def add(a, b):\n    # there"
    emacs.type("\x15" + "7\x7f")  # C-u 7 DEL
    emacs.until_ghost("return a + b")
    row = emacs.until_row("    return a + b")
    assert emacs.cursor() == (row, 4)
    emacs.type(TAB)
    emacs.until_text("def add(a, b):\n    return a + b")
    assert emacs.ghost() is None
    emacs.type(UNDO)
    emacs.until_text("def add(a, b):\n    ")
    emacs.type(UNDO)
    emacs.until_text(before)
    counters = emacs.command("slm-lsp.stats")
    assert (counters["n_shown"], counters["n_accepted"]) == (1, 1)


def test_tab_indents_where_no_ghost_text_is(start: Start) -> None:
    emacs = start(b"if True:\n")
    emacs.type(TAB)
    emacs.until_text("if True:\n    ")


def test_words_and_lines_are_accepted(start: Start) -> None:
    emacs = start(b"def add(a, b):\n   ")
    emacs.type(" ")
    emacs.until_ghost("return a + b")
    emacs.type("\x1bf")
    emacs.until_text("def add(a, b):\n    return")
    emacs.until_ghost(" a + b")
    emacs.type("\x1bf")
    emacs.until_ghost(" + b")
    assert emacs.command("slm-lsp.stats")["n_partly_accepted"] == 2
    emacs.type("\x1bf" + "\x1bf")
    emacs.until_text("def add(a, b):\n    return a + b")
    assert emacs.command("slm-lsp.stats")["n_accepted"] == 1


def test_a_block_is_shown_and_accepted_line_by_line(start: Start, tmp_path: Path) -> None:
    above = '"""Says hello to people."""\n\nimport sys\n\n\n'
    emacs = start(f"{above}def loop(names):\n   ".encode())
    emacs.type(" ")
    emacs.until_ghost("for name in names:\n        print(name)")
    row = emacs.until_row("    for name in names:")
    assert emacs.screen()[row + 1] == "        print(name)"
    assert emacs.cursor() == (row, 4)
    (captures_folder(tmp_path) / "emacs.svg").write_text(emacs.picture("Emacs 28.2"))
    emacs.type("\x05")  # C-e
    emacs.until_text(f"{above}def loop(names):\n    for name in names:")
    emacs.until_ghost("\n        print(name)")
    emacs.type(TAB)
    emacs.until_text(f"{above}def loop(names):\n    for name in names:\n        print(name)")
    emacs.type(UNDO + UNDO)
    emacs.until_text(f"{above}def loop(names):\n    ")


def test_alternatives_are_cycled(start: Start) -> None:
    emacs = start(b"def add(a, b):\n   ")
    emacs.type(" ")
    emacs.until_ghost("return a + b")
    emacs.type("\x1bn")
    emacs.until_ghost("return b + a")
    emacs.type("\x1bn")
    emacs.until_ghost("return sum((a, b))")
    emacs.type("\x1bn")
    emacs.until_ghost("return a + b")
    emacs.type("\x1bp" + "\x1bp")
    emacs.until_ghost("return b + a")
    emacs.type(TAB)
    emacs.until_text("def add(a, b):\n    return b + a")


def test_typing_what_is_shown_asks_nothing_and_does_not_flicker(start: Start) -> None:
    emacs = start(b"def add(a, b):\n   ")
    emacs.type(" ")
    emacs.until_ghost("return a + b")
    row = emacs.until_row("    return a + b")
    before = emacs.command("slm-lsp.stats")
    with emacs.frames() as frames:
        for n_typed, key in enumerate("return a", 1):
            emacs.type(key)
            emacs.until_ghost("return a + b"[n_typed:])
            emacs.until_cursor(row, 4 + n_typed)
    assert {frame.rows[row] for frame in frames} == {"    return a + b"}
    after = emacs.command("slm-lsp.stats")
    assert after["engine"]["n_requests"] == before["engine"]["n_requests"]
    assert after["n_requests"] == before["n_requests"]
    emacs.type("\x7f")
    emacs.until_ghost("a + b")
    emacs.type("x")
    emacs.until_ghost(None)


def test_dismissed_ghost_text_is_gone(start: Start) -> None:
    emacs = start(b"def add(a, b):\n   ")
    emacs.type(" ")
    emacs.until_ghost("return a + b")
    emacs.type("\x07")
    emacs.until_ghost(None)
    emacs.until_row("")
    assert emacs.text() == "def add(a, b):\n    "
    assert emacs.command("slm-lsp.stats")["n_rejected"] == 1
    emacs.type("\x03;;")
    emacs.until_ghost("return a + b")


def test_moving_away_hides_it(start: Start) -> None:
    emacs = start(b"def add(a, b):\n   ")
    emacs.type(" ")
    emacs.until_ghost("return a + b")
    emacs.type("\x10")
    emacs.until_ghost(None)


def test_crlf_and_emoji(start: Start, tmp_path: Path) -> None:
    emacs = start("face = '😀'\r\nx =".encode())
    emacs.type(" ")
    emacs.until_ghost("len(face)")
    emacs.type(TAB + ENTER + "smile('😀', ")
    emacs.until_ghost("face)")
    emacs.type(TAB + "\x18\x13")  # C-x C-s
    expected = "face = '😀'\r\nx = len(face)\r\nsmile('😀', face)\r\n".encode()
    emacs.until(lambda: (tmp_path / "a.py").read_bytes() == expected, "saved file")


def test_a_killed_server_comes_back(start: Start) -> None:
    emacs = start(b"def add(a, b):\n   ")
    pid = emacs.eval("(process-id (jsonrpc--process slm-lsp--connection))")
    os.kill(pid, signal.SIGKILL)
    emacs.until(lambda: not emacs.eval("slm-lsp--uri"), "lost server")
    emacs.until_ready()
    assert emacs.eval("(process-id (jsonrpc--process slm-lsp--connection))") != pid
    emacs.type(" ")
    emacs.until_ghost("return a + b")


def test_a_server_that_never_starts_is_given_up(start: Start) -> None:
    emacs = start(b"x = 1\n", "(setq slm-lsp-max-restarts 1)")
    # One that does not answer ends when another is started.
    emacs.eval('(progn (setq slm-lsp-command \'("sleep" "1000")) (slm-lsp-restart))')
    pid = emacs.eval("(process-id (jsonrpc--process slm-lsp--connection))")
    assert "slm[loading]" in emacs.eval("(slm-lsp--lighter)")
    emacs.eval('(progn (setq slm-lsp-command \'("false")) (slm-lsp-restart))')
    emacs.until(
        lambda: "ended 2 times" in (emacs.eval("(plist-get slm-lsp--status :message)") or ""),
        "a reason",
    )
    emacs.until(lambda: not Path(f"/proc/{pid}").exists(), "end of the process")
    emacs.eval('(progn (setq slm-lsp-command \'("no-such-program")) (slm-lsp-restart))')
    message = emacs.eval("(plist-get slm-lsp--status :message)")
    assert "slm-lsp-command" in message
    assert "slm[failed]" in emacs.eval("(slm-lsp--lighter)")


def test_pause_and_why_are_said(start: Start) -> None:
    emacs = start(b"def add(a, b):\n   ")
    emacs.until(lambda: emacs.eval("(slm-lsp--lighter)") == " slm", "lighter")
    emacs.type("\x03;p")
    emacs.until(lambda: emacs.eval("(slm-lsp--lighter)") == " slm[paused]", "lighter")
    emacs.type(" ")
    emacs.type("\x03;r")
    emacs.until(lambda: emacs.eval("(slm-lsp--lighter)") == " slm", "lighter")
    assert emacs.ghost() is None
    emacs.type("\x03;w")
    emacs.until(lambda: any("slm-lsp: " in row for row in emacs.screen()), "reason")
    emacs.type("\x03;s")
    emacs.until(lambda: any('"n_requests"' in row for row in emacs.screen()), "counters")


def test_beside_eglot_and_company_the_popup_takes_the_place_of_ghost_text(start: Start) -> None:
    emacs = start(
        b"def loop(names):\n   ",
        "(require 'eglot) (require 'company) (setq company-idle-delay nil)"
        + snippets()[1]
        + "(global-company-mode 1)",
    )
    emacs.until(lambda: emacs.eval("(not (not (eglot-current-server)))"), "Eglot's server")
    emacs.type(" ")
    emacs.until_ghost("for name in names:\n        print(name)")
    open_popup(emacs)
    emacs.until_ghost(None)
    emacs.type("\x07")
    emacs.until_ghost("for name in names:\n        print(name)")
    open_popup(emacs)
    emacs.type("\x1bn" + ENTER)
    emacs.until_text("def loop(names):\n    for name in names:\n        print(name)")


def open_popup(emacs: Emacs) -> None:
    """Ask for Company's popup, and once more where Eglot had no answer on a busy machine."""

    def is_open() -> bool:
        return bool(emacs.eval("(length company-candidates)") == 2)

    for _ in range(3):
        emacs.type("\x1bxcompany-manual-begin" + ENTER)
        end = time.monotonic() + 15
        while time.monotonic() < end:
            if is_open():
                return
        emacs.type("\x07")
    emacs.until(is_open, "popup")


def test_lsp_mode_starts_it_as_an_add_on(start: Start) -> None:
    emacs = start(
        b"def add(a, b):\n   ",
        '(setq lsp-session-file (expand-file-name "session") lsp-auto-guess-root t'
        " lsp-warn-no-matched-clients nil lsp-enable-file-watchers nil lsp-enable-snippet nil)"
        "(require 'lsp-mode)" + snippets()[2] + "(add-hook 'python-mode-hook #'lsp)",
    )
    emacs.until(
        lambda: emacs.eval("(mapcar #'lsp--workspace-status (lsp-workspaces))") == ["initialized"],
        "lsp-mode's server",
    )
    emacs.type(" ")
    emacs.until_ghost("return a + b")
    emacs.type("\x1bxcompletion-at-point" + ENTER)
    emacs.until_text("def add(a, b):\n    return a + b")


def snippets() -> list[str]:
    """The README's pieces of configuration."""
    return re.findall(r"```elisp\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.model
def test_a_newcomers_three_steps(start: Start, tmp_path: Path) -> None:
    """The README's words, the default model, its budgets."""
    steps = snippets()[0].replace("/path/to/slm-lsp", str(ROOT))
    emacs = start(b"def average(numbers):\n    return sum(numbers) /", steps)
    emacs.until(lambda: emacs.eval("(slm-lsp--lighter)") == " slm", "model")
    emacs.type(" ")
    emacs.type("\x03;;")
    suggested = emacs.until(emacs.ghost, "ghost text")
    emacs.type(TAB)
    emacs.until_text(f"def average(numbers):\n    return sum(numbers) / {suggested}")


def test_laws_that_need_no_server() -> None:
    tests = ROOT / "tests" / "editors" / "slm-lsp-tests.el"
    said = batch(obtain(), "-L", ".", "-l", str(tests), "-f", "ert-run-tests-batch-and-exit")
    assert "0 unexpected" in said


def test_it_compiles_without_warnings_and_is_well_documented(tmp_path: Path) -> None:
    root = obtain()
    files = sorted(path.name for path in CLIENT.glob("*.el") if "lsp-mode" not in path.name)
    assert len(files) == 5
    name = '(concat (file-name-nondirectory file) "c")'
    to_folder = f"(lambda (file) (expand-file-name {name} {lisp(tmp_path)}))"
    warnings = f"(setq byte-compile-error-on-warn t byte-compile-dest-file-function {to_folder})"
    batch(root, "-L", ".", "--eval", warnings, "-f", "batch-byte-compile", *files)
    check = '(dolist (file (directory-files "." t "\\\\.el$")) (checkdoc-file file))'
    assert batch(root, "--eval", "(require 'checkdoc)", "--eval", check) == ""
