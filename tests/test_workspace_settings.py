"""`.slm-lsp.toml` of a workspace narrows, and never widens.

Invariant: no model and no stream. Threads: the event loop; the completer's worker.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import pytest
from editor import CURSOR, Json
from fake_editor import FakeEditor

from slm_lsp.config import FIELDS, Config
from slm_lsp.workspace import narrowing
from slm_lsp.workspace.narrowing import NUMBERS, SWITCHES, Narrowings, read

WIDENING = {
    "server_url": '"https://evil.example/v1"',
    "model": '"/tmp/evil.gguf"',
    "library": '"ctransformers"',
    "engine": '"inproc"',
    "trace": '"/home/user/.bashrc"',
    "server_key_variable": '"AWS_SECRET_ACCESS_KEY"',
    "command": '"rm"',
}


def written(folder: Path, text: str) -> Path:
    (folder / narrowing.NAME).write_text(text)
    return folder


@pytest.mark.parametrize("name", WIDENING)
def test_what_widens_is_refused_by_name(tmp_path: Path, name: str) -> None:
    found, problems = read(written(tmp_path, f'{name} = {WIDENING[name]}\nsnippets = "off"\n'))
    assert found is not None
    assert found.settings == {"snippets": "off"}
    [problem] = problems
    assert repr(name) in problem
    assert "belongs into your own settings" in problem
    assert WIDENING[name].strip('"') not in problem


def test_of_all_settings_only_those_that_narrow_are_taken(tmp_path: Path) -> None:
    for name in FIELDS:
        found, problems = read(written(tmp_path, f'{name} = "on"\n'))
        assert found is not None
        assert not found.settings, name
        assert len(problems) == 1
    for name in SWITCHES:
        found, problems = read(written(tmp_path, f'{name} = "off"\n'))
        assert (found is not None and found.settings, problems) == ({name: "off"}, [])


def test_a_number_may_only_become_smaller(tmp_path: Path) -> None:
    text = "".join(f"{name} = {10**6}\n" for name in NUMBERS) + "\n"
    found, problems = read(written(tmp_path, text))
    assert found is not None
    assert (found.narrower(asdict(Config())), problems) == ({}, [])
    found, _ = read(written(tmp_path, "prompt_tokens = 100\nmax_line_tokens = 49\n"))
    assert found is not None
    assert found.narrower(asdict(Config())) == {"prompt_tokens": 100}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "prompt_tokens = nan",
            "prompt_tokens = -1",
            'prompt_tokens = "5"',
            "prompt_tokens = true",
        ),
        *("enabled = 1", "exclude = 5", "exclude = [5]", 'exclude = ["!"]', "snippets = false"),
        *("[server]\nurl = 1", "not toml", "a = " + "[" * 5000, '"\\u001b[31m" = 1'),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(tmp_path: Path, text: str) -> None:
    found, problems = read(written(tmp_path, text))
    assert len(problems) == 1
    assert len(problems[0]) < 500
    assert problems[0].isprintable()
    if found is not None:
        assert found.narrower(asdict(Config())) == {}
        assert not found.leaves_out(tmp_path / "a.py", "python")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / narrowing.NAME
    os.mkfifo(path)
    assert read(tmp_path) == (None, [])
    path.unlink()
    path.symlink_to("/dev/zero")
    assert read(tmp_path) == (None, [])
    path.unlink()
    with path.open("wb") as file:
        file.truncate(200_000_000)
    assert read(tmp_path) == (None, [])


def test_files_and_languages_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    written(tmp_path, 'exclude = ["*.gen.py", "/private/"]\nlanguages_off = ["markdown"]\n')
    written(tmp_path / "sub", "enabled = false\n")
    folders = Narrowings([tmp_path.as_uri(), (tmp_path / "sub").as_uri(), "untitled:x", "file:"])
    left_out = ("a.gen.py", "private/x.py", "sub/a.py")
    for name in (*left_out, "a.py", "other/private/x.py"):
        uri = (tmp_path / name).as_uri()
        assert folders.leave_out(uri, "python") is (name in left_out), name
        assert folders.leave_out(uri, "markdown")
    assert not folders.leave_out("file:///elsewhere/a.gen.py", "markdown")
    assert not folders.leave_out("untitled:a.gen.py", "python")


async def test_a_session_obeys_it(tmp_path: Path) -> None:
    written(
        tmp_path, 'exclude = ["no.py"]\nprompt_tokens = 64\nmodel = "/evil"\nserver_url = "x"\n'
    )
    folder: Json = {"uri": tmp_path.as_uri(), "name": "x"}
    async with FakeEditor() as editor:
        await editor.start(workspaceFolders=[folder])
        for name in ("model", "server_url"):
            shown = await editor.take("window/showMessage")
            assert f"'{name}' may not be set by a workspace" in shown["message"]
        assert editor.started_with is not None
        assert editor.started_with.prompt_tokens == 64
        assert (editor.started_with.model, editor.started_with.server_url) == ("", "")
        uri = (tmp_path / "no.py").as_uri()
        position = await editor.open(f"x = {CURSOR}\n", uri)
        assert await editor.inline(position, uri) == []
        assert editor.trace.rejects == {"left_out": 1}
        await editor.still_answers()


async def test_a_folder_that_comes_later_narrows_as_well(tmp_path: Path) -> None:
    written(tmp_path, "enabled = false\n")
    event = {"added": [{"uri": tmp_path.as_uri(), "name": "x"}], "removed": []}
    async with FakeEditor() as editor:
        await editor.start()
        uri = (tmp_path / "a.py").as_uri()
        position = await editor.open(f"x = {CURSOR}\n", uri)
        await editor.notify("workspace/didChangeWorkspaceFolders", {"event": event})
        assert await editor.inline(position, uri) == []
        await editor.still_answers()
