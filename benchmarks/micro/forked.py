"""`python -m benchmarks.micro.forked`: process start to `initialize`, ordinary and forked.

Both ways in turn, in a runtime folder of their own. CPU time is that of the program which the
editor starts and, where there is one, of the server that was forked for it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.latency.home import Home
from benchmarks.micro.startup import FIXTURES, OURS, message
from slm_lsp.ready import launch, meeting


def start(env: dict[str, str], params: dict[str, Any], host: int | None) -> tuple[float, float]:
    """Wall and CPU time in ms until `initialize` is answered."""
    started = time.perf_counter()
    pipe = subprocess.PIPE
    with subprocess.Popen(OURS, env=env, stdin=pipe, stdout=pipe) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        server.stdin.write(message(request))
        server.stdin.flush()
        assert server.stdout.readline()
        wall_ms = (time.perf_counter() - started) * 1e3
        forked = psutil.Process(host).children() if host else []
        pids = [server.pid, *(each.pid for each in forked)]
        schedstats = [Path(f"/proc/{pid}/schedstat").read_text() for pid in pids]
        server.kill()
    return wall_ms, sum(int(each.split()[0]) for each in schedstats) / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro.forked", description=__doc__)
    parser.add_argument("--runs", type=int, default=12)
    options = parser.parse_args()
    params = json.loads((FIXTURES / "vscode-1.139.json").read_text(encoding="utf-8"))
    params["processId"] = None
    home = Home()
    try:
        os.environ.update(home.env())
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ.pop(meeting.VARIABLE, None)
        launch.ensure(5.0)
        while not (found := list(launch.running())):
            time.sleep(0.05)
        [(_, host)] = found
        ways = {"ordinary": {meeting.VARIABLE: "off"}, "forked": {}}
        times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(options.runs):
            for way, switch in ways.items():
                env = {**os.environ, **switch}
                times[way].append(start(env, params, host if way == "forked" else None))
        for way, rows in times.items():
            wall, cpu = zip(*rows, strict=True)
            print(
                f"{way:9} wall: least {min(wall):4.0f}, median {statistics.median(wall):4.0f} ms; "
                f"CPU: least {min(cpu):4.0f}, median {statistics.median(cpu):4.0f} ms"
            )
        memory = psutil.Process(host).memory_full_info()
        print(f"ready process: rss {memory.rss / 1e6:.0f} MB, uss {memory.uss / 1e6:.0f} MB")
        os.kill(host, signal.SIGTERM)
    finally:
        home.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
