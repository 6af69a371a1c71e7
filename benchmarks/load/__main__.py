"""`python -m benchmarks.load --url URL`: how many developers one server answers in time.

Owns: the steps of the test: so many developers at a time, each with sessions and a connection of
their own, as each has a `slm-lsp serve` of their own.

Invariant: nothing but the server is shared. Without `--url`, llama.cpp's server from the wheel
`xllamacpp` is started with the default model; it takes one request at a time.

Threads: the event loop. What a developer's machine does beside asking (parsing, post-processing)
is not done here, so that one machine can play many.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from benchmarks.latency.corpus import sources
from benchmarks.latency.infill import InfillServer, InfillSettings
from benchmarks.latency.sessions import make_session
from benchmarks.load.developer import Developer, Habits, Record
from benchmarks.load.figures import figures, plot, table
from slm_lsp.config import Config
from slm_lsp.engine.server import ServerEngine
from slm_lsp.prompt import fim
from slm_lsp.servers import settings_of, what_is_known
from slm_lsp.types import EngineState
from slm_lsp.wiring import obtain

SEED = 6
REACH_PATIENCE_S = 60.0


@contextlib.asynccontextmanager
async def asking(config: Config) -> AsyncIterator[ServerEngine]:
    """A ready engine; what is wrong with the server ends the program."""
    settled = asyncio.Event()
    engine = ServerEngine(settings_of(config), what_is_known(), lambda state: settled.set())
    engine.start()
    try:
        await asyncio.wait_for(settled.wait(), REACH_PATIENCE_S)
        if engine.state is not EngineState.READY:
            raise SystemExit(engine.failure)
        yield engine
    finally:
        engine.close()
        await engine.closed()


async def step(config: Config, habits: Habits, n_developers: int, seconds: float) -> dict[str, Any]:
    """So many developers type for a while."""
    texts, until_s = sources(), time.monotonic() + seconds
    async with contextlib.AsyncExitStack() as stack:
        developers = []
        for number in range(n_developers):
            engine = await stack.enter_async_context(asking(config))
            assert engine.info is not None
            template = fim.choose_template(engine.info)
            session = make_session(texts, SEED, number)
            name = f"developer {number}"
            developers.append(Developer(name, session, engine, template, habits, _pause))
        await asyncio.gather(
            *(d.type_until(lambda: time.monotonic() > until_s) for d in developers)
        )
    records: list[Record] = [record for each in developers for record in each.records]
    return figures(n_developers, records, seconds)


async def _pause(ms: float) -> None:
    await asyncio.sleep(ms / 1e3)


async def run(config: Config, habits: Habits, numbers: list[int], seconds: float) -> dict[str, Any]:
    """All steps, with what was asked."""
    async with asking(config) as engine:
        model, api = (engine.info.name if engine.info else ""), engine.api
        for note in engine.notes:
            print(note, file=sys.stderr)
    steps = []
    for number in numbers:
        steps.append(await step(config, habits, number, seconds))
        head, rows = table(steps[-1:]).split("\n", 1)
        print(rows if len(steps) > 1 else f"{head}\n{rows}", flush=True)
    return {"model": model, "api": api, "budget_ms": habits.budget_ms, "steps": steps}


@contextlib.asynccontextmanager
async def served(url: str, threads: int) -> AsyncIterator[str]:
    """The server's address; one is started where none was named."""
    if url:
        yield url
        return
    path = obtain(Config()).path
    server = InfillServer(InfillSettings(path, threads, threads))
    await server.start(infills=False)
    try:
        yield server.url
    finally:
        await server.stop()


async def _main(options: argparse.Namespace) -> None:
    habits = Habits(options.budget_ms, options.prompt_tokens)
    numbers = [int(n) for n in options.developers.split(",")]
    async with served(options.url, options.threads) as url:
        config = Config(
            server_url=url,
            server_api=options.api,
            server_model=options.model,
            server_template=options.template,
            server_insecure="on" if options.insecure else "off",
        )
        result = await run(config, habits, numbers, options.seconds)
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        plot(result, options.out.with_suffix(".svg"))


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--url", default="", help="the server; none: one is started here")
    for name in ("api", "model", "template"):
        parser.add_argument(
            f"--{name}", default="auto" if name == "api" else "", help="as server_…"
        )
    parser.add_argument("--insecure", action="store_true", help="as server_insecure")
    parser.add_argument("--developers", default="1,2,4,8", help="how many at a time, in steps")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each step types")
    parser.add_argument("--budget-ms", type=float, default=250.0)
    parser.add_argument("--prompt-tokens", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2, help="of the server that is started")
    parser.add_argument("--out", type=Path, help="JSON to write; a plot is put beside it")
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
