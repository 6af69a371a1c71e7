"""`slm-lsp serve`: the language server on this process's stdin and stdout.

Owns: the two streams. Invariant: file descriptor 1 carries protocol only; whatever else
writes to stdout (a print, native code) goes to stderr.

Threads: the main thread runs the event loop; pygls reads stdin on a thread of its own.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from slm_lsp.config import Config
from slm_lsp.lsp import compiled
from slm_lsp.lsp.frames import Frames
from slm_lsp.ready.provision import Provision

if TYPE_CHECKING:
    from slm_lsp.engine.base import Engine
    from slm_lsp.lsp.parts import Choices
    from slm_lsp.lsp.server import SlmServer
    from slm_lsp.types import EngineState
    from slm_lsp.workspace.source import WorkspaceSource

    OnState = Callable[[EngineState], None]
    OnProgress = Callable[[str, float | None], None]

log = logging.getLogger(__name__)

# What the engine may take to end: a native step, but not the rest of a download.
EXIT_PATIENCE_S = 1.0
GC_WHILE_STARTING = (5_000, 1_000, 1_000)
# How long the event loop may have to wait while another thread computes; Python's own 5 ms are
# all that a request should take of us. It seldom computes for so long itself.
SWITCH_INTERVAL_S = 0.001


def serve(config: Config, problems: list[str]) -> int:
    """Serve one session; the exit status is 0 if the client shut it down as agreed."""
    # Whatever is written, by whichever part, is this user's alone.
    os.umask(0o077)
    # What is imported stays; looking at the older objects again and again is waste.
    usual = gc.get_threshold()
    gc.set_threshold(*GC_WHILE_STARTING)
    with compiled.remembered(compiled.default_path()) as memory:
        from slm_lsp.lsp import lazy_types

        # Before whatever imports lsprotocol.
        lazy_types.import_types()
        from slm_lsp.lsp.prepared import converter
        from slm_lsp.lsp.server import SlmServer
        from slm_lsp.trace import Trace

        gc.freeze()
        gc.set_threshold(*usual)

        def start_engine(config: Config, on_state: OnState, on_progress: OnProgress) -> Engine:
            # `initialize` is answered. Now, because editors do not always let a server end.
            memory.save()
            ready.begin(config)
            return _start_engine(config, on_state, on_progress)

        ready = Provision()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        trace = Trace(Path(config.trace) if config.trace else None)
        server = SlmServer(
            config,
            start_engine,
            trace,
            problems,
            sessions_folder=_sessions_folder,
            notes_folder=_notes_folder,
            make_workspace=_make_workspace,
            make_converter=converter,
            choices=_choices,
        )
        return speak(server, memory.save, ready.end)


def _start_engine(config: Config, on_state: OnState, on_progress: OnProgress) -> Engine:
    # Imported only now: `initialize` is answered without it.
    from slm_lsp.wiring import start_engine

    return start_engine(config, on_state, on_progress)


def _sessions_folder() -> Path:
    # Imported only once the engine has been started, as is whatever it belongs to.
    from slm_lsp.completion.sessions_file import default_folder

    return default_folder()


def _notes_folder() -> Path:
    from slm_lsp.completion.notes import default_folder

    return default_folder()


def _make_workspace(config: Config) -> WorkspaceSource:
    from slm_lsp.workspace.builds import Builds
    from slm_lsp.workspace.source import WorkspaceSource
    from slm_lsp.workspace.store import default_folder

    if config.workspace_index == "off":
        return WorkspaceSource(None)
    folder = default_folder()
    return WorkspaceSource(folder, builds=Builds(folder))


def _choices() -> Choices:
    from slm_lsp import model_choice

    return model_choice


def speak(server: SlmServer, *at_end: Callable[[], None]) -> int:
    """Serve one session on this process's streams; the exit status is as for `serve`."""
    if not log.isEnabledFor(logging.DEBUG):
        # It warns of every cancel that comes too late; its errors reach the server anyway.
        logging.getLogger("pygls").setLevel(logging.CRITICAL)
    # As an exception it would wait for the thread that reads stdin, which waits for a line.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def end() -> tuple[int, bool]:
        ended = server.close(EXIT_PATIENCE_S)
        for each in at_end:
            each()
        return (0 if server.protocol.shut_down else 1), ended

    # Whoever reads no more may keep stdin open, and the thread that reads it cannot be woken.
    server.client_gone = lambda: os._exit(end()[0])
    answers = Answers(_protocol_stdout(), server.client_gone)
    stdin: Any = Frames(sys.stdin.buffer)
    server.start_io(stdin=stdin, stdout=cast("BinaryIO", answers))
    status, ended = end()
    if not ended:
        # Ending Python under a thread that is in native code may abort the process.
        os._exit(status)
    return status


class Answers(io.BufferedIOBase):
    """The stream of answers; `left` is called once the client has closed its end of it."""

    def __init__(self, stream: io.BufferedWriter, left: Callable[[], None]) -> None:
        self._stream, self._left = stream, left
        self._has_left = False

    def write(self, data: Any) -> int:
        self._watch(lambda: self._stream.write(data))
        return len(data)

    def flush(self) -> None:
        self._watch(self._stream.flush)

    def _watch(self, call: Callable[[], object]) -> None:
        if self._has_left:
            return
        try:
            call()
        except BrokenPipeError:
            self._has_left = True
            self._left()


def _protocol_stdout() -> io.BufferedWriter:
    """The real stdout, buffered whatever PYTHONUNBUFFERED says; fd 1 becomes stderr."""
    sys.stdout.flush()
    protocol = os.dup(1)
    os.dup2(2, 1)
    return io.BufferedWriter(io.FileIO(protocol, "wb"), buffer_size=1 << 16)
