"""Which files of a workspace an import may mean.

Owns: the ways in which languages spell the place of a module, told apart by the spelling alone,
and which languages read each other's files.

Invariant: pure; a module outside the workspace gives candidates that are not in it.

Threads: any.
"""

from __future__ import annotations

import functools
import posixpath
import re
from dataclasses import dataclass

from slm_lsp.context.languages import PLAIN_TEXT, language_of, language_of_path
from slm_lsp.context.outline import Import

# A module that is a folder has one of these; the folder's other files are what it offers.
PACKAGE_FILES = ("__init__", "index", "mod", "lib")
MAX_PARTS = 8
_RELATIVE_DOTS = re.compile(r"(\.+)([\w.]*)$")
# What stands for the place of the importing file, or for the workspace.
_HERE = ("crate", "self", "super", "")


@dataclass(frozen=True, slots=True)
class Candidates:
    """Where a module may be, the most likely first: paths without their suffix, ends of such
    paths, and folders."""

    stems: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


def candidates(each: Import, importer: str) -> Candidates:
    """Where the module of an import of the file `importer` may be."""
    module, here = each.module, posixpath.dirname(importer)
    names = [name.name for name in each.names]
    if module.startswith(("./", "../")):
        return _relative(posixpath.normpath(posixpath.join(here, module)))
    dots = _RELATIVE_DOTS.match(module)
    if dots is not None:
        return _dotted(dots[1], [part for part in dots[2].split(".") if part], names, here)
    if "::" in module:
        return _by_parts(module.split("::"), names, here)
    if "/" in module or language_of_path(module) != PLAIN_TEXT:
        return _slashed(module, here)
    return _by_parts(module.split("."), names, here)


@functools.cache
def are_kin(language: str, other: str) -> bool:
    """Whether files of one language may use what those of the other define: they write it down
    in the same way."""
    one, two = language_of(language), language_of(other)
    if one.name == two.name:
        return True
    same = one.header == two.header and one.line_comments == two.line_comments
    return bool(one.header) and same


def stem_of(path: str) -> str:
    """A path without its suffix."""
    stem, suffix = posixpath.splitext(path)
    return stem if suffix else path


def _relative(base: str) -> Candidates:
    if base.startswith(".."):
        return Candidates()
    # A suffix may be the file's own, or that of what it is compiled to, or part of the name.
    stems = [stem_of(base), base] if language_of_path(base) != PLAIN_TEXT else [base]
    return Candidates(stems=(*stems, *_packages(base)), folders=(base,))


def _dotted(dots: str, parts: list[str], names: list[str], here: str) -> Candidates:
    """`.a.b` from here, with a folder up for every dot but the first."""
    folder = here
    for _ in dots[1:]:
        folder = posixpath.dirname(folder)
    base = "/".join([part for part in (folder, *parts) if part])
    found = [base, *_packages(base)] if parts else _packages(base)
    found += [stem for name in names for stem in (_under(base, name), *_packages(base, name))]
    return Candidates(stems=tuple(found), folders=(base,))


def _slashed(module: str, here: str) -> Candidates:
    """A header, or a package by the place where it is published."""
    module = module.lstrip("@~/")
    is_file = language_of_path(module) != PLAIN_TEXT
    module = stem_of(module) if is_file else module
    parts = [part for part in module.split("/") if part not in ("", ".", "..")][-MAX_PARTS:]
    tails = ["/".join(parts[n:]) for n in range(len(parts))]
    if is_file:
        return Candidates(stems=(_under(here, module), module), endings=tuple(tails[:1]))
    # The first parts may be the host's and the repository's.
    stems = [stem for tail in tails[:-1] or tails for stem in (tail, *_packages(tail))]
    return Candidates(stems=tuple(stems), folders=tuple(tails))


def _by_parts(parts: list[str], names: list[str], here: str) -> Candidates:
    """`a.b.C` and `a::b::C`: a file, or a file that holds what comes last."""
    while parts and parts[0] in _HERE:
        parts = parts[1:]
    parts = parts[-MAX_PARTS:]
    if not parts:
        return Candidates()
    base, outer = "/".join(parts), "/".join(parts[:-1])
    endings = [_under(base, name) for name in names if name != parts[-1]]
    endings += [base, *_packages(base)]
    endings += [outer, *_packages(outer)] if outer else []
    near = [_under(here, ending) for ending in endings]
    folders = (base, outer) if outer else (base,)
    return Candidates((*near, *endings), tuple(endings), folders)


def _packages(*folders: str) -> list[str]:
    folder = "/".join(part for part in folders if part)
    return [_under(folder, name) for name in PACKAGE_FILES]


def _under(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
