"""The notebooks that the editor has open: which cells they have, in which order.

Owns: the order of every open notebook's cells, and the text that stands before a cell.

Invariant: after every change the order is the client's, wherever cells were inserted, moved
or deleted; changes that do not fit are clamped, never refused. What stands before a cell
depends on earlier code cells of its language alone, and is bounded.

Threads: the event loop's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from slm_lsp.text.document import DocumentStore
from slm_lsp.types import DocumentSnapshot

# As much as the largest window of a prompt can show before the cursor.
MAX_PREAMBLE_CHARS = 16_000
_BETWEEN_CELLS = "\n\n"
# What editors call the cells of notebooks that they do not tell of as such.
_CELL_SCHEMES = ("vscode-notebook-cell:", "vscode-interactive-input:", "jupyter-notebook-cell:")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its document, and whether it holds code."""

    uri: str
    is_code: bool


class Notebooks:
    """See the module."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents
        self._cells: dict[str, list[Cell]] = {}
        self._notebook_of: dict[str, str] = {}

    def open(self, uri: str, cells: Iterable[Cell]) -> None:
        """Start to follow a notebook; one already open under `uri` is replaced."""
        self.close(uri)
        self._cells[uri] = []
        self.splice(uri, 0, 0, cells)

    def splice(self, uri: str, start: int, n_deleted: int, cells: Iterable[Cell]) -> None:
        """Replace `n_deleted` cells from `start` on; a cell that moves is deleted once and
        inserted once, in either order."""
        known = self._cells.get(uri)
        if known is None:
            return
        start = max(0, min(start, len(known)))
        known[start : start + max(0, n_deleted)] = cells
        self._notebook_of = {
            cell.uri: notebook for notebook, each in self._cells.items() for cell in each
        }

    def turn(self, uri: str, cells: Iterable[Cell]) -> None:
        """Take over what cells are now, code or text; their places stay."""
        changed = {cell.uri: cell for cell in cells}
        known = self._cells.get(uri, [])
        known[:] = [changed.get(cell.uri, cell) for cell in known]

    def close(self, uri: str) -> None:
        """Forget a notebook."""
        for cell in self._cells.pop(uri, ()):
            self._notebook_of.pop(cell.uri, None)

    def snapshot(self, uri: str) -> DocumentSnapshot:
        """A document's current version, with what stands before it if it is a cell."""
        snapshot = self._documents.snapshot(uri)
        notebook = self._notebook_of.get(uri)
        if notebook is None:
            return replace(snapshot, in_notebook=uri.startswith(_CELL_SCHEMES))
        preamble = self._before(self._cells[notebook], snapshot)
        return replace(snapshot, preamble=preamble, in_notebook=True)

    def _before(self, cells: Sequence[Cell], snapshot: DocumentSnapshot) -> str:
        """What the code cells before a cell say, less the first of them if it is too much."""
        texts: list[str] = []
        n_chars = 0
        at = next((i for i, cell in enumerate(cells) if cell.uri == snapshot.uri), 0)
        for cell in reversed(cells[:at]):
            if not cell.is_code or cell.uri not in self._documents:
                continue
            document = self._documents.get(cell.uri)
            text = document.text.rstrip()
            if document.language != snapshot.language or not text:
                continue
            n_chars += len(text) + len(_BETWEEN_CELLS)
            if n_chars > MAX_PREAMBLE_CHARS:
                text = text[n_chars - MAX_PREAMBLE_CHARS :].partition("\n")[2]
            texts.append(text + _BETWEEN_CELLS)
            if n_chars > MAX_PREAMBLE_CHARS:
                break
        return "".join(reversed(texts))
