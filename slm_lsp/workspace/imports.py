"""Which files of a workspace an import may mean.

Owns: the ways in which languages spell the place of a module, told apart by the spelling alone.

Invariant: pure; a module outside the workspace gives candidates that are not in it.

Threads: any.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from slm_lsp.context.languages import LANGUAGES
from slm_lsp.workspace.shapes import ImportLike

# A module that is a folder has one of these; the folder's other files are what it offers.
PACKAGE_FILES = ("__init__", "index", "mod", "lib")
MAX_PARTS = 8
_RELATIVE_DOTS = re.compile(r"(\.+)([\w.]*)$")


@dataclass(frozen=True, slots=True)
class Candidates:
    """Where a module may be, the most likely first: exact paths, ends of paths, and folders."""

    paths: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


def candidates(each: ImportLike, importer: str, suffixes: Iterable[str]) -> Candidates:
    """Where the module of an import of the file `importer` may be. `suffixes` are those of files
    that the importer's language reads."""
    module, kinds = each.module, tuple(suffixes)
    here = posixpath.dirname(importer)
    if module.startswith(("./", "../")):
        return _relative(posixpath.normpath(posixpath.join(here, module)), kinds)
    dots = _RELATIVE_DOTS.match(module)
    if dots is not None:
        folder = here
        for _ in dots[1][1:]:
            folder = posixpath.dirname(folder)
        parts = [part for part in dots[2].split(".") if part]
        base = "/".join([part for part in (folder, *parts) if part])
        names = [name.name for name in each.names]
        found = [*_files(base, kinds)] if parts else [*_packages(base, kinds)]
        found += [path for name in names for path in _files(_under(base, name), kinds)]
        return Candidates(paths=tuple(found), folders=(base,))
    if "::" in module:
        return _by_parts(module.split("::"), [name.name for name in each.names], kinds, here)
    if "/" in module or module.endswith(tuple(kinds)):
        return _slashed(module, here, kinds)
    return _by_parts(module.split("."), [name.name for name in each.names], kinds, here)


@functools.cache
def suffixes_of(language: str) -> tuple[str, ...]:
    """The suffixes of files that a language may import: its own and those of its kin."""
    own = LANGUAGES.get(language)
    if own is None:
        return ()
    kin = [each for each in LANGUAGES.values() if _are_kin(own.line_comments, own.header, each)]
    return tuple(dict.fromkeys(s for each in (own, *kin) for s in each.suffixes))


def _are_kin(comments: tuple[str, ...], header: str, other: object) -> bool:
    return (
        getattr(other, "header", "") == header and getattr(other, "line_comments", ()) == comments
    )


def _relative(base: str, kinds: tuple[str, ...]) -> Candidates:
    if base.startswith(".."):
        return Candidates()
    stem, suffix = posixpath.splitext(base)
    stems = [base, stem] if suffix in kinds else [base]
    # A source may name the file that it is compiled to.
    paths = [base, *(path for each in stems for path in _files(each, kinds))]
    return Candidates(paths=tuple(dict.fromkeys(paths)), folders=(base,))


def _slashed(module: str, here: str, kinds: tuple[str, ...]) -> Candidates:
    """A header, or a package by the place where it is published."""
    module = module.lstrip("@~/")
    is_file = module.endswith(kinds)
    parts = [part for part in module.split("/") if part not in ("", ".", "..")][-MAX_PARTS:]
    tails = ["/".join(parts[n:]) for n in range(len(parts))]
    if is_file:
        return Candidates(
            paths=(_under(here, module), module), endings=(tails[0],) if tails else ()
        )
    # The first parts may be the host's and the repository's.
    files = [path for tail in tails[:-1] or tails for path in _files(tail, kinds)]
    return Candidates(paths=tuple(files), folders=tuple(tails))


def _by_parts(parts: list[str], names: list[str], kinds: tuple[str, ...], here: str) -> Candidates:
    """`a.b.C` and `a::b::C`: a file, or a file that holds what comes last."""
    while parts and parts[0] in ("crate", "self", "super", ""):
        parts = parts[1:]
    parts = parts[-MAX_PARTS:]
    endings: list[str] = []
    folders: list[str] = []
    if parts:
        base = "/".join(parts)
        for name in names:
            if name != parts[-1]:
                endings += _files(_under(base, name), kinds)
        endings += _files(base, kinds)
        folders.append(base)
        if len(parts) > 1:
            endings += _files("/".join(parts[:-1]), kinds)
            folders.append("/".join(parts[:-1]))
    near = [_under(here, ending) for ending in endings]
    return Candidates(tuple([*near, *endings]), tuple(endings), tuple(folders))


def _files(base: str, kinds: tuple[str, ...]) -> list[str]:
    return [*(base + kind for kind in kinds), *_packages(base, kinds)]


def _packages(base: str, kinds: tuple[str, ...]) -> list[str]:
    return [_under(base, name + kind) for name in PACKAGE_FILES for kind in kinds]


def _under(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
