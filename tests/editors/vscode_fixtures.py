"""The editor that the tests in a real VS Code share; they name this module in `pytest_plugins`.

Owns: the editor's life, and where pictures and figures go ($SLM_LSP_CAPTURES).

Invariant: one VS Code and one browser for all of them; a failed test leaves a picture.
Threads: none.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from vscode_driver import START_PATIENCE_S, VSCode
from vscode_obtain import ROOT
from vscode_scene import FILES, SCRIPT


@pytest.fixture(scope="session")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures and figures go."""
    named = os.environ.get("SLM_LSP_CAPTURES")
    folder = Path(named) if named else tmp_path_factory.mktemp("captures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VSCode]:
    folder = tmp_path_factory.mktemp("vscode")
    script = folder / "script.json"
    script.write_text(json.dumps(SCRIPT))
    server = [sys.executable, str(ROOT / "tests" / "serve_scripted.py"), str(script)]
    vscode = VSCode(folder, FILES, server)
    try:
        # The walkthrough of the first start lies over everything.
        words = "Get started with slm-lsp"
        vscode.until_text(".gettingStartedContainer", words, START_PATIENCE_S)
        vscode.until_bar("scripted", START_PATIENCE_S)
        yield vscode
    finally:
        vscode.close()


@pytest.fixture
def picture_of_a_failure(
    request: pytest.FixtureRequest, captures: Path, code: VSCode
) -> Iterator[None]:
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        code.screenshot(captures / f"failed-{request.node.name}.png")
