"""A real Emacs in a terminal: obtained, started, typed into, looked at.

Owns: Debian's Emacs 28.2 and its packages in a cache folder outside the repository, unpacked and
not installed; a terminal with what is to be seen in it after everything that Emacs writes.

Invariant: nothing waits for a fixed time; a state is asked for until it is there.

Threads: the test's, and one that reads the terminal; Emacs is a process of its own.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyte
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "editors" / "emacs"
PATIENCE_S = 20.0
N_COLUMNS, N_ROWS = 80, 14
BANNER = "GNU Emacs 28.2"
PACKAGES = (
    *("emacs-nox", "emacs-bin-common", "emacs-common", "emacs-el", "libgccjit0"),
    *("libotf1", "libm17n-0", "libgpm2", "libjansson4"),
    *("elpa-eglot", "elpa-lsp-mode", "elpa-company", "elpa-dash", "elpa-f", "elpa-ht", "elpa-s"),
    *("elpa-lv", "elpa-spinner", "elpa-markdown-mode", "elpa-seq", "elpa-project", "elpa-xref"),
)
ELPA = "usr/share/emacs/site-lisp/elpa-src"
EXPECTED_ELPA = ("eglot-1.9", "lsp-mode-8.0.0", "company-0.9.13")
# What a test asks Emacs by: evaluated in the buffer that the user sees.
LOOK = "(with-current-buffer (window-buffer (selected-window)) (json-encode %s))"
T = TypeVar("T")


def cache_folder() -> Path:
    """Where editors for tests are kept."""
    named = os.environ.get("SLM_LSP_EDITORS_DIR")
    return Path(named) if named else Path.home() / ".cache" / "slm-lsp" / "editors-for-tests"


def obtain() -> Path:
    """The folder that holds Emacs, unpacked if need be; an error says why it cannot be had."""
    folder = cache_folder() / "emacs-28.2"
    root = folder / "root"
    if not (folder / "complete").exists():
        debs = folder / "debs"
        debs.mkdir(parents=True, exist_ok=True)
        # apt checks what it downloads against the distribution's signed lists.
        download = ["apt-get", "download", *PACKAGES]
        fetched = subprocess.run(download, cwd=debs, capture_output=True, text=True)
        if fetched.returncode != 0:  # a bare machine has no lists yet
            subprocess.run(["apt-get", "update", "-qq"], capture_output=True)
            fetched = subprocess.run(download, cwd=debs, capture_output=True, text=True)
        assert fetched.returncode == 0, (
            f"no Emacs: {fetched.stderr}; run `apt-get update`, or on another system than"
            " Debian 12 run these tests in its container"
        )
        for deb in debs.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
        (folder / "complete").touch()
    said = subprocess.run([*command(root), "--version"], env=environment(root), capture_output=True)
    assert said.stdout.decode().startswith(BANNER), f"{root}: {said}, not {BANNER}"
    for name in EXPECTED_ELPA:
        assert (root / ELPA / name).is_dir(), f"{root} lacks {name}: delete {folder} and run again"
    return root


def command(root: Path) -> list[str]:
    """What starts the Emacs that is unpacked in `root`."""
    dump = next(root.glob("usr/libexec/emacs/28.2/*/emacs.pdmp"))
    return [str(root / "usr/bin/emacs-nox"), f"--dump-file={dump}"]


def environment(root: Path) -> dict[str, str]:
    """Where an Emacs that is unpacked in `root` finds what belongs to it."""
    share = root / "usr/share/emacs/28.2"
    return os.environ | {
        "LD_LIBRARY_PATH": str(next(root.glob("usr/lib/*/libgccjit.so.0")).parent),
        "EMACSLOADPATH": str(share / "lisp"),
        "EMACSDATA": str(share / "etc"),
        "EMACSDOC": str(share / "etc"),
        "EMACSPATH": str(next(root.glob("usr/libexec/emacs/28.2/*"))),
        "TERM": "xterm-256color",
        # The terminal is dark.
        "COLORFGBG": "15;0",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
    }


def preamble(root: Path) -> str:
    """What Debian's installation and its site files would have done."""
    return f"""
(setq native-comp-deferred-compilation nil inhibit-startup-screen t ring-bell-function #'ignore
      make-backup-files nil auto-save-default nil create-lockfiles nil vc-handled-backends nil
      package-user-dir {json.dumps(str(root / "none"))} confirm-kill-processes nil)
(require 'package)
(add-to-list 'package-directory-list {json.dumps(str(root / ELPA))})
(package-initialize)
"""


def batch(root: Path, *arguments: str) -> str:
    """What an Emacs without a terminal says."""
    start = [
        *command(root),
        "-Q",
        "--batch",
        "--eval",
        "(setq native-comp-deferred-compilation nil)",
    ]
    done = subprocess.run(
        [*start, *arguments], env=environment(root), capture_output=True, text=True, cwd=CLIENT
    )
    said = "\n".join(
        line
        for line in (done.stdout + done.stderr).splitlines()
        # The folder that the binary was built for.
        if not line.startswith("Warning: Lisp directory")
    )
    assert done.returncode == 0, said
    return said.strip()


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
        reverse=cell.reverse,
    )


class Emacs:
    """One Emacs in a terminal of its own, driven by keys."""

    def __init__(self, root: Path, folder: Path, init: str, file: Path) -> None:
        """Opens `file`, with `init` as the user's configuration and `folder` as his home."""
        self._root, self._socket = root, folder / "emacs-socket"
        serve = (
            f"(require 'server) (setq server-socket-dir {json.dumps(str(folder))}"
            ' server-name "emacs-socket") (server-start) (require \'json)'
        )
        (folder / "init.el").write_text(preamble(root) + init + serve)
        self._screen = pyte.Screen(N_COLUMNS, N_ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._frames: list[list[str]] | None = None
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", N_ROWS, N_COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            # Emacs asks for its controlling terminal.
            [
                "setsid",
                "--ctty",
                *command(root),
                "-Q",
                "-nw",
                "-l",
                str(folder / "init.el"),
                str(file),
            ],
            env=environment(root) | {"HOME": str(folder)},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.until(self._socket.exists, "a running Emacs")

    def _read(self) -> None:
        while True:
            try:
                written = os.read(self._master, 65536)
            except OSError:  # Emacs has ended
                return
            with self._lock:
                self._stream.feed(written)
                if self._frames is not None:
                    self._frames.append(list(self._screen.display))

    # --- looking ---

    def screen(self) -> list[str]:
        """The rows that are to be seen, without the space at their ends."""
        with self._lock:
            return [row.rstrip() for row in self._screen.display]

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
            for cell in row:
                text.append(cell.data, style_of(cell))
            console.print(text, end="\n", no_wrap=True, crop=False)
        svg = console.export_svg(title=title)
        # Pictures load nothing from elsewhere.
        return re.sub(r"<!--.*?-->|@font-face \{.*?\}", "", svg, flags=re.DOTALL)

    def cursor(self) -> tuple[int, int]:
        """Row and column of the terminal's cursor."""
        with self._lock:
            return self._screen.cursor.y, self._screen.cursor.x

    @contextmanager
    def frames(self) -> Iterator[list[list[str]]]:
        """All that is to be seen meanwhile, after each piece that Emacs writes."""
        with self._lock:
            self._frames = seen = [list(self._screen.display)]
        yield seen
        with self._lock:
            self._frames = None

    def eval(self, form: str) -> Any:
        """The value of a Lisp form, evaluated in the buffer that is shown, as JSON has it."""
        client = self._root / "usr/bin/emacsclient.emacs"
        said = subprocess.run(
            [client, "-s", self._socket, "--eval", LOOK % form],
            env=environment(self._root),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert said.returncode == 0, said.stdout + said.stderr
        # Printed as a Lisp string, whose escapes JSON's strings have, too.
        return json.loads(json.loads(said.stdout))

    def text(self) -> str:
        text: str = self.eval("(buffer-substring-no-properties (point-min) (point-max))")
        return text

    def ghost(self) -> str | None:
        """The text that is suggested, None where there is none."""
        ghost: str | None = self.eval(
            "(and slm-lsp--ghost-shown (overlay-buffer slm-lsp--overlay)"
            " (substring-no-properties (overlay-get slm-lsp--overlay 'after-string)))"
        )
        return ghost

    def command(self, name: str) -> Any:
        """The server's answer to a command."""
        self.eval(
            f"(progn (setq answered nil) (slm-lsp--command {json.dumps(name)} nil"
            " (lambda (it) (setq answered (vector it)))) nil)"
        )
        return self.until(lambda: self.eval("answered"), f"an answer to {name}")[0]

    # --- doing ---

    def type(self, keys: str) -> None:
        """Press keys, one after the other."""
        os.write(self._master, keys.encode())

    def until(self, look: Callable[[], T], what: str) -> T:
        """Ask until it is so."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if found := look():
                return found
            assert self._process.poll() is None, f"Emacs ended: {self.screen()}"
            time.sleep(0.01)
        raise AssertionError(f"no {what} in {PATIENCE_S} s:\n" + "\n".join(self.screen()))

    def until_ghost(self, expected: str | None) -> None:
        self.until(lambda: self.ghost() == expected, f"ghost text {expected!r}")

    def until_text(self, expected: str) -> None:
        self.until(lambda: self.text() == expected, f"text {expected!r}, but {self.text()!r}")

    def until_row(self, expected: str) -> int:
        """Wait for a row, and tell which it is."""
        self.until(lambda: expected in self.screen(), f"row {expected!r}")
        return self.screen().index(expected)

    def until_cursor(self, row: int, column: int) -> None:
        self.until(lambda: self.cursor() == (row, column), f"cursor at {row}, {column}")

    def until_ready(self) -> None:
        """Wait for a server that knows the buffer."""
        self.until(lambda: self.eval("slm-lsp--uri"), "document at the server")

    def close(self) -> None:
        self.eval(
            "(progn (run-at-time 0 nil (lambda () (set-buffer-modified-p nil)"
            " (let ((kill-emacs-query-functions nil)) (kill-emacs)))) nil)"
        )
        try:
            self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join(PATIENCE_S)
            os.close(self._master)
