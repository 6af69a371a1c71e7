"""The index of one workspace folder on the disk: an SQLite file.

Owns: where it is, its schema, and the ways to open it.

    files        id, path, folder, stem, language, mtime_ns, size, n_words
    definitions  name, file, line            what a line of the file defines
    words        FTS5 over the different identifiers of a file; its rowid is the file's id

An id is never used twice. What belonged to a file that changed or went stays in `definitions` and
`words` under an id that `files` does not know any more, until there is so much of it that the
whole is made anew.

Invariant: the folder is 0700 and the file 0600, as it tells what the user's source holds. A file
of another version, or one that is broken, is deleted and made anew by whoever writes, never read.

Threads: a connection belongs to the thread that opened it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import stat
from pathlib import Path

VERSION = 1
# Of all workspaces together.
MAX_INDEXES = 24
SUFFIX = ".index"
_SIDE_FILES = ("", "-wal", "-shm", "-journal")
_SCHEMA = """
create table files (
    id integer primary key autoincrement, path text not null unique, folder text not null,
    stem text not null, language text not null, mtime_ns integer not null, size integer not null,
    n_words integer not null);
create index files_at on files (folder, stem);
create index files_called on files (stem);
create table definitions (
    name text not null, file integer not null, line integer not null,
    primary key (name, file, line)) without rowid;
create table facts (name text primary key, value text not null);
"""
_WORDS = """
create virtual table words using fts5 (
    text, content='', columnsize=0, detail=none, tokenize="ascii tokenchars '_$'")
"""


def default_folder() -> Path:
    """The user's cache folder for indexes of workspaces."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("slm-lsp")) / "workspace"


def index_path(folder: Path, root: Path) -> Path:
    """The index of a workspace folder."""
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()
    return folder / f"{digest[:20]}{SUFFIX}"


def open_to_read(path: Path) -> sqlite3.Connection | None:
    """A connection that changes nothing and waits for nobody; None where there is no index of
    this version. Raises sqlite3.DatabaseError if it is broken."""
    if not path.is_file():
        return None
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.0)
    try:
        if connection.execute("pragma user_version").fetchone()[0] == VERSION:
            return connection
    except sqlite3.Error:
        connection.close()
        raise
    connection.close()
    return None


def open_to_write(path: Path) -> sqlite3.Connection:
    """A connection to an index, made anew where there is none of this version or it is broken.
    The caller holds the index's lock. Raises OSError, sqlite3.Error."""
    make_private(path.parent)
    try:
        connection = _open(path)
        if _version(connection) == VERSION:
            return connection
        connection.close()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise
    delete(path)
    connection = _open(path)
    connection.executescript(_SCHEMA)
    with contextlib.suppress(sqlite3.OperationalError):  # SQLite without FTS5
        connection.execute(_WORDS)
    # Last: what was begun only has no version.
    connection.execute(f"pragma user_version = {VERSION}")
    return connection


def has_words(connection: sqlite3.Connection) -> bool:
    """Whether the index knows the identifiers of files."""
    found = connection.execute("select 1 from sqlite_master where name = 'words'").fetchone()
    return found is not None


def delete(path: Path) -> None:
    """Delete an index and what SQLite keeps beside it. Raises OSError."""
    for each in _SIDE_FILES:
        path.with_name(path.name + each).unlink(missing_ok=True)


def prune(folder: Path, keep: Path) -> None:
    """Delete the indexes that were not written for longest, where there are too many."""
    with contextlib.suppress(OSError):
        found = [each for each in folder.iterdir() if each.suffix == SUFFIX and each != keep]
        found.sort(key=lambda each: -each.stat().st_mtime)
        for each in found[MAX_INDEXES - 1 :]:
            delete(each)
            each.with_suffix(".lock").unlink(missing_ok=True)


def _open(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None)
    # Readers are not kept waiting, and a killed writer leaves its last commit.
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
    connection.execute("pragma cache_size = -16000")
    return connection


def _version(connection: sqlite3.Connection) -> int:
    connection.execute("select count(*) from sqlite_master").fetchone()
    return int(connection.execute("pragma user_version").fetchone()[0])


def make_private(folder: Path) -> None:
    """Make a folder that only this user can enter. Raises OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    is_ours = os.name != "posix" or status.st_uid == os.getuid()
    if not stat.S_ISDIR(status.st_mode) or not is_ours:
        raise PermissionError(f"{folder} is not a folder of yours")
    if os.name == "posix" and status.st_mode & 0o077:
        folder.chmod(0o700)
