"""The plugin in real Neovims, 0.11 and 0.12, before a server with scripted words.

Invariant: keys are pressed as a person does; what is asserted is the buffer, the ghost text, the
screen and the server's counters.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from neovim_driver import EDITORS, PLUGIN, ROOT, Neovim, obtain

pytestmark = pytest.mark.unfinished

SERVER = ROOT / "tests" / "serve_scripted.py"
SCRIPT = [
    {
        "before": "def add(a, b):\n    ",
        "texts": ["return a + b", "return b + a", "return sum((a, b))"],
    },
    {"before": "def loop(names):\n    ", "texts": ["for name in names:\n        print(name)"]},
    {"before": "face = '😀'\nx = ", "texts": ["len(face)"]},
    {"before": "smile('😀', ", "texts": ["face)"]},
]
Start = Callable[..., Neovim]


@pytest.fixture(params=sorted(EDITORS))
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Opens a file of the given bytes in a Neovim with the plugin."""
    editors: list[Neovim] = []
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "script.json").write_text(json.dumps(SCRIPT))
    command = [sys.executable, str(SERVER), str(tmp_path / "script.json")]

    def open_(content: bytes, options: str = "", before: str = "") -> Neovim:
        (tmp_path / "a.py").write_bytes(content)
        editor = Neovim(obtain(version))
        editors.append(editor)
        if before:
            editor.lua(before)
        editor.lua(f"require('slm_lsp').setup({{ cmd = ..., {options} }})", command)
        editor.nvim.command(f"edit {tmp_path / 'a.py'}")
        editor.until(lambda: editor.lua("return require('slm_lsp').is_attached()"), "a server")
        return editor

    yield open_
    for editor in editors:
        editor.close()


def test_ghost_text_and_tab(start: Start) -> None:
    nvim = start(b"def add(a, b):\n")
    nvim.type("A<CR>")
    nvim.until_ghost("return a + b")
    assert nvim.text() == ["def add(a, b):", "    "]
    nvim.type("<Tab>")
    nvim.until(lambda: nvim.text()[1] == "    return a + b", "the accepted text")
    assert nvim.lua("return vim.api.nvim_win_get_cursor(0)") == [2, 16]
    nvim.until(lambda: nvim.stats().get("n_accepted") == 1, "the acceptance is counted")


def test_tab_indents_where_nothing_is_shown(start: Start) -> None:
    nvim = start(b"x\n", before="vim.keymap.set('i', '<Tab>', 'T')")
    nvim.type("A<Tab>")
    nvim.until(lambda: nvim.text() == ["xT"], "what the key did before")


def test_tab_without_a_mapping(start: Start) -> None:
    nvim = start(b"x\n")
    nvim.type("I<Tab>")
    nvim.until(lambda: nvim.text() == ["    x"], "an indentation")


def test_accepting_words_and_undo(start: Start) -> None:
    nvim = start(b"def add(a, b):\n    \n")
    nvim.type("jA")
    nvim.until_ghost("return a + b")
    nvim.type("<M-Right>")
    nvim.until_ghost(" a + b")
    nvim.type("<M-Right>")
    nvim.until_ghost(" + b")
    assert nvim.text()[1] == "    return a"
    nvim.type("<Tab>")
    nvim.until(lambda: nvim.text()[1] == "    return a + b", "the rest")
    nvim.type("<Esc>uuu")
    nvim.until(lambda: nvim.text() == ["def add(a, b):", "    "], "all undone")


def test_several_lines_and_accepting_one(start: Start) -> None:
    nvim = start(b"def loop(names):\n    \n")
    nvim.type("jA")
    nvim.until_ghost("for name in names:\n        print(name)")
    nvim.type("<M-C-Right>")
    nvim.until_ghost("\n        print(name)")
    nvim.type("<Tab>")
    after = ["def loop(names):", "    for name in names:", "        print(name)"]
    nvim.until(lambda: nvim.text() == after, "both lines")


def test_typed_through_asks_nothing_and_does_not_flicker(start: Start) -> None:
    nvim = start(b"def add(a, b):\n    \n")
    nvim.type("jA")
    nvim.until_ghost("return a + b")
    nvim.drain()
    before, nvim.frames = nvim.stats(), []
    for n, key in enumerate("return a", 1):
        nvim.type(key)
        nvim.until_ghost("return a + b"[n:])
        nvim.drain()
    assert {frame[1] for frame in nvim.frames} == {"    return a + b"}
    after = nvim.stats()
    assert after["engine"]["n_requests"] == before["engine"]["n_requests"]
    assert after["n_requests"] == before["n_requests"]
    nvim.type("x")
    nvim.until_ghost(None)


def test_others_are_shown_in_turn(start: Start) -> None:
    nvim = start(b"def add(a, b):\n    \n")
    nvim.type("jA")
    nvim.until_ghost("return a + b")
    nvim.type("<M-]>")
    nvim.until_ghost("return b + a")
    nvim.type("<M-]>")
    nvim.until_ghost("return sum((a, b))")
    nvim.type("<M-[>")
    nvim.until_ghost("return b + a")
    nvim.type("<C-]>")
    nvim.until_ghost(None)


def test_crlf_and_emoji(start: Start) -> None:
    nvim = start("face = '😀'\r\nsmile('😀', \r\n".encode())
    nvim.type("jA")
    nvim.until_ghost("face)")
    nvim.type("<Tab>")
    nvim.until(lambda: nvim.text()[1] == "smile('😀', face)", "the text behind the emoji")
    nvim.type("<Esc>:w<CR>")
    path = Path(nvim.nvim.current.buffer.name)
    expected = "face = '😀'\r\nsmile('😀', face)\r\n".encode()
    nvim.until(lambda: path.read_bytes() == expected, "the file's line ends")


def test_crlf_and_several_lines(start: Start) -> None:
    nvim = start(b"def loop(names):\r\n    \r\n")
    nvim.type("jA")
    nvim.until_ghost("for name in names:\n        print(name)")
    nvim.type("<Tab>")
    nvim.until(lambda: len(nvim.text()) == 3, "both lines")
    assert not any("\r" in line for line in nvim.text())


def test_a_popup_item_is_accepted(start: Start) -> None:
    enable = (
        "vim.o.completeopt = 'menuone,noselect'\n"
        "vim.api.nvim_create_autocmd('LspAttach', { callback = function(ev)\n"
        "  vim.lsp.completion.enable(true, ev.data.client_id, ev.buf) end })"
    )
    nvim = start(b"def add(a, b):\n    \n", "popup = true, ghost_text = 'off'", enable)
    nvim.type("jA<C-x><C-o>")
    nvim.until(lambda: nvim.nvim.funcs.pumvisible(), "the popup")
    nvim.type("<C-n><C-y>")
    nvim.until(lambda: nvim.text()[1] == "    return a + b", "the item's text")


def test_a_server_that_is_killed_comes_back(start: Start) -> None:
    nvim = start(b"def add(a, b):\n    \n")
    nvim.type("jA")
    nvim.until_ghost("return a + b")
    first = nvim.lua("return vim.lsp.get_clients({name = 'slm_lsp'})[1].id")
    nvim.lua(
        "for _, child in ipairs(vim.api.nvim_get_proc_children(vim.fn.getpid())) do\n"
        "  vim.uv.kill(child, 9)\n"
        "end"
    )
    nvim.until(
        lambda: nvim.lua(
            "local c = vim.lsp.get_clients({name = 'slm_lsp'})[1]\n"
            "return c and c.id ~= ... and c.initialized",
            first,
        ),
        "a new server",
    )
    nvim.until_ghost("return a + b")


def test_the_commands_answer(start: Start) -> None:
    nvim = start(b"def add(a, b):\n")
    shown = (
        "local found = {}\n"
        "for _, w in ipairs(vim.api.nvim_list_wins()) do\n"
        "  if vim.api.nvim_win_get_config(w).relative ~= '' then\n"
        "    local buf = vim.api.nvim_win_get_buf(w)\n"
        "    vim.list_extend(found, vim.api.nvim_buf_get_lines(buf, 0, -1, false))\n"
        "  end\n"
        "end\n"
        "return table.concat(found, ' ')"
    )
    for command, says in (("status", "ready"), ("stats", "n_requests"), ("pause 5", "paused"),
                          ("resume", "ready"), ("why", "asked")):  # fmt: skip
        nvim.nvim.command(f"SlmLsp {command}")
        nvim.until(partial(_says, nvim, shown, says), f":SlmLsp {command}")
    nvim.until(lambda: "scripted" in nvim.lua("return require('slm_lsp').status()"), "status line")
    assert nvim.nvim.funcs.getcompletion("SlmLsp p", "cmdline") == ["pause"]


def test_help_and_health(start: Start) -> None:
    nvim = start(b"x\n")
    nvim.nvim.command(f"helptags {PLUGIN / 'doc'}")
    (PLUGIN / "doc" / "tags").unlink()
    nvim.nvim.command("checkhealth slm_lsp")
    nvim.until(lambda: any("the server is started by" in line for line in nvim.text()), "health")
    assert not any("ERROR" in line for line in nvim.text())


def _says(nvim: Any, shown: str, says: str) -> bool:
    return says in nvim.lua(shown)
