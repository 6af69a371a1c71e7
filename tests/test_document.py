"""Documents under edits, against a model that splices code units.

Owns: the reference `Units`, the text as its client holds it: a list of code units.
Invariant: the reference keeps no line index and no offsets in code points; it encodes,
scans, splices and decodes, so that it shares no idea with the code under test.
Threads: the test's own.
"""

from __future__ import annotations

import array
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations_with_replacement, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from slm_lsp.text import document as document_module
from slm_lsp.text import position as pos
from slm_lsp.text.document import Document, DocumentNotOpen, DocumentStore, Edit
from slm_lsp.text.position import Encoding, Position
from slm_lsp.types import DocumentSnapshot

URI = "file:///a.py"
PIECES = (
    *("a", "b", " ", "\t", "\n", "\r", "\r\n", "\f", "\v", "\x85", "\u2028", "\u2029"),
    *("é", "e\u0301", "漢", "\ufeff", "😀", "\U0010ffff", "\ud83d", "\ude00"),
)
# The borders of an edit are where an index goes wrong: half a line end or half a character
# on either side of it. Few pieces and small numbers make them meet often.
ALPHABETS = (PIECES, ("a", "\r", "\n"), ("a", "\ud83d", "\ude00"))
COORDINATES = st.one_of(st.integers(0, 3), st.integers(0, 3), st.sampled_from([-1, 7, 2**31 - 1]))
POSITIONS = st.tuples(COORDINATES, COORDINATES)


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    """The texts of tests are short, and are to be of several blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document_module, "BLOCK_LINES", 1)
        yield


def texts(alphabet: tuple[str, ...], max_size: int = 10) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(alphabet), max_size=max_size).map("".join)


def edits(alphabet: tuple[str, ...]) -> st.SearchStrategy[Edit]:
    ranged = st.builds(Edit, POSITIONS, st.none() | POSITIONS, texts(alphabet, max_size=2))
    whole = st.builds(Edit, st.none(), st.none(), texts(alphabet))
    return st.integers(0, 9).flatmap(lambda choice: ranged if choice else whole)


@st.composite
def changed_texts(draw: st.DrawFn) -> tuple[str, list[list[Edit]]]:
    alphabet = draw(st.sampled_from(ALPHABETS))
    changes = st.lists(st.lists(edits(alphabet), max_size=3), min_size=1, max_size=5)
    return draw(texts(alphabet)), draw(changes)


TEXTS = st.sampled_from(ALPHABETS).flatmap(texts)
EDITS = st.sampled_from(ALPHABETS).flatmap(edits)
QUICK = settings(derandomize=True, deadline=None, max_examples=90, database=None)
CODECS = {
    Encoding.UTF8: ("utf-8", "B"),
    Encoding.UTF16: ("utf-16-le", "H"),
    Encoding.UTF32: ("utf-32-le", "I"),
}
CR, LF = 13, 10


@dataclass
class Units:
    """A text as code units of one encoding, edited the slow and obvious way."""

    encoding: Encoding
    units: list[int] = field(default_factory=list)

    def replace_all(self, text: str) -> None:
        # By way of UTF-16, where the halves of a pair are one character once they meet.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        codec, code = CODECS[self.encoding]
        self.units = array.array(code, text.encode(codec, "surrogatepass")).tolist()

    def text(self) -> str:
        codec, code = CODECS[self.encoding]
        return array.array(code, self.units).tobytes().decode(codec, "surrogatepass")

    def lines(self) -> list[tuple[int, int]]:
        """First unit and first unit of the terminator, line by line."""
        found, start, at = [], 0, 0
        while at < len(self.units):
            if self.units[at] == CR and self.units[at + 1 : at + 2] == [LF]:
                found.append((start, at))
                start = at = at + 2
            elif self.units[at] in (CR, LF):
                found.append((start, at))
                start = at = at + 1
            else:
                at += 1
        return [*found, (start, at)]

    def index(self, position: Position) -> int:
        line, character = (max(0, number) for number in position)
        lines = self.lines()
        if line >= len(lines):
            return len(self.units)
        start, end = lines[line]
        at = min(start + character, end)
        while at > start and at < len(self.units) and self.continues_a_character(at):
            at -= 1
        return at

    def continues_a_character(self, at: int) -> bool:
        if self.encoding is Encoding.UTF8:
            return self.units[at] >> 6 == 0b10
        if self.encoding is Encoding.UTF16:
            return self.units[at] >> 10 == 0b110111 and self.units[at - 1] >> 10 == 0b110110
        return False

    def apply(self, edit: Edit) -> None:
        if edit.start is None:
            self.replace_all(edit.text)
            return
        start = self.index(edit.start)
        end = start if edit.end is None else self.index(edit.end)
        if end < start:
            start, end = end, start
        inserted = Units(self.encoding)
        inserted.replace_all(edit.text)
        self.units[start:end] = inserted.units
        self.replace_all(self.text())


def starts_by_scanning(text: str) -> list[int]:
    """Line starts, by looking at each offset alone."""

    def starts_a_line(offset: int) -> bool:
        before, after = text[offset - 1], text[offset : offset + 1]
        return before == "\n" or (before == "\r" and after != "\n")

    return [0] + [offset for offset in range(1, len(text) + 1) if starts_a_line(offset)]


def assert_in_step(document: Document, model: Units) -> None:
    text = model.text()
    assert document.text == text
    starts = starts_by_scanning(text)
    assert document.line_starts() == starts
    assert document.n_lines == len(starts)
    for line, start in enumerate(starts):
        assert document.offset_at((line, 0)) == start
    for offset in range(-1, len(text) + 2):
        position = document.position_at(offset)
        assert position == pos.position_at(text, offset, model.encoding)
        assert document.offset_at(position) == pos.clamp(text, offset)


@pytest.mark.parametrize("encoding", Encoding)
@QUICK
@given(session=changed_texts())
def test_edits_never_diverge(encoding: Encoding, session: tuple[str, list[list[Edit]]]) -> None:
    text, changes = session
    model = Units(encoding)
    model.replace_all(text)
    store = DocumentStore(encoding)
    document = store.open(URI, "python", 0, text)
    assert_in_step(document, model)
    for version, edits in enumerate(changes, start=1):
        for edit in edits:
            model.apply(edit)
        store.change(URI, version, edits)
        assert store.snapshot(URI) == DocumentSnapshot(URI, version, "python", model.text())
        assert_in_step(document, model)


@pytest.mark.parametrize("encoding", Encoding)
@QUICK
@given(text=TEXTS, position=POSITIONS)
def test_offset_of_any_position(encoding: Encoding, text: str, position: Position) -> None:
    model = Units(encoding)
    model.replace_all(text)
    before = Units(encoding, model.units[: model.index(position)])
    document = Document(URI, "python", None, text, encoding)
    assert document.offset_at(position) == len(before.text())
    assert pos.offset_at(document.text, position, encoding) == len(before.text())


@pytest.mark.parametrize("alphabet", ALPHABETS[1:], ids=["line ends", "surrogates"])
def test_every_small_edit_of_every_small_text(alphabet: tuple[str, ...]) -> None:
    def words(longest: int) -> list[str]:
        return ["".join(word) for n in range(longest + 1) for word in product(alphabet, repeat=n)]

    model = Units(Encoding.UTF16)
    for text, inserted in product(words(3), words(2)):
        before = Document(URI, "python", None, text, Encoding.UTF16)
        for start, end in combinations_with_replacement(range(len(before.text) + 1), 2):
            document = Document(URI, "python", None, text, Encoding.UTF16)
            edit = Edit(before.position_at(start), before.position_at(end), inserted)
            document.apply(edit)
            first, last = pos.clamp(before.text, start), pos.clamp(before.text, end)
            model.replace_all(before.text[:first] + inserted + before.text[last:])
            assert document.text == model.text(), (text, edit)
            starts = starts_by_scanning(document.text)
            assert document.line_starts() == starts, (text, edit)
            assert [document.offset_at((line, 0)) for line in range(len(starts))] == starts
            assert document.n_lines == len(starts)


class StoreMachine(RuleBasedStateMachine):
    """Any order of open, change and close, with documents that are not open as well."""

    uris = Bundle("uris")

    def __init__(self) -> None:
        super().__init__()
        self.store = DocumentStore(Encoding.UTF16)
        self.models: dict[str, tuple[int, Units]] = {}
        self.kept: list[tuple[DocumentSnapshot, str]] = []

    @rule(target=uris, name=st.sampled_from("abc"))
    def name(self, name: str) -> str:
        return f"file:///{name}.py"

    @rule(uri=uris, text=TEXTS, version=st.integers(0, 9))
    def open(self, uri: str, text: str, version: int) -> None:
        model = Units(Encoding.UTF16)
        model.replace_all(text)
        self.models[uri] = (version, model)
        self.store.open(uri, "python", version, text)

    @rule(uri=uris, edits=st.lists(EDITS, max_size=3))
    def change(self, uri: str, edits: list[Edit]) -> None:
        if uri not in self.models:
            with pytest.raises(DocumentNotOpen, match=uri):
                self.store.change(uri, 1, edits)
            return
        version, model = self.models[uri]
        for edit in edits:
            model.apply(edit)
        self.models[uri] = (version + 1, model)
        self.store.change(uri, version + 1, edits)

    @rule(uri=uris)
    def close(self, uri: str) -> None:
        if self.models.pop(uri, None) is None:
            with pytest.raises(DocumentNotOpen, match=uri):
                self.store.close(uri)
        else:
            self.store.close(uri)
        assert uri not in self.store
        with pytest.raises(DocumentNotOpen, match=uri):
            self.store.snapshot(uri)

    @rule(uri=uris)
    def keep(self, uri: str) -> None:
        if uri in self.store:
            snapshot = self.store.snapshot(uri)
            self.kept.append((snapshot, self.models[uri][1].text()))

    @invariant()
    def store_is_in_step(self) -> None:
        assert len(self.store) == len(self.models)
        assert all(uri in self.store for uri in self.models)
        for uri, (version, model) in self.models.items():
            assert self.store.get(uri).version == version
            assert_in_step(self.store.get(uri), model)

    @invariant()
    def snapshots_never_change(self) -> None:
        assert all(snapshot.text == text for snapshot, text in self.kept)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(QUICK, max_examples=25, stateful_step_count=20)


def edited(text: str, *edits: Edit, encoding: Encoding = Encoding.UTF16) -> str:
    store = DocumentStore(encoding)
    document = store.open(URI, "python", 1, text)
    store.change(URI, 2, edits)
    assert document.line_starts() == starts_by_scanning(document.text)
    return store.snapshot(URI).text


@pytest.mark.parametrize("not_a_line_end", ["\f", "\v", "\x1c", "\x85", "\u2028", "\u2029"])
def test_only_lsp_line_ends_end_a_line(not_a_line_end: str) -> None:
    text = f"a{not_a_line_end}b\ncd\n"
    assert edited(text, Edit((1, 1), (1, 2), "Z")) == f"a{not_a_line_end}b\ncZ\n"


def test_insertion_past_the_end_of_an_unterminated_last_line() -> None:
    assert edited("ab\ncd", Edit((1, 99), (1, 99), "Z")) == "ab\ncdZ"


def test_edits_and_positions_are_not_mutated() -> None:
    positions = [(7, 99), (-1, -3)]
    edits = [Edit(positions[0], positions[1], "x")]
    store = DocumentStore()
    store.open(URI, "python", 1, "ab\ncd")
    store.change(URI, 2, edits)
    assert positions == [(7, 99), (-1, -3)]
    assert edits == [Edit((7, 99), (-1, -3), "x")]


@pytest.mark.parametrize(
    ("text", "edit", "result"),
    [
        ("a\rb", Edit((1, 0), None, "\n"), "a\r\nb"),  # one terminator out of two
        ("a\nb", Edit((0, 1), None, "\r"), "a\r\nb"),
        ("a\rx\nb", Edit((1, 0), (1, 1), ""), "a\r\nb"),
        ("a\r\nb", Edit((0, 1), (1, 0), "\r"), "a\rb"),
        ("a\nb", Edit((0, 0), (0, 1), "\r"), "\r\nb"),
        ("abcd", Edit((0, 3), (0, 1), "Z"), "aZd"),  # end before start: swapped
        ("a\nb\nc", Edit((9, 9), (0, 1), ""), "a"),
        ("", Edit((5, 5), (6, 6), "x"), "x"),
        ("abc", Edit(None, None, "new\n"), "new\n"),
        ("abc", Edit(None, (0, 1), "new\n"), "new\n"),
        ("a😀b", Edit((0, 2), (0, 3), ""), "ab"),  # inside the character: from its start
        ("\ud83d", Edit((0, 1), None, "\ude00"), "😀"),
        ("\ude00", Edit((0, 0), None, "\ud83d"), "😀"),
        ("\ud83dx\ude00\n", Edit((0, 1), (0, 2), ""), "😀\n"),
    ],
)
def test_edit(text: str, edit: Edit, result: str) -> None:
    assert edited(text, edit) == result


def test_edits_of_one_change_apply_to_the_result_of_the_one_before() -> None:
    edits = [Edit((0, 0), None, "x\n"), Edit((1, 0), (1, 1), ""), Edit((1, 0), None, "😀")]
    assert edited("ab", *edits, Edit((1, 2), None, "!")) == "x\n😀!b"


def test_halves_of_a_character_from_two_edits_count_as_one_in_utf32() -> None:
    halves = [Edit((0, 1), None, "\ud83d"), Edit((0, 2), None, "\ude00")]
    assert edited("ab", *halves, Edit((0, 2), None, "!"), encoding=Encoding.UTF32) == "a😀!b"


def test_open_again_replaces() -> None:
    store = DocumentStore()
    store.open(URI, "python", 7, "old")
    store.open(URI, "go", None, "new")
    assert store.snapshot(URI) == DocumentSnapshot(URI, None, "go", "new")
    assert len(store) == 1


def test_not_open_says_which_document() -> None:
    with pytest.raises(DocumentNotOpen, match=f"document is not open: {URI}") as caught:
        DocumentStore().snapshot(URI)
    assert caught.value.uri == URI
    assert isinstance(caught.value, KeyError)


@pytest.mark.bench
def test_typing_in_a_long_document_is_quick() -> None:
    store = DocumentStore()
    document = store.open(URI, "python", 0, ("x" * 49 + "\n") * 10_000)
    edit_ms, lookup_ms = [], []
    for version in range(200):
        at = (5_000, 10 + version)
        began = time.perf_counter()
        store.change(URI, version, [Edit(at, at, "y")])
        edit_ms.append((time.perf_counter() - began) * 1e3)
        began = time.perf_counter()
        document.offset_at(at)
        lookup_ms.append((time.perf_counter() - began) * 1e3)
    assert sorted(edit_ms)[100] < 0.5
    assert sorted(lookup_ms)[100] < 0.05
