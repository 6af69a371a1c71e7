"""Keeps what attrs, cattrs and dataclasses compile for the classes that a start makes.

Owns: one file in the user's cache directory, from a digest of the source text to the code, as
Python's own .pyc files hold it.

Invariant: code is used for the source text it was compiled from only, by exactly this build
of Python. Without the file, with a damaged one, or with libraries that compile
elsewhere, everything works and is slower.

Threads: any; the file is read and written by the main thread.
"""

from __future__ import annotations

import dataclasses
import hashlib
import marshal
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType
from typing import Any

N_DIGEST = 64


class Memory:
    """The file's content, and what was compiled since it was read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._codes = _read(path)
        self._n_saved = len(self._codes)

    def compile(self, source: str, filename: str, mode: str) -> CodeType:
        """As the builtin of that name, which is asked only for what is not known."""
        key = hashlib.blake2b(f"{mode}\0{filename}\0{source}".encode()).digest()
        known = self._codes.get(key)
        if known is not None:
            code = marshal.loads(known)
            assert isinstance(code, CodeType)
            return code
        # Without this module's __future__, which would change annotations.
        code = compile(source, filename, mode, dont_inherit=True)
        self._codes[key] = marshal.dumps(code)
        return code

    def exec(self, source: str, *scopes: Any) -> None:
        """As the builtin of that name, for a source text."""
        exec(self.compile(source, "<string>", "exec"), *scopes)

    def save(self) -> None:
        """Write the file if there is anything new; failing to is no error."""
        if len(self._codes) > self._n_saved:
            self._n_saved = len(self._codes)
            _write(self._path, self._codes)


@contextmanager
def remembered(path: Path) -> Iterator[Memory]:
    """Within the block, what makes classes compiles only source texts that `path` does not hold."""
    import attr._make
    import cattrs.gen

    memory = Memory(path)
    shadowed: tuple[tuple[Any, str], ...] = (
        (attr._make, "compile"),
        (cattrs.gen, "compile"),
        (dataclasses, "exec"),
    )
    for module, name in shadowed:
        # Shadows the builtin of that name in this module only.
        setattr(module, name, getattr(memory, name))
    try:
        yield memory
    finally:
        for module, name in shadowed:
            delattr(module, name)
    memory.save()


def default_path() -> Path:
    """The file for this build of Python."""
    from platformdirs import user_cache_path

    root = os.environ.get("SLM_LSP_CACHE_DIR") or user_cache_path("slm-lsp")
    name = f"{sys.implementation.cache_tag}-{sys.hexversion:x}.codes"
    return Path(root) / "compiled" / name


def _read(path: Path) -> dict[bytes, bytes]:
    """The file's content, where it is whole: a digest of the rest stands in front."""
    try:
        content = path.read_bytes()
    except OSError:
        return {}
    digest, rest = content[:N_DIGEST], content[N_DIGEST:]
    if hashlib.blake2b(rest).digest() != digest:
        return {}
    codes: dict[bytes, bytes] = marshal.loads(rest)
    return codes


def _write(path: Path, codes: dict[bytes, bytes]) -> None:
    # A start that cannot be remembered (read-only home, full disk) is no error.
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            rest = marshal.dumps(codes)
            file.write(hashlib.blake2b(rest).digest() + rest)
        os.replace(file.name, path)
