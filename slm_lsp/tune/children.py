"""The children that measure.

Owns: a child's command line, reading what it says, and its end.

Invariant: a child ends with the call that started it, whatever ends that; a crash of native
code, too little memory or a hang is one model's trouble and no other's.

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
from slm_lsp.tune.measure import Report
from slm_lsp.tune.measurement import Measurement, Plan, to_json

# See engine.launch.BOOT.
BOOT = (
    "import sys; root = sys.argv.pop(1); root in sys.path or sys.path.insert(0, root); "
    "from slm_lsp.tune.measure import main; sys.exit(main(sys.argv[1]))"
)
# Loading from a slow disk takes its time.
PATIENCE_S = 90.0


class MeasureError(Exception):
    """A model could not be measured; the message says why."""


def measure_in_child(
    plan: Plan, report: Report, command: tuple[str, ...] = (sys.executable, "-P", "-c", BOOT)
) -> Measurement:
    """What a child of its own measures. Raises MeasureError."""
    arguments = [*command, str(PACKAGE_ROOT), json.dumps(to_json(plan))]
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        timer = threading.Timer(PATIENCE_S + 3 * plan.limit_ms / 1e3, child.kill)
        timer.daemon = True
        timer.start()
        try:
            assert child.stdout is not None
            said = _last_words(_messages(child.stdout), report)
            code = child.wait()
            errors.seek(0)
            log = errors.read().decode("utf-8", "replace")
        finally:
            timer.cancel()
            if child.poll() is None:
                child.kill()
                child.wait()
            if child.stdout is not None:
                child.stdout.close()
    if "failed" in said:
        raise MeasureError(str(said["failed"]))
    try:
        return Measurement.from_json(said["result"])
    except (KeyError, ValueError) as error:
        raise MeasureError(_outcome(code, log)) from error


def _messages(lines: Any) -> Iterator[dict[str, Any]]:
    """The child's lines that are messages; native code may write there what it likes."""
    for line in lines:
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                yield message


def _last_words(messages: Iterator[dict[str, Any]], report: Report) -> dict[str, Any]:
    for message in messages:
        if "doing" not in message:
            return message
        report(str(message["doing"]), float(message.get("done", 0.0)))
    return {}


def _outcome(code: int, log: str) -> str:
    last = next((line for line in reversed(log.splitlines()) if line.strip()), "it said nothing")
    if code >= 0:
        return f"measuring ended with exit status {code}: {last}"
    if -code == signal.SIGKILL:
        return "measuring was killed: too little memory, or it hung"
    return f"llama.cpp crashed ({signal.strsignal(-code) or -code}): {last}"
