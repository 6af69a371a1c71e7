"""Neovim as the READMEs say: the three steps with the real server, Neovim's own ghost text with and
without the plugin, the keys of a plain terminal, a picture.

Invariant: the snippets are those of the pages, with their paths put in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from neovim_driver import NATIVE, Neovim
from neovim_obtain import EDITORS
from neovim_scene import (
    NEARLY,
    README,
    SPACES,
    Start,
    key_to_ghost_ms,
    opening,
    report,
    scripted,
    snippets,
)
from terminal import ROOT, captures_folder

from slm_lsp.registry.specs import DEFAULT_MODEL

pytestmark = pytest.mark.editor

ADD = b"def add(a, b):\n    \n"
BLOCK = "for name in names:\n        print(name)"
PATHS = ("/path/to/slm-lsp/", "/path/to/.venv/")
SERVER = "'/path/to/.venv/bin/slm-lsp', 'serve'"


@pytest.fixture(params=sorted(EDITORS))
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    with opening(request.param, tmp_path) as open_:
        yield open_


@pytest.fixture
def start_012(tmp_path: Path) -> Iterator[Start]:
    with opening("0.12", tmp_path) as open_:
        yield open_


@pytest.fixture
def native(start_012: Start) -> Neovim:
    """Neovim's own ghost text, with the plugin around it."""
    nvim = start_012(ADD, "ghost_text = 'native'")
    nvim.namespace = NATIVE
    return nvim


# --- Neovim's own ghost text, by the plugin ---


def test_native_text_is_accepted(native: Neovim) -> None:
    native.type("jA")
    native.until_ghost("return a + b")
    native.until_row("    return a + b")
    native.type("<Tab>")
    native.until_text("def add(a, b):", "    return a + b")
    native.until(lambda: native.command("slm-lsp.stats")["n_accepted"] == 1, "a counted acceptance")
    native.type("<Esc>u")
    native.until_text("def add(a, b):", "    ")


def test_native_text_is_accepted_in_parts(native: Neovim) -> None:
    native.type("jA")
    native.until_ghost("return a + b")
    native.type("<M-Right>")
    native.until_text("def add(a, b):", "    return")
    native.until_ghost(" a + b")
    assert native.command("slm-lsp.stats")["n_partly_accepted"] == 1
    native.type(" a")
    native.until_ghost(" + b")
    native.type("<Tab>")
    native.until_text("def add(a, b):", "    return a + b")


def test_native_text_typed_into_is_accepted_at_once(native: Neovim) -> None:
    native.type("jA")
    native.until_ghost("return a + b")
    # Neovim waits for 200 ms before it asks again.
    native.type("ret<Tab>")
    native.until_text("def add(a, b):", "    return a + b")
    assert native.command("slm-lsp.stats")["engine"]["n_requests"] == 1


def test_native_text_is_asked_for_by_hand_turned_and_dismissed(native: Neovim) -> None:
    native.type("jA")
    native.until_ghost("return a + b")
    native.type("<C-]>")
    native.until_ghost(None)
    assert native.command("slm-lsp.stats")["n_rejected"] == 1
    native.type("<M-Bslash>")
    native.until_ghost("return a + b")
    native.type("<M-]>")
    native.until_ghost("return b + a")
    native.until_row("    return b + a (2/3)")
    native.type("<M-[>")
    native.until_ghost("return a + b")
    assert native.text() == ["def add(a, b):", "    "]


def test_from_a_key_to_native_ghost_text(start_012: Start, tmp_path: Path) -> None:
    nvim = start_012(NEARLY, "ghost_text = 'native'", SPACES)
    # Once, as a backspace in front of its text is an error in Neovim's own code.
    took_ms = key_to_ghost_ms(nvim, 1)
    report(tmp_path, "neovim-0.12-native", debounce_ms=[200], key_to_ghost_ms=took_ms)


# --- the pages' words ---


@pytest.mark.parametrize("page", [ROOT / "README.md", README], ids=["top", "neovim"])
def test_without_the_plugin(start_012: Start, tmp_path: Path, page: Path) -> None:
    (snippet,) = [text for text in snippets(page) if "vim.lsp.config" in text]
    command = ", ".join(json.dumps(each) for each in scripted(tmp_path))
    assert SERVER in snippet
    nvim = start_012(ADD, init=snippet.replace(SERVER, command))
    nvim.namespace = NATIVE
    nvim.type("jA")
    nvim.until_ghost("return a + b")
    nvim.type("<Tab>")
    nvim.until_text("def add(a, b):", "    return a + b")
    nvim.until(lambda: nvim.command("slm-lsp.stats")["n_accepted"] == 1, "a count")


@pytest.mark.model
def test_a_newcomers_three_steps(start: Start) -> None:
    """The README's words, the default model, its budgets."""
    (step,) = [text for text in snippets(README) if "setup({ cmd" in text]
    assert all(path in step for path in PATHS)
    init = step.replace(PATHS[0], f"{ROOT}/").replace(PATHS[1], f"{ROOT}/.venv/")
    nvim = start(b"def average(numbers):\n    return sum(numbers) /\n", init=init)
    loaded = f"slm: {DEFAULT_MODEL}"
    nvim.until(lambda: nvim.lua("return require('slm_lsp').status()").startswith(loaded), "a model")
    nvim.type("jA ")
    nvim.type("<M-Bslash>")
    suggested = nvim.until(nvim.ghost, "ghost text")
    nvim.type("<Tab>")
    nvim.until_text("def average(numbers):", f"    return sum(numbers) / {suggested}")
    nvim.type("<Esc>:SlmLsp status<CR>")
    nvim.until(lambda: "ready" in nvim.floating(), "a status")


# --- a plain terminal ---


def test_every_key_comes_from_a_plain_terminal(start: Start) -> None:
    nvim = start(b"def loop(names):\n    \ndef add(a, b):\n    \n")
    press = nvim.terminal.type
    press("jA")
    nvim.until_ghost(BLOCK)
    press("\x1b[1;3C")  # Alt-Right
    nvim.until_ghost(" name in names:\n        print(name)")
    press("\x1b[1;7C")  # Alt-Ctrl-Right
    nvim.until_ghost("\n        print(name)")
    press("\t")
    nvim.until(
        lambda: nvim.text()[1:3] == ["    for name in names:", "        print(name)"], "both"
    )
    press("\x1b")
    nvim.until(lambda: nvim.mode() == "n", "normal mode")
    press("GA")
    nvim.until_ghost("return a + b")
    for key, text in (
        ("\x1b]", "return b + a"),  # Alt-]
        ("\x1b[", "return a + b"),  # Alt-[
        ("\x1d", None),  # Ctrl-]
        ("\x1b\\", "return a + b"),  # Alt-Backslash
    ):
        press(key)
        nvim.until_ghost(text)


def test_a_picture(start_012: Start, tmp_path: Path) -> None:
    above = b'"""Says hello to people."""\n\nimport sys\n\n\n'
    nvim = start_012(above + b"def loop(names):\n    \n\n\nloop(sys.argv)\n")
    nvim.type("5jjA")
    nvim.until_ghost(BLOCK)
    row = nvim.until_row("    for name in names:")
    assert nvim.screen()[row + 1] == "        print(name)"
    picture = nvim.terminal.picture("Neovim 0.12")
    assert "print(name)" in picture
    (captures_folder(tmp_path) / "neovim.svg").write_text(picture)
