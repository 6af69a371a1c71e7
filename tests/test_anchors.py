"""Which anchor a request goes on from, and whose KV sequence a new one takes.

Owns: documents with <CURSOR>. Invariant: pure calls, no engine; a sequence is named in the order
in which a document came to need it.
"""

from __future__ import annotations

import pytest

from slm_lsp.completion.anchors import MAX_DOCUMENTS, Anchors, Chosen, Room
from slm_lsp.prompt import fim
from slm_lsp.prompt.anchor import STALE_CHARS
from slm_lsp.prompt.file_formats import with_files
from slm_lsp.types import CompletionContext, FimTemplate, Snippet

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
    assert [each.n_tokens for each in quick.others] == [2048, 1024, 512]
    assert {each.at for each in quick.others} == {quick.anchor.at}
    # Nobody has said so far; meanwhile somebody types.
    typed = document.now(f"{CODE}x = val<CURSOR>\n{OTHER}", SHORT)
    assert (typed.anchor, typed.others) == (quick.anchor, quick.others)
    document.anchors.settle("u", typed, 1)
    then = document.now(f"{CODE}x = value<CURSOR>\n{OTHER}", SHORT)
    assert (then.anchor, then.typed) == (quick.others[1], "x = value")
    assert (then.sequence, then.others, then.renewable) == (quick.sequence, (), False)


def test_what_was_not_read_in_full_is_not_asked_for_again() -> None:
    document = Document()
    marked = f"{CODE}x<CURSOR>\n{OTHER}"
    quick = document.now(marked, SHORT)
    document.anchors.settle("u", quick, None)
    then = document.now(marked, SHORT)
    assert (then.anchor, then.others, then.renewable) == (quick.anchor, (), True)


def test_a_new_place_may_have_been_read_with_less_before() -> None:
    document, room = Document(), Room(1024, 512, 1200, (1024, 256, 128))
    soon = document.now(f"{CODE}x<CURSOR>\n{OTHER}", room)
    assert soon.anchor.n_tokens == 512
    assert [each.n_tokens for each in soon.others] == [1024, 256, 128]
    document.anchors.settle("u", soon, 1)
    then = document.now(f"{CODE}x<CURSOR>\n{OTHER}", room)
    assert (then.anchor, then.others, then.renewable) == (soon.others[1], (), True)


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
    assert document.now(f"y\n{OTHER}<CURSOR>\ny = 1\n").others == ()


def test_windows_that_hold_the_same_are_one() -> None:
    """The whole of a small document is the most that there is: nothing is to be renewed."""
    quick = Document().now("x = 1\ny<CURSOR>\n", SHORT)
    assert (quick.anchor.n_tokens, quick.others, quick.renewable) == (2048, (), False)


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
    assert (moved.anchor, moved.typed, moved.others) == (quick.anchor, "x", ())


def test_where_all_is_read_at_once_there_is_nothing_richer() -> None:
    assert Document().now(f"{CODE}x<CURSOR>\n{OTHER}").others == ()


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


# --- snippets of other files ---

STARCODER_2 = {*fim.SLM_FIM.stop, *fim.sentinels(fim.SLM_FIM)}
SNIPPETS = {name: Snippet(name, name * 97) for name in "abcdefgh"}


def wanting(names: str) -> CompletionContext:
    prefix, _, suffix = f"{CODE}x<CURSOR>\n{OTHER}".partition("<CURSOR>")
    return CompletionContext(prefix, suffix, snippets=tuple(SNIPPETS[each] for each in names))


def names_of(chosen: Chosen) -> str:
    return "".join(snippet.path for snippet in chosen.anchor.snippets)


def test_a_small_prompt_has_none_and_the_large_one_does() -> None:
    anchors, room = Anchors(), Room(1024, 128, 1200, (1024, 512))
    quick = anchors.now("u", wanting("abc"), PREFIX_FIRST, room)
    assert (names_of(quick), quick.renewable) == ("", True)
    # What may have been read before would have had what is wanted now.
    assert [len(each.snippets) for each in quick.others] == [3, 3]
    large = anchors.ahead("u", wanting("abc"), PREFIX_FIRST, room)
    assert names_of(large) == "abc"
    anchors.mark_read("u", large.anchor)
    then = anchors.now("u", wanting("abc"), PREFIX_FIRST, room)
    assert then.anchor is large.anchor
    assert not then.renewable


def test_snippets_that_come_late_are_read_beside_the_prompt_in_use() -> None:
    anchors = Anchors()
    first = anchors.now("u", wanting(""), PREFIX_FIRST, ROOM)
    assert not first.renewable
    late = anchors.now("u", wanting("ab"), PREFIX_FIRST, ROOM)
    assert (late.anchor, late.renewable) == (first.anchor, True)
    ahead = anchors.ahead("u", wanting("ab"), PREFIX_FIRST, ROOM)
    assert (names_of(ahead), ahead.sequence) == ("ab", "u#1")
    assert anchors.now("u", wanting("ab"), PREFIX_FIRST, ROOM).anchor is first.anchor
    anchors.mark_read("u", ahead.anchor)
    then = anchors.now("u", wanting("ab"), PREFIX_FIRST, ROOM)
    assert (then.anchor, then.renewable) == (ahead.anchor, False)
    # Asked for without any, as where there was no time to collect, it goes on from the same.
    assert anchors.now("u", wanting(""), PREFIX_FIRST, ROOM).anchor is ahead.anchor


def test_little_that_is_missing_is_not_worth_reading_anew() -> None:
    anchors = Anchors()
    first = anchors.now("u", wanting("abcd"), PREFIX_FIRST, ROOM)
    for wanted, renewable in (("abcd", False), ("abef", False), ("efab", True), ("", False)):
        then = anchors.now("u", wanting(wanted), PREFIX_FIRST, ROOM)
        assert (then.anchor, then.renewable) == (first.anchor, renewable)
        ahead = Anchors.ahead(anchors, "u", wanting("abcd"), PREFIX_FIRST, ROOM)
        assert ahead.anchor is first.anchor


def test_a_new_anchor_begins_as_the_one_before() -> None:
    anchors = Anchors()
    anchors.now("u", wanting("abcd"), PREFIX_FIRST, ROOM)
    then = anchors.ahead("u", wanting("gfcha"), PREFIX_FIRST, ROOM)
    assert names_of(then) == "acgfh"


@pytest.mark.parametrize(
    ("template", "n_lines", "sequence"),
    [
        (PREFIX_FIRST, 2, "u"),  # most of both prompts is the snippets
        (PREFIX_FIRST, 200, "u#1"),
        (SUFFIX_FIRST, 2, "u#1"),  # as comments they stand behind the suffix
        (with_files(SUFFIX_FIRST, STARCODER_2), 2, "u"),
        (fim.PREFIX_ONLY, 2, "u"),
    ],
)
def test_what_two_places_share_may_be_their_snippets(
    template: FimTemplate, n_lines: int, sequence: str
) -> None:
    anchors = Anchors()
    snippets = tuple(Snippet(each, each * 490) for each in "ab")
    chosen = []
    for name in "pq":
        lines = f"{name} = 1\n" * n_lines
        context = CompletionContext(f"{lines}x", f"\n{lines}", snippets=snippets)
        chosen.append(anchors.now("u", context, template, ROOM))
    assert [each.sequence for each in chosen] == ["u", sequence]
    assert chosen[0].anchor.snippets == chosen[1].anchor.snippets == snippets
