"""A workspace of a given size, of files that are installed on this machine.

Owns: the copies, in a folder that the caller deletes.

Invariant: the same installation gives the same tree; packages keep their folders, so that imports
lead somewhere.
"""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from slm_lsp.workspace.files import is_wanted_path, read_source


def installed() -> Iterator[tuple[Path, str]]:
    """Source files of the standard library and of installed packages, and what to call them."""
    for key in ("platlib", "stdlib", "include"):
        root = Path(sysconfig.get_path(key)).resolve()
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            is_inner = "site-packages" in name.split("/") or "node_modules" in name.split("/")
            if path.is_file() and not is_inner and is_wanted_path(name):
                source = read_source(path)
                if source is not None and source[1]:
                    yield path, f"{key}/{name}"


def make(folder: Path, n_files: int) -> int:
    """Fill a folder with `n_files` files; the number of those that are there is returned."""
    sources = list(installed())
    n_made = 0
    for copy in range(1 + n_files // max(1, len(sources))):
        for path, name in sources:
            if n_made == n_files:
                return n_made
            target = folder / f"part{copy}" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            n_made += 1
    return n_made
