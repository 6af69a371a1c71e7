"""The ready process: servers that come from it are like all others, and without it all is as usual.

Threads: the test's event loop; servers are processes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from daemon_scene import PATIENCE_S, ROOT, short_directory
from pipe_editor import PipeEditor
from ready_scene import Scene, empty, is_gone, ready, until

from slm_lsp.config import Config
from slm_lsp.ready import client, launch, meeting, provision
from slm_lsp.ready.session import Request

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is none elsewhere")


@pytest.fixture(scope="module")
def shared() -> Iterator[Scene]:
    """For tests that leave it as it is."""
    with ready() as scene:
        yield scene


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ready() as scene:
        yield scene


async def goes_through(scene: Scene) -> None:
    """A session that is served by a child of the ready process."""
    async with scene.session():
        assert len(scene.children()) == 1
    await until(lambda: not scene.children())


async def goes_the_ordinary_way(scene: Scene, **env: str) -> None:
    async with scene.session(**env):
        assert scene.children() == []


# --- like any server ---


async def test_a_session_from_beginning_to_end(shared: Scene) -> None:
    # The model that it misses is named by the client's environment.
    await goes_through(shared)
    async with shared.session(model="another.gguf"):
        [child] = shared.children()
        assert child.cwd() == os.getcwd()


async def test_two_at_once(shared: Scene) -> None:
    async with shared.session(model="one.gguf"), shared.session(model="two.gguf"):
        assert len(shared.children()) == 2
    assert psutil.Process(shared.pid).num_threads() == 1


async def test_status_and_stderr_are_passed_on(shared: Scene) -> None:
    status, stderr = await shared.run("serve", "--no-such-option")
    assert status == 2
    assert "unrecognized arguments: --no-such-option" in stderr
    # Its stdin ends without a shutdown.
    assert await shared.run("serve", "--engine", "inproc") == (1, "")


async def test_nothing_is_left_open(shared: Scene) -> None:
    n_before = psutil.Process(shared.pid).num_fds()
    await goes_through(shared)
    await until(lambda: psutil.Process(shared.pid).num_fds() == n_before)


async def test_a_client_that_is_killed_takes_the_server_with_it(shared: Scene) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        async with shared.session() as editor:
            [child] = shared.children()
            editor.expected_exit = -number
            editor._process.send_signal(number)
            await asyncio.to_thread(child.wait, PATIENCE_S)
            await editor.ended()


async def test_a_server_that_is_killed_takes_the_client_with_it(shared: Scene) -> None:
    async with shared.session() as editor:
        editor.expected_exit = 128 + signal.SIGKILL
        [child] = shared.children()
        child.kill()
        await editor.ended()


async def test_an_editor_that_hangs_up(shared: Scene) -> None:
    async with shared.session() as editor:
        editor.expected_exit = 1
        editor.hang_up()
        await editor.ended()


# --- the ordinary way ---


async def test_switched_off(shared: Scene) -> None:
    await goes_the_ordinary_way(shared, **{meeting.VARIABLE: "off"})


async def test_another_interpreter_environment(shared: Scene) -> None:
    await goes_the_ordinary_way(shared, PYTHONHASHSEED="7")


async def test_one_that_does_not_answer(shared: Scene) -> None:
    os.kill(shared.pid, signal.SIGSTOP)
    shared.patient = False
    try:
        await goes_the_ordinary_way(shared)
    finally:
        shared.patient = True
        os.kill(shared.pid, signal.SIGCONT)
    # It finds the request of a client that is gone, and is as before.
    await until(lambda: not shared.children())
    await goes_through(shared)


async def test_a_socket_that_others_could_reach(shared: Scene) -> None:
    path = shared.socket
    for each, mode, usual in ((path, 0o666, 0o600), (path.parent, 0o755, 0o700)):
        each.chmod(mode)
        try:
            await goes_the_ordinary_way(shared)
        finally:
            each.chmod(usual)
    await goes_through(shared)


def test_another_users_socket(shared: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    path = os.fspath(shared.socket)
    assert meeting.is_private(path)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert not meeting.is_private(path)


async def test_one_that_was_killed(scene: Scene) -> None:
    async with scene.session() as editor:
        os.kill(scene.pid, signal.SIGKILL)
        await until(scene.is_gone)
        assert scene.socket.exists()
        # The server goes on; only its status is known to nobody.
        editor.expected_exit = 1
        assert await editor.call("shutdown") is None
        await editor.notify("exit")
        await editor.ended()
    await goes_the_ordinary_way(scene)


async def test_clients_that_talk_nonsense_or_go_away(shared: Scene) -> None:
    path, key = os.fspath(shared.socket), b"another key"
    for word in (b"", b"x", b"\0" * 9, client.request(key, ["serve"]), b"y" * 100_000):
        sock = meeting.reach(path, PATIENCE_S)
        assert sock is not None
        if word:
            sock.send(word)
            # It hangs up, and nobody was forked.
            assert await asyncio.to_thread(sock.recv, 99) == b""
        sock.close()
    assert shared.children() == []
    await goes_through(shared)


# --- its beginning ---


async def test_a_session_leaves_one_behind() -> None:
    with empty() as scene:
        # The daemon is asked for a model that is not there, and ends.
        command = scene.command("serve", "--engine", "daemon", "--daemon-idle-minutes", "1")
        env = {**scene.env, "SLM_LSP_MODEL": str(scene.directory / "no.gguf")}
        async with PipeEditor(command, env=env) as editor:
            await editor.start()
            assert "no.gguf" in (await editor.take("window/showMessage"))["message"]
        await asyncio.to_thread(scene.find)
        await goes_through(scene)


# --- its end ---


async def test_a_changed_file_ends_it(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "slm_lsp", tmp_path / "slm_lsp")
    with ready(tmp_path) as scene:
        await goes_through(scene)
        os.utime(tmp_path / "slm_lsp" / "text" / "position.py")
        await goes_the_ordinary_way(scene)
        await until(scene.is_gone)


async def test_it_ends_when_nobody_comes() -> None:
    with ready(idle_minutes=0.001) as scene:
        await until(scene.is_gone)


async def test_stopped_while_it_has_a_server(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from slm_lsp import control

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(scene.directory))
    async with scene.session():
        await asyncio.to_thread(control.show_daemons)
        assert f"pid {scene.pid}: ready for the next editor\n" in capsys.readouterr().out
        assert await asyncio.to_thread(control.stop_daemons) == 0
        assert "kept ready that were ended: 1\n" in capsys.readouterr().out
        assert list(launch.running()) == []
        # It waits for the server's status, which is 0, and is in nobody's way.
        assert len(scene.children()) == 1
        before, scene.pid = scene.pid, 0
        await asyncio.to_thread(_start_another, scene)
        await asyncio.to_thread(scene.find)
        assert scene.pid != before
    await until(lambda: is_gone(before))
    await goes_through(scene)


async def test_there_is_one(scene: Scene) -> None:
    await asyncio.to_thread(_start_another, scene)
    await goes_through(scene)


def _start_another(scene: Scene) -> None:
    argv = [sys.executable, "-P", "-c", launch.BOOT, str(scene.root), "5"]
    os.waitpid(os.posix_spawn(sys.executable, argv, scene.env), 0)


# --- the parts ---


def test_looking_for_it_imports_next_to_nothing() -> None:
    program = (
        "import sys; before = set(sys.modules); import slm_lsp.ready.client; "
        "print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    ours = {"slm_lsp", "slm_lsp.ready", "slm_lsp.ready.client", "slm_lsp.ready.meeting"}
    assert set(done.stdout.split()) <= ours | {"__future__", "_socket"}


@pytest.mark.parametrize(
    ("config", "n_started"),
    [
        (Config(engine="daemon", keep_ready="on"), 1),
        (Config(engine="daemon", keep_ready="off"), 0),
        (Config(engine="inproc", keep_ready="on"), 0),
    ],
)
async def test_a_session_asks_for_one_once(
    config: Config, n_started: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[float] = []
    monkeypatch.setattr(launch, "ensure", lambda minutes, wait=True: started.append(minutes))
    monkeypatch.setattr(provision, "AFTER_S", 0.0)
    session = provision.Provision()
    session.begin(config)
    if n_started:
        await until(lambda: bool(started))
    session.end()
    assert started == [config.daemon_idle_minutes] * n_started


def test_what_a_client_says_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLM_TEST", "a=b=\udcff")
    request = Request.parse(client.request(b"key", ["serve", "--model", "ä"]))
    assert request.key == b"key"
    assert request.arguments == ["serve", "--model", "ä"]
    assert request.folder == os.getcwdb()
    assert request.environment == dict(os.environb)


@pytest.mark.parametrize("raw", [b"", b"x", b"k\0" * 3, b"k\x0018\0/\x009\0a"])
def test_nonsense_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"unpack|literal|parts"):
        Request.parse(raw)


def test_without_a_ready_process_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(meeting.VARIABLE)
    with short_directory() as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
        assert client.hand_over(["serve"]) is None
