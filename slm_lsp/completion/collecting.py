"""Collects texts of other files for a prompt, within a few milliseconds.

Owns: how long a request may spend on them, and what its own file is called.

Invariant: never waits. What the source has not found in time is there for a later request, and a
source that fails costs a request its snippets and nothing else.

Threads: the completer's worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from slm_lsp.context.languages import language_of
from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.prompt.files import shown_chars
from slm_lsp.prompt.snippets import most_chars
from slm_lsp.trace import Span
from slm_lsp.types import CompletionContext, DocumentSnapshot, FileName, Snippet
from slm_lsp.workspace.base import SnippetSource, place_of

if TYPE_CHECKING:
    from slm_lsp.workspace.source import WorkspaceSource

log = logging.getLogger(__name__)

COLLECT_MS = 10.0


class Collector:
    """Asks `source`; `name_of` gives what the file of a URI is called."""

    def __init__(
        self,
        source: SnippetSource,
        name_of: Callable[[str], FileName],
        collect_ms: float = COLLECT_MS,
    ) -> None:
        self._source = source
        self._collect_ms = collect_ms
        self._name_of = name_of
        self._has_failed = False

    @classmethod
    def of(cls, workspace: WorkspaceSource) -> Collector:
        """One that asks a workspace."""
        return cls(workspace, lambda uri: FileName(*workspace.name_of(uri)))

    def add_to(
        self,
        context: CompletionContext,
        snapshot: DocumentSnapshot,
        offset: int,
        n_tokens: int,
        until: tuple[Deadline, CancelToken],
    ) -> CompletionContext:
        """The context of a place with the file's name, and with the snippets for a prompt of
        `n_tokens` that are found before a deadline or soon, whichever ends first."""
        deadline, cancel = until
        own = Deadline.after(self._collect_ms, deadline.clock)

        def stop() -> bool:
            return own.expired() or deadline.expired() or cancel.cancelled

        max_chars = most_chars(n_tokens)
        name, found = FileName(), tuple[Snippet, ...]()
        try:
            name = self._name_of(snapshot.uri)
            if max_chars and not stop():
                place = place_of(
                    *(snapshot.uri, name.path, snapshot.language, snapshot.text, offset, max_chars)
                )
                found = tuple(self._source.collect(place, stop))
        except Exception:
            if not self._has_failed:
                log.exception("no texts of other files can be had")
            self._has_failed = True
        comments = language_of(snapshot.language).line_comments
        line_comment = comments[0] if comments else ""
        return replace(context, snippets=found, file=name, line_comment=line_comment)


def note(span: Span, shown: tuple[Snippet, ...]) -> None:
    """Note what a prompt shows of other files."""
    span.note(n_snippets=len(shown), n_snippet_chars=sum(map(shown_chars, shown)))
