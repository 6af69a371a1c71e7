"""From archives to corpus files: licences, pins, order, and what happens when a source fails."""

import argparse
import gzip
import json
import os
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from models.training import collect, obtain
from models.training.sources import (
    Source,
    SourceError,
    check_licence,
    is_licence_file,
    read_sources,
)

MIT = "MIT License\n\nPermission is hereby granted, free of charge, to any person\n"
GPL = "GNU GENERAL PUBLIC LICENSE\n   Version 3, 29 June 2007\n"
CODE = "".join(
    f"def step_{i}(count: int) -> int:\n    # Move on by {i}.\n    return count + {i}\n"
    for i in range(6)
)
OTHER = "".join(f"class Shape{i}:\n    name = 'shape number {i}'\n\n" for i in range(9))


def wheel(folder: Path, files: dict[str, str]) -> Path:
    path = folder / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def place(raw: Path, files: dict[str, str], version: str = "1.0") -> Path:
    """Puts a wheel where a finished download would be, with its record."""
    folder = raw / "pypi"
    folder.mkdir(parents=True)
    archive = wheel(folder, files)
    sha256 = obtain.checksum(archive)
    record = {"archive": archive.name, "version": version, "sha256": sha256}
    (folder / "thing.json").write_text(json.dumps(record))
    return archive


THING = Source("thing", "pypi", "MIT", ("python",), package="thing", version="1.0")
LICENSED = {"thing-1.0.dist-info/licenses/LICENSE": MIT}


def read(source: Source, work: Path) -> tuple[list[str], collect.Tally]:
    tally = collect.Tally()
    documents, _ = collect.read_source(source, work / "raw", None, tally)
    return [document.path for document in documents], tally


def test_a_wheel_gives_its_clean_files_in_order(tmp_path: Path) -> None:
    files = {"thing/b.py": CODE, "thing/a.py": OTHER, "thing/c.py": "x", "thing/d.so": CODE}
    place(tmp_path / "raw", files | LICENSED)
    paths, tally = read(THING, tmp_path)
    assert paths == ["thing/a.py", "thing/b.py"]
    assert tally.filters == {"too_small": 1}
    assert tally.sources["thing"]["licence"] == "MIT"


def test_a_changed_archive_is_never_read(tmp_path: Path) -> None:
    archive = place(tmp_path / "raw", {"a.py": CODE} | LICENSED)
    archive.write_bytes(archive.read_bytes() + b"more")
    with pytest.raises(SourceError, match="changed on disk; delete it"):
        read(THING, tmp_path)


def test_a_source_without_its_licence_gives_nothing(tmp_path: Path) -> None:
    place(tmp_path / "raw", {"thing/a.py": CODE, "thing-1.0.dist-info/LICENSE": GPL})
    with pytest.raises(SourceError, match="names the GNU GPL"):
        read(THING, tmp_path)


def test_include_exclude_and_limit(tmp_path: Path) -> None:
    names = [f"thing/{c}.py" for c in "abcdefgh"]
    place(tmp_path / "raw", {name: CODE for name in names} | LICENSED)
    some = replace(THING, include=("[abc]",), exclude=("b",))
    assert read(some, tmp_path)[0] == ["thing/a.py", "thing/c.py"]
    limited = replace(THING, max_bytes=3 * len(CODE))
    paths, tally = read(limited, tmp_path)
    assert len(paths) == 3
    assert paths == sorted(paths)
    assert tally.filters["over_source_limit"] == 5


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({}, "no licence text found in it"),
        ({"LICENSE": "All rights reserved."}, "no licence text in it reads like MIT"),
        ({"LICENSE": MIT + GPL}, "names the GNU GPL"),
        ({"LICENSE": MIT, "METADATA": "License: GPLv3\n"}, "names the GNU GPL"),
        ({"LICENSE": MIT, "package.json": '{\n "license": "LGPL-2.1"\n}'}, "names the GNU GPL"),
    ],
)
def test_a_licence_that_contradicts_is_refused(texts: dict[str, str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        check_licence(THING, texts)


def test_a_mention_of_the_gpl_is_no_gpl() -> None:
    check_licence(THING, {"LICENSE": MIT + "compatible with the GNU General Public License v3"})
    bundled = Source("thing", "pypi", "MIT", ("python",), bundled_copyleft="a library")
    check_licence(bundled, {"LICENSE": MIT + GPL})


def test_only_the_archives_own_licence_counts() -> None:
    assert is_licence_file("LICENSE.txt")
    assert is_licence_file("thing-1.0.dist-info/licenses/LICENSE")
    assert not is_licence_file("vendor/zlib/LICENSE")


def git(folder: Path, *arguments: str) -> str:
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    environment = os.environ | dict.fromkeys(names, "nobody")
    command = ["git", "-C", str(folder), "-c", "commit.gpgsign=false", *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout.strip()


def repository(mirror: Path, files: dict[str, str]) -> Source:
    folder = mirror / "someone+thing"
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    commit = git(folder, "rev-parse", "HEAD")
    return Source("thing", "git", "MIT", ("cpp",), repository="someone/thing", commit=commit)


def test_a_mirrored_clone_is_read_at_its_pin_and_headers_follow_the_project(tmp_path: Path) -> None:
    header = "/* Counts the steps that were taken. */\n" + "int step(int count);\n" * 20
    source = repository(tmp_path / "mirror", {"src/a.h": header, "LICENSE": MIT})
    (tmp_path / "mirror" / "someone+thing" / "src" / "a.h").write_text("changed")
    documents, _ = collect.read_source(source, tmp_path, tmp_path / "mirror", collect.Tally())
    assert [(d.path, d.language) for d in documents] == [("src/a.h", "cpp")]
    assert documents[0].text == header


def test_a_missing_pin_or_clone_says_what_to_do(tmp_path: Path) -> None:
    source = repository(tmp_path / "mirror", {"LICENSE": MIT})
    wrong = replace(source, commit="0" * 40)
    with pytest.raises(SourceError, match="update the clone or the pin"):
        collect.read_source(wrong, tmp_path, tmp_path / "mirror", collect.Tally())
    absent = replace(source, repository="someone/else")
    with pytest.raises(SourceError, match="has no clone someone\\+else"):
        collect.read_source(absent, tmp_path, tmp_path / "mirror", collect.Tally())


def test_one_bad_source_does_not_stop_the_others(tmp_path: Path) -> None:
    place(tmp_path / "raw", {"thing/a.py": CODE} | LICENSED)
    bad = Source("bad", "git", "MIT", ("python",), repository="a/b", commit="0")
    options = argparse.Namespace(work=tmp_path, mirror=tmp_path)
    tally = collect.Tally()
    documents, _ = collect.gather([bad, THING], options, tally, Console(quiet=True))
    assert [document.path for document in documents["python"]] == ["thing/a.py"]
    assert len(tally.failures) == 1


def test_records_are_written_whole_and_alike_each_time(tmp_path: Path) -> None:
    place(tmp_path / "raw", {"thing/a.py": CODE} | LICENSED)
    documents, _ = collect.read_source(THING, tmp_path / "raw", None, collect.Tally())
    path = tmp_path / "python.jsonl.gz"
    collect.write_documents(path, documents)
    first = path.read_bytes()
    collect.write_documents(path, documents)
    assert path.read_bytes() == first
    assert first[4:8] == bytes(4)  # no time of writing
    (record,) = map(json.loads, gzip.decompress(first).splitlines())
    assert record == {
        "source": "thing",
        "path": "thing/a.py",
        "language": "python",
        "text": CODE,
        "split": documents[0].split,
    }


def test_the_list_of_sources_is_sound() -> None:
    sources = read_sources(Path(collect.__file__).with_name("sources.toml"))
    assert sources[0].kind == "stdlib"
    for source in sources[1:]:
        assert source.commit or source.version
        assert source.kind != "git" or len(source.commit) == 40


def test_an_unknown_licence_or_a_name_twice_is_refused(tmp_path: Path) -> None:
    entry = '[[source]]\nname = "a"\nkind = "git"\nlicence = "{}"\nlanguages = ["go"]\n'
    path = tmp_path / "sources.toml"
    path.write_text(entry.format("GPL-3.0-only"))
    with pytest.raises(SourceError, match="no permitted licence"):
        read_sources(path)
    path.write_text(entry.format("MIT") * 2)
    with pytest.raises(SourceError, match="lists a twice"):
        read_sources(path)
