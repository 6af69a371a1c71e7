"""The plugin's own ghost text in real Neovims, 0.11 and 0.12, before a server with scripted words.

Invariant: keys are pressed as a person does; what is asserted is the buffer, the ghost text, the
screen and the server's counters.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from neovim_driver import PLUGIN, Neovim
from neovim_obtain import EDITORS
from neovim_scene import NEARLY, SPACES, Start, key_to_ghost_ms, opening, report

pytestmark = pytest.mark.editor

ADD = b"def add(a, b):\n    \n"
LOOP = b"def loop(names):\n    \n"
# Long messages would wait for Enter.
NOTED = "said = {}; vim.notify = function(text) table.insert(said, text) end"
BLOCK = "for name in names:\n        print(name)"

NOT_SELECTED = "vim.o.completeopt = 'menuone,noselect'\n"
ENABLED = """
vim.api.nvim_create_autocmd('LspAttach', { callback = function(ev)
  vim.lsp.completion.enable(true, ev.data.client_id, ev.buf, {
    convert = require('slm_lsp').popup_item,
  })
end })"""


@pytest.fixture(params=sorted(EDITORS))
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(version: str, tmp_path: Path) -> Iterator[Start]:
    with opening(version, tmp_path) as open_:
        yield open_


def test_ghost_text_and_tab(start: Start) -> None:
    nvim = start(b"def add(a, b):\n")
    nvim.type("A<CR>")
    nvim.until_ghost("return a + b")
    row = nvim.until_row("    return a + b")
    nvim.until_cursor(row, 4)
    assert nvim.text() == ["def add(a, b):", "    "]
    nvim.type("<Tab>")
    nvim.until_text("def add(a, b):", "    return a + b")
    assert nvim.ghost() is None
    nvim.until_cursor(row, 16)
    nvim.until(lambda: nvim.command("slm-lsp.stats")["n_accepted"] == 1, "a counted acceptance")
    assert nvim.command("slm-lsp.stats")["n_shown"] == 1


def test_tab_does_what_it_did_before_where_nothing_is_shown(start: Start) -> None:
    nvim = start(b"x\n", before="vim.keymap.set('i', '<Tab>', 'T')")
    nvim.type("A<Tab>")
    nvim.until_text("xT")


def test_tab_without_a_mapping_indents(start: Start) -> None:
    nvim = start(b"x\n")
    nvim.type("I<Tab>")
    nvim.until_text("    x")


def test_words_are_accepted_and_undone(start: Start) -> None:
    nvim = start(ADD)
    nvim.type("jA")
    nvim.until_ghost("return a + b")
    nvim.type("<M-Right>")
    nvim.until_ghost(" a + b")
    assert nvim.line() == "    return"
    nvim.type("<M-Right>")
    nvim.until_ghost(" + b")
    assert nvim.command("slm-lsp.stats")["n_partly_accepted"] == 2
    nvim.type("<Tab>")
    nvim.until_text("def add(a, b):", "    return a + b")
    nvim.type("<Esc>")
    for line in ("    return a", "    return", "    "):
        nvim.type("u")
        nvim.until_text("def add(a, b):", line)
    assert nvim.lua("return vim.fn.undotree().seq_cur") == 0


def test_a_block_is_shown_below_and_accepted_by_lines(start: Start, version: str) -> None:
    nvim = start(LOOP + b"done = True\n")
    nvim.type("jA")
    nvim.until_ghost(BLOCK)
    row = nvim.until_row("    for name in names:")
    assert nvim.screen()[row + 1 : row + 3] == ["        print(name)", "done = True"]
    nvim.type("<M-C-Right>")
    nvim.until_ghost("\n        print(name)")
    assert nvim.line() == "    for name in names:"
    nvim.type("<Tab>")
    nvim.until_text(
        "def loop(names):", "    for name in names:", "        print(name)", "done = True"
    )
    nvim.type("<Esc>uu")
    nvim.until_text("def loop(names):", "    ", "done = True")


def test_a_block_is_one_undo(start: Start) -> None:
    nvim = start(LOOP)
    nvim.type("jA")
    nvim.until_ghost(BLOCK)
    nvim.type("<Tab>")
    nvim.until_text("def loop(names):", "    for name in names:", "        print(name)")
    nvim.type("()<Esc>u")
    nvim.until_text("def loop(names):", "    ")


def test_typing_what_is_shown_asks_nothing_and_does_not_flicker(
    start: Start, version: str, tmp_path: Path
) -> None:
    nvim = start(ADD)
    nvim.type("jA")
    nvim.until_ghost("return a + b")
    row = nvim.until_row("    return a + b")
    before = nvim.command("slm-lsp.stats")
    took_ms = []
    with nvim.terminal.frames() as frames:
        for n_typed, key in enumerate("return a", 1):
            at_s = nvim.terminal.pressed(key)
            nvim.until_cursor(row, 4 + n_typed)
            shown = next(each for each in frames if each.cursor == (row, 4 + n_typed))
            took_ms.append((shown.at_s - at_s) * 1e3)
            assert nvim.ghost() == "return a + b"[n_typed:]
    assert {frame.rows[row] for frame in frames} == {"    return a + b"}
    after = nvim.command("slm-lsp.stats")
    assert after["engine"]["n_requests"] == before["engine"]["n_requests"]
    assert after["n_requests"] == before["n_requests"]
    report(tmp_path, f"neovim-{version}", typed_through_ms=took_ms)
    nvim.type("x")
    nvim.until_ghost(None)


def test_from_a_key_to_ghost_text(start: Start, version: str, tmp_path: Path) -> None:
    nvim = start(NEARLY, before=SPACES)
    took_ms = key_to_ghost_ms(nvim, 5)
    debounce_ms = nvim.lua("return require('slm_lsp.config').current.debounce_ms")
    report(tmp_path, f"neovim-{version}", debounce_ms=[debounce_ms], key_to_ghost_ms=took_ms)


def test_others_are_shown_in_turn_and_dismissed(start: Start) -> None:
    nvim = start(ADD)
    nvim.type("jA")
    nvim.until_ghost("return a + b")
    for key, text in (
        ("<M-]>", "return b + a"),
        ("<M-]>", "return sum((a, b))"),
        ("<M-[>", "return b + a"),
    ):
        nvim.type(key)
        nvim.until_ghost(text)
    nvim.until_row("    return b + a (2/3)")
    nvim.type("<C-]>")
    nvim.until_ghost(None)
    assert nvim.text() == ["def add(a, b):", "    "]
    assert nvim.command("slm-lsp.stats")["n_rejected"] == 1


def test_asked_by_hand_it_is_given_the_longer_budget(start: Start, tmp_path: Path) -> None:
    nvim = start(ADD, "auto = false")
    nvim.type("jA")
    nvim.until_cursor(1, 4)
    nvim.type("<M-Bslash>")
    nvim.until_ghost("return a + b")
    nvim.until_row("    return a + b (1/3)")
    # What was dismissed is shown again to who asks for it.
    nvim.type("<C-]>")
    nvim.until_ghost(None)
    nvim.type("<M-Bslash>")
    nvim.until_ghost("return a + b")


def test_moving_away_hides_it(start: Start) -> None:
    nvim = start(ADD)
    nvim.type("jA")
    nvim.until_ghost("return a + b")
    nvim.type("<Up>")
    nvim.until_ghost(None)
    nvim.type("<Down>")
    nvim.until_ghost("return a + b")
    nvim.type("<Esc>")
    nvim.until_ghost(None)


def test_crlf_and_emoji(start: Start, tmp_path: Path) -> None:
    nvim = start("face = '😀'\r\nsmile('😀', \r\n".encode())
    nvim.type("jA")
    nvim.until_ghost("face)")
    nvim.type("<Tab>")
    nvim.until_text("face = '😀'", "smile('😀', face)")
    nvim.type("<Esc>:w<CR>")
    expected = "face = '😀'\r\nsmile('😀', face)\r\n".encode()
    nvim.until(lambda: (tmp_path / "a.py").read_bytes() == expected, "the file's line ends")


def test_crlf_and_several_lines(start: Start, tmp_path: Path) -> None:
    nvim = start(LOOP.replace(b"\n", b"\r\n"))
    nvim.type("jA")
    nvim.until_ghost(BLOCK)
    nvim.type("<Tab><Esc>:w<CR>")
    expected = b"def loop(names):\r\n    for name in names:\r\n        print(name)\r\n"
    nvim.until(lambda: (tmp_path / "a.py").read_bytes() == expected, "the file's line ends")


def test_a_popup_takes_the_place_of_ghost_text(start: Start) -> None:
    nvim = start(ADD, "popup = true", NOT_SELECTED)
    nvim.type("jA")
    nvim.until_ghost("return a + b")
    nvim.type("<C-x><C-o>")
    nvim.until(lambda: popup(nvim) == ["return a + b"], "the popup")
    nvim.until_ghost(None)
    nvim.type("<C-e>")
    nvim.until_ghost("return a + b")
    nvim.type("<C-x><C-o>")
    nvim.until(lambda: popup(nvim), "the popup")
    nvim.type("<C-n><C-y>")
    nvim.until_text("def add(a, b):", "    return a + b")


@pytest.mark.parametrize("before", ["", ENABLED], ids=["by the plugin", "by the user"])
def test_a_block_is_accepted_from_the_popup(start: Start, before: str) -> None:
    nvim = start(LOOP, "popup = true, ghost_text = 'off'", NOT_SELECTED + before)
    nvim.type("jA<C-x><C-o>")
    nvim.until(lambda: len(popup(nvim)) == 2, "the popup")
    nvim.type("<C-n><C-n><C-y>")
    nvim.until_text("def loop(names):", "    for name in names:", "        print(name)")
    nvim.type("<Esc>u")
    nvim.until_text("def loop(names):", "    ")


def popup(nvim: Neovim) -> list[str]:
    """The items of the popup menu."""
    info = nvim.call("nvim_call_function", "complete_info", [["items", "pum_visible"]])
    return [item["abbr"] for item in info["items"]] if info["pum_visible"] else []


def test_a_server_that_is_killed_comes_back(start: Start) -> None:
    nvim = start(ADD, before=NOTED)
    nvim.type("jA")
    nvim.until_ghost("return a + b")
    children = "return vim.api.nvim_get_proc_children(vim.fn.getpid())"
    (pid,) = nvim.lua(children)
    os.kill(pid, signal.SIGKILL)
    nvim.until(lambda: nvim.lua(children) not in ([], [pid]), "a new server")
    nvim.until_ghost("return a + b")


def test_a_server_that_always_dies_is_left_alone(start: Start) -> None:
    nvim = start(ADD, before=NOTED)
    with_command(nvim, "false")
    nvim.until(lambda: "left alone now" in said(nvim), "a reason")
    assert nvim.lua("return #vim.lsp.get_clients({ name = 'slm_lsp' })") == 0


def test_a_program_that_is_not_there_is_said(start: Start) -> None:
    nvim = start(ADD, before=NOTED)
    with_command(nvim, "no-such-program")
    nvim.until(lambda: "there is no program `no-such-program`" in said(nvim), "a reason")


def with_command(nvim: Neovim, command: str) -> None:
    """Start another program instead of the server."""
    nvim.lua("require('slm_lsp.config').current.cmd = { ... }", command)
    nvim.lua("require('slm_lsp.client').restart()")


def said(nvim: Neovim) -> str:
    """What NOTED took down."""
    return "\n".join(nvim.lua("return said"))


def test_the_commands_answer(start: Start) -> None:
    nvim = start(ADD)
    for command, says in (
        ("why", "Nothing was asked in this file yet."),
        ("status", "scripted: ready"),
        ("stats", "engine.n_requests"),
        ("pause 5", "scripted: paused"),
    ):
        nvim.type(f":SlmLsp {command}<CR>")
        nvim.until(lambda says=says: says in nvim.floating(), f":SlmLsp {command}")  # type: ignore[misc]
    nvim.until(lambda: nvim.lua("return require('slm_lsp').status()") == "slm: paused", "status")
    nvim.type("jA")
    nvim.until(lambda: nvim.command("slm-lsp.why"), "an answer that is none")
    assert nvim.ghost() is None
    nvim.type("<Esc>:SlmLsp resume<CR>")
    nvim.until(lambda: "scripted: ready" in nvim.floating(), ":SlmLsp resume")
    nvim.type("A")
    nvim.until_ghost("return a + b")
    nvim.type("<Esc>:SlmLsp why<CR>")
    nvim.until(lambda: "The last request shows a text." in nvim.floating(), ":SlmLsp why")
    nvim.type(":SlmLsp log<CR>")
    nvim.until(lambda: nvim.lua("return vim.api.nvim_buf_get_name(0)").endswith("lsp.log"), "log")
    assert nvim.call("nvim_call_function", "getcompletion", ["SlmLsp p", "cmdline"]) == ["pause"]


def test_a_model_is_chosen_from_a_list(start: Start) -> None:
    nvim = start(ADD)
    nvim.type(":SlmLsp model<CR>")
    nvim.until(lambda: "-- More --" in nvim.screen(), "the list")
    first = next(row for row in nvim.screen() if row.startswith("1: ")).split()[1]
    nvim.type("G")
    nvim.until(lambda: any(row.startswith("Type number") for row in nvim.screen()), "a question")
    nvim.type("1<CR>")
    nvim.until(lambda: f"{first}: ready" in nvim.floating(), "the first model")
    nvim.type(":SlmLsp model qwen2.5-coder-0.5b<CR>")
    nvim.until(lambda: "qwen2.5-coder-0.5b: ready" in nvim.floating(), "the named model")


def test_the_statusline_says_what_the_server_does(start: Start) -> None:
    nvim = start(ADD, before="vim.o.statusline = '<%{v:lua.require(\"slm_lsp\").status()}>'")
    nvim.until_row("<slm: scripted>")
    nvim.type("jA")
    nvim.until_ghost("return a + b")
    nvim.until(lambda: any(row.endswith(" ms>") for row in nvim.screen()), "a time")


def test_help_and_health(start: Start, tmp_path: Path) -> None:
    nvim = start(b"x\n")
    copy = tmp_path / "help" / "doc"
    copy.mkdir(parents=True)
    (copy / "slm_lsp.txt").write_bytes((PLUGIN / "doc" / "slm_lsp.txt").read_bytes())
    nvim.run(f"helptags {copy}")
    tags = [line.split("\t")[0] for line in (copy / "tags").read_text().splitlines()]
    assert {":SlmLsp", "slm_lsp", "slm_lsp-options"} <= set(tags)
    nvim.run("checkhealth slm_lsp")
    nvim.until(lambda: any("the server is started by" in line for line in nvim.text()), "health")
    assert not any("ERROR" in line or "WARNING" in line for line in nvim.text())
