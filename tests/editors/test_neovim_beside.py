"""The plugin in Neovims that have other plugins: lazy.nvim loads it, blink.cmp shows its items.

Owns: those plugins, from a package of PyPI that holds them, outside of the repository.
Invariant: the snippet for lazy.nvim is the README's, with its path put in.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from neovim_obtain import EDITORS, Wheel, unpacked
from neovim_scene import README, Start, opening, scripted, snippets
from terminal import ROOT

pytestmark = pytest.mark.editor

# blink.cmp 1.10.2 and lazy.nvim 11.17.5.
PLUGINS = Wheel(
    "nvim-zsh-profile==0.1.0",
    "3aca67b2f52add2d9e026b8ffb429e50fcde112f866bb05bad9cb3ea5d123b2f",
)
ADD = b"def add(a, b):\n    \n"


def plugin(name: str) -> Path:
    """The folder of a plugin."""
    wheel = unpacked(PLUGINS, "neovim-plugins")
    return wheel / "nvim_zsh_profile" / "assets" / "nvim-lazy" / name


def on_path(name: str) -> str:
    return f"vim.opt.runtimepath:prepend({json.dumps(str(plugin(name)))})\n"


@pytest.fixture(params=sorted(EDITORS))
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    with opening(request.param, tmp_path) as open_:
        yield open_


def test_lazy_nvim_loads_it(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "slm-lsp").write_text(f"#!/bin/sh\nexec {shlex.join(scripted(tmp_path))}\n")
    (commands / "slm-lsp").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    (spec,) = [text for text in snippets(README) if "lazy = false" in text]
    assert "/path/to/slm-lsp/" in spec
    spec = spec.replace("/path/to/slm-lsp/", f"{ROOT}/")
    nvim = start(ADD, init=f"{on_path('lazy.nvim')}require('lazy').setup({{\n{spec}}})\n")
    nvim.type("jA")
    nvim.until_ghost("return a + b")
    nvim.type("<Tab>")
    nvim.until_text("def add(a, b):", "    return a + b")


def test_blink_cmp_shows_its_items(start: Start) -> None:
    # What makes its matching faster would have to be downloaded.
    blink = "require('blink.cmp').setup({ fuzzy = { implementation = 'lua' } })"
    nvim = start(ADD, "popup = true, ghost_text = 'off'", on_path("blink.cmp") + blink)
    nvim.type("jA")
    nvim.until_cursor(1, 4)
    nvim.type("<C-Space>")
    nvim.until(lambda: any(row.endswith("return a + b") for row in nvim.screen()), "the menu")
    nvim.type("<C-y>")
    nvim.until_text("def add(a, b):", "    return a + b")
    nvim.type("<Esc>u")
    nvim.until_text("def add(a, b):", "    ")
