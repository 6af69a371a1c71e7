"""docs/licences.md names the licence of every dependency and of every model.

Invariant: what is looked for is read here from pyproject.toml and `models/`, not by the script.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "licences.md").read_text()
ROWS = {
    cells[0]: cells[1]
    for line in PAGE.splitlines()
    if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) >= 3
}


def dependencies() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.split(r"[^A-Za-z0-9._-]", text)[0] for group in groups for text in group}
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names} - {"slm-lsp"}


@pytest.mark.parametrize("name", sorted(dependencies()))
def test_each_dependency_has_a_licence(name: str) -> None:
    assert ROWS.get(name), f"run scripts/licences: {name} is missing"


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*.toml")), ids=lambda p: p.stem)
def test_each_model_has_its_licence(path: Path) -> None:
    entry = tomllib.loads(path.read_text())
    assert ROWS.get(entry["name"]) == entry["licence"], "run scripts/licences"


def test_no_licence_is_left_open() -> None:
    assert "not said" not in PAGE
