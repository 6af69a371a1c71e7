"""The index on the disk: what it holds after whatever happened to the files, and to itself."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from workspace_scene import WorkspaceScene, write

from slm_lsp.deadline import FakeClock
from slm_lsp.workspace import indexing, store
from slm_lsp.workspace.build import BUSY, build
from slm_lsp.workspace.builds import MAX_CHANGED, RESCAN_MS, Builds, command
from slm_lsp.workspace.files import read_source
from slm_lsp.workspace.reader import MAX_FILES_A_WORD, IndexReader

PATIENCE_S = 60.0
FILES = {
    "app.py": "from lib import Loader\n",
    "lib.py": "class Loader:\n    def load_config(self):\n        return parse_everything()\n",
    "web/view.ts": "export function renderView(name: string) {\n}\n",
}


@pytest.fixture
def scene(tmp_path: Path) -> WorkspaceScene:
    return WorkspaceScene(tmp_path, FILES)


def defining(scene: WorkspaceScene, name: str) -> list[tuple[str, int]]:
    """Where the index says that a name is defined."""
    reader = IndexReader(scene.index)
    reader.refresh()
    found = [(each.path, each.line) for each in reader.defining(name, 10)]
    reader.close()
    return found


def with_word(scene: WorkspaceScene, word: str) -> list[str]:
    reader = IndexReader(scene.index)
    reader.refresh()
    found = [each.path for each in reader.like([word], 10)]
    reader.close()
    return found


def content(index: Path) -> tuple[object, ...]:
    """All that can be asked of an index, whatever ids its files have."""
    with sqlite3.connect(index) as connection:
        files = connection.execute(
            "select path, folder, stem, language, mtime_ns, size, n_words from files order by path"
        ).fetchall()
        names = connection.execute(
            "select name, path, line from definitions join files on file = id order by 1, 2, 3"
        ).fetchall()
    connection.close()
    return files, names


def test_definitions_and_words_are_found(scene: WorkspaceScene) -> None:
    summary = scene.build()
    assert (summary.n_files, summary.n_written) == (3, 3)
    assert defining(scene, "Loader") == [("lib.py", 0)]
    assert defining(scene, "load_config") == [("lib.py", 1)]
    assert defining(scene, "renderView") == [("web/view.ts", 0)]
    assert with_word(scene, "PARSE_everything") == ["lib.py"]
    assert with_word(scene, "loader") == ["app.py", "lib.py"]


def test_nobody_else_can_read_it(scene: WorkspaceScene) -> None:
    scene.indexes.mkdir(parents=True, mode=0o755)
    scene.build()
    assert stat.S_IMODE(scene.indexes.stat().st_mode) == 0o700
    for path in scene.indexes.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_scan_opens_only_what_changed(
    scene: WorkspaceScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.build()
    opened: list[str] = []
    read = read_source

    def noted(path: Path) -> tuple[bytes, str] | None:
        opened.append(path.name)
        return read(path)

    monkeypatch.setattr(indexing, "read_source", noted)
    write(scene.folder, {"lib.py": "def other_name():\n    pass\n"})
    (scene.folder / "web" / "view.ts").rename(scene.folder / "web" / "renamed.ts")
    (scene.folder / "app.py").unlink()
    summary = scene.build()
    assert sorted(opened) == ["lib.py", "renamed.ts"]
    assert (summary.n_files, summary.n_removed) == (2, 2)
    assert defining(scene, "Loader") == []
    assert defining(scene, "other_name") == [("lib.py", 0)]
    assert defining(scene, "renderView") == [("web/renamed.ts", 0)]
    assert with_word(scene, "parse_everything") == []


def test_named_changes_are_taken_alone(scene: WorkspaceScene) -> None:
    scene.build()
    write(scene.folder, {"lib.py": "def saved():\n    pass\n", "new.py": "def unnamed(): pass\n"})
    (scene.folder / "app.py").unlink()
    summary = scene.build("lib.py", "app.py", ".env", "../outside.py", "no/such.py")
    assert (summary.n_written, summary.n_removed) == (1, 1)
    assert defining(scene, "saved") == [("lib.py", 0)]
    assert defining(scene, "unnamed") == []


def test_a_folder_that_goes_or_comes_is_followed(scene: WorkspaceScene) -> None:
    scene.build()
    (scene.folder / "web").rename(scene.folder / "pages")
    scene.build("web")
    assert defining(scene, "renderView") == []
    scene.build("pages")
    assert defining(scene, "renderView") == [("pages/view.ts", 0)]


def test_changes_obey_the_rules_as_a_scan_does(scene: WorkspaceScene) -> None:
    write(scene.folder, {".gitignore": "out/\n", "out/a.py": "def ignored(): pass\n"})
    write(scene.folder, {"node_modules/b.js": "function installed() {\n}\n"})
    (scene.folder / "linked").symlink_to(scene.folder / "out", target_is_directory=True)
    scene.build()
    before = content(scene.index)
    scene.build("out/a.py", "node_modules/b.js", "linked/a.py")
    assert content(scene.index) == before


def test_updates_make_what_a_scan_would(scene: WorkspaceScene, tmp_path: Path) -> None:
    scene.build()
    for n in range(4):
        write(scene.folder, {"lib.py": f"def name_{n}(): pass\n", f"more_{n}.py": "x_y = 1\n"})
        scene.build("lib.py", f"more_{n}.py")
    fresh = tmp_path / "fresh" / "fresh.index"
    build(scene.folder, fresh, None)
    assert content(fresh) == content(scene.index)


@pytest.mark.parametrize("n_files", [0, 1, 2])
def test_a_build_that_is_ended_goes_on_next_time(scene: WorkspaceScene, n_files: int) -> None:
    asked = itertools.count()
    summary = build(scene.folder, scene.index, None, stop=lambda: next(asked) >= n_files)
    assert summary is not None
    assert summary.ended
    assert summary.n_written == n_files
    assert scene.build().n_written == len(FILES) - n_files
    assert defining(scene, "Loader") == [("lib.py", 0)]


def test_a_killed_build_leaves_whole_files(
    scene: WorkspaceScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "FILES_A_COMMIT", 2)
    before = read_source

    def killed(path: Path) -> tuple[bytes, str] | None:
        if path.name == "last.py":
            raise KeyboardInterrupt
        return before(path)

    write(scene.folder, {"last.py": "def last(): pass\n"})
    os.utime(scene.folder / "last.py", (1, 1))  # the oldest comes last
    monkeypatch.setattr(indexing, "read_source", killed)
    with pytest.raises(KeyboardInterrupt):
        scene.build()
    with sqlite3.connect(scene.index) as connection:
        [(n_files,)] = connection.execute("select count(*) from files").fetchall()
    connection.close()
    assert 0 < n_files < 4
    monkeypatch.setattr(indexing, "read_source", before)
    assert scene.build().n_written == 4 - n_files
    assert defining(scene, "last") == [("last.py", 0)]


@pytest.mark.parametrize("damage", ["garbage", "empty", "cut", "version"])
def test_a_broken_index_is_made_anew(scene: WorkspaceScene, damage: str) -> None:
    scene.build()
    if damage == "garbage":
        scene.index.write_bytes(b"\x00garbage" * 4096)
    elif damage == "empty":
        scene.index.write_bytes(b"")
    elif damage == "cut":
        scene.index.write_bytes(scene.index.read_bytes()[:5000])
    else:
        with sqlite3.connect(scene.index) as connection:
            connection.execute("pragma user_version = 999")
        connection.close()
    # Whoever only reads gets no answer and no error.
    assert defining(scene, "Loader") == []
    scene.build()
    assert defining(scene, "Loader") == [("lib.py", 0)]


def test_a_reader_says_that_it_is_broken(scene: WorkspaceScene) -> None:
    scene.build()
    scene.index.write_bytes(b"\x00garbage" * 4096)
    reader = IndexReader(scene.index)
    assert not reader.refresh()
    assert reader.broken


def test_half_a_search_is_not_ranked(scene: WorkspaceScene) -> None:
    scene.build()
    reader = IndexReader(scene.index)
    reader.refresh()
    n_before, n_asked = reader.n_queries, 0

    def stop() -> bool:
        nonlocal n_asked
        n_asked += 1
        return n_asked > 1

    reader.stop = stop
    assert reader.like(["PARSE_everything", "Loader"], 10) == []
    assert reader.n_queries - n_before == 1
    reader.close()


def test_a_locked_index_has_no_answers_for_now(scene: WorkspaceScene) -> None:
    scene.build()
    writer = sqlite3.connect(scene.index, isolation_level=None)
    writer.execute("pragma locking_mode = exclusive")
    writer.execute("begin exclusive")
    writer.execute("insert into facts values ('a', 'b')")
    assert defining(scene, "Loader") in ([], [("lib.py", 0)])
    writer.execute("rollback")
    writer.close()
    assert defining(scene, "Loader") == [("lib.py", 0)]


def test_a_reader_sees_what_others_write(scene: WorkspaceScene) -> None:
    scene.build()
    reader = IndexReader(scene.index)
    assert reader.refresh()
    generation = reader.generation
    assert reader.refresh()
    assert reader.generation == generation
    write(scene.folder, {"lib.py": "def written_later(): pass\n"})
    scene.build("lib.py")
    reader.refresh()
    assert reader.generation != generation
    assert [each.path for each in reader.defining("written_later", 5)] == ["lib.py"]
    # Also in a file that was put in its place.
    store.delete(scene.index)
    scene.build()
    reader.refresh()
    assert [each.path for each in reader.defining("written_later", 5)] == ["lib.py"]
    reader.close()


def test_what_is_stale_is_thrown_away(
    scene: WorkspaceScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "MIN_STALE", 4)
    scene.build()
    for n in range(8):
        write(scene.folder, {"lib.py": f"def name_{n}(): pass\n"})
        scene.build("lib.py")
    assert scene.build().n_written == len(FILES)  # all of it again
    assert scene.build().n_written == 0
    assert defining(scene, "name_7") == [("lib.py", 0)]


def test_of_too_many_files_the_newest_are_kept(scene: WorkspaceScene) -> None:
    for n, path in enumerate(FILES):
        os.utime(scene.folder / path, (1000 + n, 1000 + n))
    summary = build(scene.folder, scene.index, None, max_files=2)
    assert summary is not None
    assert (summary.n_files, summary.n_seen) == (2, 3)
    assert defining(scene, "Loader") == [("lib.py", 0)]


def test_without_fts5_definitions_are_known(
    scene: WorkspaceScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_WORDS", "create virtual table words using no_such_module (text)")
    scene.build()
    assert defining(scene, "Loader") == [("lib.py", 0)]
    assert with_word(scene, "loader") == []


def test_a_word_of_many_files_tells_nothing(scene: WorkspaceScene) -> None:
    many = {f"m{n}.py": f"everywhere = unique_{n}\n" for n in range(MAX_FILES_A_WORD + 1)}
    write(scene.folder, many)
    scene.build()
    assert with_word(scene, "everywhere") == []
    assert with_word(scene, "unique_7") == ["m7.py"]


def test_two_builders_do_not_meet(scene: WorkspaceScene) -> None:
    scene.build()
    with FileLock(scene.index.with_suffix(".lock")):
        assert build(scene.folder, scene.index, None) is None
    assert scene.build() is not None


def test_old_indexes_are_deleted(scene: WorkspaceScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_INDEXES", 3)
    scene.build()
    for n in range(5):
        old = scene.indexes / f"{n}.index"
        old.write_bytes(b"")
        os.utime(old, (1000 + n, 1000 + n))
    scene.build()
    kept = sorted(path.name for path in scene.indexes.glob("*.index"))
    assert kept == sorted(["3.index", "4.index", scene.index.name])


# --- the child process ---


def run_child(scene: WorkspaceScene, changed: list[str] | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(scene.folder, scene.index),
        input=json.dumps(changed),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=scene.folder,
        check=False,
    )


def test_the_child_builds_from_any_folder(scene: WorkspaceScene) -> None:
    # A stranger's module in the folder that it is started in is not imported.
    write(scene.folder, {"sqlite3.py": "raise SystemExit(9)\n"})
    done = run_child(scene, None)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_files"] == 4
    with FileLock(scene.index.with_suffix(".lock")):
        assert run_child(scene, None).returncode == BUSY


@pytest.fixture
def builds(tmp_path: Path) -> Iterator[Builds]:
    made = Builds(tmp_path / "cache" / "workspace", gather_s=0.0, pause_s=0.0)
    yield made
    made.close()


def test_folders_and_changes_are_built(scene: WorkspaceScene, builds: Builds) -> None:
    builds.set_folders((scene.folder,))
    assert builds.wait(PATIENCE_S)
    assert defining(scene, "Loader") == [("lib.py", 0)]
    write(scene.folder, {"lib.py": "def after_save(): pass\n"})
    builds.changed([scene.folder / "lib.py", scene.folder / "x.log", Path("/elsewhere/a.py")])
    assert builds.wait(PATIENCE_S)
    assert defining(scene, "after_save") == [("lib.py", 0)]
    assert builds.last is not None
    assert builds.last["n_written"] == 1
    assert builds.pid is None


class Recorder:
    """In the place of the child: notes what it is asked, and ends with the given status."""

    def __init__(self, folder: Path, status: int = 0) -> None:
        self.path, self.status = folder / "asked.jsonl", status

    def __call__(self, root: Path, index: Path) -> list[str]:
        script = (
            "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n'); print('{}');"
            " sys.exit(int(sys.argv[2]))"
        )
        return [sys.executable, "-c", script, str(self.path), str(self.status)]

    def asked(self) -> list[object]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]


def test_many_changes_and_changed_rules_are_a_scan(tmp_path: Path) -> None:
    recorder, folder = Recorder(tmp_path), tmp_path / "project"
    builds = Builds(tmp_path, FakeClock(0.0), recorder, gather_s=0.0, pause_s=0.0)
    try:
        for changed in (
            [folder / "a.py", folder / "b.py"],
            [folder / f"{n}.py" for n in range(MAX_CHANGED + 1)],
            [folder / "sub" / ".gitignore"],
            [folder / ".git" / "index", folder / "node_modules" / "a.js"],
        ):
            builds.set_folders((folder,))
            builds.wait(PATIENCE_S)
            builds.changed(changed)
            assert builds.wait(PATIENCE_S)
    finally:
        builds.close()
    assert recorder.asked() == [None, ["a.py", "b.py"], None, None]


def test_a_folder_in_use_is_scanned_now_and_then(tmp_path: Path) -> None:
    recorder, clock = Recorder(tmp_path), FakeClock(0.0)
    builds = Builds(tmp_path, clock, recorder, gather_s=0.0, pause_s=0.0)
    try:
        builds.set_folders((tmp_path / "project",))
        assert builds.wait(PATIENCE_S)
        for n_asked, pass_ms in ((1, RESCAN_MS / 2), (2, RESCAN_MS), (2, 1.0)):
            clock.advance(pass_ms)
            builds.used()
            assert builds.wait(PATIENCE_S)
            assert len(recorder.asked()) == n_asked
    finally:
        builds.close()


def test_what_another_server_builds_is_looked_at_again(tmp_path: Path) -> None:
    recorder, clock = Recorder(tmp_path, BUSY), FakeClock(0.0)
    builds = Builds(tmp_path, clock, recorder, gather_s=0.0, pause_s=0.0)
    try:
        builds.set_folders((tmp_path / "project",))
        assert builds.wait(PATIENCE_S)
        builds.used()
        assert builds.wait(PATIENCE_S)
        assert recorder.asked() == [None]
        clock.advance(60_000.0)
        builds.used()
        assert builds.wait(PATIENCE_S)
        assert recorder.asked() == [None, None]
    finally:
        builds.close()


def test_a_closed_session_ends_its_child(tmp_path: Path) -> None:
    began, never = tmp_path / "began", tmp_path / "never"
    os.mkfifo(began)
    os.mkfifo(never)
    script = "import sys; open(sys.argv[1], 'w').write('x'); open(sys.argv[2])"
    builds = Builds(
        tmp_path,
        command=lambda root, index: [sys.executable, "-c", script, str(began), str(never)],
        gather_s=0.0,
    )
    builds.set_folders((tmp_path / "project",))
    assert began.read_text() == "x"  # waits for the child
    assert builds.pid is not None
    builds.close()
    assert builds._thread is not None
    builds._thread.join(PATIENCE_S)
    assert builds.pid is None
    builds.changed([tmp_path / "project" / "a.py"])
    assert builds.pid is None
