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
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from slm_lsp.context.languages import language_of, language_of_path
from slm_lsp.text.whitespace import unix_lines
from slm_lsp.workspace.files import read_source
from slm_lsp.workspace.identifiers import token_set
from slm_lsp.workspace.import_lines import imports_of
from slm_lsp.workspace.imports import PACKAGE_FILES, candidates, suffixes_of
from slm_lsp.workspace.live import LiveFile, LiveFiles
from slm_lsp.workspace.names import is_distinctive, is_telling
from slm_lsp.workspace.pieces import Piece
from slm_lsp.workspace.rendering import find, shown
from slm_lsp.workspace.roots import Root, Roots
from slm_lsp.workspace.shapes import ImportLike, OutlineLike, OutlineOf

MAX_DEFINITIONS = 10
# A name that has more definitions than this, none of them imported, tells nothing.
MAX_HOMONYMS = 3
MAX_FOUND = 24
MAX_FILES_AN_IMPORT, MAX_FILES_IMPORTED, MAX_FILES_A_FOLDER = 8, 64, 40
MAX_OUTLINES, MAX_LOOKUPS, MAX_IMPORTERS = 256, 2000, 32
HEAD_CHARS = 60_000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Site:
    """Where a name is defined: in a file of a folder's index, or in a live one."""

    name: str
    root: Root | None
    path: str
    line: int
    version: int
    live: LiveFile | None = None

    @property
    def order(self) -> tuple[str, int]:
        return self.path, self.line


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file imports: `files` of the workspace, folders that are packages, and `names`
    by what they are called there."""

    key: object
    files: frozenset[str]
    folders: tuple[str, ...]
    names: dict[str, str]


class Definitions:
    """See the module."""

    def __init__(self, roots: Roots, live: LiveFiles, outline_of: OutlineOf) -> None:
        self._roots, self._live, self._outline_of = roots, live, outline_of
        self._imported: OrderedDict[str, Imported] = OrderedDict()
        # Of each document the revision whose imports were looked at last.
        self._looked_at: dict[str, int] = {}
        self._sites: OrderedDict[object, list[Site]] = OrderedDict()
        self._outlines: OrderedDict[object, OutlineLike] = OrderedDict()

    def find(
        self,
        uri: str,
        language: str,
        names: Sequence[str],
        stop: Callable[[], bool],
        may_read: bool,
    ) -> tuple[list[Piece], bool]:
        """The definitions of names as they are shown, in the order of the names; and whether
        nothing had to be left out."""
        imported, complete = self._imports(uri, language, stop, may_read)
        pieces: list[Piece] = []
        for name in names:
            if stop():
                return pieces, False
            if len(pieces) >= MAX_DEFINITIONS:
                break
            for site in self._places(uri, language, name, imported)[:1]:
                outline = self._outline(site, stop, may_read)
                complete = complete and outline is not None
                piece = self._piece(site, outline) if outline is not None else None
                pieces += [piece] if piece is not None else []
        return pieces, complete

    # --- imports ---

    def _imports(
        self, uri: str, language: str, stop: Callable[[], bool], may_read: bool
    ) -> tuple[Imported, bool]:
        """What a document imports, as it was when it was last looked at."""
        known = self._imported.get(uri, Imported(None, frozenset(), (), {}))
        document = self._live.get(uri)
        if document is None or not may_read:
            return known, document is None or self._looked_at.get(uri) == document.revision
        head = document.text[:HEAD_CHARS]
        # Grammars take longer than lines, and imports seldom change.
        key = (imports_of(head), document.key, self._generation())
        if key != known.key and not stop():
            outline = self._outline_of(language, head, stop)
            known = self._resolved(key, outline.imports or key[0], document.key, language, stop)
            if stop():
                return known, False
            _put(self._imported, uri, known, MAX_IMPORTERS)
            self._looked_at = {each: self._looked_at.get(each, 0) for each in self._imported}
        self._looked_at[uri] = document.revision
        return known, True

    def _resolved(
        self,
        key: object,
        imports: Sequence[ImportLike],
        importer: str,
        language: str,
        stop: Callable[[], bool],
    ) -> Imported:
        files: dict[str, None] = {}
        folders: dict[str, None] = {}
        names: dict[str, str] = {}
        kinds = suffixes_of(language)
        for each in imports:
            if stop():
                break
            names.update({name.local: name.name for name in each.names})
            for root in self._roots.all:
                inner = importer.removeprefix(f"{root.folder.as_posix()}/")
                wanted = candidates(each, inner, kinds)
                found = root.reader.among(wanted.paths)
                for ending in wanted.endings if not found else ():
                    found = found or root.reader.ending(ending)
                for folder in wanted.folders if not found else ():
                    found = found or root.reader.in_folder(folder, MAX_FILES_A_FOLDER)
                for path in found[:MAX_FILES_AN_IMPORT]:
                    files[_absolute(root, path)] = None
                    folder, _, base = path.rpartition("/")
                    if base.partition(".")[0] in PACKAGE_FILES and folder:
                        folders[_absolute(root, folder) + "/"] = None
        kept = list(files)[:MAX_FILES_IMPORTED]
        return Imported(key, frozenset(kept), tuple(folders), names)

    # --- definitions ---

    def _places(self, uri: str, language: str, name: str, imported: Imported) -> list[Site]:
        """Where a name is defined, the likeliest first; none where nobody can tell."""
        document = self._live.get(uri)
        own = document.key if document is not None else ""
        spelt = imported.names.get(name, name)
        if not is_telling(spelt):
            return []
        here = own.rpartition("/")[0]
        hidden = self._live.keys()
        sites = [each for each in self._indexed(spelt, imported) if _key(each) not in hidden]
        for each in self._live.others(uri):
            if each.is_read and spelt in each.defined():
                line = each.defined()[spelt]
                sites.append(Site(spelt, None, each.path, line, each.revision, each))

        def rank(site: Site) -> int:
            key = _key(site)
            if key in imported.files:
                return 0
            if key.startswith(imported.folders):
                return 1
            return 2 if key.rpartition("/")[0] == here else 3

        kin = suffixes_of(language)
        sites = [each for each in sites if _key(each) != own and each.path.endswith(kin)]
        sites.sort(key=lambda each: (rank(each), *each.order))
        is_guess = bool(sites) and rank(sites[0]) > 1
        if is_guess and (len(sites) > MAX_HOMONYMS or not is_distinctive(spelt)):
            return []
        return sites

    def _indexed(self, name: str, imported: Imported) -> list[Site]:
        key = (name, self._generation(), imported.files)
        known = self._sites.get(key)
        if known is not None:
            self._sites.move_to_end(key)
            return known
        sites: dict[Site, None] = {}
        for root in self._roots.all:
            folder = root.folder.as_posix() + "/"
            paths = [each.removeprefix(folder) for each in sorted(imported.files)]
            found = root.reader.defining_in(name, paths, MAX_FOUND) if paths else []
            for each in (*found, *root.reader.defining(name, MAX_FOUND)):
                sites[Site(name, root, each.path, each.line, each.version)] = None
        _put(self._sites, key, list(sites), MAX_LOOKUPS)
        return list(sites)

    def _outline(self, site: Site, stop: Callable[[], bool], may_read: bool) -> OutlineLike | None:
        """The outline of a file; None if it is not read yet."""
        key = (_key(site), site.version, site.live is not None)
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

    def _piece(self, site: Site, outline: OutlineLike) -> Piece | None:
        definition = find(outline, site.name, site.line)
        if definition is None:
            return None
        text = shown(language_of(language_of_path(site.path)), outline, definition)
        prefix = site.root.prefix if site.root is not None else ""
        return Piece(prefix + site.path, definition.line, text, token_set(text)) if text else None

    def _generation(self) -> tuple[int, ...]:
        return tuple(root.reader.generation for root in self._roots.all)


def _absolute(root: Root, path: str) -> str:
    return f"{root.folder.as_posix()}/{path}"


def _key(site: Site) -> str:
    """The file on the disk."""
    if site.live is not None:
        return site.live.key
    assert site.root is not None
    return _absolute(site.root, site.path)


def _put(cache: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > most:
        cache.popitem(last=False)
