"""A terminal that an editor under test writes to: started, typed into, looked at, drawn.

Owns: the pseudo-terminal, the editor's process, and what is to be seen after each piece that it
writes; the folder in which editors for tests are kept; the folder for pictures and figures.

Invariant: nothing waits for a fixed time; a state is asked for until it is there.

Threads: the test's, and one that reads the terminal.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pyte
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).parents[2]
# Machines that run tests may be busy with others.
PATIENCE_S = 60.0
N_COLUMNS, N_ROWS = 80, 14
# Device control strings, and control sequences with a private mark but for those that set modes or
# erase: pyte stumbles over them.
UNKNOWN = re.compile(rb"\x1bP[^\x1b]*\x1b\\|\x1b\[[<=>][\d;:]*[@-~]|\x1b\[\?[\d;]*(?![hlJK])[@-~]")
BEGUN = re.compile(rb"\x1b(P[^\x1b]*\x1b?|\[[<=>?]?[\d;:]*)?\Z")
T = TypeVar("T")


def cache_folder() -> Path:
    """Where editors for tests are kept."""
    named = os.environ.get("SLM_LSP_EDITORS_DIR")
    return Path(named) if named else Path.home() / ".cache" / "slm-lsp" / "editors-for-tests"


def captures_folder(otherwise: Path) -> Path:
    """Where pictures and figures go that a run is to leave, $SLM_LSP_CAPTURES."""
    named = os.environ.get("SLM_LSP_CAPTURES")
    folder = Path(named) if named else otherwise
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def answers(address: Path) -> bool:
    """Whether a program has come to listen there."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(address))
        except OSError:
            return False
    return True


class Frame(NamedTuple):
    """What is to be seen at a moment."""

    at_s: float
    rows: list[str]
    cursor: tuple[int, int]


def style_of(cell: Any) -> Style:
    """How a terminal's character looks."""

    def colour(name: str) -> Color | None:
        if name == "default":
            return None
        return Color.parse(f"#{name}" if len(name) == 6 else name.replace("bright", "bright_"))

    return Style(
        color=colour(cell.fg.replace("brown", "yellow")),
        bgcolor=colour(cell.bg.replace("brown", "yellow")),
        bold=cell.bold,
        italic=cell.italics,
        reverse=cell.reverse,
    )


class Terminal:
    """One program in a terminal of its own."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self._screen = pyte.Screen(N_COLUMNS, N_ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._frames: list[Frame] | None = None
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", N_ROWS, N_COLUMNS, 0, 0))
        # The terminal is dark, and the program's controlling terminal.
        shown = {"TERM": "xterm-256color", "COLORFGBG": "15;0", "LANG": "C.UTF-8"}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            env=environment | shown,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        begun = b""
        while True:
            try:
                written = UNKNOWN.sub(b"", begun + os.read(self._master, 65536))
            except OSError:  # the program has ended
                return
            found = BEGUN.search(written)
            begun = found[0] if found else b""
            with self._lock:
                self._stream.feed(written[: len(written) - len(begun)])
                if self._frames is not None:
                    self._frames.append(self._frame())

    def _frame(self) -> Frame:
        rows = [row.rstrip() for row in self._screen.display]
        return Frame(time.monotonic(), rows, (self._screen.cursor.y, self._screen.cursor.x))

    # --- looking ---

    def frame(self) -> Frame:
        """What is to be seen now; rows are without the space at their ends."""
        with self._lock:
            return self._frame()

    @contextmanager
    def frames(self) -> Iterator[list[Frame]]:
        """All that is to be seen meanwhile, after each piece that the program writes."""
        with self._lock:
            self._frames = seen = [self._frame()]
        yield seen
        with self._lock:
            self._frames = None

    def picture(self, title: str) -> str:
        """What is to be seen, as SVG."""
        # Nothing is printed on the way.
        console = Console(record=True, width=N_COLUMNS, file=io.StringIO(), force_terminal=True)
        with self._lock:
            rows = [[self._screen.buffer[y][x] for x in range(N_COLUMNS)] for y in range(N_ROWS)]
            y, x = self._screen.cursor.y, self._screen.cursor.x
        rows[y][x] = rows[y][x]._replace(reverse=True)
        for row in rows:
            text = Text()
            for style, cells in groupby(row, style_of):
                text.append("".join(cell.data for cell in cells), style)
            console.print(text, end="\n", no_wrap=True, crop=False)
        svg = console.export_svg(title=title)
        # Pictures load nothing from elsewhere.
        return re.sub(r"<!--.*?-->|@font-face \{.*?\}", "", svg, flags=re.DOTALL)

    # --- doing ---

    def type(self, keys: str) -> None:
        """Press keys, one after the other."""
        os.write(self._master, keys.encode())

    def pressed(self, keys: str) -> float:
        """Press keys, and tell when."""
        at_s = time.monotonic()
        self.type(keys)
        return at_s

    def until(self, look: Callable[[], T], what: str) -> T:
        """Ask until it is so."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if found := look():
                return found
            assert self.process.poll() is None, f"the editor ended: {self.frame().rows}"
            time.sleep(0.01)
        raise AssertionError(f"no {what} in {PATIENCE_S} s:\n" + "\n".join(self.frame().rows))

    def close(self) -> None:
        """Wait for the end of a program that was told to end."""
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join(PATIENCE_S)
            os.close(self._master)
