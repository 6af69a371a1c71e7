"""Re-fitting a completion to a document that moved on.

Owns: the law of `refit`: what it returns says the same as the completion it was made of.

Invariant: insertion is done here, by slicing, and nowhere else.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.completion.reuse import refit
from slm_lsp.types import Completion, Origin

# Few letters, so that what is typed agrees with the completion by chance as well.
TEXT = st.text("ab\n", max_size=6) | st.text("aé🙂\r\n ", max_size=6)
QUICK = settings(derandomize=True, deadline=None, max_examples=120, database=None)


def inserted(completion: Completion, text: str) -> str:
    return text[: completion.start] + completion.text + text[completion.end :]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Completion, str]:
    old = draw(TEXT)
    start = draw(st.integers(0, len(old)))
    end = draw(st.just(start) | st.integers(start, len(old)))
    return Completion(draw(TEXT.filter(bool)), start, end, Origin.MODEL), old


def test_an_unchanged_document_keeps_it() -> None:
    completion = Completion("x + 1", 7, 7, Origin.MODEL)
    assert refit(completion, "return ", "return ") is completion


def test_what_was_typed_is_left_out() -> None:
    fitted = refit(Completion("x + 1", 7, 7, Origin.MODEL), "return \n", "return x +\n")
    assert fitted == Completion(" 1", 10, 10, Origin.MODEL)


@pytest.mark.parametrize(
    ("why", "new"),
    [
        ("another letter", "return y\n"),
        ("typed to the end", "return x + 1\n"),
        ("typed past the end", "return x + 1 + 2\n"),
        ("deleted", "retur\n"),
        ("typed elsewhere", "    return \n"),
        ("typed there and elsewhere", "return x\n\n"),
        ("replaced, of equal length", "return;\n"),
        ("emptied", ""),
    ],
)
def test_any_other_change_drops_it(why: str, new: str) -> None:
    assert refit(Completion("x + 1", 7, 7, Origin.MODEL), "return \n", new) is None


@QUICK
@given(cases(), st.data())
def test_typing_its_beginning_always_fits(
    case: tuple[Completion, str], data: st.DataObject
) -> None:
    completion, old = case
    n_typed = data.draw(st.integers(0, len(completion.text) - 1))
    typed = completion.text[:n_typed]
    new = old[: completion.start] + typed + old[completion.start :]
    fitted = refit(completion, old, new)
    assert fitted is not None
    assert fitted.text == completion.text[n_typed:]
    assert inserted(fitted, new) == inserted(completion, old)


@QUICK
@given(cases(), st.data())
def test_whatever_was_changed_it_says_the_same_or_nothing(
    case: tuple[Completion, str], data: st.DataObject
) -> None:
    completion, old = case
    at = data.draw(st.integers(0, len(old)))
    n_deleted = data.draw(st.just(0) | st.integers(0, len(old) - at))
    new = old[:at] + data.draw(TEXT) + old[at + n_deleted :]
    fitted = refit(completion, old, new)
    if fitted is not None:
        assert fitted.text
        assert inserted(fitted, new) == inserted(completion, old)
