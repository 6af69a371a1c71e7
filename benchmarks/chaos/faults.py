"""The faults: what is broken, and how it is seen that all is well again.

Owns: FAULTS, by the names that tables and tests use. Each is tried on a session whose model is
ready, and returns once there is a good answer again.

Invariant: a try ends with the scene as it found it, so that the next one can follow. Time counts
from when the fault is over (a process that was killed is over at once) to an answer that holds
what the model writes.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.chaos import program
from benchmarks.chaos.scene import Scene, Session, ended, is_good, send, until
from benchmarks.latency.client import RequestFailed, ServerEnded

YEAR_S = 365 * 24 * 3600
N_STORM = 20
N_UNREAD = 3000
STORM = "20 editors at once"
# Longer than a user looks at a suggestion; a fault lasts so long at the most.
MAX_FAULT_S = 0.3
EDITOR = Path(__file__).with_name("dying_editor.py")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a user saw of a fault, and for how long."""

    recovery_ms: float
    saw: str


Fault = Callable[[Scene, Session, random.Random], Awaitable[Seen]]
FAULTS: dict[str, Fault] = {}


def fault(name: str) -> Callable[[Fault], Fault]:
    def named(made: Fault) -> Fault:
        FAULTS[name] = made
        return made

    return named


async def what_became_of(future: asyncio.Future[object]) -> str:
    """What the user saw at the request that the fault hit."""
    try:
        result = await asyncio.wait_for(future, 30.0)
    except (RequestFailed, ServerEnded) as error:
        return f"error: {error}"
    return "text" if is_good(result) else "no text"


# --- the daemon dies ---


def killed(stage: str, number: int) -> Fault:
    async def run(scene: Scene, session: Session, rng: random.Random) -> Seen:
        if stage == "loading":
            send(scene.daemon(), signal.SIGKILL)
        with scene.held(stage):
            asked = session.ask()
            pid = await scene.holding()
            await asyncio.sleep(rng.uniform(0.0, 0.05))
            send(pid, number)
            if number != signal.SIGTERM:  # which is obeyed once the step is over
                await until(lambda: ended(pid), "its end")
        saw = await what_became_of(asked)
        return Seen(await session.good(), saw)

    return run


def killed_idle(number: int) -> Fault:
    async def run(scene: Scene, session: Session, rng: random.Random) -> Seen:
        pid = scene.daemon()
        await asyncio.sleep(rng.uniform(0.0, 0.05))
        send(pid, number)
        saw = await what_became_of(session.ask())
        took_ms = await session.good()
        await until(lambda: ended(pid), "its end")
        return Seen(took_ms, saw)

    return run


for _number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
    _name = _number.name.removeprefix("SIG")
    FAULTS[f"daemon {_name} idle"] = killed_idle(_number)
    for _stage in program.STAGES:
        FAULTS[f"daemon {_name} {_stage}"] = killed(_stage, _number)


@fault("daemon KILL at any moment")
async def at_any_moment(scene: Scene, session: Session, rng: random.Random) -> Seen:
    """While somebody types."""
    pid, asked = scene.daemon(), []
    kill_at = rng.randrange(20)
    for n in range(20):
        asked.append(session.ask())
        if n == kill_at:
            send(pid, signal.SIGKILL)
        await asyncio.sleep(rng.uniform(0.0, 0.01))
    took_ms = await session.good()
    became = [await what_became_of(each) for each in asked]
    return Seen(took_ms, f"{became.count('no text')} of {len(became)} without text")


@fault("daemon stopped for a while")
async def stopped(scene: Scene, session: Session, rng: random.Random) -> Seen:
    """Shorter than it takes to be counted as hanging."""
    pid = scene.daemon()
    send(pid, signal.SIGSTOP)
    asked = session.ask()
    await asyncio.sleep(rng.uniform(0.0, MAX_FAULT_S))
    send(pid, signal.SIGCONT)
    took_ms = await session.good()
    return Seen(took_ms, await what_became_of(asked))


# --- its files ---


@fault("socket deleted, another editor")
async def socket_deleted(scene: Scene, session: Session, rng: random.Random) -> Seen:
    pid = scene.daemon()
    scene.socket().unlink()
    other = await scene.begun()
    took_ms = await other.good()
    await other.end()
    scene.forget(other)
    await session.good()
    assert scene.daemon() == pid, "the model was loaded again"
    return Seen(took_ms, "nothing")


@fault("runtime folder cleared, another editor")
async def folder_cleared(scene: Scene, session: Session, rng: random.Random) -> Seen:
    for path in scene.socket().parent.iterdir():
        path.unlink()
    other = await scene.begun()
    took_ms = await other.good()
    await other.end()
    scene.forget(other)
    await session.good()
    # The one that lost its place ends with its last editor: let that be the other one's.
    return Seen(took_ms, "a second daemon until the first one's editors are closed")


@fault("disk full, daemon KILL")
async def disk_full(scene: Scene, session: Session, rng: random.Random) -> Seen:
    """No file can grow; the daemon dies, and the next one starts on the full disk."""
    limits = resource.prlimit(session.client.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(session.client.process.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        # `starts` is the scene's own file, and on the same disk.
        [pid] = [each.pid for each in scene.daemons()]
        send(pid, signal.SIGKILL)
        saw = await what_became_of(session.ask())
        took_ms = await session.good()
    finally:
        resource.prlimit(session.client.process.pid, resource.RLIMIT_FSIZE, limits)
    [daemon] = scene.daemons()
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, limits)
    return Seen(took_ms, f"{saw}; completions while the disk is full")


@fault("runtime folder in the way, daemon KILL")
async def cannot_start(scene: Scene, session: Session, rng: random.Random) -> Seen:
    """The daemon cannot be started at all for so long that it is given up."""
    runtime = scene.socket().parent
    pid, n_shown = scene.daemon(), len(session.client.shown)
    away = runtime.with_name("away")
    runtime.rename(away)
    runtime.write_text("in the way")
    send(pid, signal.SIGKILL)
    await session.ask()
    await until(lambda: len(session.client.shown) > n_shown, "the message")
    runtime.unlink()
    away.rename(runtime)
    return Seen(await session.good(), "1 message")


# --- the model's file ---


async def _failed(scene: Scene, session: Session) -> str:
    """Wait for the message that names the file."""
    n_shown = len(session.client.shown)
    send(scene.daemon(), signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        while len(session.client.shown) == n_shown:
            await session.ask()
            await asyncio.sleep(0.02)
    assert str(scene.model) in session.client.shown[-1], session.client.shown
    return "1 message that names the file"


@fault("model removed, daemon KILL, put back")
async def removed(scene: Scene, session: Session, rng: random.Random) -> Seen:
    scene.model.unlink()
    await session.good()  # it is mapped
    saw = await _failed(scene, session)
    program.write_model(scene.model)
    return Seen(await session.good(), saw)


@fault("model truncated while mapped, put back")
async def truncated(scene: Scene, session: Session, rng: random.Random) -> Seen:
    pid, n_shown = scene.daemon(), len(session.client.shown)
    os.truncate(scene.model, 100)
    while not ended(pid):
        await session.ask()
    await until(lambda: len(session.client.shown) > n_shown, "the message")
    assert str(scene.model) in session.client.shown[-1], session.client.shown
    program.write_model(scene.model)
    return Seen(await session.good(), "1 message that names the file")


@fault("model replaced, daemon KILL")
async def replaced(scene: Scene, session: Session, rng: random.Random) -> Seen:
    program.write_model(scene.model, rng.choice((1 << 15, 1 << 16, 1 << 17)))
    await session.good()  # on the file that was mapped
    send(scene.daemon(), signal.SIGKILL)
    saw = await what_became_of(session.ask())
    return Seen(await session.good(), saw)


# --- the machine ---


@fault("wall clock jumps")
async def clock(scene: Scene, session: Session, rng: random.Random) -> Seen:
    scene.jump(rng.choice((-YEAR_S, -3600, 3600, YEAR_S)))
    asked = session.ask()
    scene.jump(rng.choice((-YEAR_S, 0, YEAR_S)))
    saw = await what_became_of(asked)
    assert saw == "text", saw
    return Seen(await session.good(), "nothing")


@fault("no memory for the daemon for a while")
async def no_memory(scene: Scene, session: Session, rng: random.Random) -> Seen:
    """Nothing more can be mapped by the daemon."""
    pid = scene.daemon()
    resource.prlimit(pid, resource.RLIMIT_AS, (psutil.Process(pid).memory_info().vms, -1))
    asked = [session.ask() for _ in range(5)]
    await asyncio.sleep(rng.uniform(0.0, MAX_FAULT_S))
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_AS, (-1, -1))
    took_ms = await session.good()
    became = [await what_became_of(each) for each in asked]
    return Seen(took_ms, f"{became[-1]} at the last of 5 requests")


@fault(STORM)
async def storm(scene: Scene, session: Session, rng: random.Random) -> Seen:
    """No daemon runs; one is started."""
    send(scene.daemon(), signal.SIGKILL)
    n_starts = len(scene.starts())
    others = await asyncio.gather(*(scene.begun() for _ in range(N_STORM)))
    took_ms = max(await asyncio.gather(*(other.good() for other in others)))
    assert len(scene.starts()) == n_starts + 1, "the model was loaded more than once"
    for other in others:
        await other.end()
        scene.forget(other)
    await session.good()
    return Seen(took_ms, "until the last of 20 has text, from its `initialize`")


# --- the editor ---


@fault("editor killed within a request")
async def editor_killed(scene: Scene, session: Session, rng: random.Random) -> Seen:
    """Its server ends, the daemon drops its request, and others do not notice."""
    with scene.held("decode"):
        editor = await asyncio.create_subprocess_exec(
            sys.executable, "-P", str(EDITOR), str(scene.model), *scene.command("serve"),
            env=scene.env, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert editor.stdout is not None
        server = int(await editor.stdout.readline())
        await scene.holding()
        editor.kill()
        await editor.wait()
    await until(lambda: ended(server), "the server's end")
    took_ms = await session.good()
    while (await session.stats())["engine"]["n_queued"]:
        pass
    return Seen(took_ms, "nothing")


@fault("stdout closed")
async def stdout_closed(scene: Scene, session: Session, rng: random.Random) -> Seen:
    """The editor reads no more, and has not closed the server's stdin: the server ends."""
    other = await scene.session()
    transport = other.client.process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
    transport.close()
    asked = other.ask()
    await until(lambda: ended(other.client.process.pid), "the server's end")
    await what_became_of(asked)
    scene.forget(other)
    return Seen(await session.good(), "nothing in other editors")


@fault("slow reader")
async def slow_reader(scene: Scene, session: Session, rng: random.Random) -> Seen:
    """The editor reads nothing for a while, more than a pipe holds is said to it meanwhile, and
    other editors do not notice."""
    other = await scene.session()
    transport = other.client.process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
    transport.pause_reading()
    params = {"command": "slm-lsp.stats", "arguments": []}
    asked = [other.client.request("workspace/executeCommand", params)[1] for _ in range(N_UNREAD)]
    await asyncio.sleep(rng.uniform(0.0, MAX_FAULT_S))
    others_ms = await session.good()
    transport.resume_reading()
    await asyncio.gather(*asked)
    took_ms = await other.good()
    await other.end()
    scene.forget(other)
    return Seen(took_ms, f"{N_UNREAD} answers late; another editor waited {others_ms:.0f} ms")
