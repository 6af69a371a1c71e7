"""Keeps what attrs compiles for lsprotocol's classes, which is half of its import time.

Owns: one file in the user's cache directory, from source text to code object, as Python's
own .pyc files hold it.

Invariant: a code object is used for exactly the source text it was compiled from, by exactly
this build of Python. Without the file, with a damaged one, or with an attrs that compiles
elsewhere, everything works and is slower.

Threads: the main thread, before the event loop runs.
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


@contextmanager
def remembered(path: Path) -> Iterator[None]:
    """Within the block, attrs compiles a source text only if `path` does not hold it."""
    import attr._make

    memory = _read(path)
    n_known = len(memory)

    def compile_once(source: str, filename: str, mode: str) -> CodeType:
        key = f"{mode}\0{filename}\0{source}"
        code = memory.get(key)
        if code is None:
            code = memory[key] = compile(source, filename, mode)
        return code

    module: Any = attr._make
    # Shadows the builtin of that name in attrs' module only.
    module.compile = compile_once
    try:
        yield
    finally:
        del module.compile
    if len(memory) > n_known:
        _write(path, memory)


def default_path() -> Path:
    """The file for this build of Python."""
    from platformdirs import user_cache_path

    root = os.environ.get("SLM_LSP_CACHE_DIR") or user_cache_path("slm-lsp")
    name = f"{sys.implementation.cache_tag}-{sys.hexversion:x}.marshal"
    return Path(root) / "compiled" / name


def _read(path: Path) -> dict[str, CodeType]:
    try:
        with path.open("rb") as file:
            memory = marshal.load(file)
    except (OSError, EOFError, ValueError, TypeError):
        return {}
    return memory if isinstance(memory, dict) else {}


def _write(path: Path, memory: dict[str, CodeType]) -> None:
    # A start that cannot be remembered (read-only home, full disk) is no error.
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            marshal.dump(memory, file)
        os.replace(file.name, path)
