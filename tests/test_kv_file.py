"""KV sequences on the disk: what is written, refused, kept and deleted; and who sees it.

Owns: one file of a known sequence, and what may be done to it.
Invariant: whatever a file holds, it is read as it was written or not at all, and nothing raises.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slm_lsp.deadline import Deadline, FakeClock
from slm_lsp.engine import kv_file, kv_folder
from slm_lsp.engine.kv_file import HEAD, KvFiles

N_CTX = 512
KEY = "file:///a.py"
TOKENS = list(range(100, 200))
STATE = bytearray(range(256)) * 9
ANY_TIME = Deadline.after(1e6, FakeClock())
QUICK = settings(
    derandomize=True,
    deadline=None,
    max_examples=150,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def files_in(folder: Path, identity: str = "m", n_ctx: int = N_CTX) -> KvFiles:
    return KvFiles(folder, identity, n_ctx)


def written(folder: Path, key: str = KEY, identity: str = "m", tokens: list[int] = TOKENS) -> Path:
    files = files_in(folder, identity)
    files.write(key, tokens, STATE, ANY_TIME)
    return files.path_of(key)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def overwrite(path: Path, raw: bytes) -> None:
    """As somebody may who is this user."""
    path.write_bytes(raw)
    path.chmod(0o600)


# --- the format ---


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = written(tmp_path / "kv")
    files = files_in(tmp_path / "kv")
    [kept] = files.kept
    assert (kept.path, kept.tokens, kept.n_bytes) == (path, TOKENS, len(STATE))
    assert files.read(kept) == STATE
    assert files.kept == [kept]


def test_a_document_has_one_file_and_its_name_tells_nothing(tmp_path: Path) -> None:
    written(tmp_path)
    path = written(tmp_path, tokens=[1, 2])
    assert names(tmp_path) == [path.name]
    assert "a.py" not in path.name
    assert b"a.py" not in path.read_bytes()
    assert [kept.tokens for kept in files_in(tmp_path).kept] == [[1, 2]]
    written(tmp_path, key="file:///b.py")
    assert len(files_in(tmp_path).kept) == 2


def test_another_models_sequences_are_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert files_in(tmp_path, "another").kept == []
    assert path.exists()


def test_another_models_file_under_our_name_is_deleted(tmp_path: Path) -> None:
    path = files_in(tmp_path).path_of(KEY)
    written(tmp_path, identity="another").rename(path)
    assert files_in(tmp_path).kept == []
    assert not path.exists()


def test_a_sequence_longer_than_the_context_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert files_in(tmp_path, n_ctx=len(TOKENS)).kept
    assert files_in(tmp_path, n_ctx=len(TOKENS) - 1).kept == []
    assert not path.exists()


@QUICK
@given(at=st.integers(0), to=st.integers(1, 255))
def test_one_wrong_byte_anywhere_is_found(tmp_path: Path, at: int, to: int) -> None:
    path = written(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[at % len(raw)] ^= to
    refused(path, bytes(raw))


def test_each_byte_of_the_header_counts(tmp_path: Path) -> None:
    raw = written(tmp_path).read_bytes()
    for at in range(HEAD.size + 4):
        path = written(tmp_path)
        refused(path, raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])


@QUICK
@given(st.integers(0), st.binary(max_size=99))
def test_a_file_cut_short_or_longer_is_found(tmp_path: Path, end: int, more: bytes) -> None:
    path = written(tmp_path)
    raw = path.read_bytes()
    refused(path, raw[: end % len(raw)])
    refused(path, raw + b"\0" + more)


@QUICK
@given(st.binary(max_size=300), st.booleans())
def test_whatever_a_file_holds_nothing_raises(tmp_path: Path, raw: bytes, begins: bool) -> None:
    refused(files_in(tmp_path).path_of(KEY), kv_file.MAGIC + b"\1\0" + raw if begins else raw)


def refused(path: Path, raw: bytes) -> None:
    """Such a file is deleted when it is found, or at the latest when it is read."""
    overwrite(path, raw)
    files = files_in(path.parent)
    for kept in files.kept:
        assert files.read(kept) is None
    assert files.kept == []
    assert not path.exists()


def test_a_file_that_was_replaced_meanwhile_is_known_anew(tmp_path: Path) -> None:
    written(tmp_path)
    files = files_in(tmp_path)
    [before] = files.kept
    path = written(tmp_path, tokens=[1, 2, 3])
    assert files.read(before) is None
    [now] = files.kept
    assert now.tokens == [1, 2, 3]
    assert files.read(now) == STATE
    path.unlink()
    assert files.read(now) is None
    assert files.kept == []


def test_what_is_kept_already_is_not_written_again(tmp_path: Path) -> None:
    path = written(tmp_path)
    os.utime(path, (path.stat().st_mtime - 1000,) * 2)
    before = path.stat()
    files = files_in(tmp_path)
    assert not files.holds(KEY, TOKENS[:-1])
    assert not files.holds("file:///b.py", TOKENS)
    assert path.stat().st_mtime == before.st_mtime
    assert files.holds(KEY, TOKENS)
    after = path.stat()
    assert after.st_ino == before.st_ino
    assert after.st_mtime > before.st_mtime + 500
    path.unlink()
    assert not files.holds(KEY, TOKENS)


# --- who may see it ---


def test_only_the_user_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = written(tmp_path / "cache" / "kv")
    finally:
        os.umask(before)
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)


def test_a_folder_that_others_can_enter_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    written(tmp_path)
    assert mode(tmp_path) == 0o700


@pytest.mark.parametrize("other", ["mode", "user", "link", "pipe", "folder"])
def test_what_others_may_have_written_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    path = written(tmp_path / "kv")
    if other == "mode":
        path.chmod(0o640)
    elif other == "user":
        monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    else:
        path.rename(tmp_path / "elsewhere")
        if other == "link":
            path.symlink_to(tmp_path / "elsewhere")
        elif other == "pipe":
            os.mkfifo(path, 0o600)
        else:
            path.mkdir(0o700)
    assert files_in(tmp_path / "kv").kept == []
    assert path.exists() is (other == "folder")
    assert (tmp_path / "elsewhere").exists() is (other not in ("mode", "user"))


def test_anothers_folder_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    files = files_in(tmp_path)
    for key in ("a", "b"):
        files.write(key, TOKENS, STATE, ANY_TIME)
    assert names(tmp_path) == []
    assert caplog.text.count("could not be written") == 1  # it is said once


# --- when it goes wrong ---


def test_a_folder_that_cannot_be_made_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "kv"
    in_the_way.touch()
    written(in_the_way)
    written(in_the_way / "deeper")
    assert caplog.text.count("could not be written") == 2
    kv_folder.clear(in_the_way)
    assert in_the_way.exists()


def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        written(tmp_path, tokens=[1])
    assert "No space left" in caplog.text
    assert names(tmp_path) == [path.name]
    assert [kept.tokens for kept in files_in(tmp_path).kept] == [TOKENS]


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_what_takes_too_long_to_write_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files_in(tmp_path).write(KEY, TOKENS, STATE, Deadline.after(0.0, FakeClock()))
    assert names(tmp_path) == []
    assert "no time left" in caplog.text


def test_a_file_that_cannot_be_opened_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path)
    files = files_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        assert files.read(files.kept[0]) is None
    assert files.kept == []
    assert "could not be read" in caplog.text
    assert path.exists()


# --- how long, how much ---


def aged(folder: Path, name: str, age_s: float, n_bytes: int = 1) -> Path:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(n_bytes)
    date = path.stat().st_mtime - age_s
    os.utime(path, (date, date))
    return path


def test_what_is_old_is_deleted_at_the_start_and_when_another_is_written(tmp_path: Path) -> None:
    for act in (lambda: files_in(tmp_path), lambda: written(tmp_path)):
        aged(tmp_path, "old.kv", kv_folder.MAX_AGE_S + 60)
        aged(tmp_path, "future.kv", -kv_folder.MAX_AGE_S - 60)
        aged(tmp_path, "dead.kv.1.part", kv_folder.MAX_PART_AGE_S + 60)
        aged(tmp_path, "young.kv", kv_folder.MAX_AGE_S - 60)
        aged(tmp_path, "writing.kv.1.part", 0)
        aged(tmp_path, "not-ours", 1e9)
        act()
        left = set(names(tmp_path)) - {files_in(tmp_path).path_of(KEY).name}
        assert left == {"not-ours", "writing.kv.1.part", "young.kv"}


def test_the_oldest_make_room(tmp_path: Path) -> None:
    third = kv_folder.MAX_TOTAL_BYTES // 3
    for n in range(4):
        aged(tmp_path, f"{n}.kv", n * 60, third)
    kv_folder.prune(tmp_path)
    assert names(tmp_path) == ["0.kv", "1.kv", "2.kv"]
    for n in range(30):
        aged(tmp_path, f"few{n}.kv", 30 + n)
    kv_folder.prune(tmp_path)
    assert len(names(tmp_path)) == kv_folder.MAX_FILES
    assert "0.kv" in names(tmp_path)


def test_all_is_deleted_where_nothing_is_to_be_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    written(tmp_path)
    written(tmp_path, identity="another")
    aged(tmp_path, "x.kv.1.part", 0)
    aged(tmp_path, "not-ours", 0)
    (tmp_path / "folder.kv").mkdir()
    kv_folder.clear(tmp_path)
    assert names(tmp_path) == ["folder.kv", "not-ours"]
    assert "cannot be deleted" in caplog.text
    kv_folder.clear(tmp_path / "none")
