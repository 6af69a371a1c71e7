"""A small made-up workspace, its index built in this process, and a source over both.

Invariant: nothing here waits or starts a process.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from slm_lsp.context.languages import language_of_path
from slm_lsp.types import DocumentSnapshot, Snippet
from slm_lsp.workspace.base import PlaceQuery
from slm_lsp.workspace.build import build
from slm_lsp.workspace.indexing import Summary
from slm_lsp.workspace.source import WorkspaceSource
from slm_lsp.workspace.store import index_path

CURSOR = "<CURSOR>"
# A source that has nothing left to do after so many turns never will.
MAX_TURNS = 20


def write(folder: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(text), encoding="utf-8")


class WorkspaceScene:
    """A folder of files; the document that is asked about is one of them."""

    def __init__(self, tmp_path: Path, files: Mapping[str, str]) -> None:
        self.folder = tmp_path / "project"
        self.indexes = tmp_path / "cache" / "workspace"
        self.folder.mkdir(parents=True, exist_ok=True)
        write(self.folder, files)
        self.source = WorkspaceSource(self.indexes, [self.folder])
        self._version = 0

    @property
    def index(self) -> Path:
        return index_path(self.indexes, self.folder)

    def build(self, *changed: str) -> Summary:
        summary = build(self.folder, self.index, list(changed) or None)
        assert summary is not None
        return summary

    def open(self, path: str, text: str | None = None) -> DocumentSnapshot:
        """Show a document in the editor, as it is on the disk or with another text."""
        self._version += 1
        target = self.folder / path
        text = target.read_text(encoding="utf-8") if text is None else textwrap.dedent(text)
        uri = target.as_uri()
        snapshot = DocumentSnapshot(uri, self._version, language_of_path(path), text)
        self.source.follow(snapshot)
        return snapshot

    def place(self, path: str, fixture: str, max_chars: int = 4000) -> PlaceQuery:
        """The place of the cursor in a document that is now open with this text."""
        before, cursor, after = textwrap.dedent(fixture).partition(CURSOR)
        assert cursor
        snapshot = self.open(path, before + after)
        return self.source.place(snapshot, len(before), max_chars)

    def settle(self) -> None:
        """Give the source the time that it wants."""
        for _ in range(MAX_TURNS):
            if self.source.advance():
                return
        raise AssertionError("there is always something left to do")

    def snippets(self, path: str, fixture: str, max_chars: int = 4000) -> list[Snippet]:
        """What is shown at the cursor once the source has had its time."""
        place = self.place(path, fixture, max_chars)
        self.source.collect(place, lambda: False)
        self.settle()
        return list(self.source.collect(place, lambda: False))

    def shown(self, path: str, fixture: str) -> dict[str, str]:
        """The snippets by their paths; of one path the first."""
        found: dict[str, str] = {}
        for each in self.snippets(path, fixture):
            found.setdefault(each.path, each.text)
        return found
