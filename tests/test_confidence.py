"""How sure the model was of a text, and where a text is cut that it is no longer sure of."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm_lsp.completion.confidence import Certainty, cut_unsure, first_line, n_visible
from slm_lsp.completion.place import Place
from slm_lsp.types import CompletionContext, Finish, Generation, Want


def generation_of(*tokens: tuple[str, float]) -> Generation:
    """What an engine says that wrote these tokens."""
    text = "".join(piece for piece, _ in tokens)
    ends = tuple(len("".join(piece for piece, _ in tokens[: n + 1])) for n in range(len(tokens)))
    return Generation(text, Finish.EOS, logprobs=tuple(each for _, each in tokens), ends=ends)


def certainty_of(*tokens: tuple[str, float]) -> Certainty:
    certainty = Certainty.of(generation_of(*tokens))
    assert certainty is not None
    return certainty


LINES = (("x", -0.5), (" =", -0.25), (" 1", -1.0), ("\n", -0.1), ("y", -2.0), ("()", -4.0))


def check(text: str, expect: float, n_typed: int = 0) -> None:
    assert certainty_of(*LINES).score(text, n_typed) == pytest.approx(expect)


def test_the_score_is_the_first_lines_probability() -> None:
    check("x = 1\ny()", -1.75)
    check("x = 1", -1.75)
    check("x =", -0.75)


def test_white_space_is_nobodys() -> None:
    check("    x = 1", -1.75)
    check("\r\n  x=1\r\n", -1.75)


def test_what_was_typed_no_longer_counts() -> None:
    check(" = 1\ny()", -1.25, n_typed=1)
    check(" 1\ny()", -1.0, n_typed=2)
    check("y()", -6.0, n_typed=3)
    check("", 0.0, n_typed=3)


def test_a_token_that_is_seen_in_part_counts() -> None:
    certainty = certainty_of(("foo", -1.0), ("bar", -2.0))
    assert certainty.score("foob") == -3.0
    assert certainty.score("r", n_typed=5) == -2.0


def test_a_required_beginning_is_the_models_too() -> None:
    """The tokens of what was healed put nothing into the text, but how likely they were says
    how likely it is."""
    said = Generation("urn x", Finish.EOS, logprobs=(-3.0, -0.5, -0.25), ends=(0, 3, 5))
    certainty = Certainty.of(said)
    assert certainty is not None
    assert certainty.score("urn x") == -3.75


@pytest.mark.parametrize(
    "generation",
    [
        Generation("x", Finish.EOS),
        Generation("x", Finish.EOS, logprobs=(-1.0,)),
        Generation("x", Finish.EOS, logprobs=(-1.0, -1.0), ends=(1,)),
    ],
)
def test_an_engine_that_does_not_tell_is_not_judged(generation: Generation) -> None:
    assert Certainty.of(generation) is None


TOKENS = st.lists(st.tuples(st.text("ab \n", min_size=0, max_size=4), st.floats(-9, 0)), min_size=1)


@given(TOKENS)
def test_a_part_is_never_less_likely_than_the_whole(tokens: list[tuple[str, float]]) -> None:
    certainty, text = certainty_of(*tokens), "".join(piece for piece, _ in tokens)
    scores = [certainty.score(text[:n]) for n in range(len(text) + 1)]
    assert all(b <= a + 1e-9 for a, b in pairwise(scores)) or "\n" in text
    assert all(math.isfinite(each) and each <= 0.0 for each in scores)
    whole = certainty.logprob(0, n_visible(text))
    assert whole >= math.fsum(each for _, each in tokens) - 1e-6


# --- the cut ---


def place(before: str = "def f():\n    ") -> Place:
    return Place.of(CompletionContext(before, "\n", want=Want.BLOCK), Finish.EOS)


def check_cut(*tokens: tuple[str, float], expect: str) -> None:
    generation = generation_of(*tokens)
    assert cut_unsure(generation.text, certainty_of(*tokens), place()) == expect


SURE = (("x = 1", -0.5), ("\n    ", -0.1), ("y = 2", -1.0))


def test_a_sure_text_is_left_as_it_is() -> None:
    check_cut(*SURE, expect="x = 1\n    y = 2")
    check_cut(*SURE, ("\n", -9.0), expect="x = 1\n    y = 2\n")


def test_lines_behind_the_one_that_is_unlikely_are_cut() -> None:
    check_cut(*SURE, ("\n    ", -0.1), ("z = 3", -3.5), ("\n    a", 0.0), expect="x = 1\n    y = 2")


def test_the_first_line_is_the_bars() -> None:
    check_cut(("x = 1", -9.0), ("\n    ", -0.1), ("y", -9.0), expect="x = 1")
    check_cut(("x = 1", -9.0), ("\n    ", -0.1), ("y", -0.1), expect="x = 1\n    y")


def test_nothing_is_left_open_by_a_cut() -> None:
    check_cut(("f(1)", -0.1), ("\n    g(", -0.1), ("\n  2)", -9.0), expect="f(1)")
    # Without what it opens it would not stand; the bar has the say then.
    check_cut(("if x:", -0.1), ("\n        y()", -9.0), expect="if x:\n        y()")


def test_first_line() -> None:
    assert (first_line("\n  \n a\nb"), first_line(" \n"), first_line("")) == (" a", "", "")
