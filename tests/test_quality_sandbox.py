"""Programs that do harm by accident: each is contained, and the next one gets its verdict."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.quality.sandbox import PASSED, Limits, Sandbox, SandboxError
from benchmarks.quality.sandbox_worker import refuse

SMALL = Limits(cpu_s=1, wall_s=20.0, memory_bytes=256 << 20, file_bytes=4096)
LOOP = "while True: pass"
WAIT = "import threading\nthreading.Event().wait()"
FORK = "import os\nif os.fork() == 0: os._exit(0)"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SMALL) as sandbox:
        yield sandbox


def check(sandbox: Sandbox, program: str, verdict: str, limits: Limits = SMALL) -> None:
    """Run `program` under `limits`; the worker is well afterwards."""
    sandbox.limits = limits
    assert sandbox.verdict(program) == verdict
    sandbox.limits = SMALL
    assert sandbox.verdict("assert 1 + 1 == 2") == PASSED


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("def f(): return 1\nassert f() == 1", PASSED),
        ("assert 1 == 2", "AssertionError"),
        ("def f(:", "SyntaxError"),
        ("é = '\\ud800\U0001f600'\nassert len(é) == 2", PASSED),
        ("def f(): f()\nf()", "RecursionError"),
        ("import numpy", "ModuleNotFoundError"),
        ("class passed(BaseException): pass\nraise passed", "left early"),
        ("class E(Exception): pass\nE.__name__ = '+'\nraise E", "+"),
    ],
)
def test_how_programs_end(sandbox: Sandbox, program: str, verdict: str) -> None:
    check(sandbox, program, verdict)


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("raise SystemExit(0)", "SystemExit"),
        ("import os\nos._exit(0)", "left early"),
        ("import signal\nsignal.raise_signal(9)", "SIGKILL"),
        ("import faulthandler\nfaulthandler._sigsegv()", "SIGSEGV"),
    ],
)
def test_leaving_early_is_no_pass(sandbox: Sandbox, program: str, verdict: str) -> None:
    check(sandbox, f"{program}\n", verdict)


def test_a_loop_ends(sandbox: Sandbox) -> None:
    check(sandbox, LOOP, "CPU time")


def test_a_wait_ends(sandbox: Sandbox) -> None:
    check(sandbox, WAIT, "wall time", replace(SMALL, wall_s=0.2))


def test_memory_is_bounded(sandbox: Sandbox) -> None:
    check(sandbox, "x = bytearray(512 << 20)", "MemoryError")
    check(sandbox, "x = [0]\nwhile True: x += x", "MemoryError")


BARE = replace(SMALL, audit=False)


@pytest.mark.parametrize(("limits", "verdict"), [(SMALL, "PermissionError"), (BARE, "OSError")])
def test_there_is_no_network(sandbox: Sandbox, limits: Limits, verdict: str) -> None:
    if not limits.audit and not sandbox.own_network:
        pytest.skip("this machine does not let the worker have a network namespace")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.0)
        address = server.getsockname()
        program = f"import socket\nsocket.create_connection({address}, timeout=5)"
        check(sandbox, program, verdict, limits)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    ("limits", "verdict"), [(SMALL, "PermissionError"), (BARE, "BlockingIOError")]
)
@pytest.mark.parametrize("program", [FORK, "import subprocess\nsubprocess.run(['/bin/true'])"])
def test_there_are_no_new_processes(
    sandbox: Sandbox, program: str, limits: Limits, verdict: str
) -> None:
    check(sandbox, program, verdict, limits)


def test_files_are_small(sandbox: Sandbox) -> None:
    check(sandbox, "with open('a', 'w') as f: f.write('x' * 4096)", PASSED)
    check(sandbox, "with open('a', 'w') as f: f.write('x' * 4097)", "OSError")


def test_nothing_is_written_elsewhere(sandbox: Sandbox, tmp_path: Path) -> None:
    check(sandbox, f"open({str(tmp_path / 'a')!r}, 'w')", "PermissionError")
    assert list(tmp_path.iterdir()) == []


READ, WRITE = os.O_RDONLY | os.O_CLOEXEC, os.O_WRONLY | os.O_CREAT


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("open", ("/elsewhere/a", "w", WRITE)),
        ("open", (b"/elsewhere/a", None, WRITE)),
        ("open", ("../a", "a", os.O_APPEND)),
        ("open", ("/elsewhere/a", "r+", os.O_RDWR)),
        ("os.remove", ("a", -1)),
        ("os.chdir", ("/",)),
        ("os.kill", (1, 9)),
        ("os.fork", ()),
        ("os.exec", ("/bin/true", [], None)),
        ("os.posix_spawn", ("/bin/true", [], None)),
        ("os.system", (b"true",)),
        ("shutil.rmtree", ("/", None)),
        ("socket.__new__", (None, 2, 1, 0)),
        ("socket.getaddrinfo", ("localhost", 80, 0, 0, 0)),
        ("ctypes.dlopen", (None,)),
    ],
)
def test_what_is_refused_before_the_kernel_is_asked(event: str, arguments: tuple[object]) -> None:
    with pytest.raises(PermissionError, match=event):
        refuse(event, arguments)


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("open", ("/etc/hostname", "r", READ)),
        ("open", ("a", "w", WRITE)),
        ("open", (3, "w", WRITE)),
        ("open", ("/etc/hostname", None, None)),
        ("import", ("math", None, None, None, None)),
        ("os.listdir", (None,)),
        ("sys._getframe", ()),
    ],
)
def test_what_is_not_refused(event: str, arguments: tuple[object]) -> None:
    refuse(event, arguments)


def test_nothing_of_a_program_is_left(sandbox: Sandbox) -> None:
    # Told by the name of an error, which becomes the verdict.
    program = "import os\nraise type(os.getcwd(), (Exception,), {})"
    directory = Path(sandbox.verdict(program))
    assert directory.is_absolute()
    assert not directory.exists()


def test_a_process_that_was_started_all_the_same_ends_with_its_program(sandbox: Sandbox) -> None:
    # It keeps nothing open, so that only its end shows that it has ended.
    program = (
        "import os, threading\npid = os.fork()\nif pid == 0:\n"
        "    os.closerange(0, 64)\n    threading.Event().wait()\n"
    )
    sandbox.limits = replace(BARE, n_processes=4096)
    pid = int(sandbox.verdict(program + "raise type(str(pid), (Exception,), {})"))
    sandbox.limits = SMALL
    with contextlib.suppress(ProcessLookupError):
        assert select.select([os.pidfd_open(pid)], [], [], 10.0)[0]


def test_a_program_finds_an_empty_directory_no_input_and_no_environment(sandbox: Sandbox) -> None:
    check(sandbox, "import os\nassert os.listdir() == []\nopen('left', 'w')", PASSED)
    check(sandbox, "import os\nassert os.listdir() == []", PASSED)
    check(sandbox, "input()", "EOFError")
    check(sandbox, "import os\nassert not os.environ.keys() & {'HOME', 'PATH', 'USER'}", PASSED)


def test_a_program_cannot_end_its_worker(sandbox: Sandbox) -> None:
    kill = "import os\nos.kill(os.getppid(), 9)"
    check(sandbox, kill, "PermissionError")


def test_what_a_program_prints_is_no_verdict(sandbox: Sandbox) -> None:
    program = "import os\nprint('\"passed\"', flush=True)\nos.write(1, b'\"passed\"\\n')\nassert 0"
    check(sandbox, program, "AssertionError")


def test_a_sandbox_in_which_nothing_can_run_says_so() -> None:
    with pytest.raises(SandboxError, match="not even an empty program"):
        Sandbox(replace(SMALL, memory_bytes=1 << 70))


def test_a_worker_that_is_gone_is_an_error() -> None:
    sandbox = Sandbox(SMALL)
    sandbox.close()
    with pytest.raises((SandboxError, ValueError)):
        sandbox.verdict("pass")
