"""Installed packages as repositories: their files, versions and licences.

Owns: which packages the benchmark uses, reading them where they are installed, and a copy for as
long as a run takes. What version was read is part of the result; nothing of them is kept.

Invariant: only the package's own code counts: its tests and what it has copied are left out.

Threads: any.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

# Pure Python, of permissive licences, of three sizes, and dependencies of this project or of
# its benchmarks.
PACKAGES = ("rich", "networkx", "huggingface_hub")
NO_CODE_OF_ITS_OWN = frozenset({"tests", "test", "_vendor", "testing"})


class NoPackage(Exception):
    """A package is not installed."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A package: `files` are the texts by their paths in `root`, the folder above it."""

    name: str
    version: str
    licence: str
    root: Path
    files: dict[str, str]

    def copied(self, folder: Path) -> Repository:
        """The same in a folder of its own, where nothing else is."""
        root = folder / self.name
        for path, text in self.files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        return replace(self, root=root)


def read(name: str) -> Repository:
    """An installed package. Raises NoPackage."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise NoPackage(f"there is no package {name}: python -m pip install {name}")
    folder = Path(spec.submodule_search_locations[0])
    about = metadata.metadata(name).json
    licence = about.get("license_expression") or about.get("license") or "?"
    return Repository(name, str(about["version"]), str(licence), folder.parent, _files(folder))


def _files(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder.parent)
        if not NO_CODE_OF_ITS_OWN.intersection(inside.parts):
            found[inside.as_posix()] = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    return found
