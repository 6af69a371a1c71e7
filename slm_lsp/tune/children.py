"""The children that measure.

Owns: a child's command line, what it is told and says, and its end.

Invariant: a child ends when it is closed, which whoever opens it does whatever happens; of a parent
that is gone it finds its input ended. A crash of native code, too little memory or a hang is one
model's trouble and no other's.

Threads: the caller's; a timer ends a child that hangs.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from slm_lsp.engine.launch import PACKAGE_ROOT
from slm_lsp.tune.measurement import Plan, Turn, to_json

# See engine.launch.BOOT.
BOOT = (
    "import sys; root = sys.argv.pop(1); root in sys.path or sys.path.insert(0, root); "
    "from slm_lsp.tune.measure import main; sys.exit(main(sys.argv[1]))"
)
COMMAND = (sys.executable, "-P", "-c", BOOT)
# Loading from a slow disk takes its time.
PATIENCE_S = 90.0


class MeasureError(Exception):
    """A model could not be measured; the message says why."""


class Child:
    """A process that holds a model and measures it when told to."""

    def __init__(self, plan: Plan, command: tuple[str, ...] = COMMAND) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        try:
            self._process = subprocess.Popen(
                [*command, str(PACKAGE_ROOT), json.dumps(to_json(plan))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError:
            self._errors.close()
            raise

    def turn(self, kind: str, left_ms: float) -> Turn:
        """What a turn of it gave. Raises MeasureError."""
        timer = threading.Timer(PATIENCE_S + 3 * left_ms / 1e3, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            self._tell({"kind": kind, "left_ms": left_ms})
            said = self._answer()
            if "failed" in said:
                raise MeasureError(str(said["failed"]))
            try:
                return Turn.from_json(said["turn"])
            except (KeyError, ValueError) as error:
                self._end_input()
                raise MeasureError(_outcome(self._process.wait(), self._log())) from error
        finally:
            timer.cancel()

    def close(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._end_input()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def _tell(self, message: dict[str, object]) -> None:
        assert self._process.stdin is not None
        # Where it reads no more, what it said last tells why.
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        said = _messages(self._process.stdout)
        return next((each for each in said if each.keys() & {"turn", "failed"}), {})

    def _end_input(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _log(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")


def _messages(lines: Any) -> Iterator[dict[str, Any]]:
    """The child's lines that are messages; native code may write there what it likes."""
    for line in lines:
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                yield message


def _outcome(code: int, log: str) -> str:
    last = next((line for line in reversed(log.splitlines()) if line.strip()), "it said nothing")
    if code >= 0:
        return f"measuring ended with exit status {code}: {last}"
    if -code == signal.SIGKILL:
        return "measuring was killed: too little memory, or it hung"
    return f"llama.cpp crashed ({signal.strsignal(-code) or -code}): {last}"
