"""Texts put in at the cursor, to see what they would do to the syntax there.

Owns: parsing an excerpt of the document with a text in it, and where that has errors.

Invariant: a document's own tree stays as it is. No more than `MAX_PARSES` texts are parsed in a
trial, in bounded work; the same text is parsed once.

Threads: the owner of the `SyntaxTrees`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slm_lsp.context import excerpt
from slm_lsp.context.block_end import block_end
from slm_lsp.context.languages import Language, language_of
from slm_lsp.context.syntax import SyntaxTrees, encode, errors
from slm_lsp.text.position import byte_offset
from slm_lsp.types import DocumentSnapshot

if TYPE_CHECKING:
    from slm_lsp.context.syntax import Tree

MAX_PARSES = 10
# Of the parser, in all of a trial: about 100 µs each in a broken text, which needs 5 a kilobyte.
MAX_REPORTS = 200


class Stopped(Exception):
    """A parse was ended before it could say anything."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the excerpt looks like with a text in it: how many errors it has, how far into
    the text the first error in it reaches (`until`: nothing longer can be better; the whole text if
    there is none), and whether there is one in the cursor's line."""

    n_errors: int
    until: int
    in_line: bool


def excerpt_at(
    trees: SyntaxTrees, snapshot: DocumentSnapshot, offset: int
) -> excerpt.Excerpt | None:
    """What texts at a place are tried in; None where the document has no tree."""
    found = trees.moved(snapshot)
    if found is None:
        return None
    tree, source = found
    return excerpt.around(tree, source, byte_offset(snapshot.text, offset))


class Trial:
    """Tries texts at one place."""

    def __init__(
        self,
        trees: SyntaxTrees,
        language: Language,
        found: excerpt.Excerpt,
        stop: Callable[[], bool],
    ) -> None:
        self.before, self.after = found.before, found.after
        self.n_parses = 0
        self._trees, self._language, self._stop = trees, language, stop
        self._n_reports = 0
        self._known: dict[str, Look] = {}
        self._last: tuple[str, Tree] | None = None

    @classmethod
    def at(
        cls,
        trees: SyntaxTrees,
        snapshot: DocumentSnapshot,
        offset: int,
        stop: Callable[[], bool],
        near: excerpt.Excerpt | None = None,
    ) -> Trial | None:
        """A trial at a place, whose excerpt may be known; None where the document has no tree."""
        near = near or excerpt_at(trees, snapshot, offset)
        return cls(trees, language_of(snapshot.language), near, stop) if near else None

    def look(self, text: str) -> Look | None:
        """Try a text; None once nothing more may be parsed. Raises Stopped."""
        known = self._known.get(text)
        if known is None:
            if self.n_parses >= MAX_PARSES:
                return None
            # A parser asks after some work of its own, which a small text does not need.
            if self._ended():
                raise Stopped
            known = self._known[text] = self._look(text)
        return known

    def block_end(self, text: str, begin: int) -> int:
        """How much of a text, which says something from `begin` on and was looked at last,
        belongs to the block at the cursor."""
        if self._last is None or self._last[0] != text:
            return len(text)
        start = len(encode(self.before))
        source = encode(text)
        end = block_end(
            self._language,
            self._last[1],
            start + len(encode(text[:begin])),
            start + len(source.rstrip()),
        )
        return len(text) if end is None else len(source[: end - start].decode(errors="replace"))

    def _ended(self) -> bool:
        self._n_reports += 1
        return self._n_reports > MAX_REPORTS or self._stop()

    def _look(self, text: str) -> Look:
        before, middle = encode(self.before), encode(text)
        self.n_parses += 1
        tree = self._trees.apart(
            self._language.name, before + middle + encode(self.after), self._ended
        )
        if tree is None:
            raise Stopped
        self._last = text, tree
        start, end = len(before), len(before) + len(middle)
        rest = encode(self.after.partition("\n")[0])
        line = before.rfind(b"\n") + 1, end + len(rest)
        n_errors, until, in_line = 0, len(middle), False
        for node in errors(tree.root_node):
            n_errors += 1
            in_line = in_line or (node.start_byte <= line[1] and node.end_byte >= line[0])
            if start <= node.start_byte and node.end_byte < end:
                # The error may be in what follows it: the parser leaves out what it can.
                until = min(until, node.end_byte - start)
        return Look(n_errors, len(middle[:until].decode(errors="ignore")), in_line)
