"""What holds for every text, in every place.

Owns: the laws of the filters and of `apply`, and the texts and places they are tried on.

Invariant: no case by case expectations; those are in `test_postprocess`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.completion import closing, drift, filters, indentation, overlap
from slm_lsp.completion.brackets import scan
from slm_lsp.completion.place import LOOK_CHARS, Place
from slm_lsp.completion.postprocess import FILTERS, RejectReason, apply
from slm_lsp.context.languages import LANGUAGES, UNKNOWN, Language
from slm_lsp.types import CompletionContext, Finish, Trigger, Want

BRACKETS = st.text("()[]{}a, \n", max_size=12)
CODE = st.lists(
    st.sampled_from(
        [
            *"()[]{}\"'`\\:;,#/ \t\n\ra",
            *("\r\n", '"""', "return x", "    ", "�", "é", "🙂"),
            *("<|endoftext|>", "<file_sep>", "import os", "// a", "{\n", "a, "),
        ]
    ),
    max_size=12,
).map("".join)
ANYTHING = st.text(max_size=20) | CODE | BRACKETS
LANGUAGE = st.sampled_from([*LANGUAGES.values(), UNKNOWN])
QUICK = settings(derandomize=True, deadline=None, max_examples=80, database=None)


@st.composite
def places(draw: st.DrawFn, code: st.SearchStrategy[str] = ANYTHING) -> Place:
    literal = draw(st.sampled_from(["", "string", "comment"])) if code is ANYTHING else ""
    prefix = draw(code)
    blank = not prefix or prefix.endswith("\n")
    context = CompletionContext(
        prefix,
        draw(code),
        inferred_indent=draw(st.sampled_from(["", "    ", "\t"])) if blank else "",
        in_string=literal == "string",
        in_comment=literal == "comment",
        want=draw(st.sampled_from([Want.LINE, Want.BLOCK])),
    )
    return Place.of(context, draw(st.sampled_from(Finish)), draw(LANGUAGE))


@QUICK
@given(places(), ANYTHING)
def test_apply_is_total_and_ends_in_text(place: Place, says: str) -> None:
    shown = apply(says, place)
    if isinstance(shown, RejectReason):
        return
    assert shown.strip()
    tail = shown[len(shown.rstrip()) :].replace("\r\n", "\n").replace("\r", "\n")
    if tail:
        # The one exception: of two brackets side by side, the second goes on the next line.
        assert place.line.rstrip()[-1:] + place.rest.lstrip()[:1] in ("()", "[]", "{}")
        assert tail == "\n" + place.line[: len(place.line) - len(place.line.lstrip())]


def stripped(text: str) -> str:
    """A text without the white space at both ends of its lines."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(line.strip() for line in plain.split("\n"))


@QUICK
@given(places(), ANYTHING)
def test_nothing_is_made_up(place: Place, says: str) -> None:
    """What is shown is a beginning of what was said, in other white space at the lines' ends, and
    the end of a string."""
    shown = apply(says, place)
    if not isinstance(shown, RejectReason):
        plain, said = stripped(shown).strip(), stripped(says).strip()
        marks = ["", *place.language.long_quotes]
        assert any(said.startswith(plain.removesuffix(mark).rstrip()) for mark in marks)


@QUICK
@given(places(BRACKETS), BRACKETS)
def test_no_closing_bracket_loses_its_partner(place: Place, says: str) -> None:
    """Where the shown text leaves nothing open, the document has no more closing brackets
    without a partner than it had."""
    shown = apply(says, place)
    if isinstance(shown, RejectReason) or scan(shown).opened:
        return
    before, after = place.context.prefix, place.context.suffix
    assert len(scan(before + shown + after).strays) <= len(scan(before + after).strays)


@QUICK
@given(places(), ANYTHING)
def test_the_next_line_is_not_said_again(place: Place, says: str) -> None:
    shown = apply(says, place)
    if not isinstance(shown, RejectReason) and place.below:
        lines = (place.line + shown.replace("\r", "")).split("\n")
        assert place.below[0].rstrip() not in [line.rstrip() for line in lines if line.strip()]


# Not these two: once cut, a text seems to end in another unfinished word; and what is left of
# "a, b, b" before ", b)" ends in ", b" again, which is right, as the document then reads
# "a, b, b)".
ONCE = (filters.cut_unfinished, overlap.trim_line_overlap)
# These change white space, or close a string.
CHANGING = (indentation.fit_start, indentation.fit_indentation, closing.close_quote)


@pytest.mark.parametrize("each", [each for each, _ in FILTERS if each not in ONCE])
@given(place=places(), says=ANYTHING)
@settings(QUICK, max_examples=40)
def test_a_filter_has_no_more_to_say_of_its_own_result(
    each: filters.Filter, place: Place, says: str
) -> None:
    once = each(says, place)
    assert each(once, place) == once


@pytest.mark.parametrize("each", [each for each, _ in FILTERS if each not in CHANGING])
@given(place=places(), says=ANYTHING)
@settings(QUICK, max_examples=40)
def test_a_filter_only_shortens(each: filters.Filter, place: Place, says: str) -> None:
    plain = says.replace("\r\n", "\n").replace("\r", "\n")
    assert says.startswith(each(says, place)) or plain.startswith(each(says, place))


@QUICK
@given(places(), ANYTHING)
def test_no_control_text_is_shown(place: Place, says: str) -> None:
    """But for one that the document holds itself, or that a cut has made."""
    shown = drift.cut_specials(says, place)
    for special in ("<|endoftext|>", "<file_sep>"):
        if special not in place.before + place.after:
            assert special not in shown


STYLED = st.lists(
    st.sampled_from(["x = 1", "if x:", "{", "}", "\n", "\n\t", "\n    ", "  ", "\n  "])
)


@QUICK
@given(STYLED.map("".join), st.sampled_from(["\t", "  ", "    "]), LANGUAGE)
def test_lines_that_are_added_are_indented_as_the_document_is(
    says: str, unit: str, language: Language
) -> None:
    text = f"a:\n{unit}b\n{unit}if b:\n{unit}{unit}c\n{unit}"
    context = CompletionContext(text, f"\n{unit}d\n", indent=unit, block_indent=unit)
    place = Place.of(context, Finish.STOP, language)
    said = "".join(says)
    inner = indentation.fit_indentation(said, place).split("\n")[1:]
    other = " " if unit == "\t" else "\t"
    if not language.prose and not any(mark in said for mark in language.long_quotes):
        assert not any(other in line[: len(line) - len(line.lstrip())] for line in inner)


@QUICK
@given(places(), ANYTHING)
def test_what_asks_by_itself_is_shown_no_more_than_who_asks(place: Place, says: str) -> None:
    context = replace(place.context, trigger=Trigger.AUTOMATIC)
    shown = apply(says, replace(place, context=context))
    assert shown in (apply(says, place), RejectReason.TRIFLE)
    assert isinstance(shown, RejectReason) or shown.strip() not in (*"abc,;:.",)


def test_the_lines_around_a_place_are_taken_apart_once() -> None:
    place = Place.of(CompletionContext("a = 1\n\nb = 2\nc", " = 3\n\nd = 4\n"), Finish.EOS)
    assert (place.above, place.below) == (("a = 1", "b = 2"), ("d = 4",))
    later = replace(place, finish=Finish.LENGTH)
    assert later.above is place.above
    assert later.below is place.below


def test_a_cursor_within_a_line_end() -> None:
    place = Place.of(CompletionContext("x = 1\r", "\ny = 2\r\n"), Finish.EOS)
    assert (place.line, place.rest, place.below) == ("x = 1", "", ("y = 2",))


def test_only_what_is_near_is_looked_at() -> None:
    far = "x = (\n" * LOOK_CHARS
    place = Place.of(CompletionContext(far, ")\n" * LOOK_CHARS), Finish.EOS)
    assert len(place.before) <= LOOK_CHARS
    assert place.before.startswith("x = (")
    assert len(place.after) <= LOOK_CHARS
