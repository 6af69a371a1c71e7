"""The seam between the completer and what knows the other files of a workspace.

Owns: `SnippetSource`, and the values that cross it.

Invariant: values and a protocol only. Whoever implements it never waits: what is not ready when
`stop` becomes true is left out, and prepared for the next call.

Threads: `collect` on the completer's worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from slm_lsp.context.outline import Outline
from slm_lsp.types import Snippet

# Of a language's name and a text; an empty one where nothing is known of the language. The last
# argument is asked whether to end.
OutlineOf = Callable[[str, str, Callable[[], bool]], Outline]

# What of a document a place shows, so that everybody who makes one shows the same.
PREFIX_CHARS = 4000
SUFFIX_CHARS = 1500


@dataclass(frozen=True, slots=True)
class PlaceQuery:
    """A place in a document. `path` is relative to its workspace folder, with slashes; empty
    where the document is in none. `prefix` and `suffix` are the text next to the cursor, not all
    of it; the snippets' texts together hold at most `max_chars`."""

    uri: str
    path: str
    language: str
    prefix: str
    suffix: str
    max_chars: int


class SnippetSource(Protocol):
    """Texts of other files."""

    def collect(self, place: PlaceQuery, stop: Callable[[], bool]) -> tuple[Snippet, ...]:
        """Snippets of other files worth showing at this place, best first, with what is ready
        now; never waits. What is not ready when `stop` becomes true is left out and prepared for
        the next call."""


def place_of(
    uri: str, path: str, language: str, text: str, offset: int, max_chars: int
) -> PlaceQuery:
    """The query of a place in a text."""
    return PlaceQuery(
        uri=uri,
        path=path,
        language=language,
        prefix=text[max(0, offset - PREFIX_CHARS) : offset],
        suffix=text[offset : offset + SUFFIX_CHARS],
        max_chars=max_chars,
    )
