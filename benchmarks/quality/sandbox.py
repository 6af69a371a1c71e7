"""The near end of the sandbox: starts its worker and asks it for verdicts.

Owns: the worker's process and the pipes to it.

Invariant: nothing that a model wrote is run in this process, and the worker gets none of its
environment. Every program gets a verdict; a worker that died raises.

Threads: one at a time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from types import TracebackType
from typing import Any

from benchmarks.quality import sandbox_worker
from benchmarks.quality.sandbox_worker import PASSED, Limits

__all__ = ["PASSED", "Limits", "Sandbox", "SandboxError"]


class SandboxError(Exception):
    """The worker is gone, or cannot confine programs here."""


class Sandbox:
    """Runs programs, one after the other. Close it to end its worker."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._worker = subprocess.Popen(
            [sys.executable, "-I", "-S", sandbox_worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={},
            cwd="/",
            start_new_session=True,
            text=True,
        )
        self.own_network: bool = self._answer()["own_network"]
        verdict = self.verdict("")
        if verdict != PASSED:
            self.close()
            raise SandboxError(f"not even an empty program runs in the sandbox: {verdict}")

    def verdict(self, program: str) -> str:
        """PASSED, or in a word what else became of `program`."""
        assert self._worker.stdin is not None
        job = {"program": program, "limits": asdict(self.limits)}
        try:
            self._worker.stdin.write(json.dumps(job) + "\n")
            self._worker.stdin.flush()
        except OSError as error:
            raise SandboxError("the sandbox's worker has ended") from error
        return str(self._answer())

    def _answer(self) -> Any:
        assert self._worker.stdout is not None
        line = self._worker.stdout.readline()
        if not line:
            raise SandboxError("the sandbox's worker has ended")
        return json.loads(line)

    def close(self) -> None:
        """End the worker."""
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.close()
        self._worker.wait()
        self._worker.stdout.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
