"""`python -m benchmarks.load.stalls`: how far past the deadline an answer is when a server stalls.

Owns: a server, in a process of its own, that stalls in the middle, drips a token a second, never
answers, is slow with its headers, floods, or breaks off; and the time until the engine answers.

Invariant: the time counts from the making of the deadline, and everything is in it: connecting,
sending, and what Python does besides. The breaker is kept from helping: every request is sent.

Threads: an event loop on each side.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.latency.quantiles import quantile, spread
from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.engine.base import EngineUnavailable
from slm_lsp.engine.server import ServerEngine
from slm_lsp.engine.server_look import Known
from slm_lsp.engine.server_settings import ServerSettings
from slm_lsp.prompt.fim import PREFIX_ONLY
from slm_lsp.types import EngineState, GenerationRequest, Prompt, Text

KINDS = ("stalls", "drips", "silent", "slow-headers", "floods", "breaks")
GOAL_MS = 25.0
PROMPT = Prompt((Text("def f(x):\n    return x\n" * 40),), max_tokens=1_000_000)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
MODELS = b'{"data": [{"id": "m"}]}'


# --- the server ---


def _chunk(text: str) -> bytes:
    said = f"data: {json.dumps({'choices': [{'text': text}]})}\n\n".encode()
    return f"{len(said):x}\r\n".encode() + said + b"\r\n"


async def _answer(kind: str, writer: asyncio.StreamWriter) -> None:
    """Answer badly, for as long as the client listens."""
    if kind == "silent":
        await asyncio.Event().wait()
    head = HEAD[:30] if kind == "slow-headers" else HEAD
    writer.write(head)
    if kind == "slow-headers":
        await asyncio.Event().wait()
    writer.write(_chunk("x"))
    while kind in ("drips", "floods"):
        await writer.drain()
        await asyncio.sleep(1.0 if kind == "drips" else 0.0)
        writer.write(_chunk("x"))
    if kind == "breaks":
        writer.write(_chunk("xyz")[:20])
        writer.close()
        return
    await asyncio.Event().wait()


async def _connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            path = head.split(" ")[1]
            length = head.partition("content-length:")[2].split("\r\n")[0].strip()
            await reader.readexactly(int(length or 0))
            if path.endswith("/models"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(f"Content-Length: {len(MODELS)}\r\n\r\n".encode() + MODELS)
                continue
            answering = asyncio.ensure_future(_answer(path.split("/")[1], writer))
            gone = asyncio.ensure_future(reader.read(1))
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            answering.cancel()
            gone.cancel()
            return
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def _serve() -> None:
    server = await asyncio.start_server(_connected, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)  # ends with whoever started it
    server.close()


# --- the measurement ---


async def _overruns(url: str, kind: str, budget_ms: float, n: int) -> list[float]:
    ready = asyncio.Event()
    settings = ServerSettings(f"{url}/{kind}", "openai", template=PREFIX_ONLY)
    engine = ServerEngine(settings, Known(), lambda state: ready.set())
    engine.start()
    await ready.wait()
    assert engine.state is EngineState.READY, engine.failure
    overruns = []
    for _ in range(n):
        engine._breaker.succeeded()
        began_s = time.perf_counter()
        request = GenerationRequest("s", PROMPT, Deadline.after(budget_ms), CancelToken())
        try:
            await engine.generate(request)
        except EngineUnavailable:
            assert kind == "breaks"
        overruns.append((time.perf_counter() - began_s) * 1e3 - budget_ms)
        await asyncio.sleep(0.02)  # what was cut is closed; a key comes no sooner
    began_s = time.perf_counter()
    engine.close()
    await engine.closed()
    print(f"{kind}: closed in {(time.perf_counter() - began_s) * 1e3:.0f} ms", file=sys.stderr)
    return overruns


async def _measure(url: str, budget_ms: float, n: int) -> dict[str, Any]:
    kinds, everything = {}, []
    for kind in KINDS:
        overruns = await _overruns(url, kind, budget_ms, n)
        kinds[kind] = {f"overrun_{q}_ms": value for q, value in spread(overruns).items()}
        everything += overruns
        print(f"{kind:13} {kinds[kind]}")
    p99 = quantile(everything, 0.99)
    worst = max(kind["overrun_p99_ms"] or 0.0 for kind in kinds.values())
    return {
        "budget_ms": budget_ms,
        "n_each": n,
        "goal_ms": GOAL_MS,
        "overrun_p99_ms": None if p99 is None else round(p99, 2),
        "worst_p99_ms": worst,
        "held": worst <= GOAL_MS,
        "kinds": kinds,
    }


def main() -> None:
    """Start the server's process and measure."""
    logging.disable(logging.WARNING)  # that the server is broken is known
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load.stalls", description=__doc__)
    parser.add_argument("--n", type=int, default=100, help="requests of each kind")
    parser.add_argument("--budget-ms", type=float, default=250.0)
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(_serve())
        return
    command = [sys.executable, "-m", "benchmarks.load.stalls", "--serve"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            url = child.stdout.readline().strip()
            result = asyncio.run(_measure(url, options.budget_ms, options.n))
        finally:
            child.kill()
    print(f"p99 {result['overrun_p99_ms']} ms, worst kind's {result['worst_p99_ms']} ms")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
