"""A real VS Code in a headless browser, as a person uses it.

Owns: a profile and a workspace in a folder of the test, VS Code's server, the browser, and what
stands between them and the language server (stdio_tap).

Invariant: nothing sleeps for a fixed time; what is waited for is a state, with patience. Keys
are pressed only where the language server has the document.
Threads: none; the processes are ours and end with `close`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import vscode_obtain

# A machine that does much else takes a minute for what otherwise takes a second.
PATIENCE_S = 60.0
START_PATIENCE_S = 240.0
HERE = Path(__file__).parent
T = TypeVar("T")
GHOST = "window.ghostText()"
# The chat takes the focus, popups of words stand where ghost text is looked for, and so on.
PROFILE = {
    "telemetry.telemetryLevel": "off",
    "workbench.startupEditor": "none",
    "workbench.tips.enabled": False,
    "extensions.autoUpdate": "off",
    "extensions.autoCheckUpdates": False,
    "extensions.ignoreRecommendations": True,
    "chat.disableAIFeatures": True,
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.layoutControl.enabled": False,
    "window.commandCenter": False,
    "workbench.reduceMotion": "on",
    "editor.quickSuggestions": {"other": "off", "comments": "off", "strings": "off"},
    "editor.suggestOnTriggerCharacters": False,
    "editor.minimap.enabled": False,
    "editor.cursorBlinking": "solid",
    "files.autoSave": "off",
    "git.enabled": False,
}


def until(found: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """The first result that is true."""
    end = time.monotonic() + patience_s
    while not (result := found()):
        if time.monotonic() > end:
            raise AssertionError(f"no {what} within {patience_s:g} s")
        time.sleep(0.02)
    return result


class Browser:
    """The browser's process, asked by lines."""

    def __init__(self, log: Path) -> None:
        node = str(vscode_obtain.NODE)
        env = os.environ | {"NODE_PATH": str(vscode_obtain.FOLDER / "node_modules")}
        command = [node, str(HERE / "vscode" / "browser.cjs"), vscode_obtain.chromium()]
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=env,
            )
        self._answer()

    def do(self, what: str, **arguments: Any) -> Any:
        """Have it done; the value, or an error of the browser's."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what} | arguments) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer.get("value")

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError("the browser ended")
        return json.loads(line)

    def close(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(PATIENCE_S)


def command_of(folder: Path) -> list[str]:
    """VS Code's program, on the profile in `folder`: it installs extensions, or serves."""
    main = [str(vscode_obtain.NODE), str(vscode_obtain.editor() / "out/server-main.js")]
    data = ["--server-data-dir", str(folder / "data"), "--extensions-dir", str(folder / "ext")]
    return [*main, *data]


class VSCode:
    """See the module. `folder` is the test's own; `files` are what the workspace holds. Without a
    `server` the extension finds its own, and is there already."""

    def __init__(
        self,
        folder: Path,
        files: dict[str, bytes],
        server: list[str] | None,
        settings: dict[str, Any] | None = None,
        environ: dict[str, str] | None = None,
    ) -> None:
        self.has_tap = server is not None
        self.folder, self.workspace = folder, folder / "project"
        self.tap = folder / "tap"
        for each in (self.workspace, self.tap, *self._profiles()):
            each.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (self.workspace / name).write_bytes(content)
        values = PROFILE | (settings or {})
        if server is not None:
            values["slm-lsp.path"] = str(self._program(server))
        for profile in self._profiles():
            (profile / "settings.json").write_text(json.dumps(values))
        main = command_of(folder)
        if server is not None:
            vsix = str(vscode_obtain.extension())
            vscode_obtain.run([*main, "--install-extension", vsix], folder)
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        listen = ["--host", "127.0.0.1", "--port", str(port), "--without-connection-token"]
        quiet = ["--accept-server-license-terms", "--telemetry-level", "off"]
        self.browser = Browser(folder / "browser.log")
        with (folder / "editor.log").open("w") as log:
            self._editor = subprocess.Popen(
                [*main, *listen, *quiet, "--disable-workspace-trust"],
                stdout=log,
                stderr=subprocess.STDOUT,
                # No extension is asked for from anywhere.
                env=os.environ | {"EXTENSIONS_GALLERY": "{}"} | (environ or {}),
            )
        try:
            until(self._listens, "answer of VS Code's server", START_PATIENCE_S)
            self.browser.do("open", url=f"{self.url}/?folder={self.workspace}")
            self.wait(".explorer-folders-view .monaco-list-row", START_PATIENCE_S)
        except BaseException:
            self.close()
            raise

    def _profiles(self) -> list[Path]:
        return [self.folder / "data" / "data" / each for each in ("User", "Machine")]

    def _program(self, server: list[str]) -> Path:
        """A program `slm-lsp` that starts `server` behind the tap."""
        command = [sys.executable, str(HERE / "stdio_tap.py"), str(self.tap), *server]
        program = self.folder / "slm-lsp"
        words = " ".join(f"'{each}'" for each in command)
        program.write_text(f"#!/bin/sh\nPYTHONPATH='{vscode_obtain.ROOT}' exec {words}\n")
        program.chmod(0o755)
        return program

    def _listens(self) -> bool:
        if self._editor.poll() is not None:
            raise AssertionError((self.folder / "editor.log").read_text()[-1500:])
        try:
            with urllib.request.urlopen(self.url, timeout=5):
                return True
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    # --- the screen ---

    def wait(self, selector: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until something is on the screen."""
        self.browser.do("wait", selector=selector, patience_ms=patience_s * 1000)

    def click(self, selector: str) -> None:
        self.browser.do("click", selector=selector, patience_ms=PATIENCE_S * 1000)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.browser.do("press", key=key)

    def type(self, text: str, delay_ms: float = 30) -> None:
        """Type as a person does."""
        self.browser.do("type", text=text, delay_ms=delay_ms)

    def evaluate(self, script: str) -> Any:
        return self.browser.do("evaluate", script=script)

    def texts(self, selector: str) -> list[str]:
        """What all elements are called, and what stands in them."""
        words = "[e.getAttribute('aria-label'), e.textContent].filter(Boolean).join(' ')"
        each = f"e => {words}.replaceAll('\\u00a0', ' ')"
        return list(self.evaluate(f"[...document.querySelectorAll({selector!r})].map({each})"))

    def ghost(self) -> str:
        return str(self.evaluate(GHOST))

    def until_ghost(self, text: str) -> None:
        """Wait for the ghost text; of several lines without their breaks."""
        last = [""]

        def is_there() -> bool:
            last[0] = self.ghost()
            return last[0] == text

        try:
            until(is_there, "ghost text")
        except AssertionError as error:
            raise AssertionError(f"{error}: {text!r}, but {last[0]!r}") from None

    def until_text(self, selector: str, part: str, patience_s: float = PATIENCE_S) -> str:
        """Wait for an element that says `part`."""

        def saying() -> str:
            return next((each for each in self.texts(selector) if part in each), "")

        return until(saying, f"{selector} with {part!r}", patience_s)

    def bar(self) -> str:
        """The status bar's item."""
        found = self.texts("[id='slm-lsp.slm-lsp.slm-lsp.status']")
        return found[0] if found else ""

    def until_bar(self, part: str, patience_s: float = PATIENCE_S) -> None:
        try:
            until(lambda: part in self.bar(), f"status bar with {part!r}", patience_s)
        except AssertionError as error:
            raise AssertionError(f"{error}, but {self.bar()!r}") from None

    def menu(self, entry: str) -> None:
        """Choose in the status bar's menu."""
        self.click("[id='slm-lsp.slm-lsp.slm-lsp.status'] a")
        self.choose(entry)

    def choose(self, entry: str) -> None:
        """Choose in the list that is open."""
        row = f".quick-input-widget .monaco-list-row[aria-label*='{entry}']"
        self.click(row)

    def command(self, title: str) -> None:
        """Run a command by the palette."""
        self.press("F1")
        self.wait(".quick-input-widget input")
        self.type(title, 5)
        self.choose(title)

    def screenshot(self, path: Path, clip: dict[str, int] | None = None) -> None:
        """A picture of the screen, or of a rectangle of it."""
        self.browser.do("screenshot", path=str(path), **({"clip": clip} if clip else {}))

    # --- files ---

    def open(self, name: str, line: int | None = None) -> None:
        """Open a file, with the cursor at a line's end or the text's."""
        self.click(f".explorer-folders-view .monaco-list-row[aria-label^='{name}']")
        self.press("Enter")
        self.wait(f".tab.active[aria-label^='{name}']")
        uri = (self.workspace / name).as_uri()
        if self.has_tap:
            until(lambda: self.was_opened(uri), f"didOpen of {name}")
        self.click(".editor-instance .monaco-editor .view-lines")
        self.press("Control+End")
        if line is not None:
            self.press("Control+Home", *["ArrowDown"] * (line - 1), "End")

    def was_opened(self, uri: str) -> bool:
        opened = self.messages("textDocument/didOpen")
        return any(each["params"]["textDocument"]["uri"] == uri for each in opened)

    def saved(self, name: str) -> bytes:
        """What the file holds, as VS Code writes it."""
        self.press("Control+s")
        until(
            lambda: not self.evaluate("document.querySelectorAll('.tab.active.dirty').length"),
            "saving",
        )
        return (self.workspace / name).read_bytes()

    # --- the server ---

    def messages(self, method: str) -> list[dict[str, Any]]:
        """All messages of a method that VS Code has sent yet."""
        found = [each["message"] for each in self.log() if each["from"] == "client"]
        return [each for each in found if each.get("method") == method]

    def log(self) -> list[dict[str, Any]]:
        """What stdio_tap wrote down yet, a line that is being written left out."""
        path = self.tap / "messages.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def ask(self, command: str, *arguments: Any) -> Any:
        """What the server answers to a command, unseen by VS Code."""
        params = {"command": command, "arguments": list(arguments)}
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(PATIENCE_S)
            door.connect(str(self.tap / "door"))
            with door.makefile("rw") as lines:
                message = {"method": "workspace/executeCommand", "params": params}
                lines.write(json.dumps(message) + "\n")
                lines.flush()
                return json.loads(lines.readline())["result"]

    def stats(self) -> dict[str, Any]:
        return dict(self.ask("slm-lsp.stats"))

    def close(self) -> None:
        self.browser.close()
        self._editor.terminate()
        self._editor.wait(PATIENCE_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
