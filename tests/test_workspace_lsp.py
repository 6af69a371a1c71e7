"""What an editor says of its workspace reaches the index, and the way from a document to it.

Invariant: no process is started; the index is built in this one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from editor import Json
from fake_editor import FakeEditor
from workspace_scene import WorkspaceScene, write

from slm_lsp.config import Config
from slm_lsp.deadline import FakeClock
from slm_lsp.workspace.builds import Builds
from slm_lsp.workspace.source import WorkspaceSource

WATCHES: Json = {"workspace": {"didChangeWatchedFiles": {"dynamicRegistration": True}}}
FILES = {"lib.py": "def make_thing(value):\n    pass\n"}


class NotedBuilds(Builds):
    """Notes what it is told; nothing is built."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, FakeClock(0.0))
        self.told: list[object] = []

    def set_folders(self, folders: tuple[Path, ...]) -> None:
        self.told.append([folder.name for folder in folders])

    def changed(self, paths: Any) -> None:
        self.told.append({path.name for path in paths})

    def used(self) -> None:
        pass


class Made:
    """Makes the source of a session, and keeps it."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "cache" / "workspace"
        self.builds = NotedBuilds(self.folder)
        self.source: WorkspaceSource | None = None

    def __call__(self, config: Config) -> WorkspaceSource:
        assert self.source is None
        self.source = WorkspaceSource(self.folder, builds=self.builds)
        return self.source


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def folder(path: str) -> Json:
    return {"uri": f"file:///{path}", "name": path}


@pytest.mark.parametrize(
    ("params", "expect"),
    [
        ({"workspaceFolders": [folder("a"), folder("b")], "rootUri": "file:///c"}, ["a", "b"]),
        ({"workspaceFolders": None, "rootUri": "file:///c"}, ["c"]),
        ({"workspaceFolders": [], "rootUri": None, "rootPath": "/d"}, ["d"]),
        ({"rootUri": None}, []),
        ({"rootUri": "vscode-remote://x/a"}, []),
    ],
)
async def test_folders_of_the_client(made: Made, params: Json, expect: list[str]) -> None:
    async with FakeEditor(make_workspace=made) as editor:
        await editor.start(**params)
        assert made.builds.told[-1] == expect


async def test_folders_come_and_go(made: Made) -> None:
    async with FakeEditor(make_workspace=made) as editor:
        result = await editor.start(workspaceFolders=[folder("a")])
        offered = result["capabilities"]["workspace"]["workspaceFolders"]
        assert offered["supported"] is True
        assert offered["changeNotifications"] is True
        event = {"added": [folder("b")], "removed": [folder("a")]}
        await editor.notify("workspace/didChangeWorkspaceFolders", {"event": event})
        assert made.builds.told[-1] == ["b"]


async def test_saves_are_told(made: Made) -> None:
    async with FakeEditor(make_workspace=made) as editor:
        result = await editor.start(rootUri="file:///a")
        assert result["capabilities"]["textDocumentSync"]["save"]
        await editor.open("x = 1\n", "file:///a/x.py")
        await editor.notify("textDocument/didSave", {"textDocument": {"uri": "file:///a/x.py"}})
        assert made.builds.told[-1] == {"x.py"}


@pytest.mark.parametrize("capabilities", [{}, WATCHES])
async def test_who_watches_files_is_asked_to(made: Made, capabilities: Json) -> None:
    async with FakeEditor(make_workspace=made, capabilities=capabilities) as editor:
        await editor.start(rootUri="file:///a")
        methods = [each["method"] for each in editor.registered]
        assert methods == (["workspace/didChangeWatchedFiles"] if capabilities else [])
        changes = [{"uri": f"file:///a/{n}.py", "type": n} for n in (1, 2, 3)]
        await editor.notify("workspace/didChangeWatchedFiles", {"changes": changes})
        assert made.builds.told[-1] == {"1.py", "2.py", "3.py"}


async def test_nobody_is_asked_where_nothing_is_kept() -> None:
    async with FakeEditor(capabilities=WATCHES) as editor:
        await editor.start(rootUri="file:///a")
        assert editor.registered == []
        await editor.notify("workspace/didChangeWatchedFiles", {"changes": []})
        await editor.still_answers()


async def on_worker(editor: FakeEditor, call: Callable[..., Any], *args: Any) -> Any:
    """What a call gives on the completer's worker, after all that was submitted before."""
    assert editor.server.completer is not None
    return await editor.server.completer._preparer._worker.begin(call, *args)


async def test_documents_are_followed_and_what_is_left_out_is_prepared(
    tmp_path: Path, made: Made
) -> None:
    scene = WorkspaceScene(tmp_path, FILES)
    scene.build()
    async with FakeEditor(make_workspace=made) as editor:
        await editor.start(rootUri=scene.folder.as_uri())
        uri = (scene.folder / "app.py").as_uri()
        position = await editor.open("value = make_thing(<CURSOR>\n", uri)
        source = made.source
        assert source is not None
        snapshot = editor.server.protocol.document(uri).snapshot()

        def collected() -> list[str]:
            # On the worker, as the completer does.
            place = source.place(snapshot, len("value = make_thing("), 1000)
            return [each.text for each in source.collect(place, lambda: False)]

        assert await on_worker(editor, collected) == []
        editor.engine.enqueue("1)")
        await editor.inline(position, uri)
        assert await on_worker(editor, collected) == ["def make_thing(value):"]
        await editor.close(uri)
        assert await on_worker(editor, lambda: source._live.others("another")) == []


def test_the_setting_switches_the_index_off(tmp_path: Path, monkeypatch: Any) -> None:
    from slm_lsp.lsp.stdio import _make_workspace

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write(tmp_path / "project", FILES)
    source = _make_workspace(Config(workspace_index="off"))
    source.set_folders([tmp_path / "project"])
    assert source._builds is None
    assert not list(tmp_path.glob("slm-lsp/**"))
    assert _make_workspace(Config())._builds is not None
