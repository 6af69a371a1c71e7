"""Documents, positions and notebooks in any order of messages, against plain models.

Owns: the state machine of hypothesis, whose steps are messages of a client, and the count of its
edits. A message is drawn as bytes, ten to an edit: fewer and smaller ones are simpler messages, so
failures shrink. Most edits are of long messages whose bytes follow from a number, which makes a
million of them affordable; a failure there names the text and the edit.

Invariant: the models are `LineModel` and lists of cells; nothing is asked of the code under test
but what is compared. Threads: the test's own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from line_model import LineModel

from slm_lsp.text import position as pos
from slm_lsp.text.document import DocumentNotOpen, DocumentStore, Edit
from slm_lsp.text.notebook import Cell, Notebooks
from slm_lsp.text.position import Encoding
from slm_lsp.types import DocumentSnapshot

EDIT_BYTES = 10
EDITS_A_MESSAGE = 20
PIECES = (
    *("a", "\n", "\r", "\r\n", "😀", "b = 1\n", "\ud83d", "\ude00", "\u2028", "\f", "\v", "\x85"),
    *("e\u0301", "漢", "\t", "\u2029", "\ufeff", "\0", "\U0010ffff", "\x1c", "👩\u200d👩", "é"),
)
ODD_COORDINATES = (-1, -(2**31), 2**31 - 1, 2**31, 2**63, 40, 100, 10**30)
URIS = tuple(f"file:///{name}.py" for name in "abcdef")
BOOKS = ("file:///one.ipynb", "file:///two.ipynb")
NAMES = st.integers(0, len(URIS) - 1)
VERSIONS = st.integers(-(2**31), 2**31 - 1)
MESSAGES = st.binary(min_size=1, max_size=EDIT_BYTES * EDITS_A_MESSAGE)
EDITS_A_LONG_MESSAGE = 200
# A text that has grown so long is begun anew; most are far shorter.
MAX_CHARS = 200


def text_of(raw: bytes) -> str:
    return "".join(PIECES[byte % len(PIECES)] for byte in raw)


def coordinate(byte: int) -> int:
    return byte % 8 if byte < 216 else ODD_COORDINATES[byte % len(ODD_COORDINATES)]


def edits_of(raw: bytes) -> Iterator[Edit]:
    """The edits of a message. One in 40 replaces everything, one in 6 is an insertion."""
    for at in range(0, len(raw), EDIT_BYTES):
        kind, *numbers = raw[at : at + EDIT_BYTES].ljust(EDIT_BYTES, b"\0")
        line, character, end_line, end_character = map(coordinate, numbers[:4])
        text = text_of(bytes(numbers[5 : 5 + numbers[4] % 5]))
        if kind > 249:
            yield Edit(None, None, text * 4)
        else:
            end = None if kind > 210 else (end_line, end_character)
            yield Edit((line, character), end, text)


class TextMachine(RuleBasedStateMachine):
    """See the module."""

    n_edits = 0

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, LineModel] = {}
        self.versions: dict[str, int] = {}
        self.cells: dict[str, list[Cell]] = {}
        self.kept: list[tuple[DocumentSnapshot, str]] = []

    @initialize(encoding=st.sampled_from(Encoding), raw=MESSAGES)
    def begin(self, encoding: Encoding, raw: bytes) -> None:
        self.store = DocumentStore(encoding)
        self.books = Notebooks(self.store)
        for name in range(3):
            self.open(name, raw[name:], 1)

    @rule(name=NAMES, raw=MESSAGES, version=VERSIONS)
    def open(self, name: int, raw: bytes, version: int) -> None:
        """Opened for the first time, or again without having been closed."""
        uri, text = URIS[name], text_of(raw)
        self.store.open(uri, "python", version, text)
        self.models[uri] = LineModel.of(text, self.store.encoding.value)
        self.versions[uri] = version

    @rule(name=NAMES, number=st.integers(0, 2**32), version=VERSIONS)
    def change_much(self, name: int, number: int, version: int) -> None:
        """Many changes."""
        if self.models:
            name = URIS.index(sorted(self.models)[name % len(self.models)])
            n_bytes = EDIT_BYTES * EDITS_A_LONG_MESSAGE
            self.change(name, random.Random(number).randbytes(n_bytes), version)

    @rule(name=NAMES, raw=MESSAGES, version=VERSIONS)
    def change(self, name: int, raw: bytes, version: int) -> None:
        """A change, whatever its version; of a document that is not open, too."""
        uri, edits = URIS[name], list(edits_of(raw))
        model = self.models.get(uri)
        if model is None:
            self.refused(lambda: self.store.change(uri, version, edits))
            return
        document = self.store.get(uri)
        for edit in edits:
            before = document.text
            if len(before) > MAX_CHARS and edit.start is not None:
                edit = Edit((0, 0), (2**31 - 1, 0), edit.text)
            self.store.change(uri, version, [edit])
            model.edit(edit.start, edit.end, edit.text)
            assert document.text == model.text, (before, edit)
            assert document.line_starts() == model.starts(), (before, edit)
            if edit.start is not None:
                offset = document.offset_at(edit.start)
                assert offset == model.offset(*edit.start), (before, edit)
        type(self).n_edits += len(edits)
        self.versions[uri] = version

    @rule(name=NAMES, raw=MESSAGES)
    def change_at_once(self, name: int, raw: bytes) -> None:
        """Several edits of one message, each of the result of the one before it."""
        uri = URIS[name]
        if uri in self.models:
            edits = list(edits_of(raw))
            self.store.change(uri, self.versions[uri], edits)
            for edit in edits:
                self.models[uri].edit(edit.start, edit.end, edit.text)
            type(self).n_edits += len(edits)

    @rule(name=NAMES)
    def close(self, name: int) -> None:
        uri = URIS[name]
        if self.models.pop(uri, None) is None:
            self.refused(lambda: self.store.close(uri))
        else:
            self.store.close(uri)
            del self.versions[uri]

    @rule(name=NAMES)
    def keep(self, name: int) -> None:
        """A snapshot stays as it is, whatever comes."""
        if URIS[name] in self.models:
            self.kept.append((self.store.snapshot(URIS[name]), self.models[URIS[name]].text))

    @rule(
        book=st.sampled_from(BOOKS),
        names=st.lists(NAMES, max_size=5),
        start=st.integers(-1, 3),
        n_deleted=st.integers(-1, 3),
    )
    def splice(self, book: str, names: list[int], start: int, n_deleted: int) -> None:
        """Cells of one notebook, in any order; a notebook is opened by its first change."""
        other = BOOKS[book == BOOKS[0]]
        elsewhere = {cell.uri for cell in self.cells.get(other, [])}
        known = self.cells.get(book)
        cells = [Cell(URIS[name], name % 3 > 0) for name in dict.fromkeys(names)]
        cells = [cell for cell in cells if cell.uri not in elsewhere]
        if known is None:
            self.books.open(book, cells)
            self.cells[book] = cells
            return
        there = {cell.uri for cell in known}
        cells = [cell for cell in cells if cell.uri not in there]
        self.books.splice(book, start, n_deleted, cells)
        at = min(max(start, 0), len(known))
        self.cells[book] = known[:at] + cells + known[at + max(0, n_deleted) :]

    @rule(book=st.sampled_from(BOOKS))
    def close_book(self, book: str) -> None:
        self.books.close(book)
        self.cells.pop(book, None)

    def refused(self, call: Callable[[], object]) -> None:
        try:
            call()
        except DocumentNotOpen:
            return
        raise AssertionError("a document that is not open was found")

    def before(self, uri: str) -> str | None:
        """What stands before a cell; None where it is none."""
        for cells in self.cells.values():
            uris = [cell.uri for cell in cells]
            if uri in uris:
                shown = [cell.uri for cell in cells[: uris.index(uri)] if cell.is_code]
                texts = [self.models[each].text.rstrip() for each in shown if each in self.models]
                return "".join(f"{text}\n\n" for text in texts if text)
        return None

    @invariant()
    def all_is_in_step(self) -> None:
        assert sorted(self.store.uris()) == sorted(self.models)
        for uri, model in self.models.items():
            document, text = self.store.get(uri), model.text
            assert document.version == self.versions[uri]
            assert document.text == text
            assert document.n_lines == len(model.lines)
            offset = len(text) // 2
            place = document.position_at(offset)
            assert place == pos.position_at(text, offset, self.store.encoding)
            assert model.offset(*place) == document.offset_at(place) == pos.clamp(text, offset)
            snapshot, before = self.books.snapshot(uri), self.before(uri)
            assert snapshot.in_notebook == (before is not None)
            assert snapshot.preamble == (before or "")
        assert all(snapshot.text == text for snapshot, text in self.kept)
