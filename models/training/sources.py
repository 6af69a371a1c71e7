"""The list of sources (sources.toml) and the check of their licences.

Invariant: nothing is read from a source unless its declared licence is permissive and the licence
text that came with it says the same. Pure but for reading the list; any thread.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from models.training.document import LANGUAGES

KINDS = ("stdlib", "pypi", "npm", "git")

_MIT = "Permission is hereby granted, free of charge"
_BSD = "Redistribution and use in source and binary forms"
LICENCE_MARKS: dict[str, str] = {
    "0BSD": "Permission to use, copy, modify, and/or distribute this software",
    "Apache-2.0": "Apache License",
    "BSD-2-Clause": _BSD,
    "BSD-3-Clause": _BSD,
    "BSL-1.0": "Boost Software License",
    "CC0-1.0": "CC0",
    "curl": "Permission to use, copy, modify, and distribute this software for any purpose",
    "ISC": "Permission to use, copy, modify, and",
    "MIT": _MIT,
    "MIT-0": _MIT,
    "MPL-2.0": "Mozilla Public License",
    "PSF-2.0": "PYTHON SOFTWARE FOUNDATION LICENSE",
    "Unlicense": "released into the public domain",
    "Zlib": "freely, subject to the following restrictions",
}
"""Permitted licences and words that their texts are known by."""

_LICENCE_FILE = re.compile(r"(?:LICEN[SC]E|COPYING)[-_.\w]*", re.I)
_METADATA_FILES = ("METADATA", "package.json")
_COPYLEFT_TEXT = re.compile(
    r"GNU\s+(?:LESSER\s+|LIBRARY\s+|AFFERO\s+)?GENERAL\s+PUBLIC\s+LICENSE\s+Version\s+[\d.]+,"
    r"\s+\d*\s*(?:June|November|February)",  # the title of the text itself, not a mention of it
    re.I,
)
_COPYLEFT_METADATA = re.compile(
    r"^(?:License|License-Expression|Classifier: License|\s*\"license\"):?.*(?:\b[AL]?GPL|GNU)",
    re.M,
)


class SourceError(Exception):
    """A source that cannot be used, with what to do about it."""


@dataclass(frozen=True)
class Source:
    """One entry of sources.toml."""

    name: str
    kind: str
    licence: str
    languages: tuple[str, ...]
    package: str = ""
    version: str = ""
    repository: str = ""
    commit: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_bytes: int = 0
    bundled_copyleft: str = ""

    def takes(self, path: str) -> bool:
        """Whether the include and exclude patterns (regular expressions) let a path in."""
        if self.include and not any(re.search(pattern, path) for pattern in self.include):
            return False
        return not any(re.search(pattern, path) for pattern in self.exclude)


def read_sources(path: Path) -> list[Source]:
    """The sources in the order of the list, which is their priority among near duplicates."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["source"]
    sources = [_source(entry) for entry in entries]
    names = [source.name for source in sources]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SourceError(f"{path.name} lists {', '.join(sorted(twice))} twice; rename one")
    return sources


def _source(entry: Mapping[str, object]) -> Source:
    lists = ("languages", "include", "exclude")
    fields = {k: tuple(v) if k in lists else v for k, v in entry.items()}  # type: ignore[arg-type]
    source = Source(**fields)  # type: ignore[arg-type]
    if source.kind not in KINDS:
        raise SourceError(f"{source.name}: kind {source.kind!r} is none of {', '.join(KINDS)}")
    if unknown := set(source.languages) - set(LANGUAGES):
        raise SourceError(f"{source.name}: unknown languages {', '.join(sorted(unknown))}")
    for alternative in source.licence.split(" OR "):
        if alternative not in LICENCE_MARKS:
            raise SourceError(f"{source.name}: {alternative} is no permitted licence; drop it")
    return source


def is_licence_file(path: str) -> bool:
    """Whether a path names a licence text or metadata of the whole archive, not of a part of it."""
    pure = PurePosixPath(path)
    if len(pure.parts) > 1 and not pure.parts[0].endswith(".dist-info"):
        return False
    return bool(_LICENCE_FILE.fullmatch(pure.name)) or pure.name in _METADATA_FILES


def check_licence(source: Source, texts: Mapping[str, str]) -> None:
    """Raises SourceError unless the licence texts found agree with the declared licence."""
    for path, text in texts.items():
        named = path.endswith(_METADATA_FILES) and _COPYLEFT_METADATA.search(text)
        if named or (_COPYLEFT_TEXT.search(text) and not source.bundled_copyleft):
            raise SourceError(
                f"{source.name}: {path} names the GNU GPL; drop the source, or say in"
                " `bundled_copyleft` which part it covers and exclude that part"
            )
    if not texts:
        raise SourceError(f"{source.name}: no licence text found in it; check by hand or drop it")
    flat = [" ".join(text.split()).lower() for text in texts.values()]
    for alternative in source.licence.split(" OR "):
        mark = LICENCE_MARKS[alternative].lower()
        if any(mark in text for text in flat):
            return
    raise SourceError(
        f"{source.name}: no licence text in it reads like {source.licence}; correct sources.toml"
    )
