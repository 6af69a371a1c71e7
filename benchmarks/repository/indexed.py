"""What the server itself finds for a hole: the workspace's index, built for the repository.

Owns: the indexes of the repositories, in a folder of their own.

Invariant: each hole is the only document that was ever open, and all that is found for it is
found in time, however long that takes.

Threads: `collect` on the completer's worker; the rest the caller's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.repository.holes import Hole
from benchmarks.repository.packages import Repository
from slm_lsp.types import DocumentSnapshot, Snippet
from slm_lsp.workspace.base import PlaceQuery
from slm_lsp.workspace.build import build
from slm_lsp.workspace.source import WorkspaceSource
from slm_lsp.workspace.store import index_path

# More rounds than any place needs; a source that never has enough is found so.
MAX_ROUNDS = 1000


class IndexedSource:
    """Asks a new WorkspaceSource at every hole."""

    def __init__(self, repositories: Mapping[str, Repository]) -> None:
        """Build the indexes. Raises OSError, sqlite3.Error."""
        self.found: tuple[Snippet, ...] = ()
        self._repositories = repositories
        self._hole: Hole | None = None
        self._folder = tempfile.TemporaryDirectory()
        self._indexes = Path(self._folder.name)
        for repository in repositories.values():
            build(repository.root, index_path(self._indexes, repository.root), None)

    def at(self, hole: Hole) -> None:
        """The hole that is asked about from now on."""
        self._hole = hole

    def collect(self, place: PlaceQuery, stop: Callable[[], bool]) -> tuple[Snippet, ...]:
        """See SnippetSource."""
        assert self._hole is not None
        root = self._repositories[self._hole.repository].root
        source = WorkspaceSource(self._indexes, [root])
        text = self._hole.prefix + self._hole.suffix
        source.follow(DocumentSnapshot(place.uri, 1, place.language, text))
        self.found = source.collect(place, stop)
        for _ in range(MAX_ROUNDS):
            if not source.is_waiting:
                break
            source.advance()
            self.found = source.collect(place, stop)
        source.close()
        return self.found

    def close(self) -> None:
        """Remove the indexes."""
        self._folder.cleanup()
