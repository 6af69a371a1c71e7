"""Stretches of other files that are like the lines around a cursor.

Owns: the search among the documents edited and visited last, and in the workspace: files by
what is rare of their words (the index), windows of those files by the words they share.

Invariant: files are read only by `search`, one at a time, and `stop` is asked between them; what
was found for a set of words is found again as long as the files are the same.

Threads: the completer's worker.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from slm_lsp.text.whitespace import unix_lines
from slm_lsp.workspace.files import read_source
from slm_lsp.workspace.identifiers import jaccard
from slm_lsp.workspace.imports import are_kin
from slm_lsp.workspace.live import LiveFiles
from slm_lsp.workspace.pieces import Piece, windows
from slm_lsp.workspace.roots import Root, Roots

N_FILES, MAX_READ = 8, 10
N_RECENT = 8
MAX_A_FILE = 2
# Below this two stretches share what any two share.
MIN_ALIKE = 0.1
# So few words are found anywhere.
MIN_WORDS = 5
MAX_FOUND, MAX_CUT = 32, 64


@dataclass(frozen=True, slots=True)
class Alike:
    """What was found, best first: in the workspace, and among the documents."""

    workspace: tuple[Piece, ...] = ()
    recent: tuple[Piece, ...] = ()
    edited: tuple[Piece, ...] = ()


class Similar:
    """See the module."""

    def __init__(self, roots: Roots, live: LiveFiles) -> None:
        self._roots, self._live = roots, live
        self._found: OrderedDict[Hashable, Alike] = OrderedDict()
        self._cut: OrderedDict[Hashable, tuple[Piece, ...]] = OrderedDict()

    def known(self, uri: str, language: str, words: frozenset[str]) -> Alike | None:
        """What was found for these words, None if that has not been looked for."""
        return self._found.get(self._key(uri, language, words))

    def search(
        self, uri: str, language: str, words: frozenset[str], stop: Callable[[], bool]
    ) -> Alike | None:
        """Look; None if it had to stop, and the next call goes on."""
        key = self._key(uri, language, words)
        found = self._found.get(key)
        if found is None and len(words) < MIN_WORDS:
            found = self._found[key] = Alike()
        elif found is None:
            recent = self._recent(uri, words, stop)
            workspace = self._in_workspace(uri, language, words, stop)
            if stop():
                return None
            edited = tuple(each for each in self._live.edited(uri) if _likeness(each, words))
            found = self._found[key] = Alike(workspace, recent, edited)
            while len(self._found) > MAX_FOUND:
                self._found.popitem(last=False)
        return found

    def _recent(
        self, uri: str, words: frozenset[str], stop: Callable[[], bool]
    ) -> tuple[Piece, ...]:
        found: list[Piece] = []
        for each in self._live.others(uri):
            if stop():
                break
            found += _best(each.windows(), words, MAX_A_FILE)
        return tuple(_best(found, words, N_RECENT))

    def _in_workspace(
        self, uri: str, language: str, words: frozenset[str], stop: Callable[[], bool]
    ) -> tuple[Piece, ...]:
        document = self._live.get(uri)
        own = document.key if document is not None else ""
        known = self._live.keys() | {own}
        found: list[Piece] = []
        for root in self._roots.all:
            for file in root.reader.like(sorted(words), MAX_READ):
                if stop() or len(found) >= N_FILES:
                    break
                key = f"{root.folder.as_posix()}/{file.path}"
                if key not in known and are_kin(language, file.language):
                    found += _best(self._windows(root, file.path, file.version, stop), words, 1)
        return tuple(_best(found, words, N_FILES))

    def _windows(
        self, root: Root, path: str, version: int, stop: Callable[[], bool]
    ) -> tuple[Piece, ...]:
        key = (root.folder, path, version)
        known = self._cut.get(key)
        if known is None:
            source = read_source(root.folder / path)
            shown = root.prefix + path
            cut = windows(shown, unix_lines(source[1])) if source is not None else iter(())
            known = tuple(takewhile(lambda _: not stop(), cut))
            if stop():
                return ()
            self._cut[key] = known
            while len(self._cut) > MAX_CUT:
                self._cut.popitem(last=False)
        return known

    def _key(self, uri: str, language: str, words: frozenset[str]) -> Hashable:
        others = tuple((each.uri, each.revision) for each in self._live.others(uri))
        generations = tuple(root.reader.generation for root in self._roots.all)
        return uri, language, words, others, generations


def _best(pieces: Iterable[Piece], words: frozenset[str], most: int) -> Sequence[Piece]:
    """The pieces most like the words, if they are like them at all; of stretches that overlap the
    better one."""
    rated = sorted(
        ((_likeness(each, words), each) for each in pieces),
        key=lambda each: (-each[0], each[1].path, each[1].line),
    )
    kept: list[Piece] = []
    for alike, piece in rated:
        if len(kept) == most or not alike:
            break
        if not any(_overlap(piece, other) for other in kept):
            kept.append(piece)
    return kept


def _likeness(piece: Piece, words: frozenset[str]) -> float:
    alike = jaccard(piece.words, words)
    return alike if alike >= MIN_ALIKE else 0.0


def _overlap(one: Piece, other: Piece) -> bool:
    if one.path != other.path:
        return False
    first, second = sorted((one, other), key=lambda each: each.line)
    return second.line <= first.line + first.text.count("\n")
