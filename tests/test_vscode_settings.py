"""The VS Code extension's package.json and lock files, without an editor.

Invariant: every option of the server is a setting as config.py describes it, and no lock file
names the host that a package came from.
Threads: none.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from slm_lsp.config import FIELDS

ROOT = Path(__file__).parents[1]
EXTENSION = ROOT / "editors" / "vscode"
LOCKS = [EXTENSION / "package-lock.json", ROOT / "tests/editors/vscode/package-lock.json"]


def generator() -> ModuleType:
    """editors/vscode/settings.py, which lies in no package."""
    spec = importlib.util.spec_from_file_location("vscode_settings", EXTENSION / "settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((EXTENSION / "package.json").read_text())
    return content


def properties() -> dict[str, Any]:
    """All settings of the extension."""
    sections = package()["contributes"]["configuration"]
    return {name: each for section in sections for name, each in section["properties"].items()}


def test_package_json_is_as_config_says() -> None:
    text = (EXTENSION / "package.json").read_text()
    says = "run `python editors/vscode/settings.py`"
    assert generator().with_settings(text) == text, says


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_is_a_setting(name: str) -> None:
    """Looked at without the generator, which may be wrong."""
    setting, field = properties()[f"slm-lsp.server.{name}"], FIELDS[name]
    assert field.metadata["doc"][1:] in setting["description"]
    assert setting["type"] in {"string", "integer", "number"}
    if "default" in setting:
        assert setting["default"] == field.default
    if choices := field.metadata["choices"]:
        assert setting["enum"] == list(choices)
    if field.metadata["low"] is not None:
        limits = (field.metadata["low"], field.metadata["high"])
        assert (setting["minimum"], setting["maximum"]) == limits


def test_every_setting_is_described() -> None:
    ours = {name for name in properties() if name.startswith("slm-lsp.server.")}
    assert ours == {f"slm-lsp.server.{name}" for name in FIELDS}
    for name, setting in properties().items():
        assert setting.get("description") or setting.get("markdownDescription"), name


def test_every_command_has_a_title_and_every_key_a_command() -> None:
    contributed = package()["contributes"]
    commands = {each["command"] for each in contributed["commands"] if each["title"]}
    assert len(commands) == len(contributed["commands"])
    for key in contributed["keybindings"]:
        assert key["command"] in commands or key["command"].startswith("editor.action.")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.parent.parent.name)
def test_lock_files_hold_hashes_and_no_hosts(lock: Path) -> None:
    packages: dict[str, Any] = json.loads(lock.read_text())["packages"]
    of_the_folder = packages.pop("")
    assert "resolved" not in of_the_folder
    assert packages
    for name, each in packages.items():
        assert "resolved" not in each, name
        if each.get("inBundle"):
            continue  # in the archive of the package around it
        assert each["integrity"].startswith("sha512-"), name
