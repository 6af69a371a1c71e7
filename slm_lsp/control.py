"""`slm-lsp daemon status` and `slm-lsp daemon stop`: what runs, and its end.

Owns: finding this user's daemons and asking them, whatever their version and settings are.

Invariant: starts nothing; a daemon that does not answer is named, not waited for.

Threads: the main thread runs the event loop.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from slm_lsp.cli import UsageError
from slm_lsp.engine.base import EngineUnavailable
from slm_lsp.engine.codec import WireError
from slm_lsp.engine.launch import LaunchError, connect
from slm_lsp.engine.link import Link, Refused, Silent
from slm_lsp.engine.rendezvous import SUFFIX, Place, RendezvousError, runtime_directory
from slm_lsp.engine.wire import State, Stats, Stop
from slm_lsp.ready import launch as ready
from slm_lsp.types import EngineState

PATIENCE_S = 5.0
TROUBLES = (LaunchError, Silent, Refused, WireError, EngineUnavailable, OSError, EOFError)


@dataclass(frozen=True, slots=True)
class Found:
    """One daemon; `trouble` says why nothing more is known of it."""

    place: Place
    pid: int
    version: str = ""
    state: State | None = None
    stats: Stats | None = None
    trouble: str = ""

    def line(self) -> str:
        """What a user wants to know of it."""
        if self.state is None or self.stats is None or self.stats.stats is None:
            return f"pid {self.pid}: {self.trouble}"
        model = self.state.info.name if self.state.info else "no model yet"
        n_clients, n_requests = self.stats.n_clients, self.stats.stats.n_requests
        return (
            f"pid {self.pid}: {model}, {self.state.state}, version {self.version}, "
            f"servers: {n_clients}, requests: {n_requests}"
        )


def find_daemons(stop: bool = False) -> list[Found]:
    """This user's daemons, each told to stop if asked. Raises RendezvousError."""
    directory = runtime_directory()
    places = [Place(directory, path.stem) for path in sorted(directory.glob(f"*{SUFFIX}"))]

    async def ask_all() -> list[Found | None]:
        return await asyncio.gather(*(_ask(place, stop) for place in places))

    return [found for found in asyncio.run(ask_all()) if found is not None]


async def _ask(place: Place, stop: bool) -> Found | None:
    """One daemon, or None where only its socket is left."""
    pid = 0
    try:
        if (reached := connect(place)) is None:
            return None
        sock, peer = reached
        pid = peer.pid
        states: list[State] = []
        link = await Link.open(sock, peer, "", states.append)
        listening = asyncio.create_task(link.listen())
        try:
            async with asyncio.timeout(PATIENCE_S):
                stats = await link.ask_stats()
                if stop:
                    link.send(Stop())
                    # It hangs up once it has ended.
                    await listening
        finally:
            listening.cancel()
            link.close()
        first = states[0] if states else State(EngineState.LOADING)
        return Found(place, pid, link.hello.version, first, stats)
    except TROUBLES as error:
        return Found(place, pid, trouble=str(error) or type(error).__name__)


def show_daemons() -> int:
    """Print a line for each; the exit status is 1 if there is none."""
    found = _found(stop=False)
    print("\n".join(each.line() for each in found) or "no daemon runs")
    for _, pid in ready.running():
        print(f"pid {pid}: ready for the next editor")
    return 0 if found else 1


def stop_daemons() -> int:
    """Stop each; the exit status is 1 if one of them did not answer."""
    found = _found(stop=True)
    stubborn = [each for each in found if each.trouble]
    for each in stubborn:
        print(f"slm-lsp: {each.line()}; end it with `kill -9 {each.pid}`", file=sys.stderr)
    print(f"stopped: {len(found) - len(stubborn)}")
    if n_ready := ready.stop():
        print(f"processes kept ready that were ended: {n_ready}")
    return 1 if stubborn else 0


def _found(stop: bool) -> list[Found]:
    try:
        return find_daemons(stop)
    except RendezvousError as error:
        raise UsageError(str(error)) from error
