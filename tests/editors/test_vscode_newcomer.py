"""The README's three steps in VS Code as they stand there, up to a suggestion of the real model.

Invariant: the commands are read from the README and run as they are; nothing is set. The server
is the one that the extension installs by itself, and the model the default one.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from vscode_driver import START_PATIENCE_S, VSCode, command_of, until
from vscode_obtain import EXTENSION, ROOT, editor, environ

from slm_lsp.registry.cache import CACHE_DIR_VARIABLE, cache_root
from slm_lsp.registry.specs import DEFAULT_MODEL

pytestmark = pytest.mark.editor
README = EXTENSION / "README.md"
# Where llama.cpp has to be compiled.
INSTALL_PATIENCE_S = 900.0
LOAD_PATIENCE_S = 120.0
SOON_S = 5.0


def steps() -> list[str]:
    """What the README numbers under its first heading."""
    section = README.read_text().split("\n## ")[1]
    found = re.split(r"^\d\. ", section, flags=re.MULTILINE)[1:]
    assert len(found) <= 3
    return found


def commands() -> list[str]:
    """The commands in the steps, in order."""
    return [each for step in steps() for each in re.findall(r"```sh\n(.*?)```", step, re.DOTALL)]


def newcomers(folder: Path) -> dict[str, str]:
    """An environment without a server or settings, in which the program `code` is this VS Code.

    What pip has built and the model are the user's.
    """
    bin_ = folder / "bin"
    bin_.mkdir()
    (bin_ / "code").write_text(f'#!/bin/sh\nexec {shlex.join(command_of(folder))} "$@"\n')
    (bin_ / "code").chmod(0o755)
    path = [
        each for each in environ()["PATH"].split(os.pathsep) if not Path(each, "slm-lsp").exists()
    ]
    pip = [sys.executable, "-m", "pip", "cache", "dir"]
    cached = subprocess.run(pip, capture_output=True, text=True, check=True).stdout.strip()
    return environ() | {
        "PATH": os.pathsep.join([str(bin_), *path]),
        "PYTHONPATH": "",
        "PIP_CACHE_DIR": cached,
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        CACHE_DIR_VARIABLE: str(cache_root()),
        # Nothing is to be left behind.
        "SLM_LSP_ENGINE": "inproc",
    }


def test_the_three_steps(tmp_path: Path) -> None:
    editor()
    env = newcomers(tmp_path)
    assert shutil.which("slm-lsp", path=env["PATH"]) is None
    built, installed = commands()
    (EXTENSION / "slm-lsp.vsix").unlink(missing_ok=True)
    for command in (built, installed):
        subprocess.run(["sh", "-ec", command], cwd=ROOT, env=env, check=True, capture_output=True)
    example = (ROOT / "examples" / "averages.py").read_bytes()
    code = VSCode(tmp_path, {"averages.py": example}, None, environ=env)
    try:
        question = code.until_text(
            ".notification-toast", "the server was not found", START_PATIENCE_S
        )
        assert "Install it" in question
        code.click(".notification-toast .monaco-button:has-text('Install')")
        code.until_text(".notification-toast", "Installing slm-lsp")
        code.until_bar(f"{DEFAULT_MODEL}, ready", INSTALL_PATIENCE_S)
        code.open("averages.py", line=6)
        code.type(" ")
        try:
            until(code.ghost, "ghost text", SOON_S)
        except AssertionError:
            # On a busy machine none came within the budget: the README says what to do.
            code.press("Alt+\\")
        until(lambda: code.ghost().startswith("sum("), "ghost text of the model", LOAD_PATIENCE_S)
        said = code.ghost()
        code.press("Tab")
        saved = code.saved("averages.py")
        assert saved == example.replace(b"    return\n", b"    return " + said.encode() + b"\n")
    finally:
        code.close()
