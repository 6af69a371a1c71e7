"""Writing settings: what changes in the file, what stays, and what is refused.

Invariant: a file that could be read before can be read afterwards, whatever happens between.
"""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.config import FIELDS, load
from slm_lsp.settings_file import SettingsError, config_path, write_settings

MANY = settings(derandomize=True, deadline=None, max_examples=120, database=None)


def check(before: str, values: dict[str, Any], expect: str, folder: Path) -> None:
    path = folder / "config.toml"
    path.write_bytes(before.encode())
    assert write_settings(values, path) == path
    assert path.read_bytes().decode() == expect
    assert [file.name for file in folder.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    ("before", "values", "expect"),
    [
        ("", {"threads": 2}, "threads = 2\n"),
        ("# mine\n", {"threads": 2}, "# mine\nthreads = 2\n"),
        ("threads = 1  # why\nmodel = 'x'\n", {"threads": 2}, "threads = 2  # why\nmodel = 'x'\n"),
        ("threads = 1", {"threads": 2}, "threads = 2\n"),
        ("threads = 1", {"batch_threads": 2}, "threads = 1\nbatch_threads = 2\n"),
        # What the server does not know may be somebody else's, or a later version's.
        ("new = [1, # a\n 2]\n", {"threads": 2}, "new = [1, # a\n 2]\nthreads = 2\n"),
        # Written behind a table's head it would be of that table.
        ("a = 1\n\n[t]\nb = 2\n", {"threads": 2}, "a = 1\nthreads = 2\n\n[t]\nb = 2\n"),
        ("a = 1\r\n# b\r\n", {"threads": 2}, "a = 1\r\n# b\r\nthreads = 2\r\n"),
        ("threads = 1\r\nmodel = 'x'", {"threads": 2}, "threads = 2\r\nmodel = 'x'\r\n"),
        # Nothing to change: nothing changes, though it could be written otherwise.
        ("threads=0x2", {"threads": 2}, "threads=0x2"),
        ("threads = '2'\n", {"threads": 2}, "threads = 2\n"),
        ('"threads" = 1\n', {"threads": "2"}, '"threads" = 2\n'),
    ],
)
def test_what_is_written(before: str, values: dict[str, Any], expect: str, tmp_path: Path) -> None:
    check(before, values, expect, tmp_path)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"threads": -1}, "threads must be from 0 to 256, not -1"),
        ({"threads": 1, "modle": "x"}, "no setting 'modle'; did you mean 'model'"),
        ({"engine": "fast"}, "engine must be"),
        ({"model": "/models/\udcff.gguf"}, "model: .* not Unicode"),
    ],
)
def test_a_wrong_value_is_refused_and_nothing_is_written(
    values: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=says):
        write_settings(values, tmp_path / "folder" / "config.toml")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("before", "says"),
    [
        (b"threads = 1\nthreads = 2\n", "not valid TOML .*line 2.* mend that line"),
        (b"model = \n", "not valid TOML .*line 1"),
        (b"model = '\xff'\n", "not UTF-8"),
        (b"\xef\xbb\xbfthreads = 1\n", "not valid TOML"),  # as reading it says
        (b"a = " + b"[" * 5000, "not valid TOML"),
        # Its comments would go with it.
        (b"[threads]\n# mine\n", "threads is a table there"),
    ],
)
def test_a_file_that_holds_something_else_is_left_alone(
    before: bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(before)
    assert load(path)[1]
    with pytest.raises(SettingsError, match=says):
        write_settings({"threads": 2}, path)
    assert path.read_bytes() == before


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = write_settings({"threads": 2}, tmp_path / "folder" / "config.toml")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_a_link(there: bool, tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles" / "slm.toml"
    if there:
        kept.parent.mkdir()
        kept.write_text("# kept\n")
    middle, path = tmp_path / "middle.toml", tmp_path / "config.toml"
    middle.symlink_to(kept)
    path.symlink_to("middle.toml")
    write_settings({"threads": 2}, path)
    assert path.is_symlink()
    assert middle.is_symlink()
    assert kept.read_text() == ("# kept\n" if there else "") + "threads = 2\n"


def test_what_is_read_only_stays_and_the_lines_are_said(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("# made by a tool\n")
    path.chmod(0o444)
    with pytest.raises(SettingsError, match=r'read-only.*threads = 2, model = "a"'):
        write_settings({"threads": 2, "model": "a"}, path)
    assert path.read_text() == "# made by a tool\n"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "config.toml", tmp_path):
        with pytest.raises(SettingsError, match=r"cannot be written: .*threads = 2"):
            write_settings({"threads": 2}, path)


def test_a_failure_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("threads = 1\n")

    def fails(source: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(SettingsError, match="No space left"):
        write_settings({"threads": 2}, path)
    assert path.read_text() == "threads = 1\n"
    assert [file.name for file in tmp_path.iterdir()] == ["config.toml"]


def test_the_users_file_is_the_one_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert write_settings({"threads": 3}) == config_path()
    config, problems = load(config_path())
    assert (config.threads, problems) == (3, [])


def good_values(name: str) -> st.SearchStrategy[Any]:
    low, high = FIELDS[name].metadata["low"], FIELDS[name].metadata["high"]
    if FIELDS[name].metadata["choices"]:
        return st.sampled_from(FIELDS[name].metadata["choices"])
    if isinstance(FIELDS[name].default, str):
        return st.text(st.characters(exclude_categories=["Cs"]))
    if isinstance(FIELDS[name].default, int):
        return st.integers(low, high)
    return st.floats(low, high)


VALUES = st.sets(st.sampled_from(sorted(FIELDS)), max_size=4).flatmap(
    lambda names: st.fixed_dictionaries({name: good_values(name) for name in sorted(names)})
)
LINES = st.lists(
    st.sampled_from(
        [
            *("# a comment", "", "threads = 1 # mine", "model = 'x'", 'model = """a\n b"""'),
            *("other = 'y'", "[table]", "threads_ = 2", "x.y = 1", "x.z = [1,\n\n # c\n 2]"),
            *('  "batch_threads" = 4', "[[many]]", "[x.w]", "drafts = 'on'"),
        ]
    ),
    max_size=8,
)


@MANY
@given(lines=LINES, end=st.sampled_from(["\n", "\r\n"]), last=st.booleans(), values=VALUES)
def test_any_file_takes_any_values_and_keeps_the_rest(
    lines: list[str], end: str, last: bool, values: dict[str, Any], tmp_path_factory: Any
) -> None:
    before = end.join(line.replace("\n", end) for line in lines) + (end if last else "")
    path = Path(os.path.join(tmp_path_factory.getbasetemp(), "any.toml"))
    path.write_bytes(before.encode())
    try:
        was = tomllib.loads(before)
    except ValueError:
        with pytest.raises(SettingsError, match="not valid TOML"):
            write_settings(values, path)
        assert path.read_bytes().decode() == before
        return
    write_settings(values, path)
    after = path.read_bytes().decode()
    assert tomllib.loads(after) == {**was, **values}
    assert after.count("#") - before.count("#") == sum(
        str(values[name]).count("#") - str(was.get(name, "")).count("#") for name in values
    )
    if "\n" in before:
        assert ("\r\n" in after) == (end == "\r\n")
    # Once more, nothing is left to be changed.
    write_settings(values, path)
    assert path.read_bytes().decode() == after
