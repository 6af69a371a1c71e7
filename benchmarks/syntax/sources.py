"""Real source files of ten languages, from packages with free licences.

Owns: reading `sources.toml` and obtaining what it lists: with npm and apt-get, into a folder for
temporary files, once.

Invariant: nothing that is obtained is written into the project. Files come in one order, whatever
the file system says.

Threads: the caller's.
"""

from __future__ import annotations

import subprocess
import sysconfig
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_name("sources.toml")
MIN_CHARS, MAX_CHARS = 1_000, 60_000
MAX_LINE_CHARS = 300
# Not the parser's own tests for broken sources, and no data written as code.
LEFT_OUT = ("test/bad", "lib2to3/tests", "encodings", "pydoc_data", "site-packages", "idlelib")


class NoSource(Exception):
    """A package could not be obtained."""


@dataclass(frozen=True, slots=True)
class Source:
    """A package; `files` is a pattern of paths in it."""

    language: str
    kind: str
    package: str
    licence: str
    files: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """A source file, its path within its package, and its text."""

    language: str
    path: str
    text: str


def listed() -> tuple[list[Source], Mapping[str, tuple[str, str]]]:
    """The sources, and the module and function of each language's grammar."""
    content = tomllib.loads(LIST.read_text(encoding="utf-8"))
    grammars = {name: (each[0], each[1]) for name, each in content["grammars"].items()}
    return [Source(**each) for each in content["source"]], grammars


def folder() -> Path:
    """Where what is obtained lies."""
    return Path(tempfile.gettempdir()) / "slm-lsp-benchmark-sources"


def obtained(source: Source, root: Path) -> Path:
    """The folder with a package's files. Raises NoSource."""
    if source.kind == "stdlib":
        return Path(sysconfig.get_path("stdlib"))
    into = root / f"{source.package}-{source.version}"
    if into.exists():
        return into
    beside = into.with_name(into.name + ".new")
    beside.mkdir(parents=True, exist_ok=True)
    try:
        if source.kind == "npm":
            _run(["npm", "pack", "--silent", f"{source.package}@{source.version}"], beside)
            _run(["tar", "-xzf", _only(beside, "*.tgz")], beside)
        else:
            _run(["apt-get", "download", f"{source.package}={source.version}"], beside)
            _run(["dpkg", "-x", _only(beside, "*.deb"), "."], beside)
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise NoSource(f"{source.package} {source.version}: {error}") from error
    return beside.rename(into)


def files_of(source: Source, at: Path) -> list[File]:
    """The files of a package that are of a fit size, in order."""
    found = []
    for path in sorted(at.glob(source.files)):
        name = path.relative_to(at).as_posix()
        if any(part in name for part in LEFT_OUT) or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        lines = text.split("\n")
        if MIN_CHARS <= len(text) <= MAX_CHARS and max(map(len, lines)) <= MAX_LINE_CHARS:
            found.append(File(source.language, f"{source.package}/{name}", text))
    return found


def _run(command: Sequence[str], at: Path) -> None:
    subprocess.run(command, cwd=at, check=True, capture_output=True)


def _only(at: Path, pattern: str) -> str:
    return sorted(at.glob(pattern))[0].name
