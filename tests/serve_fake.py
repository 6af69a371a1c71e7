"""`slm-lsp serve` on a FakeDecoder, in a process of its own: for tests of the real streams.

Usage: python serve_fake.py [noisy | stuck]

The decoder's first step waits for the command `test.open`; `test.state` tells whether it is
waiting, `test.large` answers with 300 kB. `noisy` prints wherever a library might; `stuck`
never ends to load.

Invariant: nothing but the decoder and these commands differs from the real server.
Threads: as in the real server.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from slm_lsp.config import Config
from slm_lsp.engine import scheduler
from slm_lsp.engine.base import Decoder
from slm_lsp.engine.fake import FakeDecoder
from slm_lsp.engine.scheduler import Scheduler
from slm_lsp.lsp import lazy_types, stdio
from slm_lsp.trace import Trace
from slm_lsp.types import EngineState

N_LARGE_CHARS = 300_000
# What the documents hold, and what the model writes at their end.
SOURCE, SAYS = "x = (", "value + 1"


def script(prompt: str) -> str:
    """What the model writes: first the end of SOURCE that was left out of the prompt."""
    n_shown = next(n for n in range(len(SOURCE), -1, -1) if prompt.endswith(SOURCE[:n]))
    return SOURCE[n_shown:] + SAYS


def make_noise() -> None:
    """Write to stdout by every way there is."""
    print("a print", flush=True)
    print("a print that is not flushed")
    os.write(1, b"native code writes to fd 1\n")
    os.system("echo a child writes to its stdout")


def main(mode: str) -> int:
    # As `serve` does.
    lazy_types.import_types()
    from slm_lsp.lsp.server import SlmServer

    noisy = mode == "noisy"
    gate, waiting = threading.Event(), threading.Event()

    def step() -> None:
        waiting.set()
        gate.wait()
        if noisy:
            make_noise()

    def load() -> Decoder:
        if noisy:
            make_noise()
        if mode == "stuck":
            threading.Event().wait()
        decoder = FakeDecoder(script)
        decoder.on_step = step
        return decoder

    def make_engine(
        config: Config,
        on_state: Callable[[EngineState], None],
        on_progress: Callable[[str, float | None], None],
    ) -> Scheduler:
        engine = Scheduler(load, on_state=on_state)
        engine.start()
        return engine

    # Who waits for an engine that does not end, does so for ever; nobody is to wait long.
    scheduler.CLOSE_TIMEOUT_S = 3600.0
    stdio.EXIT_PATIENCE_S = 0.1
    # Patient, so that what is asserted does not depend on the machine's speed.
    config = Config(automatic_budget_ms=60_000.0, invoked_budget_ms=60_000.0, syntax_gate="off")
    server = SlmServer(config, make_engine, Trace(), [])

    @server.command("test.open")
    def open_() -> None:
        gate.set()

    @server.command("test.state")
    def state() -> bool:
        return waiting.is_set()

    @server.command("test.large")
    def large() -> str:
        if noisy:
            make_noise()
        return "x" * N_LARGE_CHARS

    return stdio.speak(server)


if __name__ == "__main__":
    sys.exit(main("".join(sys.argv[1:])))
