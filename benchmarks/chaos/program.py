"""`slm-lsp` on a decoder that can be held at any stage of a request: `program.py serve …`.

Owns: the decoder, its model file, and the stages at which the daemon waits while the folder named
by SLM_LSP_CHAOS has a file `hold` that says so; the process that waits has written its id to
`held`. A file `jump` there is by how many seconds the wall clock is wrong. Each process that loads
appends its id to `starts`.

The model file is mapped and a byte at its end is read in every step, as llama.cpp maps its weights:
one that is cut while it is in use ends the process by SIGBUS.

Invariant: everything else is the real program: its command line, the server, how the daemon is
started, the wire, the Scheduler, and what is kept on the disk.

Threads: as in the real program.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[2])
VARIABLE = "SLM_LSP_CHAOS"
POLL_S = 0.002
# A header without keys and tensors, which is all that is looked at before the decoder loads.
HEADER = b"GGUF" + struct.pack("<IQQ", 3, 0, 0)
# What documents end with, and what the model writes behind it.
SOURCE, SAYS = "x = (", "value + 1"
STAGES = ("loading", "prefill", "decode", "answering")


def folder() -> Path:
    """Where the faults are asked for."""
    return Path(os.environ[VARIABLE])


def wait_at(stage: str) -> None:
    """Wait for as long as this stage is held."""
    hold = folder() / "hold"
    if not _says(hold, stage):
        return
    half = folder() / "held.half"
    half.write_text(str(os.getpid()))
    half.replace(folder() / "held")
    while _says(hold, stage):
        time.sleep(POLL_S)


def _says(path: Path, text: str) -> bool:
    try:
        return path.read_text() == text
    except OSError:
        return False


def script(prompt: str) -> str:
    """What the model writes: first the end of SOURCE that was left out of the prompt."""
    n_shown = next(n for n in range(len(SOURCE), -1, -1) if prompt.endswith(SOURCE[:n]))
    return SOURCE[n_shown:] + SAYS


def write_model(path: Path, n_bytes: int = 1 << 16) -> None:
    """A model file of that length, which it says itself."""
    half = path.with_suffix(".half")
    length = n_bytes.to_bytes(8, "little")
    half.write_bytes(HEADER + length + bytes(n_bytes - len(HEADER) - len(length)))
    half.replace(path)


def load_decoder(config: object, report: object) -> object:
    """In the place of `wiring.load_decoder`."""
    from slm_lsp.config import Config
    from slm_lsp.engine.base import ModelLoadError
    from slm_lsp.engine.fake import FakeDecoder
    from slm_lsp.engine.llama_load import check_file
    from slm_lsp.types import Segment

    assert isinstance(config, Config)
    with contextlib.suppress(OSError), (folder() / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    wait_at("loading")
    path = Path(config.model)
    check_file(path)
    with path.open("rb") as file:
        n_bytes = int.from_bytes(file.read(len(HEADER) + 8)[len(HEADER) :], "little")
        if path.stat().st_size != n_bytes:
            raise ModelLoadError(f"cannot load {path}: it is incomplete: obtain it again")
        weights = mmap.mmap(file.fileno(), n_bytes, access=mmap.ACCESS_READ)

    class Decoder(FakeDecoder):
        def tokenize(self, segments: Sequence[Segment]) -> list[int]:
            # What it notes for tests would grow for ever.
            self.texts.clear()
            self.fed.clear()
            return super().tokenize(segments)

        def feed(self, tokens: Sequence[int], n_picks: int = 1) -> None:
            wait_at("prefill" if len(tokens) > 1 else "decode")
            assert weights[-1] == 0
            super().feed(tokens, n_picks)

    return Decoder(script)


def _break_answers() -> None:
    """Let the daemon be held with half an answer written."""
    from slm_lsp.engine import wire
    from slm_lsp.engine.connection import Connection

    send = Connection.send

    def half(connection: Connection, message: wire.Message) -> None:
        if isinstance(message, wire.Answer) and _says(folder() / "hold", "answering"):
            raw = wire.encode(message)
            writer: asyncio.StreamWriter = connection._writer
            writer.write(raw[: len(raw) // 2])
            wait_at("answering")
            writer.write(raw[len(raw) // 2 :])
        else:
            send(connection, message)

    Connection.send = half  # type: ignore[method-assign,assignment]


def _break_clock() -> None:
    """Let the wall clock be wrong by what a file says, from one moment to the next."""
    right, right_ns = time.time, time.time_ns

    def jumped_s() -> int:
        try:
            return int((folder() / "jump").read_text())
        except (OSError, ValueError):
            return 0

    time.time = lambda: right() + jumped_s()
    time.time_ns = lambda: right_ns() + jumped_s() * 1_000_000_000


def main() -> int:
    """Be `slm-lsp`."""
    sys.path[0] = ROOT
    _break_clock()
    from slm_lsp import wiring
    from slm_lsp.cli import run
    from slm_lsp.engine import launch

    wiring.load_decoder = load_decoder  # type: ignore[assignment]
    launch.command = lambda arguments: [sys.executable, "-P", __file__, *arguments]
    if "daemon" in sys.argv[1:3]:
        _break_answers()
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
