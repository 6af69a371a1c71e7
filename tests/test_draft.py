"""Guesses from what was written before: where they come from, what they are worth, what they cost.

Owns: `Steps`, a price for each size of step, and `write`, a decode loop on a text known in advance.
Invariant: no decoder, no clock. Threads: the test's own.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm_lsp.engine.draft import (
    LENGTHS,
    LIKELY,
    MARGIN,
    N_DRAFT,
    N_GRAM,
    N_MATCH,
    N_OCCURRENCES,
    PRIORS,
    PROBE_SHARE,
    Drafter,
    Lookup,
    Odds,
)
from slm_lsp.engine.rates import PICKED, Rates

FOREVER_MS = 1e9


def priced(token_ms: float, one_ms: float = 10.0) -> Rates:
    """Rates of a model that takes `token_ms` for each token but the first of a step."""
    picked = {f"picked {n}": [one_ms + (n - 1) * token_ms, 0.0] for n in PICKED}
    return Rates.from_json({"1": [one_ms, 0.0], **picked})


# A step of four takes about twice as long as one of one.
USUAL, FREE, DEAR = priced(4.0), priced(0.0), priced(20.0)


# --- where guesses come from ---


def n_alike(tokens: Sequence[int], place: int) -> int:
    """How far the tokens before `place` are those at the end."""
    n = 0
    while n < min(place, N_MATCH) and tokens[place - 1 - n] == tokens[-1 - n]:
        n += 1
    return n


def found(tokens: Sequence[int]) -> tuple[int, int] | None:
    """What a Lookup is to find, by trying every place."""
    places = [i for i in range(N_GRAM, len(tokens)) if n_alike(tokens, i) >= N_GRAM]
    ranked = [(n_alike(tokens, i), i) for i in places[-N_OCCURRENCES:]]
    n_most, place = max(ranked, default=(0, 0))
    return (place, n_most) if ranked else None


@given(st.lists(st.integers(0, 2), max_size=60), st.lists(st.integers(0, 70), max_size=6))
def test_the_longest_match_is_found_however_the_tokens_came(
    tokens: list[int], sizes: list[int]
) -> None:
    lookup = Lookup()
    for size in sorted(size for size in sizes if size < len(tokens)):
        assert lookup.find(tokens[:size]) == found(tokens[:size])
    assert lookup.find(tokens) == found(tokens)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ("abcX", ""),
        ("abcXabc", "Xabc"),  # one more than the match is long
        ("abcXabcYabc", "Yabc"),  # the latest
        ("zabcXYabcZabczabc", "XYabc"),  # the longest
        ("abXab", ""),  # too short
        ("aaaa", "aaaa"),  # where it runs into itself, it goes on
        ("xababab", "ababa"),
        ("abc" * 9, "abc" * 5 + "a"),  # no more than a draft may have
        ("x\n\ty\n\tz\n\t", ""),
    ],
)
def test_what_followed_then_is_guessed(tokens: str, expected: str) -> None:
    guess = "".join(map(chr, Drafter(Odds()).guess(list(map(ord, tokens)))))
    assert guess == expected


# --- how much of a guess is drafted ---


def pays(odds: Odds, n_match: int, n_draft: int, rates: Rates) -> float:
    """How many times as fast a step with such a draft is expected to write."""
    chances = [odds.chance(n_match + i) for i in range(n_draft)]
    written = sum(math.prod(chances[:n]) for n in range(n_draft + 1))
    return written * rates.step_ms(1) / rates.picks_ms(1 + n_draft)


@given(
    st.lists(st.tuples(st.integers(N_GRAM, N_MATCH), st.booleans()), max_size=60),
    st.integers(N_GRAM, 2 * N_MATCH),
    st.integers(0, N_DRAFT),
    st.floats(0.0, 30.0),
    st.floats(0.0, 100.0),
)
def test_a_draft_is_as_long_as_pays_most(
    judged: list[tuple[int, bool]], n_match: int, n_max: int, token_ms: float, within_ms: float
) -> None:
    odds, rates = Odds(), priced(token_ms)
    for guess in judged:
        odds.learn(*guess)
    length = odds.length(n_match, n_max, rates, within_ms)
    fit = [n for n in LENGTHS if n <= n_max and n <= n_match]
    fit = [n for n in fit if rates.picks_ms(1 + n) < within_ms]
    assert length in (0, *fit)
    worth = [pays(odds, n_match, n, rates) for n in fit]
    if length:
        assert pays(odds, n_match, length, rates) == pytest.approx(max(worth))
        assert max(worth) > MARGIN * 0.98  # a probe may be almost for nothing
    else:
        assert max(worth, default=0.0) <= MARGIN * 1.001


@pytest.mark.parametrize(
    ("rates", "n_match", "n_right", "n_wrong", "length"),
    [
        (USUAL, 3, 0, 0, 1),  # nothing is known yet
        (priced(5.0), 3, 0, 0, 0),
        (USUAL, 16, 0, 0, 7),
        (USUAL, 3, 40, 0, 3),  # no longer than its match
        (USUAL, 8, 40, 0, 7),
        (USUAL, 16, 0, 12, 0),
        (FREE, 3, 0, 0, 3),
        (FREE, 3, 0, 400, 0),
        (DEAR, 16, 400, 0, 0),
        (Rates(), 16, 0, 0, 0),  # a second token is taken to cost as much as the first
        (Rates.from_json({"1": [9.0, 0.0], "16": [1.0, 0.0]}), 16, 0, 0, N_DRAFT),
    ],
)
def test_how_long_a_draft_is(
    rates: Rates, n_match: int, n_right: int, n_wrong: int, length: int
) -> None:
    odds = Odds()
    for was_right in [True] * n_right + [False] * n_wrong:
        for longer in range(n_match, n_match + N_DRAFT):
            odds.learn(longer, was_right)
    assert odds.length(n_match, N_DRAFT, rates, FOREVER_MS) == length


def test_a_few_wrong_guesses_end_the_drafts_and_right_ones_bring_them_back() -> None:
    odds = Odds()
    n_wrong = 0
    while odds.length(8, N_DRAFT, USUAL, FOREVER_MS):
        odds.learn(8, False)
        n_wrong += 1
    assert n_wrong <= 6
    for _ in range(12):
        odds.learn(8, True)
    assert odds.length(8, N_DRAFT, USUAL, FOREVER_MS)


@pytest.mark.parametrize("token_ms", [10.5, 20.0, 200.0])
def test_measured_times_that_forbid_a_draft_are_seldom_put_to_the_test(token_ms: float) -> None:
    odds, rates, n_steps = Odds(), priced(token_ms), 20_000
    lengths = [odds.length(16, N_DRAFT, rates, FOREVER_MS) for _ in range(n_steps)]
    assert any(lengths)
    lost_ms = sum(
        rates.picks_ms(1 + n) - rates.step_ms(1) * pays(odds, 16, n, FREE) for n in lengths if n
    )
    assert lost_ms <= PROBE_SHARE * n_steps * rates.step_ms(1) * 1.01
    unlikely = Odds()
    assert unlikely.chance(3) < LIKELY
    assert not any(unlikely.length(3, N_DRAFT, rates, FOREVER_MS) for _ in range(1000))


# --- a whole text ---


def write(
    prompt: Sequence[int], text: Sequence[int], odds: Odds, rates: Rates
) -> tuple[float, int, int]:
    """Write `text` as a model would; how long it took against single steps, and how many tokens
    were drafted and accepted."""
    drafter, tokens = Drafter(odds), list(prompt)
    at, took_ms, n_drafted, n_accepted = 0, 0.0, 0, 0
    while at < len(text):
        guess = drafter.guess(tokens)
        draft = drafter.draft(min(len(guess), len(text) - at - 1), rates, FOREVER_MS)
        took_ms += rates.picks_ms(1 + len(draft)) if draft else rates.step_ms(1)
        n_drafted += len(draft)
        for drafted in [*draft, -1]:
            n_accepted += drafter.picked(text[at])
            tokens.append(text[at])
            at += 1
            if tokens[-1] != drafted:
                break
    return took_ms / (rates.step_ms(1) * len(text)), n_drafted, n_accepted


def distinct(n: int, seed: int = 0) -> list[int]:
    return random.Random(seed).sample(range(50_000), n)


def test_what_repeats_is_written_in_a_fraction_of_the_time() -> None:
    prompt = distinct(400)
    share, n_drafted, n_accepted = write(prompt + prompt[:4], prompt[4:100], Odds(), USUAL)
    assert share < 1 / 1.8
    assert n_drafted == n_accepted > 60


def test_what_never_repeats_costs_nothing() -> None:
    prompt = distinct(800)
    assert write(prompt[:400], prompt[400:], Odds(), USUAL) == (1.0, 0, 0)


@pytest.mark.parametrize("rates", [USUAL, priced(2.0), priced(8.0)])
@pytest.mark.parametrize("n_run", [3, 4, 6, 9, 20])
def test_what_begins_alike_and_goes_on_otherwise_costs_little(rates: Rates, n_run: int) -> None:
    """Every guess from so long a match is wrong."""
    rng, prompt = random.Random(n_run), distinct(2000)
    text: list[int] = []
    for i in range(150):
        start = rng.randrange(1900)
        text += [*prompt[start : start + n_run], 60_000 + i]
    share, n_drafted, _ = write(prompt, text, Odds(), rates)
    assert share < 1.03
    assert n_drafted < len(text)


def test_what_was_learnt_in_one_text_serves_the_next() -> None:
    odds, prompt = Odds(), distinct(2000)
    for start in range(0, 1900, 10):
        write(prompt, [*prompt[start : start + 3], 60_000 + start], odds, USUAL)
    assert odds.chance(3) < 0.2
    assert write(prompt, [*prompt[5:8], 70_000], odds, USUAL)[1] == 0


def test_a_guess_is_judged_whether_it_was_drafted_or_not() -> None:
    odds, prompt = Odds(), distinct(50)
    drafter, before = Drafter(odds), odds.chance(3)
    tokens = prompt + prompt[:3]
    assert drafter.guess(tokens)[0] == prompt[3]
    assert drafter.draft(N_DRAFT, DEAR, FOREVER_MS) == []
    assert not drafter.picked(prompt[3])  # it had not been drafted
    assert odds.chance(3) > before
    assert not drafter.picked(-1)  # only the first of it was to be judged
    assert odds.chance(4) == PRIORS[1]


def test_each_right_token_makes_the_match_longer() -> None:
    odds, prompt = Odds(), distinct(50)
    drafter = Drafter(odds)
    drafter.guess(prompt + prompt[:3])
    drafter.draft(3, FREE, FOREVER_MS)
    assert [drafter.picked(token) for token in (*prompt[3:5], -1)] == [True, True, False]
    assert odds.chance(3) > PRIORS[0]
    assert odds.chance(4) > PRIORS[1]
    assert odds.chance(5) < PRIORS[2]


def test_behind_a_wrong_token_nothing_is_judged() -> None:
    odds, prompt = Odds(), distinct(50)
    drafter = Drafter(odds)
    drafter.guess(prompt + prompt[:8])
    draft = drafter.draft(N_DRAFT, FREE, FOREVER_MS)
    assert draft == prompt[8:15]
    assert [drafter.picked(token) for token in (prompt[8], -1, prompt[10])] == [True, False, False]
    assert odds.chance(9) < PRIORS[3]


@pytest.mark.bench
def test_looking_up_takes_a_fraction_of_a_step() -> None:
    rng = random.Random(0)
    tokens = [int(rng.expovariate(0.02)) for _ in range(2300)]
    drafter = Drafter(Odds())
    started = time.perf_counter()
    drafter.guess(tokens[:2000])
    assert time.perf_counter() - started < 0.004
    taken = []
    for n in range(2000, 2300):
        started = time.perf_counter()
        guess = drafter.guess(tokens[:n])
        drafter.draft(len(guess), USUAL, FOREVER_MS)
        taken.append(time.perf_counter() - started)
    assert statistics.median(taken) < 50e-6
