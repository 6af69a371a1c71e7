"""The documents that the editor shows or has shown, with their live text.

Owns: which of them were edited or visited last and where, and what was read off their texts.

Invariant: at most MAX_FILES texts of at most MAX_CHARS are kept, those touched last. What was
read off a text belongs to that text only.

Threads: the completer's worker.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace

from slm_lsp.text.common import common_prefix
from slm_lsp.text.whitespace import unix_lines
from slm_lsp.types import DocumentSnapshot
from slm_lsp.workspace.headers import definitions
from slm_lsp.workspace.pieces import WINDOW_LINES, Piece, window, windows

MAX_FILES = 16
MAX_CHARS = 400_000
MAX_EDITS = 8


@dataclass(slots=True, eq=False)
class LiveFile:
    """One document. `path` is what it is called to the model; `key` is its path on the disk.
    `may_be_shown`: nothing keeps it from being shown in another file's prompt. One that was closed
    may have been so without being saved: it waits until it is read from the disk (`closed`)."""

    uri: str
    path: str
    key: str
    language: str
    text: str
    may_be_shown: bool
    line: int = 0
    revision: int = 0
    is_open: bool = True
    _windows: tuple[Piece, ...] | None = field(default=None, repr=False)
    _defined: dict[str, int] | None = field(default=None, repr=False)

    @property
    def is_read(self) -> bool:
        """Whether what follows costs nothing."""
        return self._windows is not None and self._defined is not None

    def windows(self) -> tuple[Piece, ...]:
        """Its windows."""
        if self._windows is None:
            self._windows = tuple(windows(self.path, self.text, self.line))
        return self._windows

    def defined(self) -> dict[str, int]:
        """The names that it defines, and where first."""
        if self._defined is None:
            found: dict[str, int] = {}
            for name, line in definitions(self.language, self.text):
                found.setdefault(name, line)
            self._defined = found
        return self._defined


class LiveFiles:
    """See the module."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, LiveFile] = OrderedDict()
        # Where was edited, last first.
        self._edits: list[tuple[str, int]] = []
        self._revision = 0

    def follow(self, snapshot: DocumentSnapshot, path: str, key: str, may_be_shown: bool) -> None:
        """Take a document as it is now."""
        text = unix_lines(snapshot.text[:MAX_CHARS])
        known = self._files.get(snapshot.uri)
        if known is None or known.text != text or known.language != snapshot.language:
            line = 0
            if known is not None:
                shorter = min(len(known.text), len(text))
                line = text.count("\n", 0, common_prefix(known.text, text, shorter))
                self._edited(snapshot.uri, line)
            self._revision += 1
            self._files[snapshot.uri] = LiveFile(
                snapshot.uri,
                path,
                key,
                snapshot.language,
                text,
                may_be_shown,
                line,
                self._revision,
            )
        self._files[snapshot.uri].is_open = True
        self._files.move_to_end(snapshot.uri)
        while len(self._files) > MAX_FILES:
            self._files.popitem(last=False)

    def get(self, uri: str) -> LiveFile | None:
        """A document, if it is kept."""
        return self._files.get(uri)

    def others(self, uri: str) -> list[LiveFile]:
        """What may be shown beside a document, touched last first."""
        shown = (each for each in reversed(self._files.values()) if each.may_be_shown)
        return [each for each in shown if each.uri != uri and each.is_open]

    def all(self) -> list[LiveFile]:
        """Every document."""
        return list(self._files.values())

    def closed(self, uri: str) -> None:
        """A document is not open any more."""
        if uri in self._files:
            self._files[uri].is_open = False

    def unsure(self) -> list[LiveFile]:
        """Those that were closed and not read from the disk since."""
        return [each for each in self._files.values() if not each.is_open]

    def keys(self) -> frozenset[str]:
        """Files on the disk that are known better here."""
        return frozenset(each.key for each in self._files.values() if each.key and each.is_open)

    def edited(self, uri: str) -> list[Piece]:
        """What was edited last in other documents."""
        found: list[Piece] = []
        for other, line in self._edits:
            live = self._files.get(other)
            if other == uri or live is None or not (live.may_be_shown and live.is_open):
                continue
            start = max(0, line - WINDOW_LINES // 2)
            piece = window(live.path, live.text.split("\n"), start, start + WINDOW_LINES)
            found += [piece] if piece is not None else []
        return found

    def reread(self, snapshot: DocumentSnapshot) -> None:
        """A document that was closed is like this on the disk; it was touched no later for it."""
        known = self._files[snapshot.uri]
        text = unix_lines(snapshot.text[:MAX_CHARS])
        if known.text != text:
            self._revision += 1
            self._files[snapshot.uri] = replace(
                known, text=text, revision=self._revision, _windows=None, _defined=None
            )
        self._files[snapshot.uri].is_open = True

    def drop(self, uri: str) -> None:
        """Forget a document."""
        self._files.pop(uri, None)

    def _edited(self, uri: str, line: int) -> None:
        near = [
            each for each in self._edits if each[0] != uri or abs(each[1] - line) > WINDOW_LINES
        ]
        self._edits = [(uri, line), *near][:MAX_EDITS]
