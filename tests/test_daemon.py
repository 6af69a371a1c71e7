"""The daemon over a real socket, in this process: clients, requests, refusals, its end.

Invariant: nothing is started; nothing is waited for by sleeping.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from daemon_scene import (
    KEY,
    PATIENCE_S,
    PATIENT_MS,
    Client,
    GateEngine,
    asked,
    served,
    short_directory,
    stranger,
)

from slm_lsp import __version__, control
from slm_lsp.deadline import Cancelled
from slm_lsp.engine import daemon as subject
from slm_lsp.engine import remote, wire
from slm_lsp.engine.base import EngineStats, EngineUnavailable, PromptError, Superseded
from slm_lsp.engine.fake import FakeDecoder, FakeEngine
from slm_lsp.engine.launch import connect
from slm_lsp.engine.link import Link, Refused
from slm_lsp.engine.remote import TRANSIT_MS
from slm_lsp.engine.rendezvous import Place
from slm_lsp.engine.scheduler import Scheduler
from slm_lsp.types import EngineState, FimTemplate, Finish, Generation, ModelInfo

INFO = ModelInfo("tiny", 512, specials=frozenset({"<a>", "<b>"}), metadata={"n": "1"})
TEMPLATE = FimTemplate("t", ("<a>", "{prefix}"), suffix_lines=3)


@pytest.fixture
def place() -> Iterator[Place]:
    with short_directory() as directory:
        yield Place(directory, "d")


async def test_a_request_is_answered_as_if_the_engine_were_here(place: Place) -> None:
    info = replace(INFO, template=TEMPLATE)
    engine = FakeEngine(info)
    answer = Generation("a\ud800é\n", Finish.STOP, 3, 2, 1, 1.5, 2.5, (-0.5, -1.0))
    engine.enqueue(answer)
    engine.enqueue(PromptError("too long"))
    async with served(place, engine), Client(place) as client:
        await client.ready()
        assert client.info == info
        assert await client.generate(request := asked("p\udfff")) == answer
        [sent] = engine.requests
        assert sent.prompt == request.prompt
        # Earlier than here, but for the way there, which is taken off once more.
        assert sent.deadline.remaining_ms() < PATIENT_MS - TRANSIT_MS
        with pytest.raises(PromptError, match="too long"):
            await client.generate(asked())
        with pytest.raises(EngineUnavailable, match="nothing enqueued"):
            await client.generate(asked())


async def test_two_clients_do_not_supersede_each_other(place: Place) -> None:
    gate, waiting = threading.Event(), threading.Event()

    def step() -> None:
        waiting.set()
        assert gate.wait(PATIENCE_S)

    decoder = FakeDecoder("said")
    decoder.on_step = step
    scheduler = Scheduler(lambda: decoder)
    scheduler.load()
    scheduler.start()
    async with served(place, scheduler), Client(place) as one, Client(place) as two:
        await one.ready()
        await two.ready()
        first = asyncio.create_task(one.generate(asked()))
        assert await asyncio.to_thread(waiting.wait, PATIENCE_S)
        others = asyncio.create_task(two.generate(asked()))
        latest = asyncio.create_task(one.generate(asked()))
        with pytest.raises(Superseded):
            await first
        gate.set()
        assert (await others).text == (await latest).text == "said"
        assert one.stats().n_requests == 3
    await asyncio.to_thread(scheduler.close)


async def test_names_are_a_clients_own_and_its_successors(place: Place) -> None:
    engine = FakeEngine()

    async def named(client: Client) -> tuple[str, str]:
        with pytest.raises(EngineUnavailable):
            await client.generate(replace(asked(), document="d"))
        return engine.requests[-1].session, engine.requests[-1].document

    async with served(place, engine), Client(place) as stays:
        await stays.ready()
        async with Client(place) as leaves:
            await leaves.ready()
            with pytest.raises(EngineUnavailable):
                await leaves.generate(asked())
            assert engine.requests[-1].document == ""
            theirs = await named(leaves)
        assert stays._link is not None
        while (await stays._link.ask_stats()).n_clients > 1:
            pass
        async with Client(place) as comes:
            await comes.ready()
            assert await named(comes) == theirs == ("2/s", "2/d")
        assert await named(stays) == ("1/s", "1/d")


async def test_a_dropped_client_cancels_its_requests(place: Place) -> None:
    engine = GateEngine()
    async with served(place, engine), Client(place) as stays, Client(place) as leaves:
        await stays.ready()
        await leaves.ready()
        lost = asyncio.create_task(leaves.generate(asked("lost")))
        theirs = await engine.next()
        kept = asyncio.create_task(stays.generate(asked("kept")))
        ours = await engine.next()
        cancelled = asyncio.Event()
        theirs.cancel.add_callback(cancelled.set)
        leaves.close()
        with pytest.raises(EngineUnavailable, match="broke"):
            await lost
        await asyncio.wait_for(cancelled.wait(), PATIENCE_S)
        assert not ours.cancel.cancelled
        engine.enqueue("still")
        engine.gate.set()
        assert (await kept).text == "still"


@pytest.mark.parametrize("by_token", [True, False])
async def test_a_cancel_arrives_at_once(place: Place, by_token: bool) -> None:
    engine = GateEngine()
    async with served(place, engine), Client(place) as client:
        await client.ready()
        request = asked()
        answer = asyncio.create_task(client.generate(request))
        there = await engine.next()
        cancelled = asyncio.Event()
        there.cancel.add_callback(cancelled.set)
        if by_token:
            # From another thread, as the context worker may.
            await asyncio.to_thread(request.cancel.cancel)
            with pytest.raises(Cancelled):
                await answer
        else:
            answer.cancel()
        await asyncio.wait_for(cancelled.wait(), PATIENCE_S)
        engine.enqueue(Cancelled())
        engine.enqueue("next")
        engine.gate.set()
        assert (await client.generate(asked())).text == "next"
        with pytest.raises(Cancelled):
            await client.generate(request)


async def test_no_answer_is_waited_for_past_the_deadline(place: Place) -> None:
    engine = GateEngine()
    async with served(place, engine), Client(place) as client:
        await client.ready()
        answer = Generation("", Finish.DEADLINE)
        assert await client.generate(asked(budget_ms=30.0)) == answer
        assert (await engine.next()).deadline.remaining_ms() < 30.0 - TRANSIT_MS
        assert await client.generate(asked(budget_ms=-1.0)) == answer
        assert engine.arrived.empty()


async def test_another_user_is_refused(place: Place) -> None:
    def unknown(sock: socket.socket) -> object:
        raise OSError("the kernel does not say")

    engine = FakeEngine()
    for reader in (stranger, unknown):
        async with served(place, engine, reader=reader):  # type: ignore[arg-type]
            found = connect(place)
            assert found is not None
            with pytest.raises((EOFError, OSError)):
                await Link.open(*found, KEY)
    async with served(place, engine), Client(place, reader=stranger) as client:
        assert await client.next_state() is EngineState.FAILED
        assert "another user's" in (client.failure or "")
    assert engine.requests == []


async def linked(place: Place, key: str = KEY) -> Link:
    found = connect(place)
    assert found is not None
    return await Link.open(*found, key)


async def finished(daemon: subject.Daemon) -> None:
    await asyncio.wait_for(daemon.stopped.wait(), PATIENCE_S)


async def test_other_settings_are_refused_and_the_daemon_retires(place: Place) -> None:
    async with served(place, FakeEngine()) as daemon, Client(place) as client:
        await client.ready()
        other = await linked(place, "other")
        with pytest.raises(Refused, match=r"other settings.*`slm-lsp daemon stop`"):
            await asyncio.wait_for(other.listen(), PATIENCE_S)
        assert not daemon.stopped.is_set()
        client.close()
        await finished(daemon)


async def test_another_version_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(place, FakeEngine()) as daemon:
        monkeypatch.setattr("slm_lsp.engine.link.__version__", "0.0.0")
        link = await linked(place)
        assert link.hello.version == __version__
        with pytest.raises(Refused, match=rf"version {__version__} runs, not 0\.0\.0"):
            await asyncio.wait_for(link.listen(), PATIENCE_S)
        await finished(daemon)


async def test_what_is_closed_and_who_leaves_abandons_its_sequences(place: Place) -> None:
    engine = FakeEngine()
    async with served(place, engine) as daemon:
        async with Client(place) as client:
            await client.ready()
            engine.enqueue("x")
            client.abandon("file:///a.py")
            await client.generate(asked())
            assert engine.abandoned == ["1/file:///a.py"]
        daemon.stop("the test ends")
        await finished(daemon)
    assert engine.abandoned == ["1/file:///a.py", "1"]


async def test_a_refused_server_says_so_and_is_served_once_it_can_be(place: Place) -> None:
    async with served(place, FakeEngine()) as daemon, Client(place) as keeps:
        await keeps.ready()
        async with Client(place, key="other") as client:
            assert await client.next_state() is EngineState.FAILED
            assert "other settings" in (client.failure or "")
            with pytest.raises(EngineUnavailable, match="other settings"):
                await client.generate(asked())
            keeps.close()
            await finished(daemon)


async def test_loading_is_told_to_all(place: Place) -> None:
    engine = FakeEngine()
    engine.state = EngineState.LOADING
    info, engine.info = engine.info, None
    async with served(place, engine) as daemon, Client(place) as client:
        (await linked(place)).close()
        with pytest.raises(EngineUnavailable, match="model loading"):
            await client.generate(asked())
        while not client.progress:
            daemon.report("load tiny", 0.25)
            await asyncio.sleep(0)
        assert client.progress[0] == "load tiny 0.25"
        engine.state, engine.info = EngineState.READY, info
        daemon.engine_is(EngineState.READY)
        await client.ready()


async def test_a_failed_load_ends_the_daemon_and_is_not_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "FAILED_LINGER_S", 0.05)
    engine = FakeEngine()
    engine.state = EngineState.LOADING
    async with served(place, engine) as daemon, Client(place) as client:
        while not client.progress:
            daemon.report("load", None)
            await asyncio.sleep(0)
        engine.state, engine.failure = EngineState.FAILED, "the file is broken"
        daemon.engine_is(EngineState.FAILED)
        assert await client.next_state() is EngineState.FAILED
        assert client.failure == "the file is broken"
        await finished(daemon)
        while client._link is not None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        # Nobody launches another, be it that somebody asks.
        monkeypatch.setattr(remote, "AGAIN_S", 0.0)
        for _ in range(10):
            with pytest.raises(EngineUnavailable, match="the file is broken"):
                await client.generate(asked())
            await asyncio.sleep(0)
        assert client._link is None
        assert not client.log.exists()


@pytest.mark.parametrize(
    "raw",
    [
        wire.encode(wire.Stats(1)),
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x02{}",
        b"\0\0\0\x09",
        wire.encode(wire.Hello(wire.PROTOCOL_VERSION, __version__, KEY, 1))
        + wire.encode(wire.Cancel(1)) * 2
        + b"\0\0\0\x01?",
        wire.encode(wire.Hello(wire.PROTOCOL_VERSION, __version__, KEY, 1))
        + wire.encode(wire.State(EngineState.READY)),
    ],
)
async def test_a_client_that_talks_nonsense_is_dropped_alone(place: Place, raw: bytes) -> None:
    engine = FakeEngine()
    engine.enqueue("fine")
    async with served(place, engine), Client(place) as client:
        await client.ready()
        reader, writer = await asyncio.open_unix_connection(os.fspath(place.socket_path))
        writer.write(raw)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
        assert (await client.generate(asked())).text == "fine"


async def test_one_id_twice_ends_the_client(place: Place) -> None:
    engine = GateEngine()
    async with served(place, engine):
        reader, writer = await asyncio.open_unix_connection(os.fspath(place.socket_path))
        writer.write(wire.encode(wire.Hello(wire.PROTOCOL_VERSION, __version__, KEY, 1)))
        twice = wire.encode(wire.Generate(1, asked()))
        writer.write(twice)
        first = await engine.next()
        writer.write(twice)
        await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
        assert first.cancel.cancelled
        assert engine.arrived.empty()


async def test_an_idle_daemon_ends_and_wakes_no_one(place: Place) -> None:
    async with served(place, FakeEngine(), idle_s=0.05) as daemon, Client(place) as client:
        await client.ready()
        await finished(daemon)
        async with asyncio.timeout(PATIENCE_S):
            while not client._asleep:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert client.state is EngineState.READY


async def test_requests_keep_a_daemon_awake(place: Place) -> None:
    engine = FakeEngine()
    async with served(place, engine, idle_s=3600.0) as daemon, Client(place) as client:
        await client.ready()
        before = daemon._used_at_s
        engine.enqueue("x")
        await client.generate(asked())
        assert daemon._used_at_s > before


async def test_a_native_step_that_never_ends_ends_the_daemon(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "WATCH_INTERVAL_S", 0.001)

    class Stuck(FakeEngine):
        n_looks = 0

        def stats(self) -> EngineStats:
            self.n_looks += 1
            n_steps = min(self.n_looks, 50)
            cpu_s = float(self.n_looks)
            return EngineStats(self.n_looks, n_queued=1, n_decode_steps=n_steps, cpu_s=cpu_s)

    engine = Stuck()
    async with served(place, engine) as daemon:
        await finished(daemon)
        assert daemon.stuck
        assert engine.n_looks == 50 + subject.N_STUCK_LOOKS


async def test_status_and_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with short_directory() as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        assert await asyncio.to_thread(control.show_daemons) == 1
        assert capsys.readouterr().out == "no daemon runs\n"
        place = Place(runtime / "slm-lsp", "d")
        stale = Place(runtime / "slm-lsp", "stale")
        stale.listen().close()
        async with served(place, FakeEngine()) as daemon, Client(place) as client:
            await client.ready()
            assert await asyncio.to_thread(control.show_daemons) == 0
            assert capsys.readouterr().out == (
                f"pid {os.getpid()}: fake, ready, version {__version__}, servers: 1, requests: 0\n"
            )
            assert await asyncio.to_thread(control.stop_daemons) == 0
            assert capsys.readouterr().out == "stopped: 1\n"
            await finished(daemon)


async def test_an_answer_that_is_too_large_is_an_error(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    async with served(place, engine), Client(place) as client:
        await client.ready()
        engine.enqueue("x" * 5000)
        monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 4000)
        with pytest.raises(EngineUnavailable, match="at most 4000"):
            await client.generate(asked())
        with pytest.raises(EngineUnavailable, match="at most 4000"):
            await client.generate(asked("x" * 5000))
        engine.enqueue("x")
        assert (await client.generate(asked())).text == "x"


async def test_a_bug_is_said_and_not_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(place)

    async def reach() -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(client._launcher, "reach", reach)
    client.start()
    assert await client.next_state() is EngineState.FAILED
    assert "ZeroDivisionError('a bug')" in (client.failure or "")
    client.close()
