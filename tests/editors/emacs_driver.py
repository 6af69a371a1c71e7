"""A real Emacs in a terminal: obtained, started, typed into, looked at.

Owns: Debian's Emacs 28.2 and its packages in a cache folder outside the repository, unpacked and
not installed.

Invariant: nothing waits for a fixed time; a state is asked for until it is there.

Threads: the test's, and the terminal's.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from terminal import PATIENCE_S, ROOT, Frame, Terminal, answers, cache_folder

CLIENT = ROOT / "editors" / "emacs"
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
        start = [*command(root), "-Q", "-nw", "-l", str(folder / "init.el"), str(file)]
        self._terminal = Terminal(start, environment(root) | {"HOME": str(folder)}, folder)
        self.until(lambda: answers(self._socket), "a running Emacs")

    # --- looking ---

    def screen(self) -> list[str]:
        """The rows that are to be seen, without the space at their ends."""
        return self._terminal.frame().rows

    def picture(self, title: str) -> str:
        """What is to be seen, as SVG."""
        return self._terminal.picture(title)

    def cursor(self) -> tuple[int, int]:
        """Row and column of the terminal's cursor."""
        return self._terminal.frame().cursor

    @contextmanager
    def frames(self) -> Iterator[list[Frame]]:
        """All that is to be seen meanwhile, after each piece that Emacs writes."""
        with self._terminal.frames() as seen:
            yield seen

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
        self._terminal.type(keys)

    def until(self, look: Callable[[], T], what: str) -> T:
        """Ask until it is so."""
        return self._terminal.until(look, what)

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
        self._terminal.close()
