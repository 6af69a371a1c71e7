"""Files opened in Neovims with a configuration, before a server with scripted words.

Owns: the Neovims of one test. Invariant: none is left when the test ends.
Threads: the test's, and the terminals'.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Protocol

from neovim_driver import PLUGIN, Neovim
from neovim_obtain import obtain
from script import SCRIPT
from terminal import ROOT, captures_folder

README = PLUGIN / "README.md"
# One space short of the first of them; a backspace takes one space, too.
NEARLY = b"def add(a, b):\n   \n"
SPACES = "vim.g.python_recommended_style = 0; vim.o.smarttab = false"
ATTACHED = "return #vim.lsp.get_clients({ name = 'slm_lsp', bufnr = 0 }) > 0"


def scripted(folder: Path) -> list[str]:
    """What starts a server that says what SCRIPT says."""
    path = folder / "script.json"
    path.write_text(json.dumps(SCRIPT))
    return [sys.executable, str(ROOT / "tests" / "serve_scripted.py"), str(path)]


def in_lua(strings: list[str]) -> str:
    """A list of strings as Lua writes it."""
    return "{ " + ", ".join(json.dumps(each) for each in strings) + " }"


def with_plugin(command: list[str], options: str = "", before: str = "") -> str:
    """An init.lua that sets the plugin up behind `before`."""
    return (
        f"{before}\nvim.opt.runtimepath:prepend({json.dumps(str(PLUGIN))})\n"
        f"require('slm_lsp').setup({{ cmd = {in_lua(command)}, {options} }})\n"
    )


def snippets(path: Path, language: str = "lua") -> list[str]:
    """The pieces of configuration in a page."""
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^ *```", path.read_text(), re.DOTALL | re.MULTILINE
    )
    return [re.sub(f"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


class Start(Protocol):
    """Opens a file of the given bytes in a Neovim."""

    def __call__(
        self, content: bytes, options: str = "", before: str = "", init: str | None = None
    ) -> Neovim: ...


@contextmanager
def opening(version: str, folder: Path) -> Iterator[Start]:
    """With the plugin, or with `init` for the whole configuration."""
    editors: list[Neovim] = []

    def open_(
        content: bytes, options: str = "", before: str = "", init: str | None = None
    ) -> Neovim:
        (folder / "a.py").write_bytes(content)
        if init is None:
            init = with_plugin(scripted(folder), options, before)
        editor = Neovim(obtain(version), folder, init, folder / "a.py")
        editors.append(editor)
        editor.until(lambda: editor.lua(ATTACHED), "a server")
        return editor

    try:
        yield open_
    finally:
        for editor in editors:
            editor.close()


def key_to_ghost_ms(nvim: Neovim, n_times: int) -> list[float]:
    """How long it takes until ghost text is to be seen in NEARLY."""
    nvim.type("jA")
    nvim.until_cursor(1, 3)
    # A server's first request takes longer.
    nvim.until(lambda: nvim.command("slm-lsp.stats")["n_requests"] > 0, "a first answer")
    took_ms: list[float] = []
    for _ in range(n_times):
        if took_ms:
            nvim.type("<BS>")
            nvim.until(lambda: nvim.screen()[1] == "", "no ghost text")
        with nvim.terminal.frames() as frames:
            at_s = nvim.terminal.pressed(" ")
            row = nvim.until_row("    return a + b")
            shown = next(each for each in frames if each.rows[row] == "    return a + b")
        took_ms.append((shown.at_s - at_s) * 1e3)
    return took_ms


def report(folder: Path, name: str, **took_ms: list[float]) -> None:
    """Leave figures for who reads; they depend on the machine, so nothing is asserted of them."""
    path = captures_folder(folder) / f"{name}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known |= {each: round(median(values), 1) for each, values in took_ms.items()}
    path.write_text(json.dumps(known, indent=2) + "\n")
    print(name, known)
