"""A daemon on a FakeDecoder, in a process of its own: for tests of starting, killing, hanging.

Usage: python daemon_fake.py DIRECTORY NAME KEY IDLE_S MODE

Every process that gets as far as loading appends its id to DIRECTORY/starts, and KV sequences
are kept in DIRECTORY/kv. MODE: `ready`
answers `SAYS`; `gate` waits in each first step for ever, but for prompts that end in `go`;
`broken` cannot load its model; `crash` ends the process in the middle of loading.

Invariant: nothing but the decoder differs from the real daemon.
Threads: as in the real daemon.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from slm_lsp.engine import daemon
from slm_lsp.engine.base import Decoder, ModelLoadError
from slm_lsp.engine.fake import FakeDecoder
from slm_lsp.engine.host import OnProgress, OnState, run
from slm_lsp.engine.rendezvous import Place
from slm_lsp.engine.scheduler import Scheduler

SAYS = "said"


daemon.FAILED_LINGER_S = 0.5


def main(directory: str, name: str, key: str, idle_s: str, mode: str) -> int:
    place = Place(Path(directory), name)

    def make_engine(on_state: OnState, on_progress: OnProgress) -> Scheduler:
        def load() -> Decoder:
            with (place.directory / "starts").open("a") as starts:
                starts.write(f"{os.getpid()}\n")
            on_progress("load fake", 0.5)
            if mode == "broken":
                raise ModelLoadError("the model is broken")
            if mode == "crash":
                os._exit(9)
            decoder = FakeDecoder(SAYS)

            def step() -> None:
                if mode == "gate" and not decoder.texts[-1].endswith("go"):
                    (place.directory / "waiting").touch()
                    threading.Event().wait()

            decoder.on_step = step
            return decoder

        engine = Scheduler(load, on_state=on_state, kv_folder=place.directory / "kv")
        engine.start()
        return engine

    return run(place, key, make_engine, float(idle_s))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
