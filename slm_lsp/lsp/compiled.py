"""Keeps what attrs and cattrs compile for lsprotocol's classes, half of the time to start.

Owns: one file in the user's cache directory, from source text to code object, as Python's
own .pyc files hold it.

Invariant: a code object is used for exactly the source text it was compiled from, by exactly
this build of Python. Without the file, with a damaged one, or with libraries that compile
elsewhere, everything works and is slower.

Threads: the main thread.
"""

from __future__ import annotations

import marshal
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType
from typing import Any


class Memory:
    """The file's content, and what was compiled since it was read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._codes = _read(path)
        self._n_saved = len(self._codes)

    def compile(self, source: str, filename: str, mode: str) -> CodeType:
        """As the builtin of that name, which is asked only for what is not known."""
        key = f"{mode}\0{filename}\0{source}"
        code = self._codes.get(key)
        if code is None:
            code = self._codes[key] = compile(source, filename, mode)
        return code

    def save(self) -> None:
        """Write the file if there is anything new; failing to is no error."""
        if len(self._codes) > self._n_saved:
            self._n_saved = len(self._codes)
            _write(self._path, self._codes)


@contextmanager
def remembered(path: Path) -> Iterator[Memory]:
    """Within the block, attrs and cattrs compile only source texts that `path` does not hold."""
    import attr._make
    import cattrs.gen

    memory = Memory(path)
    modules: tuple[Any, ...] = (attr._make, cattrs.gen)
    for module in modules:
        # Shadows the builtin of that name in this module only.
        module.compile = memory.compile
    try:
        yield memory
    finally:
        for module in modules:
            del module.compile
    memory.save()


def default_path() -> Path:
    """The file for this build of Python."""
    from platformdirs import user_cache_path

    root = os.environ.get("SLM_LSP_CACHE_DIR") or user_cache_path("slm-lsp")
    name = f"{sys.implementation.cache_tag}-{sys.hexversion:x}.marshal"
    return Path(root) / "compiled" / name


def _read(path: Path) -> dict[str, CodeType]:
    try:
        with path.open("rb") as file:
            codes = marshal.load(file)
    except (OSError, EOFError, ValueError, TypeError):
        return {}
    return codes if isinstance(codes, dict) else {}


def _write(path: Path, codes: dict[str, CodeType]) -> None:
    # A start that cannot be remembered (read-only home, full disk) is no error.
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            marshal.dump(codes, file)
        os.replace(file.name, path)
