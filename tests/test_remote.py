"""DaemonEngine and a daemon in a process of its own: started, killed, hung, broken, idle.

Invariant: every process that a test started has ended when the test has; only such are killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest
from daemon_scene import (
    PATIENCE_S,
    Client,
    asked,
    end_all,
    served,
    short_directory,
    starts,
    until_gone,
)
from editor import CURSOR
from fake_editor import FakeEditor, OnProgress, OnState
from pipe_editor import PipeEditor

from slm_lsp.config import Config
from slm_lsp.engine import launch, link, remote
from slm_lsp.engine.base import Engine, EngineStats, EngineUnavailable
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.engine.rendezvous import ALREADY_RUNNING, Place, runtime_directory
from slm_lsp.types import EngineState, Finish


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(remote, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(remote, "REFUSED_DELAY_S", 0.01)
    with short_directory() as directory:
        place = Place(directory, "d")
        try:
            yield place
        finally:
            end_all(place)


async def waiting(place: Place) -> None:
    """Wait until the daemon's engine is in a step that does not end."""
    path = place.directory / "waiting"
    async with asyncio.timeout(PATIENCE_S):
        while not path.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    path.unlink()


async def test_eight_servers_that_start_at_once_share_one_daemon(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn, spawned = launch.Launcher._spawn, list[int]()

    def counted(launcher: launch.Launcher) -> int:
        spawned.append(spawn(launcher))
        return spawned[-1]

    monkeypatch.setattr(launch.Launcher, "_spawn", counted)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(place)) for _ in range(8)]
        for client in clients:
            await client.ready()
        answers = [await client.generate(asked()) for client in clients]
        assert [answer.text for answer in answers] == ["said"] * 8
        assert starts(place) == spawned
        assert len(spawned) == 1
        mode = place.socket_path.stat().st_mode
        assert mode & 0o077 == 0


async def test_daemons_that_start_at_once_leave_one(place: Place) -> None:
    # As if there were no start lock: the life lock alone must do.
    launcher = Client(place)._launcher
    children = [launcher._spawn() for _ in range(3)]
    async with Client(place) as client:
        await client.ready()
        # On a busy machine the client has started one more, and that one may be it.
        [left] = starts(place)
        others, ended = set(children) - {left}, dict[int, int]()
        async with asyncio.timeout(PATIENCE_S):
            while ended.keys() != others:
                for child in others - ended.keys():
                    if (status := launcher.ended(child)) is not None:
                        ended[child] = status
                await asyncio.sleep(0.01)
        assert set(ended.values()) == {ALREADY_RUNNING}
        assert starts(place) == [left]
        assert (await client.generate(asked())).text == "said"


async def test_a_daemon_that_is_stopped_leaves_what_it_read_to_the_next(place: Place) -> None:
    request = replace(asked("p" * 200), document="file:///a.py")
    for n_cached in (0, 199):
        async with Client(place) as client:
            await client.ready()
            assert (await client.generate(request)).n_cached == n_cached
        os.kill(starts(place)[-1], signal.SIGTERM)
        await until_gone(place)
    assert len(starts(place)) == 2


async def test_a_killed_daemon_fails_what_waits_and_serves_the_next(place: Place) -> None:
    async with Client(place, "gate") as client:
        await client.ready()
        info = client.info
        lost = asyncio.create_task(client.generate(asked()))
        await waiting(place)
        [pid] = starts(place)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineUnavailable, match="broke"):
            await asyncio.wait_for(lost, PATIENCE_S)
        assert client.state is EngineState.LOADING
        await client.ready()
        assert client.info is info  # as templates are chosen by object
        assert (await client.generate(asked("go"))).text == "said"
        assert len(starts(place)) == 2


async def test_a_hung_daemon_is_not_waited_for_and_is_replaced(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "HANG_GRACE_S", 0.05)
    monkeypatch.setattr(link, "PING_PATIENCE_S", 0.3)
    async with Client(place) as client:
        await client.ready()
        [pid] = starts(place)
        os.kill(pid, signal.SIGSTOP)
        answer = await client.generate(asked(budget_ms=30.0))
        assert (answer.text, answer.finish) == ("", Finish.DEADLINE)
        await client.ready()
        assert (await client.generate(asked())).text == "said"
        assert len(starts(place)) == 2


async def test_a_daemon_that_hangs_before_its_hello_is_replaced(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "HELLO_PATIENCE_S", 0.2)
    async with Client(place) as first:
        await first.ready()
        [pid] = starts(place)
    os.kill(pid, signal.SIGSTOP)
    async with Client(place) as client:
        monkeypatch.setattr(remote, "MAX_SILENT", 1)
        # The new one may take longer than a stopped one is given.
        monkeypatch.setattr(remote, "MAX_ATTEMPTS", 1000)
        async with asyncio.timeout(PATIENCE_S):
            while pid in starts(place)[-1:]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        monkeypatch.setattr(link, "HELLO_PATIENCE_S", PATIENCE_S)
        await client.ready()
        assert (await client.generate(asked())).text == "said"


async def test_a_slow_step_is_no_hang(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "HANG_GRACE_S", 0.0)
    async with Client(place, "gate") as client:
        await client.ready()
        for _ in range(2):
            assert (await client.generate(asked(budget_ms=20.0))).finish is Finish.DEADLINE
        assert client._link is not None
        assert (await client._link.ask_stats()).n_clients == 1
        assert len(starts(place)) == 1


async def test_a_stale_socket_is_no_obstacle(place: Place) -> None:
    place.listen().close()
    async with Client(place) as client:
        await client.ready()
        assert (await client.generate(asked())).text == "said"


async def test_a_model_that_cannot_be_loaded_is_not_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Client(place, "broken") as client:
        assert await client.next_state() is EngineState.FAILED
        assert client.failure == "the model is broken"
        assert client.progress == ["load fake 0.5"] * len(client.progress)
        with pytest.raises(EngineUnavailable, match="the model is broken"):
            await client.generate(asked())
        await until_gone(place)
        monkeypatch.setattr(remote, "AGAIN_S", 0.0)
        for _ in range(10):
            with pytest.raises(EngineUnavailable, match="the model is broken"):
                await client.generate(asked())
            await asyncio.sleep(0)
        assert len(starts(place)) == 1
    # Who asks later, asks anew.
    async with Client(place) as client:
        await client.ready()


async def test_a_daemon_that_crashes_while_loading_is_given_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MAX_ATTEMPTS", 2)
    async with Client(place, "crash") as client:
        assert await client.next_state() is EngineState.FAILED
        assert str(client.log) in (client.failure or "")
        assert 1 <= len(starts(place)) <= 2


async def test_a_program_that_is_not_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_ATTEMPTS", 1)
    client = Client(place)
    client._launcher._argv[0] = "/no/such/python"
    async with client:
        assert await client.next_state() is EngineState.FAILED
        assert "cannot be started" in (client.failure or "")


async def asks_until_ready(client: Client) -> None:
    """Ask as a user types, until the engine is ready again."""
    async with asyncio.timeout(PATIENCE_S):
        while client.state is not EngineState.READY:
            with contextlib.suppress(EngineUnavailable):
                await client.generate(asked())
            await asyncio.sleep(0.01)


async def test_what_could_not_be_started_is_tried_again_for_a_request(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MAX_ATTEMPTS", 1)
    monkeypatch.setattr(remote, "AGAIN_S", 0.01)
    client = Client(place)
    python, client._launcher._argv[0] = client._launcher._argv[0], "/no/such/python"
    async with client:
        assert await client.next_state() is EngineState.FAILED
        client._launcher._argv[0] = python
        await asks_until_ready(client)
        assert (await client.generate(asked())).text == "said"
        # Of the trouble the user was told once.
        assert [client.states.get_nowait()] == [EngineState.READY]
        assert client.states.empty()


async def test_a_model_file_that_was_replaced_is_what_the_next_daemon_is_asked_for(
    place: Place,
) -> None:
    keys = ["k"]
    async with Client(place) as client:
        client._key = lambda: keys[0]
        await client.ready()
        # The next daemon looks at the file as it is then.
        keys[0] = client._launcher._argv[-3] = "new"
        os.kill(starts(place)[0], signal.SIGKILL)
        await client.ready()
        assert (await client.generate(asked())).text == "said"
        assert len(starts(place)) == 2


async def test_a_model_that_did_not_load_is_tried_again_once_its_file_is_another(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "AGAIN_S", 0.01)
    keys = ["k"]
    client = Client(place, "broken")
    client._key = lambda: keys[0]
    async with client:
        assert await client.next_state() is EngineState.FAILED
        keys[0] = client._launcher._argv[-3] = "mended"
        client._launcher._argv[-1] = "ready"
        await asks_until_ready(client)
        assert (await client.generate(asked())).text == "said"
        assert len(starts(place)) == 2


async def test_a_socket_that_was_deleted_is_made_anew(place: Place) -> None:
    async with Client(place) as first:
        await first.ready()
        place.socket_path.unlink()
        async with Client(place) as second:
            await second.ready()
            assert (await second.generate(asked())).text == "said"
        assert (await first.generate(asked())).text == "said"
        assert len(starts(place)) == 1


async def test_a_daemon_whose_folder_was_cleared_leaves_the_place_to_another(
    place: Place,
) -> None:
    async with Client(place) as second, Client(place) as first:
        await first.ready()
        await second.ready()
        second.close()
        place.socket_path.unlink()
        (place.directory / f"{place.name}.lock").unlink()
        async with Client(place) as third:
            await third.ready()
            assert (await first.generate(asked())).text == "said"
            old, new = starts(place)
            first.close()
            async with asyncio.timeout(PATIENCE_S):
                while third._launcher.ended(old) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            # The socket that is there is not its own.
            assert place.written_pid() == new
            assert (await third.generate(asked())).text == "said"
            reached = launch.connect(place)
            assert reached is not None
            reached[0].close()
            assert reached[1].pid == new


async def test_an_idle_daemon_is_started_again_by_the_next_request(place: Place) -> None:
    async with Client(place, idle_s=0.1) as client:
        await client.ready()
        await until_gone(place)
        async with asyncio.timeout(PATIENCE_S):
            while not client._asleep:  # noqa: ASYNC110
                await asyncio.sleep(0)
        states = [client.state]
        assert len(starts(place)) == 1
        with pytest.raises(EngineUnavailable):
            await client.generate(asked())
        assert [*states, client.state] == [EngineState.READY, EngineState.LOADING]
        await client.ready()
        assert len(starts(place)) == 2


async def test_another_daemon_takes_the_place_of_one_with_other_settings(place: Place) -> None:
    async with Client(place, key="other") as first:
        await first.ready()
        async with Client(place) as second:
            assert await second.next_state() is EngineState.FAILED
            first.close()
            await second.ready()
            assert (await second.generate(asked())).text == "said"
    assert len(starts(place)) == 2


def test_the_real_program_is_found_from_any_folder(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.directory / "slm_lsp.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(place.directory)
    argv = launch.command(["--version"])
    launcher = launch.Launcher(place, argv, place.directory / "log")
    child = launcher._spawn()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert launcher.log.read_text().startswith("slm-lsp ")
    assert launcher.log.stat().st_mode & 0o077 == 0


async def test_serve_starts_the_real_daemon_and_tells_what_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with short_directory() as home:
        for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            monkeypatch.setenv(name, str(home))
        async with PipeEditor(["-m", "slm_lsp", "serve", "--model", "nosuch"]) as editor:
            await editor.start()
            shown = await editor.take("window/showMessage")
            assert "there is no model 'nosuch'" in shown["message"]
            # It has told all that asked, and does not stay.
            async with asyncio.timeout(PATIENCE_S):
                while list(runtime_directory().glob("*.sock")):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        log = (home / "slm-lsp" / "daemon.log").read_text()
        assert "listens at" in log
        assert "the daemon ends: the model could not be loaded" in log


async def test_a_session_does_not_know_where_its_engine_is(place: Place) -> None:
    def make_engine(config: Config, on_state: OnState, on_progress: OnProgress) -> Engine:
        client = Client(place)
        client._on_state = on_state
        client.start()
        return client

    engine = FakeEngine()
    async with served(place, engine), FakeEditor(make_engine) as editor:
        await editor.start()
        async with asyncio.timeout(PATIENCE_S):
            while editor.engine.state is not EngineState.READY:  # noqa: ASYNC110
                await asyncio.sleep(0)
        position = await editor.open(f"value = {CURSOR}\n")
        engine.enqueue("1 + 1")
        [item] = await editor.inline(position)
        assert editor.accept_inline(item) == "value = 1 + 1\n"


async def test_an_editor_that_joins_knows_the_speed_before_it_asks(place: Place) -> None:
    # Without it its first prompt would be as large as there is room for.
    class Measured(FakeEngine):
        def stats(self) -> EngineStats:
            return EngineStats(prefill_ms_per_token=3.5, decode_ms=14.0)

    async with served(place, Measured()), Client(place) as client:
        await client.ready()
        told = client.stats()
        assert (told.prefill_ms_per_token, told.decode_ms) == (3.5, 14.0)
