"""`WorkspaceSource`: snippets of other files, from the workspace and the open documents.

Owns: what is looked for at a place and in which order, and what is left to be looked for when
there is time.

Invariant: `collect` reads no file; it takes what the index says at once and what `advance` has
found before. Once `advance` has nothing left to do, the same place gives the same snippets,
whatever was asked before.

Threads: one worker, but for `saved`, `watched`, `set_folders` and `close`, which are for the event
loop and do not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from slm_lsp.text.whitespace import unix_lines
from slm_lsp.types import DocumentSnapshot, Snippet
from slm_lsp.workspace.base import PREFIX_CHARS, OutlineOf, PlaceQuery, place_of
from slm_lsp.workspace.builds import Builds
from slm_lsp.workspace.definitions import Definitions
from slm_lsp.workspace.files import read_source
from slm_lsp.workspace.ignore import RULE_FILES
from slm_lsp.workspace.live import LiveFile, LiveFiles
from slm_lsp.workspace.names import called_at, defined_near, names_near, similar_to
from slm_lsp.workspace.outlines import outline_of as outline_by_language
from slm_lsp.workspace.pieces import Piece, chosen, fused
from slm_lsp.workspace.roots import Roots, path_of
from slm_lsp.workspace.similar import Alike, Similar
from slm_lsp.workspace.uses import Uses, brief, likest

# Ranks count for so much: what is called, and how it is called elsewhere, then definitions, which
# are sure to be meant, and windows, which may be.
CALLED, USE = 2.6, 2.3
DEFINITION, RECENT, EDITED, WORKSPACE = 2.0, 1.2, 0.8, 1.0


@dataclass(frozen=True, slots=True)
class Around:
    """The text around a place, the names that matter there, those that it defines itself, and the
    words of its lines."""

    prefix: str
    suffix: str
    own: frozenset[str]
    names: tuple[str, ...]
    words: frozenset[str]

    @classmethod
    def of(cls, place: PlaceQuery) -> Around:
        """What stands around a place."""
        prefix, suffix = unix_lines(place.prefix), unix_lines(place.suffix)
        # A line that is cut off would be another with every key.
        is_cut = len(place.prefix) >= PREFIX_CHARS
        lines = prefix[prefix.find("\n") + 1 :] if is_cut else prefix
        return cls(
            *(prefix, suffix, defined_near(place.language, lines, suffix)),
            names_near(place.language, prefix, suffix),
            similar_to(prefix, suffix),
        )


def _never() -> bool:
    return False


def _is_too_much(folder: Path) -> bool:
    """Whether a folder is all of a user's or of a machine's: an editor started anywhere."""
    try:
        return Path.home().is_relative_to(folder)
    except RuntimeError:  # a user without a home
        return folder.parent == folder


class WorkspaceSource:
    """A SnippetSource. Without `builds` the indexes are only read, whoever writes them; without
    a folder for them only the documents that the editor shows are known."""

    def __init__(
        self,
        index_folder: Path | None,
        folders: Iterable[Path] = (),
        builds: Builds | None = None,
        outline_of: OutlineOf = outline_by_language,
    ) -> None:
        self._roots = Roots(index_folder)
        self._live = LiveFiles()
        self._definitions = Definitions(self._roots, self._live, outline_of)
        self._similar = Similar(self._roots, self._live)
        self._uses = Uses(self._roots, self._live)
        self._builds = builds
        self._folders: tuple[Path, ...] = ()
        self._rules_changed = False
        self._pending: PlaceQuery | None = None
        # The place that was looked at last: `advance` goes on from what `collect` left.
        self._seen: tuple[PlaceQuery, Around] | None = None
        # How often `advance` was left with something to do; for tests and the curious.
        self.n_left_out = 0
        self.set_folders(folders)

    # --- the event loop ---

    def set_folders(self, folders: Iterable[Path]) -> None:
        """The workspace consists of these folders from now on."""
        self._folders = tuple(dict.fromkeys(folders))
        if self._builds is not None:
            self._builds.set_folders(self._folders)

    def set_folder_uris(self, uris: Iterable[str]) -> None:
        """The same, as the client names them; what is no folder of this machine is left out."""
        paths = (path for path in map(path_of, uris) if path is not None)
        self.set_folders(path for path in paths if not _is_too_much(path))

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of the workspace."""
        return self._folders

    def saved(self, uri: str) -> None:
        """A document has been saved."""
        self.watched([uri])

    def watched(self, uris: Iterable[str]) -> None:
        """Files have changed on the disk, come or gone."""
        paths = [path for path in map(path_of, uris) if path is not None]
        if any(path.name in RULE_FILES for path in paths):
            self._rules_changed = True
        if self._builds is not None and paths:
            self._builds.changed(paths)

    def close(self) -> None:
        """Build nothing any more."""
        if self._builds is not None:
            self._builds.close()

    # --- the worker ---

    def follow(self, snapshot: DocumentSnapshot) -> None:
        """Take a document as it is now."""
        self._refresh()
        path = path_of(snapshot.uri)
        known = self._live.get(snapshot.uri)
        # Looking at all of a text on every keystroke would be too much.
        may_show = known.may_be_shown if known is not None else self._may_show(snapshot)
        key = path.as_posix() if path is not None else ""
        self._live.follow(snapshot, self._roots.shown_path(path), key, may_show)
        if self._builds is not None:
            self._builds.used()

    def _may_show(self, document: DocumentSnapshot | LiveFile) -> bool:
        return self._roots.may_show(path_of(document.uri), document.language, document.text)

    def forget(self, uri: str) -> None:
        """A document was closed."""
        self._live.closed(uri)

    def name_of(self, uri: str) -> tuple[str, str]:
        """What a document is called to the model: its workspace folder's name, and its path."""
        self._take_folders()
        path = path_of(uri)
        found = self._roots.locate(path)
        return (found[0].folder.name if found else ""), self._roots.shown_path(path)

    def place(self, snapshot: DocumentSnapshot, offset: int, max_chars: int) -> PlaceQuery:
        """The query of a place in a document."""
        self._take_folders()
        path = self._roots.shown_path(path_of(snapshot.uri))
        return place_of(snapshot.uri, path, snapshot.language, snapshot.text, offset, max_chars)

    def collect(self, place: PlaceQuery, stop: Callable[[], bool]) -> tuple[Snippet, ...]:
        """See SnippetSource."""
        self._refresh()
        pieces, complete = self._pieces(place, stop, may_read=False)
        if not complete:
            self._pending = place
            self.n_left_out += 1
        taken = chosen(pieces, place.prefix, place.suffix, place.max_chars)
        return tuple(Snippet(piece.path, piece.text) for piece in taken)

    def advance(self, stop: Callable[[], bool] = _never) -> bool:
        """Prepare what the last `collect` had to leave out; tell whether that is done."""
        place = self._pending
        if place is None:
            return True
        self._refresh()
        self._read_closed(stop)
        _, complete = self._pieces(place, stop, may_read=True)
        if complete and self._pending is place:
            self._pending = None
        return complete

    @property
    def is_waiting(self) -> bool:
        """Whether `advance` has something to do."""
        return self._pending is not None

    def _pieces(
        self, place: PlaceQuery, stop: Callable[[], bool], *, may_read: bool
    ) -> tuple[list[Piece], bool]:
        """All that could be shown, best first, and whether nothing was left out."""
        for root in self._roots.all:
            root.reader.stop = stop
        around = self._around(place)
        complete = True
        if may_read:
            for each in self._live.others(place.uri):
                if stop():
                    return [], False
                each.defined()
                each.windows()
        else:
            complete = all(each.is_read for each in self._live.others(place.uri))
        names = [(name, name in around.own) for name in around.names]
        definitions, all_defined = self._definitions.find(
            place.uri, place.language, names, stop, may_read
        )
        alike = self._similar.known(place.uri, place.language, around.words)
        if alike is None and may_read:
            alike = self._similar.search(place.uri, place.language, around.words, stop)
        complete = complete and all_defined and alike is not None
        alike = alike or Alike()
        called, uses, all_used = self._called(place, around, stop, may_read)
        complete = complete and all_used
        shown = {(each.path, each.line) for each in called}
        definitions = [each for each in definitions if (each.path, each.line) not in shown]
        lists = (
            (CALLED, called),
            (USE, uses),
            (DEFINITION, definitions),
            (RECENT, alike.recent),
            (EDITED, alike.edited),
            (WORKSPACE, alike.workspace),
        )
        return fused(lists), complete

    def _around(self, place: PlaceQuery) -> Around:
        if self._seen is None or self._seen[0] is not place:
            self._seen = place, Around.of(place)
        return self._seen[1]

    def _called(
        self, place: PlaceQuery, around: Around, stop: Callable[[], bool], may_read: bool
    ) -> tuple[list[Piece], list[Piece], bool]:
        """The definition of what is being called at a place, its other uses, and whether nothing
        was left out."""
        uri, language, name = place.uri, place.language, called_at(place.language, around.prefix)
        if not name:
            return [], [], True
        defined, complete = self._definitions.find(
            uri, language, [(name, name in around.own)], stop, may_read
        )
        others = self._uses.known(uri, language, name)
        if others is None and may_read:
            others = self._uses.search(uri, language, name, stop)
        own = self._uses.own(uri, name, around.prefix, around.suffix)
        uses = likest(own, others or (), around.words)
        return [brief(each, name) for each in defined], uses, complete and others is not None

    def _refresh(self) -> None:
        """Take notice of what the event loop and the builds have done."""
        self._take_folders()
        for root in self._roots.all:
            root.reader.stop = _never
            root.reader.refresh()
            if root.reader.broken:
                root.reader.broken = False
                if self._builds is not None:
                    self._builds.anew(root.folder)

    def _take_folders(self) -> None:
        """Take notice of what the event loop has done."""
        folders, rules_changed = self._folders, self._rules_changed
        if rules_changed or tuple(root.folder for root in self._roots.all) != folders:
            self._rules_changed = False
            self._roots.set(folders)
            self._roots.forget_rules()
            for each in self._live.all():
                each.may_be_shown = self._may_show(each)
                each.path = self._roots.shown_path(path_of(each.uri))

    def _read_closed(self, stop: Callable[[], bool]) -> None:
        """A document that was closed is what the disk has of it."""
        for each in self._live.unsure():
            if stop():
                return
            source = read_source(each.key) if each.key else None
            if source is None:
                self._live.drop(each.uri)
                continue
            snapshot = DocumentSnapshot(each.uri, None, each.language, source[1])
            self._live.reread(snapshot)
