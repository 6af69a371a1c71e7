"""What a whole session leaves behind and whom it speaks to: server, daemon, index, every file.

Every Python process of the session notes each connection it makes or listens for, by an audit hook
that a `sitecustomize` puts in before all else; beside it the kernel is asked which sockets the
processes hold. What is typed holds a word that is in no file.

Invariant: the server, the daemon and the builder of the index are the real ones; only the decoder
is scripted.
Threads: the event loop; the rest are processes.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from benchmarks.chaos import program
from benchmarks.chaos.scene import Scene, Session, until
from benchmarks.latency import processes
from benchmarks.latency.ours import editor

pytestmark = pytest.mark.e2e

CANARY = "zq_kanarienvogel_7319"
HOOK = """
import os, sys
_path = os.environ["SLM_TEST_SOCKETS"]

def _note(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"):
        file = os.open(_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        where = arguments[0] if event == "socket.getaddrinfo" else arguments[-1]
        os.write(file, f"{event} {where!r}\\n".encode())
        os.close(file)

sys.addaudithook(_note)
"""
ENCODINGS = ("utf-8", "utf-16-le", "utf-32-le")


class Private(Scene):
    """A scene whose processes are overheard, and whose folders are in `folder`/home alone."""

    def __init__(self) -> None:
        super().__init__()
        hooks = self.folder / "hooks"
        hooks.mkdir()
        (hooks / "sitecustomize.py").write_text(HOOK)
        self.heard = self.folder / "heard"
        self.home = self.folder / "home"
        self.home.mkdir(mode=0o700)
        for name in ("CACHE", "STATE", "CONFIG"):
            self.env[f"XDG_{name}_HOME"] = str(self.home / name.lower())
        self.env["SLM_LSP_CACHE_DIR"] = str(self.home / "cache" / "slm-lsp")
        self.env["SLM_TEST_SOCKETS"] = str(self.heard)
        self.env["PYTHONPATH"] = f"{hooks}{os.pathsep}{program.ROOT}"
        self.workspace = self.folder / "workspace"
        self.workspace.mkdir()
        (self.workspace / "other.py").write_text("def other(first, second):\n    return first\n")

    def written(self) -> Iterator[Path]:
        """What the session has left in the user's folders, its own folders too."""
        for root in (self.home, self.folder / "slm-lsp"):
            for folder, _, names in os.walk(root):
                yield Path(folder)
                for name in names:
                    yield Path(folder, name)


class Typing(Session):
    """A session that types the word into a document of a workspace, and makes mistakes."""

    async def start(self) -> None:
        scene = self._scene
        assert isinstance(scene, Private)
        folder = {"uri": scene.workspace.as_uri(), "name": "w"}
        params = editor(
            {"model": str(scene.model), "trace": str(scene.home / "trace"), "lexical": "off"}
            | {"confidence_gate": "off", "syntax_gate": "off", "reuse": "off"}
            | {"automatic_budget_ms": 2000, "invoked_budget_ms": 2000}
        )
        await self.client.start({**params, "workspaceFolders": [folder]})
        self._uri = (scene.workspace / "a.py").as_uri()
        item = {"uri": self._uri, "languageId": "python", "version": 0, "text": ""}
        self.client.notify("textDocument/didOpen", {"textDocument": item})

    async def type_it(self) -> None:
        text = f"def {CANARY}({CANARY}_a):\n    '{CANARY}'\n{program.SOURCE}"
        for wrong in ({"textDocument": CANARY}, {"contentChanges": CANARY}, CANARY, [CANARY]):
            self.client.notify("textDocument/didChange", wrong)
        document = {"uri": self._uri, "version": 10_000}
        changes = {"textDocument": document, "contentChanges": [{"text": text}]}
        self.client.notify("textDocument/didChange", changes)
        place = {"line": 2, "character": len(program.SOURCE)}
        asked = {"textDocument": {"uri": self._uri}, "position": place}
        params = {**asked, "context": {"triggerKind": 1}}
        answer = await self.client.call("textDocument/inlineCompletion", params)
        assert program.SAYS in answer["items"][0]["insertText"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def left() -> AsyncIterator[tuple[Private, str, set[str]]]:
    """What there is after a session: the folders, the server's stderr, its sockets' families."""
    families: set[str] = set()
    with tempfile.TemporaryFile() as stderr:
        async with Private() as scene:
            session = Typing(scene, 0)
            session.client._stderr = stderr
            scene._sessions.append(session)
            await session.start()
            await session.good()
            await session.type_it()
            index = scene.home / "cache" / "slm-lsp" / "workspace"
            await until(lambda: any(index.glob("*.index")), "the index")
            for process in processes.find(scene.env[processes.MARK] for _ in [0]):
                families |= {each.family.name for each in process.net_connections("all")}
            await session.end()
            scene._sessions.clear()
            [daemon] = scene.daemons()
            daemon.terminate()
            await until(lambda: not psutil.pid_exists(daemon.pid), "the daemon's end")
            stderr.seek(0)
            yield scene, stderr.read().decode(), families


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_is_connected_but_unix_sockets(
    left: tuple[Private, str, set[str]],
) -> None:
    scene, _, families = left
    heard = scene.heard.read_text().splitlines()
    assert families <= {"AF_UNIX"}
    runtime = str(scene.folder / "slm-lsp")
    assert any(line.startswith("socket.connect") for line in heard), heard
    assert any(line.startswith("socket.bind") for line in heard), heard
    others = [line for line in heard if runtime not in line]
    assert others == []


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_of_what_was_typed_is_written(left: tuple[Private, str, set[str]]) -> None:
    scene, stderr, _ = left
    assert CANARY not in stderr
    holds = [
        (path.name, encoding)
        for path in scene.written()
        if path.is_file()
        for encoding in ENCODINGS
        if CANARY.encode(encoding) in path.read_bytes()
    ]
    # What the model has read is kept, token by token, and this decoder's tokens are letters: who
    # can read the file can read the text.
    assert holds
    assert {(Path(name).suffix, encoding) for name, encoding in holds} == {(".kv", "utf-32-le")}
    names = {path.name for path in scene.written()}
    assert {"trace", "daemon.log"} <= names


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_written_is_the_users_alone(left: tuple[Private, str, set[str]]) -> None:
    scene, _, _ = left
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in scene.written()}
    assert len(modes) > 10
    open_to_others = {str(path): oct(mode) for path, mode in modes.items() if mode & 0o077}
    assert open_to_others == {}
