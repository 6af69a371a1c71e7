"""`python -m benchmarks.latency.fleet`: memory of one server and of several on one daemon.

Owns: the starting of N servers of one user, each with a file of its own open, and what is made of
what their processes hold.

Invariant: all are ready and have answered before anything is measured.

Threads: the event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.latency import corpus, options, processes
from benchmarks.latency.home import Home
from benchmarks.latency.ours import Ours
from benchmarks.latency.policy import Answer, View
from benchmarks.latency.results import ResultFile

ANSWER_PATIENCE_S = 30.0
KINDS = ("rss_mb", "pss_mb", "uss_mb")


async def measure(
    command: Sequence[str], settings: Mapping[str, Any], n_servers: int
) -> dict[str, Any]:
    """What one server holds, what `n_servers` hold together, and what each further one adds."""
    one = await _together(command, settings, 1)
    many = await _together(command, settings, n_servers)
    return {"1": one, str(n_servers): many, "each_more": each_more(one, many)}


def each_more(one: Mapping[str, Any], many: Mapping[str, Any]) -> dict[str, float]:
    """By how much the sum over all processes grows with each server after the first."""
    n_more = many["n_servers"] - one["n_servers"]
    return {
        kind: round((many["all"][kind] - one["all"][kind]) / n_more, 1) if n_more else 0.0
        for kind in KINDS
    }


async def _together(
    command: Sequence[str], settings: Mapping[str, Any], n_servers: int
) -> dict[str, Any]:
    home = Home()
    # What is measured is servers and daemon; a process that is kept ready stands beside them once.
    settings = {**settings, "keep_ready": "off"}
    servers = [Ours(command, settings, home) for _ in range(n_servers)]
    started: list[Ours] = []
    try:
        for number, server in enumerate(servers):
            started.append(server)
            await _answered(server, _view(number))
        pids = [server.pid for server in servers]
        return {
            "n_servers": n_servers,
            "all": processes.memory([home.mark]).as_json(),
            "server": processes.memory([f"pid:{pids[-1]}"]).as_json(),
            "daemons": processes.memory([home.mark], without=pids).as_json(),
        }
    finally:
        for server in started:
            await server.end()
        home.close()


async def _answered(server: Ours, view: View) -> None:
    """Have a server open a file and answer in it."""
    answered = asyncio.Event()

    def show(answer: Answer) -> None:
        answered.set()

    await server.begin(show)
    server.opened(view)
    server.moved(view)
    await asyncio.wait_for(answered.wait(), ANSWER_PATIENCE_S)


def _view(number: int) -> View:
    """A file of real size, with the cursor behind a function's first line."""
    texts = sorted(corpus.sources().items())
    name, text = texts[number % len(texts)]
    bodies = corpus.bodies(text)
    offset = text.index("\n", bodies[len(bodies) // 2].start)
    return View(f"file:///fleet/{number}/{name}.py", text, offset, modified=False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency.fleet")
    options.add_server_options(parser)
    parser.add_argument("--servers", type=int, default=8)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    model = options.model_file(given.model)
    conditions = {"benchmark": "fleet", **options.conditions(given, model)}
    measured = options.run_to_end(measure(*options.server(given, model), given.servers))
    ResultFile(given.json, conditions).save({"servers": measured}, complete=True)
    print(json.dumps(measured, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
