"""The documents that the editor has open: edits, line index, snapshots.

Owns: the text of every open document, kept by applying the client's edits. It stands in
for the protocol library's own documents, whose lines also end at form feed and U+2028.
Invariant: after every edit the text is what the client holds, with no high surrogate
directly before a low one, and the line index equals one computed from scratch.
Threads: the store and its documents belong to the event loop's thread; snapshots are
immutable and may go anywhere.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from slm_lsp.text.position import (
    Encoding,
    Position,
    clamp,
    join_surrogates,
    line_end,
    line_starts,
    line_starts_between,
    n_units,
    offset_in_line,
)
from slm_lsp.types import DocumentSnapshot

# Lines of a block of the line index. An edit goes over one block and over all their bases.
BLOCK_LINES = 128


class DocumentNotOpen(KeyError):
    """The client spoke of a document that it has not opened, or has closed."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.uri = uri

    def __str__(self) -> str:
        return f"document is not open: {self.uri}"


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace `start`..`end` by `text`; `start` None replaces the whole document.

    Positions are in client units and are clamped, never refused. If `end` lies before
    `start` the two are swapped: the range then covers the same text, which is what
    VS Code's own Range and its reference server's TextDocument make of it. `end` None
    is an insertion at `start`.
    """

    start: Position | None
    end: Position | None
    text: str


class LineIndex:
    """Line starts of one text, kept up to date by `splice`.

    In blocks, each with its own base: an edit touches the starts of one block and the bases of
    those behind it, wherever it is.
    """

    __slots__ = ("_bases", "_blocks", "_firsts")

    def __init__(self, text: str) -> None:
        # Starts less the base of their block, which is its first start; bases; first lines.
        self._blocks: list[list[int]] = []
        self._bases: list[int] = []
        self._firsts: list[int] = []
        self._fill(0, 0, line_starts(text))

    def __len__(self) -> int:
        return self._firsts[-1] + len(self._blocks[-1])

    def __getitem__(self, line: int) -> int:
        block = bisect_right(self._firsts, line) - 1
        return self._bases[block] + self._blocks[block][line - self._firsts[block]]

    def starts(self) -> list[int]:
        """All line starts, as a list of its own."""
        blocks = zip(self._bases, self._blocks, strict=True)
        return [base + start for base, starts in blocks for start in starts]

    def line_at(self, offset: int) -> int:
        """The line that `offset` lies in; a line owns its terminator."""
        block = bisect_right(self._bases, offset) - 1
        within = bisect_right(self._blocks[block], offset - self._bases[block]) - 1
        return self._firsts[block] + within

    def splice(self, text: str, start: int, end: int, n_inserted: int) -> None:
        """Follow an edit that replaced `start`..`end` by `n_inserted` and gave `text`.

        The line starts at both borders are found anew: an edit can bring a CR next to an
        LF, or part the two.
        """
        after_start = max(start, 1)  # 0 starts a line whatever the text
        begin, stop = self.line_at(after_start - 1) + 1, self.line_at(end) + 1
        found = line_starts_between(text, after_start, start + n_inserted)
        shift, n_more_lines = n_inserted - (end - start), len(found) - (stop - begin)
        if begin == stop and not found:
            return self._shift(begin, shift)
        # The lines before the edit and behind it are of these two blocks, or of one.
        first = bisect_right(self._firsts, begin - 1) - 1
        last = bisect_right(self._firsts, stop - 1) - 1
        base, behind = self._bases[first], self._bases[last] + shift
        starts = [base + each for each in self._blocks[first][: begin - self._firsts[first]]]
        starts += found
        starts += [behind + each for each in self._blocks[last][stop - self._firsts[last] :]]
        self._bases[last + 1 :] = [each + shift for each in self._bases[last + 1 :]]
        self._firsts[last + 1 :] = [each + n_more_lines for each in self._firsts[last + 1 :]]
        self._fill(first, last + 1, starts)

    def _shift(self, line: int, shift: int) -> None:
        """Let the starts from a line on follow an edit within the line before it."""
        block = bisect_right(self._firsts, line - 1) - 1
        starts, at = self._blocks[block], line - self._firsts[block]
        starts[at:] = [each + shift for each in starts[at:]]
        self._bases[block + 1 :] = [each + shift for each in self._bases[block + 1 :]]

    def _fill(self, first: int, stop: int, starts: list[int]) -> None:
        """Put lines in the place of some blocks'; they are never none."""
        size = len(starts) if len(starts) <= 2 * BLOCK_LINES else BLOCK_LINES
        chunks = [starts[at : at + size] for at in range(0, len(starts), size)]
        line = self._firsts[first] if first < len(self._firsts) else 0
        self._firsts[first:stop] = [line + at for at in range(0, len(starts), size)]
        self._bases[first:stop] = [chunk[0] for chunk in chunks]
        self._blocks[first:stop] = [[each - chunk[0] for each in chunk] for chunk in chunks]


class Document:
    """One open document; its text changes only through `apply`."""

    __slots__ = ("_encoding", "_lines", "_text", "language", "uri", "version")

    def __init__(
        self, uri: str, language: str, version: int | None, text: str, encoding: Encoding
    ) -> None:
        self.uri = uri
        self.language = language
        self.version = version
        self._encoding = encoding
        self._replace_all(text)

    @property
    def text(self) -> str:
        """The whole text, with the client's own line ends."""
        return self._text

    @property
    def n_lines(self) -> int:
        """Number of lines; text that ends with a terminator has an empty last line."""
        return len(self._lines)

    def line_starts(self) -> list[int]:
        """Offsets at which the lines start; the first is always 0."""
        return self._lines.starts()

    def offset_at(self, position: Position) -> int:
        """Offset of `position`; total, see `text.position`."""
        line, character = max(0, position[0]), position[1]
        if line >= len(self._lines):
            return len(self._text)
        start = self._lines[line]
        is_last = line + 1 == len(self._lines)
        stop = len(self._text) if is_last else self._lines[line + 1]
        end = line_end(self._text, start, stop)
        return offset_in_line(self._text, start, end, character, self._encoding)

    def position_at(self, offset: int) -> Position:
        """Position of `offset`, clamped into the text; the inverse of `offset_at`."""
        offset = clamp(self._text, offset)
        line = self._lines.line_at(offset)
        return line, n_units(self._text[self._lines[line] : offset], self._encoding)

    def snapshot(self) -> DocumentSnapshot:
        """This version, immutable; shares the text instead of copying it."""
        return DocumentSnapshot(self.uri, self.version, self.language, self._text)

    def apply(self, edit: Edit) -> None:
        """Apply one edit to the text as it is now."""
        if edit.start is None:
            self._replace_all(edit.text)
            return
        start = self.offset_at(edit.start)
        end = start if edit.end is None else self.offset_at(edit.end)
        # Swapped as offsets, not as positions: clamping can make two positions equal.
        self._replace(min(start, end), max(start, end), edit.text)

    def _replace_all(self, text: str) -> None:
        self._text = join_surrogates(text)
        self._lines = LineIndex(self._text)

    def _replace(self, start: int, end: int, inserted: str) -> None:
        text = self._text
        # A lone surrogate beside the edit may have found its other half: edit it as well.
        if start > 0 and "\ud800" <= text[start - 1] <= "\udbff":
            start -= 1
            inserted = text[start] + inserted
        if end < len(text) and "\udc00" <= text[end] <= "\udfff":
            inserted += text[end]
            end += 1
        inserted = join_surrogates(inserted)
        self._text = "".join((text[:start], inserted, text[end:]))
        self._lines.splice(self._text, start, end, len(inserted))


class DocumentStore:
    """The open documents by uri.

    `encoding` is agreed on at initialize, before the first document is opened; a document
    keeps the one it was opened with.
    """

    def __init__(self, encoding: Encoding = Encoding.UTF16) -> None:
        self.encoding = encoding
        self._documents: dict[str, Document] = {}

    def open(self, uri: str, language: str, version: int | None, text: str) -> Document:
        """Start to follow a document; one already open under `uri` is replaced."""
        document = Document(uri, language, version, text, self.encoding)
        self._documents[uri] = document
        return document

    def change(self, uri: str, version: int | None, edits: Iterable[Edit]) -> Document:
        """Apply `edits` in order, each to the result of the one before it."""
        document = self.get(uri)
        for edit in edits:
            document.apply(edit)
        document.version = version
        return document

    def close(self, uri: str) -> None:
        """Forget a document; its snapshots live on."""
        if self._documents.pop(uri, None) is None:
            raise DocumentNotOpen(uri)

    def get(self, uri: str) -> Document:
        """The open document itself: valid until the next await, see `snapshot`."""
        try:
            return self._documents[uri]
        except KeyError:
            raise DocumentNotOpen(uri) from None

    def snapshot(self, uri: str) -> DocumentSnapshot:
        """The document's current version, safe to keep and to give to other threads."""
        return self.get(uri).snapshot()

    def uris(self) -> list[str]:
        """The documents that are open, in the order in which they were opened."""
        return list(self._documents)

    def __contains__(self, uri: object) -> bool:
        return uri in self._documents

    def __len__(self) -> int:
        return len(self._documents)
