"""A real Neovim in a terminal: started, typed into, looked at.

Invariant: nothing waits for a fixed time; a state is asked for until it is there.

Threads: the test's, and the terminal's.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgpack
from terminal import PATIENCE_S, ROOT, Terminal, answers

PLUGIN = ROOT / "editors" / "neovim"
# What is set before the user's configuration: no files beside those of the tests, no search for
# a Python that nothing here asks.
BEFORE = "vim.o.swapfile = false\nvim.g.loaded_python3_provider = 0\n"
OWN, NATIVE = "slm_lsp", "nvim.lsp.inline_completion"
# Highlights of what is said of a text, and is no part of it.
HINTS = ("SlmLspGhostMore", "ComplHintMore")
MARKS = """
local namespace = vim.api.nvim_get_namespaces()[...]
return namespace and vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, {details = true}) or {}
"""
FLOATING = """
local found = {}
for _, window in ipairs(vim.api.nvim_list_wins()) do
  if vim.api.nvim_win_get_config(window).relative ~= '' then
    local buf = vim.api.nvim_win_get_buf(window)
    vim.list_extend(found, vim.api.nvim_buf_get_lines(buf, 0, -1, false))
  end
end
return found
"""
COMMAND = """
local name, done, answer = ..., false, nil
local client = vim.lsp.get_clients({name = 'slm_lsp'})[1]
client:request('workspace/executeCommand', { command = name }, function(err, result)
  done, answer = true, err or result
end)
vim.wait(60000, function() return done end, 5)
return answer
"""
T = TypeVar("T")


class Neovim:
    """One Neovim in a terminal of its own, driven by keys."""

    def __init__(self, binary: Path, folder: Path, init: str, file: Path) -> None:
        """Opens `file`, with `init` as the user's init.lua and folders of his in `folder`."""
        config = folder / "config" / "nvim"
        config.mkdir(parents=True, exist_ok=True)
        (config / "init.lua").write_text(BEFORE + init)
        address = folder / "socket"
        address.unlink(missing_ok=True)
        environment = {
            **os.environ,
            "COLORTERM": "truecolor",
            "PYTHONPATH": str(ROOT),
            **{
                f"XDG_{each}_HOME": str(folder / each.lower())
                for each in ("CONFIG", "DATA", "STATE")
            },
        }
        environment.pop("VIMRUNTIME", None)
        command = [str(binary), "--listen", str(address), str(file)]
        self.terminal = Terminal(command, environment, folder)
        # Whose ghost text is looked at.
        self.namespace = OWN
        self._n_calls = 0
        self._unpacker = msgpack.Unpacker(raw=False, unicode_errors="surrogateescape")
        self.terminal.until(lambda: answers(address), "a running Neovim")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(str(address))

    def call(self, method: str, *arguments: Any) -> Any:
        """The answer to a function of Neovim's API."""
        self._n_calls += 1
        self._socket.sendall(msgpack.packb([0, self._n_calls, method, arguments]))
        while True:
            for kind, number, error, result in self._unpacker:
                if (kind, number) == (1, self._n_calls):
                    assert error is None, f"{method}{arguments}: {error}"
                    return result
            received = self._socket.recv(65536)
            if not received:
                raise EOFError("Neovim has ended")
            self._unpacker.feed(received)

    # --- looking ---

    def lua(self, code: str, *arguments: Any) -> Any:
        """What Lua code returns in the buffer that is shown."""
        return self.call("nvim_exec_lua", code, arguments)

    def text(self) -> list[str]:
        return list(self.call("nvim_buf_get_lines", 0, 0, -1, False))

    def line(self) -> str:
        return str(self.call("nvim_get_current_line"))

    def mode(self) -> str:
        return str(self.call("nvim_get_mode")["mode"])

    def is_blocked(self) -> bool:
        """Whether it waits for a key before it answers anything else."""
        return bool(self.call("nvim_get_mode")["blocking"])

    def ghost(self) -> str | None:
        """The text that is shown by the plugin or by Neovim, None where there is none."""
        marks = self.lua(MARKS, self.namespace)
        if not marks:
            return None
        details = marks[0][3]
        lines = [details.get("virt_text", []), *details.get("virt_lines", [])]
        return "\n".join("".join(c[0] for c in line if c[1] not in HINTS) for line in lines)

    def floating(self) -> str:
        """What stands in floating windows."""
        return "\n".join(self.lua(FLOATING))

    def screen(self) -> list[str]:
        """The rows that are to be seen, without the space at their ends."""
        return self.terminal.frame().rows

    def command(self, name: str) -> Any:
        """The server's answer to a command."""
        return self.lua(COMMAND, name)

    # --- doing ---

    def type(self, keys: str) -> None:
        """Press keys, named as in Neovim's mappings, one after the other."""
        self.call("nvim_input", keys)

    def run(self, command: str) -> None:
        """Run a command of the command line."""
        self.call("nvim_command", command)

    def until(self, look: Callable[[], T], what: str) -> T:
        """Ask until it is so."""
        try:
            return self.terminal.until(look, what)
        except AssertionError as error:
            if self.is_blocked():
                raise
            messages = self.call("nvim_exec2", "messages", {"output": True})["output"]
            seen = f"text {self.text()}, ghost {self.ghost()!r}, mode {self.mode()}"
            raise AssertionError(f"{error}\n{seen}\n{messages}") from None

    def until_ghost(self, expected: str | None) -> None:
        self.until(lambda: self.ghost() == expected, f"ghost text {expected!r}")

    def until_text(self, *expected: str) -> None:
        self.until(lambda: self.text() == list(expected), f"text {expected!r}")

    def until_row(self, expected: str) -> int:
        """Wait for a row, and tell which it is."""
        self.until(lambda: expected in self.screen(), f"row {expected!r}")
        return self.screen().index(expected)

    def until_cursor(self, row: int, column: int) -> None:
        self.until(lambda: self.terminal.frame().cursor == (row, column), f"cursor {row, column}")

    def close(self) -> None:
        with contextlib.suppress(OSError, EOFError):  # it is gone before it answers
            if self.is_blocked():
                self.terminal.process.terminate()
            else:
                self.run("qa!")
        self._socket.close()
        self.terminal.close()
