"""Where the snippets of a run come from.

Owns: the table of sources.

Invariant: a source that is made for repositories is ready for any hole of them.

Threads: the completer's worker collects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from benchmarks.repository.oracle import OracleSource
from benchmarks.repository.packages import Repository
from benchmarks.repository.pipeline import HoleSource

N_OTHERS = 3


class Source(HoleSource, Protocol):
    """A source that may have to be closed."""

    def close(self) -> None: ...


def _oracle(repositories: Mapping[str, Repository]) -> Source:
    return OracleSource(repositories)


def _oracle_and_others(repositories: Mapping[str, Repository]) -> Source:
    return OracleSource(repositories, N_OTHERS)


def _workspace(repositories: Mapping[str, Repository]) -> Source:
    # The oracle is there without an index.
    from benchmarks.repository.indexed import IndexedSource

    return IndexedSource(repositories)


DEFAULT = "workspace"
SOURCES: Mapping[str, Callable[[Mapping[str, Repository]], Source]] = {
    "oracle": _oracle,
    "oracle-and-others": _oracle_and_others,
    "workspace": _workspace,
}
