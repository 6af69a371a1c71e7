"""The folders that servers of one user share, apart from the real user's.

Owns: the mark of their processes, and their environment: a runtime folder, so that the user's own
daemon is left alone, settings, a log and measured rates of their own. What they share with the
user: the model files, and the code that is kept compiled (attrs' and cattrs', and Python's, which
an environment that forbids .pyc files would otherwise compile at every start).

Invariant: when it is closed, no process with its mark is left, and no file.

Threads: any.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from benchmarks.latency import processes

CACHE_VARIABLE = "SLM_LSP_CACHE_DIR"


class Home:
    """See the module."""

    def __init__(self) -> None:
        self.mark = processes.new_mark()
        self._temporary = tempfile.TemporaryDirectory(prefix="slm-latency-")
        self.folder = Path(self._temporary.name)

    @property
    def sockets(self) -> Path:
        """Where the daemons' sockets are."""
        return self.folder / "slm-lsp"

    def env(self) -> dict[str, str]:
        """A server's environment."""
        cache = Path(os.environ.get(CACHE_VARIABLE) or user_cache_path("slm-lsp", appauthor=False))
        env = {
            **os.environ,
            processes.MARK: self.mark,
            CACHE_VARIABLE: str(cache),
            "XDG_RUNTIME_DIR": str(self.folder),
            "PYTHONPYCACHEPREFIX": str(cache / "benchmarks" / "pycache"),
        }
        for name in ("CACHE", "STATE", "CONFIG"):
            env[f"XDG_{name}_HOME"] = str(self.folder / name.lower())
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        return env

    def close(self) -> None:
        """End what its servers left running."""
        processes.end([self.mark])
        self._temporary.cleanup()
