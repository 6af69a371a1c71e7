"""What holds for every text, in every place.

Owns: the laws of the filters and of `apply`, and the texts and places they are tried on.

Invariant: no case by case expectations; those are in `test_postprocess`.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.completion import filters
from slm_lsp.completion.brackets import scan
from slm_lsp.completion.place import LOOK_CHARS, Place
from slm_lsp.completion.postprocess import FILTERS, RejectReason, apply
from slm_lsp.context.languages import LANGUAGES, UNKNOWN
from slm_lsp.types import CompletionContext, Finish, Want

BRACKETS = st.text("()[]{}a, \n", max_size=12)
CODE = st.lists(
    st.sampled_from(
        [*"()[]{}\"'`\\:;,#/ \t\n\ra", "\r\n", '"""', "return x", "    ", "�", "é", "🙂"]
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


@QUICK
@given(places(), ANYTHING)
def test_nothing_is_made_up(place: Place, says: str) -> None:
    """What is shown is a beginning of what was said, in other line ends."""
    shown = apply(says, place)
    if not isinstance(shown, RejectReason):
        plain = shown.replace("\r\n", "\n").replace("\r", "\n")
        said = place.context.inferred_indent + says.replace("\r\n", "\n").replace("\r", "\n")
        assert said.lstrip().startswith(plain.strip())


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
ONCE = (filters.cut_unfinished, filters.trim_line_overlap)


@pytest.mark.parametrize("each", [each for each, _ in FILTERS if each not in ONCE])
@given(place=places(), says=ANYTHING)
@settings(QUICK, max_examples=40)
def test_a_filter_has_no_more_to_say_of_its_own_result(
    each: filters.Filter, place: Place, says: str
) -> None:
    once = each(says, place)
    assert each(once, place) == once


@pytest.mark.parametrize("each", [each for each, _ in FILTERS])
@given(place=places(), says=ANYTHING)
@settings(QUICK, max_examples=40)
def test_a_filter_only_shortens(each: filters.Filter, place: Place, says: str) -> None:
    plain = says.replace("\r\n", "\n").replace("\r", "\n")
    assert says.startswith(each(says, place)) or plain.startswith(each(says, place))


def test_a_cursor_within_a_line_end() -> None:
    place = Place.of(CompletionContext("x = 1\r", "\ny = 2\r\n"), Finish.EOS)
    assert (place.line, place.rest, place.below) == ("x = 1", "", ["y = 2"])


def test_only_what_is_near_is_looked_at() -> None:
    far = "x = (\n" * LOOK_CHARS
    place = Place.of(CompletionContext(far, ")\n" * LOOK_CHARS), Finish.EOS)
    assert len(place.before) <= LOOK_CHARS
    assert place.before.startswith("x = (")
    assert len(place.after) <= LOOK_CHARS
