"""`python -m benchmarks.soak`: eight servers on one daemon, for as many requests as are asked for.

Owns: the typists, the samples of their processes, and the result.

Invariant: servers, daemon and wire are the real ones. Without `--model` the daemon's decoder is the
scripted one of `benchmarks.chaos.program`, which takes no time to speak of, so that there are many
requests; nobody waits between keys, which is faster than anyone types. Half of the servers are
restarted again and again; memory is that of the others, per server.

It is not a command of `slm-lsp`, as it needs the replays of `benchmarks`, which users do not get.

Threads: the event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.chaos.scene import Scene
from benchmarks.latency.corpus import sources
from benchmarks.soak.figures import plot, tenths, verdict
from benchmarks.soak.typist import Counts, Typist
from slm_lsp import __version__

N_SAMPLES = 300
RESTART_EVERY = 1000
MIN_SAMPLE_S = 0.2


def sample(counts: Counts, typists: Sequence[Typist], daemon: int) -> dict[str, float]:
    """What the processes hold now; of servers, the mean of those that are never restarted."""
    steady = [psutil.Process(each.pid) for each in typists if each.is_steady]
    of_daemon = psutil.Process(daemon)

    def mean(values: Sequence[float]) -> float:
        return round(sum(values) / len(values), 2)

    return {
        "n_requests": counts.n_requests,
        "server_rss_mb": mean([each.memory_info().rss / 1e6 for each in steady]),
        "server_fds": mean([each.num_fds() for each in steady]),
        "server_threads": mean([each.num_threads() for each in steady]),
        "daemon_rss_mb": round(of_daemon.memory_info().rss / 1e6, 2),
        "daemon_fds": of_daemon.num_fds(),
        "daemon_threads": of_daemon.num_threads(),
    }


async def watch(
    counts: Counts,
    typists: Sequence[Typist],
    scene: Scene,
    n_requests: int,
    over: Callable[[], bool],
) -> list[dict[str, float]]:
    """Samples, evenly over the requests, until it is over."""
    found: list[dict[str, float]] = []
    step, due = max(1, n_requests // N_SAMPLES), 0
    while not over():
        daemons = scene.daemons()
        if counts.n_requests >= due and daemons:
            found.append(sample(counts, typists, daemons[0].pid))
            due = counts.n_requests + step
        await asyncio.sleep(MIN_SAMPLE_S)
    return found


def command_and_settings(scene: Scene, model: str) -> tuple[list[str], dict[str, Any]]:
    """The scripted decoder's server, or the real one with a model."""
    if model:
        named = "" if model == "default" else model
        return [sys.executable, "-m", "slm_lsp", "serve"], {"model": named} if named else {}
    # Short prompts, as the scripted decoder's tokens are letters, each of them an object.
    return scene.command("serve"), {"model": str(scene.model), "prompt_tokens": 192}


async def soak(
    n_requests: int,
    n_servers: int,
    model: str = "",
    rest_file: Path | None = None,
    minutes: float = math.inf,
) -> dict[str, Any]:
    """Run; the figures."""

    def rests() -> bool:
        return rest_file is not None and rest_file.exists()

    counts, began_s = Counts(), time.monotonic()
    async with Scene({"SLM_LSP_CACHE_DIR": model_cache()} if model else None) as scene:
        command, settings = command_and_settings(scene, model)
        typists = [
            Typist(
                *(n, command, scene.env, settings, sources(), counts),
                restart_every=RESTART_EVERY * (n % 2),
                rests=rests,
            )
            for n in range(n_servers)
        ]
        for each in typists:
            await each.begin()

        def over() -> bool:
            is_late = time.monotonic() - began_s > minutes * 60.0
            return counts.n_requests >= n_requests or is_late

        samples, *_ = await asyncio.gather(
            watch(counts, typists, scene, n_requests, over),
            *(each.type_until(over) for each in typists),
        )
        for each in typists:
            await each.end()
        # Memory that is given back when all editors are closed shows in nothing else.
        assert len(scene.daemons()) == 1
    return {
        "n_requests": counts.n_requests,
        "n_servers": n_servers,
        "n_edits": counts.n_edits,
        "n_cancelled": counts.n_cancelled,
        "n_failed": counts.n_failed,
        "n_with_text": counts.n_with_text,
        "n_restarts": counts.n_restarts,
        "n_sessions": counts.n_sessions,
        "seconds": round(time.monotonic() - began_s, 1),
        "tenths": tenths(counts.times),
        "samples": samples,
    }


def model_cache() -> str:
    """Where the user's models are."""
    from slm_lsp.registry.cache import cache_root

    return str(cache_root())


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end by then, too")
    parser.add_argument("--servers", type=int, default=8)
    parser.add_argument(
        "--model", default="", help="a real model (`default`: the default one); none: scripted"
    )
    parser.add_argument("--json", type=Path, help="write the result here; a plot is put beside it")
    parser.add_argument("--rest-while", type=Path, metavar="FILE", help="where it exists, wait")
    options = parser.parse_args()
    given = (
        *(options.requests, options.servers, options.model),
        *(options.rest_while, options.minutes),
    )
    result = asyncio.run(soak(*given))
    told = {
        "benchmark": "soak",
        "version": __version__,
        "python": platform.python_version(),
        "decoder": options.model or "scripted",
        "verdict": verdict(result),
        **result,
    }
    print(json.dumps({name: told[name] for name in told if name != "samples"}, indent=1))
    if options.json:
        options.json.write_text(json.dumps(told) + "\n", encoding="utf-8")
        plot(told, options.json.with_suffix(".svg"))
    return 1 if told["n_failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
