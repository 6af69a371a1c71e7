"""`slm-lsp serve`: the language server on this process's stdin and stdout.

Owns: the two streams. Invariant: file descriptor 1 carries protocol only; whatever else
writes to stdout (a print, native code) goes to stderr.

Threads: the main thread runs the event loop; pygls reads stdin on a thread of its own.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from pathlib import Path

from slm_lsp.config import Config


def serve(config: Config, problems: list[str]) -> int:
    """Serve one session; the exit status is 0 if the client shut it down as agreed."""
    # lsprotocol creates some 600 classes at import; collecting garbage meanwhile is waste.
    gc.disable()
    from slm_lsp.lsp.server import SlmServer
    from slm_lsp.trace import Trace
    from slm_lsp.wiring import start_engine

    gc.freeze()
    gc.enable()
    trace = Trace(Path(config.trace) if config.trace else None)
    server = SlmServer(config, start_engine, trace, problems)
    server.start_io(stdin=sys.stdin.buffer, stdout=_protocol_stdout())
    clean = server.protocol.shut_down
    if server.completer is not None:
        server.completer.engine.close()
    return 0 if clean else 1


def _protocol_stdout() -> io.BufferedWriter:
    """The real stdout, buffered whatever PYTHONUNBUFFERED says; fd 1 becomes stderr."""
    sys.stdout.flush()
    protocol = os.dup(1)
    os.dup2(2, 1)
    return io.BufferedWriter(io.FileIO(protocol, "wb"), buffer_size=1 << 16)
