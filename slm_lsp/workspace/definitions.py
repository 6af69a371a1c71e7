"""Definitions of the names near a cursor, found through the imports of its file.

Owns: what is known of imports and of files that define something, and the order among several
definitions of one name.

Invariant: a file is read and outlined only if `may_read`; without that only the index and what
was read before are asked. `stop` is asked before every name and every file. Caches are bounded, and
what is cached belongs to one version of a file.

Threads: the completer's worker.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from slm_lsp.context.languages import language_of, language_of_path
from slm_lsp.context.outline import Import, Outline, imports
from slm_lsp.text.whitespace import unix_lines
from slm_lsp.workspace.base import OutlineOf
from slm_lsp.workspace.files import read_source
from slm_lsp.workspace.identifiers import token_set
from slm_lsp.workspace.import_lines import imports_of
from slm_lsp.workspace.imports import PACKAGE_FILES, are_kin, candidates
from slm_lsp.workspace.live import LiveFile, LiveFiles
from slm_lsp.workspace.names import is_distinctive, is_telling
from slm_lsp.workspace.pieces import Piece
from slm_lsp.workspace.rendering import find, shown
from slm_lsp.workspace.roots import Root, Roots

MAX_DEFINITIONS = 10
# A name that has more definitions than this, none of them imported, tells nothing.
MAX_HOMONYMS = 3
MAX_FOUND = 24
MAX_FILES_AN_IMPORT, MAX_FILES_IMPORTED, MAX_FILES_A_FOLDER = 8, 64, 40
MAX_OUTLINES, MAX_LOOKUPS, MAX_IMPORTERS = 64, 2000, 32
HEAD_CHARS = 60_000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Site:
    """Where a name is defined: in a file of a folder's index, or in a live one. `key` is the
    file's path on the disk."""

    name: str
    root: Root | None
    path: str
    key: str
    line: int
    version: int
    live: LiveFile | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file imports: `files` of the workspace, folders that are packages, and `names`
    by what they are called there."""

    key: object
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    serial: int = 0


class Definitions:
    """See the module."""

    def __init__(self, roots: Roots, live: LiveFiles, outline_of: OutlineOf) -> None:
        self._roots, self._live, self._outline_of = roots, live, outline_of
        self._imported: OrderedDict[str, Imported] = OrderedDict()
        # Of each document the revision whose imports were looked at last.
        self._looked_at: dict[str, int] = {}
        self._n_resolved = 0
        self._sites: OrderedDict[object, Site | None] = OrderedDict()
        self._shown: OrderedDict[Site, Piece | None] = OrderedDict()
        self._outlines: OrderedDict[object, Outline] = OrderedDict()

    def find(
        self,
        uri: str,
        language: str,
        names: Sequence[tuple[str, bool]],
        stop: Callable[[], bool],
        may_read: bool,
    ) -> tuple[list[Piece], bool]:
        """The definitions of names as they are shown, in the order of the names; and whether
        nothing had to be left out. With each name comes whether the document defines it itself:
        then only what is imported may be meant, too."""
        imported, complete = self._imports(uri, language, stop, may_read)
        others = tuple(each.revision for each in self._live.others(uri) if each.is_read)
        scope = (uri, language, imported.serial, others, self._generation())
        pieces: list[Piece] = []
        for name, is_own in names:
            if stop():
                return pieces, False
            if len(pieces) >= MAX_DEFINITIONS:
                break
            key = (name, is_own, scope)
            if key not in self._sites:
                place = self._place(uri, language, name, imported, is_own)
                if stop():  # questions to the index may have been given up
                    return pieces, False
                _put(self._sites, key, place, MAX_LOOKUPS)
            site = self._sites[key]
            if site is not None and site not in self._shown:
                outline = self._outline(site, stop, may_read)
                if outline is None:
                    complete = False
                    continue
                _put(self._shown, site, _piece(site, outline), MAX_LOOKUPS)
            piece = self._shown[site] if site is not None else None
            pieces += [piece] if piece is not None else []
        return pieces, complete

    # --- imports ---

    def _imports(
        self, uri: str, language: str, stop: Callable[[], bool], may_read: bool
    ) -> tuple[Imported, bool]:
        """What a document imports, as it was when it was last looked at."""
        known = self._imported.get(uri, Imported(None))
        document = self._live.get(uri)
        if document is None or not may_read:
            return known, document is None or self._looked_at.get(uri) == document.revision
        head = document.text[:HEAD_CHARS]
        # Grammars take longer than lines, and imports seldom change.
        key = (imports_of(head), document.key, self._generation())
        if key != known.key and not stop():
            found = imports(language_of(language), head, stop) or key[0]
            known = self._resolved(key, found, document.key, language, stop)
            if stop():
                return known, False
            _put(self._imported, uri, known, MAX_IMPORTERS)
            self._looked_at = {each: self._looked_at.get(each, 0) for each in self._imported}
        self._looked_at[uri] = document.revision
        return known, True

    def _resolved(
        self,
        key: object,
        found: Sequence[Import],
        importer: str,
        language: str,
        stop: Callable[[], bool],
    ) -> Imported:
        files: dict[str, None] = {}
        folders: dict[str, None] = {}
        names: dict[str, str] = {}
        for each in found:
            if stop():
                break
            names.update({name.local: name.name for name in each.names})
            for root in self._roots.all:
                inner = importer.removeprefix(f"{root.folder.as_posix()}/")
                wanted = candidates(each, inner)
                paths = root.reader.at(wanted.stems)
                for ending in wanted.endings if not paths else ():
                    paths = paths or root.reader.ending(ending)
                for folder in wanted.folders if not paths else ():
                    paths = paths or root.reader.in_folder(folder, MAX_FILES_A_FOLDER)
                paths = [path for path in paths if are_kin(language, language_of_path(path))]
                for path in paths[:MAX_FILES_AN_IMPORT]:
                    files[_absolute(root, path)] = None
                    folder, _, base = path.rpartition("/")
                    if base.partition(".")[0] in PACKAGE_FILES and folder:
                        folders[_absolute(root, folder) + "/"] = None
        kept = list(files)[:MAX_FILES_IMPORTED]
        self._n_resolved += 1
        return Imported(key, tuple(sorted(kept)), tuple(folders), names, self._n_resolved)

    # --- definitions ---

    def _place(
        self, uri: str, language: str, name: str, imported: Imported, is_own: bool
    ) -> Site | None:
        """Where a name is defined, most likely; None where nobody can tell."""
        document = self._live.get(uri)
        own = document.key if document is not None else ""
        spelt = imported.names.get(name, name)
        if not is_telling(spelt):
            return None
        files = frozenset(imported.files)
        here = own.rpartition("/")[0]
        hidden = self._live.keys()
        sites = [each for each in self._indexed(spelt, imported) if each.key not in hidden]
        for each in self._live.others(uri):
            if each.is_read and spelt in each.defined():
                line = each.defined()[spelt]
                sites.append(Site(spelt, None, each.path, each.key, line, each.revision, each))

        def rank(site: Site) -> int:
            if site.key in files:
                return 0
            if site.key.startswith(imported.folders):
                return 1
            return 2 if site.key.rpartition("/")[0] == here else 3

        sites = [
            each
            for each in sites
            if each.key != own and are_kin(language, language_of_path(each.path))
        ]
        sites.sort(key=lambda each: (rank(each), each.path, each.line))
        is_guess = bool(sites) and rank(sites[0]) > 1
        is_clear = is_distinctive(spelt) and not is_own and len(sites) <= MAX_HOMONYMS
        if is_guess and not is_clear:
            return None
        return sites[0] if sites else None

    def _indexed(self, name: str, imported: Imported) -> list[Site]:
        sites: dict[Site, None] = {}
        for root in self._roots.all:
            folder = root.folder.as_posix() + "/"
            paths = [each.removeprefix(folder) for each in imported.files]
            found = root.reader.defining_in(name, paths, MAX_FOUND) if paths else []
            for each in (*found, *root.reader.defining(name, MAX_FOUND)):
                key = folder + each.path
                sites[Site(name, root, each.path, key, each.line, each.version)] = None
        return list(sites)

    def _outline(self, site: Site, stop: Callable[[], bool], may_read: bool) -> Outline | None:
        """The outline of a file; None if it is not read yet."""
        key = (site.key, site.version, site.live is not None)
        known = self._outlines.get(key)
        if known is not None:
            self._outlines.move_to_end(key)
            return known
        if not may_read or stop():
            return None
        text = site.live.text if site.live is not None else ""
        if site.root is not None:
            source = read_source(site.root.folder / site.path)
            text = unix_lines(source[1]) if source is not None else ""
        outline = self._outline_of(language_of_path(site.path), text, stop)
        if stop():  # perhaps only half of it
            return None
        _put(self._outlines, key, outline, MAX_OUTLINES)
        return outline

    def _generation(self) -> tuple[int, ...]:
        return tuple(root.reader.generation for root in self._roots.all)


def _absolute(root: Root, path: str) -> str:
    return f"{root.folder.as_posix()}/{path}"


def _piece(site: Site, outline: Outline) -> Piece | None:
    definition = find(outline, site.name, site.line)
    if definition is None:
        return None
    text = shown(language_of(language_of_path(site.path)), outline, definition)
    prefix = site.root.prefix if site.root is not None else ""
    return Piece(prefix + site.path, definition.line, text, token_set(text)) if text else None


def _put(cache: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > most:
        cache.popitem(last=False)
