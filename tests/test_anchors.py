"""Which anchor a request goes on from, and whose KV sequence a new one takes.

Owns: documents with <CURSOR>. Invariant: pure calls, no engine; a sequence is named in the order
in which a document came to need it.
"""

from __future__ import annotations

from slm_lsp.completion.anchors import MAX_DOCUMENTS, Anchors, Chosen, Room
from slm_lsp.prompt import fim
from slm_lsp.prompt.anchor import STALE_CHARS
from slm_lsp.types import CompletionContext, FimTemplate

PREFIX_FIRST = fim.FAMILIES[0]
SUFFIX_FIRST = fim.SLM_FIM
ROOM = Room(1024, 1024, 1200)
CODE = "".join(f"value_{n} = compute({n})\n" for n in range(40))
OTHER = "".join(f"class C{n}:\n    pass\n" for n in range(40))


class Document:
    """Asks as the completer does; `first` and `second` are its sequences."""

    def __init__(self, template: FimTemplate = PREFIX_FIRST) -> None:
        self.anchors, self.template = Anchors(), template

    def now(self, marked: str, room: Room = ROOM) -> Chosen:
        return self.anchors.now("u", self._context(marked), self.template, room)

    def ahead(self, marked: str, room: Room = ROOM) -> Chosen:
        return self.anchors.ahead("u", self._context(marked), self.template, room)

    def _context(self, marked: str) -> CompletionContext:
        prefix, _, suffix = marked.partition("<CURSOR>")
        return CompletionContext(prefix, suffix)


def test_typing_goes_on_from_one_anchor() -> None:
    document = Document()
    first = document.now(f"{CODE}x<CURSOR>\n{OTHER}")
    then = document.now(f"{CODE}x = val<CURSOR>\n{OTHER}")
    assert then.anchor is first.anchor
    assert (first.typed, then.typed) == ("x", "x = val")
    assert first.sequence == then.sequence == "u"
    assert not then.renewable


def test_going_to_and_fro_keeps_both_places() -> None:
    document = Document(SUFFIX_FIRST)
    here, there = f"{CODE}<CURSOR>\n{OTHER}{CODE}", f"{CODE}\n{OTHER}<CURSOR>\n{CODE}"
    one, two = document.now(here), document.now(there)
    assert (one.sequence, two.sequence) == ("u", "u#1")
    assert document.now(here).anchor is one.anchor
    assert document.now(there).anchor is two.anchor
    # A third takes the place of the one used longest ago.
    third = document.now(f"{OTHER}<CURSOR>\nx = 1\n{OTHER}")
    assert third.sequence == one.sequence
    assert document.now(there).anchor is two.anchor


def test_a_prompt_that_begins_alike_takes_the_same_sequence() -> None:
    document = Document()
    document.now(f"{CODE}<CURSOR>\n{OTHER}{CODE}")
    below = document.now(f"{CODE}\nclass C0:\n<CURSOR>    pass\n{OTHER}{CODE}")
    assert below.sequence == "u"
    # The suffix stands first: nothing of the old prompt is of use for the new one.
    document = Document(SUFFIX_FIRST)
    document.now(f"{CODE}<CURSOR>\n{OTHER}{CODE}")
    below = document.now(f"{CODE}\nclass C0:\n<CURSOR>    pass\n{OTHER}{CODE}")
    assert below.sequence == "u#1"


def test_a_small_anchor_answers_until_the_large_one_is_read() -> None:
    document = Document()
    short = Room(1024, 128, 1200)
    marked = f"{CODE}x<CURSOR>\n{OTHER}"
    quick = document.now(marked, short)
    assert quick.anchor.n_tokens == 128
    assert quick.renewable
    large = document.ahead(marked, short)
    assert large.anchor.n_tokens == 1024
    assert large.sequence != quick.sequence
    typed = f"{CODE}x = val<CURSOR>\n{OTHER}"
    assert document.now(typed, short).anchor is quick.anchor
    assert document.ahead(typed, short).anchor is large.anchor
    document.anchors.mark_read("u", large.anchor)
    then = document.now(typed, short)
    assert then.anchor is large.anchor
    assert not then.renewable


SHORT = Room(1024, 128, 1200, (2048, 1024, 512))


def test_a_new_place_may_have_been_read_in_full_before() -> None:
    document = Document()
    quick = document.now(f"{CODE}x<CURSOR>\n{OTHER}", SHORT)
    assert [each.n_tokens for each in quick.richer] == [2048, 1024, 512]
    assert {each.at for each in quick.richer} == {quick.anchor.at}
    # Nobody has said so far; meanwhile somebody types.
    typed = document.now(f"{CODE}x = val<CURSOR>\n{OTHER}", SHORT)
    assert (typed.anchor, typed.richer) == (quick.anchor, quick.richer)
    document.anchors.settle("u", typed, 1)
    then = document.now(f"{CODE}x = value<CURSOR>\n{OTHER}", SHORT)
    assert (then.anchor, then.typed) == (quick.richer[1], "x = value")
    assert (then.sequence, then.richer, then.renewable) == (quick.sequence, (), False)


def test_what_was_not_read_in_full_is_not_asked_for_again() -> None:
    document = Document()
    marked = f"{CODE}x<CURSOR>\n{OTHER}"
    quick = document.now(marked, SHORT)
    document.anchors.settle("u", quick, None)
    then = document.now(marked, SHORT)
    assert (then.anchor, then.richer, then.renewable) == (quick.anchor, (), True)


def test_a_sequence_for_another_place_forgets_what_was_asked_of_it() -> None:
    document = Document(SUFFIX_FIRST)
    here, there = f"{CODE}<CURSOR>\n{OTHER}{CODE}", f"{CODE}\n{OTHER}<CURSOR>\n{CODE}"
    late = document.now(here, SHORT)
    document.now(there, SHORT)
    third = document.now(f"{OTHER}<CURSOR>\nx = 1\n{OTHER}", SHORT)
    assert third.sequence == late.sequence
    document.anchors.settle("u", late, 0)
    assert document.now(f"{OTHER}<CURSOR>\nx = 1\n{OTHER}", SHORT).anchor is third.anchor
    # Read at once, the next has nothing richer, least of all another place's.
    assert document.now(f"y\n{OTHER}<CURSOR>\ny = 1\n").richer == ()


def test_windows_that_hold_the_same_are_one() -> None:
    """The whole of a small document is the most that there is: nothing is to be renewed."""
    quick = Document().now("x = 1\ny<CURSOR>\n", SHORT)
    assert (quick.anchor.n_tokens, quick.richer, quick.renewable) == (2048, (), False)


def test_only_twice_as_much_is_worth_reading_anew() -> None:
    marked = f"{CODE}x<CURSOR>\n{OTHER}"
    for n_soon, renewable in ((512, True), (513, False)):
        document, room = Document(), Room(1024, n_soon, 1200)
        quick = document.now(marked, room)
        assert quick.renewable is renewable
        assert (document.ahead(marked, room).anchor is quick.anchor) is not renewable


def test_an_edit_above_leaves_the_anchor_and_nothing_richer() -> None:
    document = Document()
    quick = document.now(f"{CODE}x<CURSOR>\n{OTHER}", SHORT)
    moved = document.now(f"import os\n{CODE}x<CURSOR>\n{OTHER}", SHORT)
    assert (moved.anchor, moved.typed, moved.richer) == (quick.anchor, "x", ())


def test_where_all_is_read_at_once_there_is_nothing_richer() -> None:
    assert Document().now(f"{CODE}x<CURSOR>\n{OTHER}").richer == ()


def test_a_stale_anchor_is_renewed_beside_the_one_in_use() -> None:
    document = Document()
    first = document.now(f"{CODE}<CURSOR>\n{OTHER}")
    marked = f"{CODE}{'y' * (STALE_CHARS + 1)}\nz<CURSOR>\n{OTHER}"
    stale = document.now(marked)
    assert (stale.anchor, stale.renewable) == (first.anchor, True)
    fresh = document.ahead(marked)
    assert fresh.typed == "z"
    assert fresh.sequence != first.sequence
    assert document.now(marked).anchor is first.anchor
    document.anchors.mark_read("u", fresh.anchor)
    then = document.now(marked)
    assert then.anchor is fresh.anchor
    assert not then.renewable


def test_reading_ahead_of_a_new_place_twice_is_reading_it_once() -> None:
    document = Document()
    marked = f"{CODE}<CURSOR>\n{OTHER}"
    first = document.ahead(marked)
    assert document.ahead(marked).anchor is first.anchor
    document.anchors.mark_read("u", first.anchor)
    assert document.now(marked).anchor is first.anchor


def test_what_is_forgotten_begins_anew() -> None:
    document = Document()
    marked = f"{CODE}<CURSOR>\n{OTHER}"
    first = document.now(marked)
    document.anchors.forget("u")
    document.anchors.mark_read("u", first.anchor)
    assert document.now(marked).anchor is not first.anchor


def test_documents_are_bounded() -> None:
    anchors = Anchors()
    for n in range(MAX_DOCUMENTS + 5):
        anchors.now(f"u{n}", CompletionContext("a\n", "\nb"), PREFIX_FIRST, ROOM)
    assert len(anchors._slots) == MAX_DOCUMENTS
