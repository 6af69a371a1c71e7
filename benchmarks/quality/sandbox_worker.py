"""Runs programs that a model wrote, one forked child each, so that they can do no harm.

Owns: what confines a child, in layers: a network namespace of its own, another user than
root, resource limits, an audit hook, an empty directory, a session that is killed whole.

Invariant: a script that imports only the standard library and is run with `-I -S` and an empty
environment. It reads one JSON job a line and answers each with one JSON line, whatever the
program does. Only a program that ran to its end has passed: leaving early is no pass. What a
hostile program could do is not the measure; what a small model writes by accident is.

Threads: one; a process of its own. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

PASSED, LEFT_EARLY = "passed", "left early"
NOBODY = 65534
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_NO_NEW_PRIVS = 38
# The interpreter's files may be unreadable for the child's user: what it may want is loaded first.
PRELOADED = (
    "abc array ast bisect calendar cmath collections.abc contextlib copy dataclasses datetime "
    "decimal enum fractions functools hashlib heapq inspect itertools json locale logging math "
    "numbers operator pprint queue random re statistics string struct textwrap threading time "
    "traceback types typing unicodedata unittest warnings zlib socket subprocess _strptime "
    "encodings.ascii encodings.hex_codec encodings.idna encodings.latin_1 encodings.rot_13"
)
# Audit events of what no solution needs; https://docs.python.org/3/library/audit_events.html
DENIED = (
    "socket. subprocess. os.fork os.exec os.posix_spawn os.spawn os.system os.kill os.mkdir "
    "os.remove os.rename os.rmdir os.link os.symlink os.chmod os.chown os.truncate "
    "os.chdir signal.pthread_kill pty. ctypes. shutil."
)
DENIED_EVENTS = tuple(DENIED.split())
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Limits:
    """What one program may use. `audit` switches the in-process layer, for tests of the rest.

    CPU time, not wall time, is what usually ends a loop: how busy the machine is must not
    change a verdict.
    """

    cpu_s: int = 3
    wall_s: float = 20.0
    memory_bytes: int = 1 << 30
    file_bytes: int = 1 << 16
    n_processes: int = 0
    audit: bool = True


def leave_network() -> bool:
    """Move this process into a network namespace without any interface that is up."""
    flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
    failed: int = ctypes.CDLL(None).unshare(flags)
    return not failed


def confine(limits: Limits, directory: str, keep_fd: int) -> None:
    """Take away from this process, a child, all that a program does not need."""
    os.setsid()
    os.chdir(directory)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.closerange(3, keep_fd)
    os.closerange(keep_fd + 1, 1024)
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.geteuid() == 0:
        # Root has no limit on processes, and may do too much else.
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    for which, soft, hard in (
        (resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 1),
        (resource.RLIMIT_AS, limits.memory_bytes, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes),
        (resource.RLIMIT_NPROC, limits.n_processes, limits.n_processes),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, 32, 32),
    ):
        resource.setrlimit(which, (soft, hard))
    if limits.audit:
        sys.addaudithook(refuse)


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: raise PermissionError for what no solution needs."""
    writes = event == "open" and bool((arguments[2] or 0) & WRITING)
    path = arguments[0] if writes else ""
    outside = isinstance(path, str | bytes) and "/" in os.fsdecode(path)
    if outside or event.startswith(DENIED_EVENTS):
        raise PermissionError(event)


def run_child(program: str, limits: Limits, directory: str, report_fd: int) -> None:
    """Run `program` in this process, confined, and report `+` or the error's name."""
    confine(limits, directory, report_fd)
    try:
        exec(compile(program, "<program>", "exec"), {"__name__": "program"})
        report = "+"
    except BaseException as error:
        report = "-" + type(error).__name__
    os.write(report_fd, report.encode())


def read_report(fd: int, wall_s: float) -> bytes | None:
    """What the child reported until it ended; None if it did not end in time."""
    until, report = time.monotonic() + wall_s, b""
    while select.select([fd], [], [], max(0.0, until - time.monotonic()))[0]:
        piece = os.read(fd, 4096)
        if not piece:
            return report[:200]
        report = (report + piece)[:200]
    return None


def verdict(report: bytes | None, status: int) -> str:
    """In a word, how a program ended; `status` is what waitpid gave."""
    if report is None:
        return "wall time"
    if report == b"+":
        return PASSED
    if report:
        name = report[1:].decode(errors="replace")
        return name if name != PASSED else LEFT_EARLY  # an exception may have any name
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "CPU time" if number == signal.SIGXCPU else signal.Signals(number).name
    return LEFT_EARLY


def run(program: str, limits: Limits) -> str:
    """The verdict on one program."""
    directory = tempfile.mkdtemp()
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            run_child(program, limits, directory, writer)
        finally:
            os._exit(1)
    os.close(writer)
    try:
        report = read_report(reader, limits.wall_s)
    finally:
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(OSError):
                kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(reader)
        shutil.rmtree(directory, ignore_errors=True)
    return verdict(report, status)


def main() -> None:
    for name in PRELOADED.split():
        importlib.import_module(name)
    sys.dont_write_bytecode = True
    print(json.dumps({"own_network": leave_network()}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(run(job["program"], Limits(**job["limits"]))), flush=True)


if __name__ == "__main__":
    main()
