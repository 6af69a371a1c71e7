"""Several documents on one decoder: what is fed again, what is evicted, what is resumed.

Owns: `Bench`, runs on a decoder that writes by what its sequence holds.
Invariant: whatever was asked before, a generation is the one that a fresh decoder gives; the
decoder itself fails where its cells do not suffice. Threads: the test's own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.deadline import CancelToken, Deadline, FakeClock
from slm_lsp.engine import cells
from slm_lsp.engine.base import EngineStats
from slm_lsp.engine.draft import Odds
from slm_lsp.engine.fake import END, FakeDecoder
from slm_lsp.engine.kv import KvCache, Pick
from slm_lsp.engine.rates import Rates
from slm_lsp.engine.run import Run
from slm_lsp.types import Finish, Generation, GenerationRequest, Prompt, Start, Text


def by_content(tokens: Sequence[int]) -> int:
    """A token that depends on all tokens before it, and seldom the end."""
    return random.Random(str(tokens)).choice([*map(ord, "aaabbbcc\n"), END])


def letters(tokens: Sequence[int]) -> int:
    """A token that depends on all tokens before it, and never the end."""
    return ord("a") + sum(token * at for at, token in enumerate(tokens, 1)) % 20


class Eager(Odds):
    """Drafts whatever is of use."""

    def length(self, n_match: int, n_max: int, rates: Rates, within_ms: float) -> int:
        return n_max


class Bench:
    """A decoder with several sequences; `steps` tells the steps of the last request."""

    def __init__(self, rule: Any = letters, odds: Odds | None = None, **decoder: Any) -> None:
        self.clock = FakeClock()
        self.decoder = FakeDecoder("", self.clock, 1.0, rule=rule, **decoder)
        self.stats = EngineStats()
        self.kv = KvCache(self.decoder, self.clock, self.stats, odds=odds)
        self.steps = EngineStats()

    def ask(
        self,
        text: str,
        document: str = "",
        budget_ms: float = 1e6,
        richer: Sequence[str] = (),
        branch: int = 0,
        branch_at: int = 0,
        **prompt: Any,
    ) -> Generation:
        request = GenerationRequest(
            "s",
            Prompt((Text(text),), **prompt),
            Deadline.after(budget_ms, self.clock),
            CancelToken(),
            document=document,
            others=tuple(Prompt((Text(each),), **prompt) for each in richer),
            branch=branch,
            branch_at=branch_at,
        )
        before = replace(self.stats)
        generation = Run(self.kv, request, self.clock).finish()
        names = EngineStats.__slots__
        self.steps = EngineStats(
            **{name: getattr(self.stats, name) - getattr(before, name) for name in names}
        )
        return generation


def essence(generation: Generation) -> tuple[object, ...]:
    """What does not depend on what was known before."""
    return generation.text, generation.finish, generation.logprobs, generation.n_prompt


def cold(text: str, rule: Any = letters, **prompt: Any) -> Generation:
    return Bench(rule).ask(text, **prompt)


# --- documents ---


def test_two_documents_in_turn_cost_no_prefill_after_the_first_time() -> None:
    bench = Bench()
    for document in "ab":
        bench.ask(document * 100, document, max_tokens=5)
        assert bench.steps.n_prefill_tokens == 100
    for n_typed in range(1, 6):
        for document in "ab":
            bench.ask(document * 100 + "Q" * n_typed, document, max_tokens=5)
            assert bench.steps.n_prefill_tokens == 1
    assert bench.stats.n_evictions == 0


def test_without_a_document_it_is_the_sessions() -> None:
    bench = Bench()
    bench.ask("x" * 50, "s")
    assert bench.ask("x" * 50 + "Q").n_cached == 50


def test_the_least_recently_used_document_loses_the_end_of_its_sequence() -> None:
    bench = Bench(n_ctx=1024)
    for document in "abc":
        bench.ask(document * 300, document, max_tokens=1)
    bench.ask("a" * 300, "a", max_tokens=1)
    bench.ask("d" * 300, "d", max_tokens=1)  # 176 too many
    assert bench.stats.n_evictions >= 1
    assert bench.ask("c" * 300 + "Q", "c", max_tokens=1).n_cached == 300
    assert bench.ask("a" * 300 + "Q", "a", max_tokens=1).n_cached == 300
    assert 0 < bench.ask("b" * 300, "b", max_tokens=1).n_cached <= 300 - 176


def test_a_model_that_cannot_be_cut_drops_the_whole() -> None:
    bench = Bench(n_ctx=512, cuts=False)
    for document in "abcd":
        bench.ask(document * 150, document, max_tokens=1)
    assert bench.stats.n_evictions == 1
    assert bench.ask("b" * 150 + "Q", "b", max_tokens=1).n_cached == 150
    assert bench.ask("a" * 150, "a", max_tokens=1).n_cached == 0


def test_the_running_sequence_takes_what_the_others_have() -> None:
    bench = Bench(n_ctx=128)
    bench.ask("a" * 60, "a", max_tokens=1)
    bench.ask("b" * 60, "b", max_tokens=1)
    generation = bench.ask("a" * 60, "a", max_tokens=68)
    assert essence(generation) == essence(cold("a" * 60, max_tokens=68))
    assert generation.n_cached == 60
    assert bench.steps.n_prefill_tokens == 0
    assert bench.kv.n_held <= 128


def test_the_oldest_sequence_goes_on_as_a_new_documents_where_all_are_taken() -> None:
    bench = Bench(n_sequences=2)
    for document in "ab":
        bench.ask("p" * 40 + document, document, max_tokens=1)
    assert bench.ask("p" * 40 + "c", "c", max_tokens=1).n_cached == 40
    assert bench.stats.n_evictions == 1
    assert bench.ask("p" * 40 + "bQ", "b", max_tokens=1).n_cached == 41
    assert bench.ask("p" * 40 + "a", "a", max_tokens=1).n_cached == 40


def test_what_a_closed_document_held_is_taken_as_it_is() -> None:
    bench = Bench()
    bench.ask("p" * 20, "1/a", max_tokens=1)
    bench.ask("q" * 20, "1/a#1", max_tokens=1)
    bench.ask("r" * 20, "1/b", max_tokens=1)
    bench.kv.abandon("1")
    generation = bench.ask("q" * 20, "1/a", max_tokens=1)
    assert essence(generation) == essence(cold("q" * 20, max_tokens=1))
    assert (generation.n_cached, generation.n_resumed) == (20, 1)
    assert (bench.stats.n_borrowed_tokens, bench.steps.n_prefill_tokens) == (0, 0)
    # The two have changed places: what the other held can still be had, and is in use no more.
    assert bench.ask("p" * 20, "2/c", max_tokens=1).n_cached == 20
    assert bench.ask("q" * 21, "1/a", max_tokens=1).n_cached == 20


@pytest.mark.parametrize("owner", ["file:///a", "1/file:///a.py/b", "2", "1/file:///a.p"])
def test_nobody_elses_sequence_is_taken(owner: str) -> None:
    bench = Bench()
    bench.ask("p" * 20, "1/file:///a.py", max_tokens=1)
    bench.kv.abandon(owner)
    assert bench.ask("p" * 20, "1/file:///b.py", max_tokens=1).n_cached == 0


def test_who_comes_back_has_his_own_again() -> None:
    bench = Bench()
    bench.ask("p" * 20, "a", max_tokens=1)
    bench.kv.abandon("a")
    bench.ask("p" * 20, "a", max_tokens=1)
    assert bench.ask("p" * 20, "b", max_tokens=1).n_cached == 0


def test_one_failed_step_costs_one_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "EVICT_TOKENS", 1)
    bench = Bench(n_ctx=128)
    for document in "ab":
        bench.ask(document * 30, document, max_tokens=1)

    def fail() -> None:
        raise RuntimeError("native")

    bench.decoder.on_step = fail
    with pytest.raises(RuntimeError, match="native"):
        bench.ask("a" * 30 + "Q", "a")
    bench.decoder.on_step = lambda: None
    assert bench.ask("b" * 30 + "Q", "b", max_tokens=1).n_cached == 30
    # Its cells are taken until it is cleared, be it for its own next prompt or another's.
    bench.ask("c" * 90, "c", max_tokens=1)
    assert sorted(map(len, bench.decoder.sequences)) == [0] * 6 + [31, 90]
    assert bench.ask("a" * 30, "a", max_tokens=1).n_cached == 0


# --- resuming ---


def test_the_same_prompt_again_takes_no_step() -> None:
    bench = Bench()
    first = bench.ask("abc", max_tokens=10)
    again = bench.ask("abc", max_tokens=10)
    assert essence(again) == essence(first) == essence(cold("abc", max_tokens=10))
    assert (bench.steps.n_decode_steps, bench.steps.n_prefill_tokens) == (0, 0)
    assert (bench.steps.n_resumed_tokens, again.n_resumed) == (10, 10)


def test_the_rest_of_a_generation_cut_by_its_deadline_is_all_that_is_decoded() -> None:
    bench = Bench()
    bench.ask("abc", max_tokens=20)
    bench.kv.cut(0)
    cut = bench.ask("abc", budget_ms=10.5, max_tokens=20)
    assert (cut.finish, 5 < cut.n_predicted < 12) == (Finish.DEADLINE, True)
    whole = bench.ask("abc", max_tokens=20)
    assert essence(whole) == essence(cold("abc", max_tokens=20))
    assert whole.n_resumed == cut.n_predicted
    # The last token that was known is fed now; the very last never is.
    assert bench.steps.n_decode_steps == 20 - cut.n_predicted


@pytest.mark.parametrize("n_typed", [1, 4, 9])
def test_typing_what_was_written_takes_no_step(n_typed: int) -> None:
    bench = Bench()
    shown = bench.ask("abc", max_tokens=10).text
    rest = bench.ask("abc" + shown[:n_typed], max_tokens=10 - n_typed)
    assert rest.text == shown[n_typed:]
    assert (bench.steps.n_decode_steps, bench.steps.n_prefill_tokens) == (0, 0)
    bench.ask("abc" + shown[:n_typed], max_tokens=10)
    assert bench.steps.n_decode_steps == n_typed


def test_typing_something_else_is_decoded_anew() -> None:
    bench = Bench()
    shown = bench.ask("abc", max_tokens=10).text
    other = "abc" + shown[:3] + "Q"
    assert essence(bench.ask(other, max_tokens=10)) == essence(cold(other, max_tokens=10))
    assert (bench.steps.n_prefill_tokens, bench.steps.n_decode_steps) == (1, 9)


def test_what_was_written_behind_other_tokens_is_forgotten() -> None:
    bench = Bench()
    bench.ask("aaaabbbbbb", max_tokens=1)
    bench.ask("aaaacccccccc", max_tokens=1)
    expected = cold("aaaacccccc", max_tokens=1)
    assert expected.text != cold("aaaabbbbbb", max_tokens=1).text
    assert essence(bench.ask("aaaacccccc", max_tokens=1)) == essence(expected)


def test_a_word_that_grows_as_it_was_written_takes_no_step() -> None:
    bench = Bench()
    shown = bench.ask("abc", max_tokens=10).text
    for n_typed in range(1, 8):
        generation = bench.ask("abc", heal=shown[:n_typed], max_tokens=10)
        assert generation.text == shown[n_typed:]
        assert bench.steps.n_decode_steps == bench.steps.n_prefill_tokens == 0


def test_a_required_beginning_does_not_bind_a_request_without() -> None:
    bench = Bench()
    free = cold("abc", max_tokens=4)
    assert free.text[0] != "Q"
    bench.ask("abc", heal="Q", max_tokens=4)
    assert essence(bench.ask("abc", max_tokens=4)) == essence(free)
    assert bench.steps.n_prefill_tokens == 1  # the last token's logits are needed again


@pytest.mark.parametrize(
    ("then", "now", "covers"),
    [
        ((b"", Start.ANY), (b"", Start.ANY), True),
        ((b"", Start.ANY), (b"a", Start.ANY), True),
        ((b"", Start.ANY), (b"", Start.NO_BREAK), True),
        ((b"", Start.NO_BREAK), (b"", Start.TEXT), True),
        ((b"a", Start.ANY), (b"ab", Start.NO_BREAK), True),
        ((b"ab", Start.ANY), (b"a", Start.ANY), False),
        ((b"a", Start.ANY), (b"b", Start.ANY), False),
        ((b"a", Start.ANY), (b"", Start.ANY), False),
        ((b"", Start.NO_BREAK), (b"", Start.ANY), False),
        ((b"", Start.TEXT), (b"", Start.NO_BREAK), False),
        # a word is begun behind a bracket: no line break begins with it
        ((b"", Start.TEXT), (b"a", Start.ANY), True),
        ((b"", Start.TEXT), (b" ", Start.ANY), False),
        ((b"(", Start.TEXT), (b"(", Start.ANY), False),
    ],
)
def test_a_pick_covers_what_allows_no_more(
    then: tuple[bytes, Start], now: tuple[bytes, Start], covers: bool
) -> None:
    assert Pick(1, 0.0, *then).covers(FakeDecoder(), *now) is covers


def test_after_reading_ahead_the_first_token_is_known() -> None:
    bench = Bench()
    assert bench.ask("a" * 50, "a", max_tokens=0).finish is Finish.LENGTH
    assert bench.steps.n_prefill_tokens == 50
    bench.ask("b" * 50, "b", max_tokens=0)
    assert bench.ask("a" * 50, "a", max_tokens=1).text == cold("a" * 50, max_tokens=1).text
    assert (bench.steps.n_prefill_tokens, bench.steps.n_resumed_tokens) == (0, 1)


@pytest.mark.parametrize("heal", ["", "("])
def test_after_reading_ahead_the_first_token_that_may_come_is_known(heal: str) -> None:
    bench = Bench(lambda tokens: ord("\n"))
    bench.ask("a" * 50, "a", max_tokens=0, heal=heal, start=Start.TEXT)
    bench.ask("b" * 50, "b", max_tokens=0)
    bench.ask("a" * 50, "a", max_tokens=1, heal=heal, start=Start.TEXT)
    assert (bench.steps.n_prefill_tokens, bench.steps.n_resumed_tokens) == (0, 1)


def test_a_word_begun_behind_a_bracket_takes_what_was_picked_there() -> None:
    bench = Bench(lambda tokens: ord("a"))
    bench.ask("x(", max_tokens=2, start=Start.TEXT)
    bench.ask("x(", max_tokens=2, heal="a")
    assert bench.steps.n_resumed_tokens == 2
    assert bench.steps.n_prefill_tokens == bench.steps.n_decode_steps == 0


def test_reading_ahead_leaves_what_was_written_behind() -> None:
    bench = Bench()
    bench.ask("abc", max_tokens=10)
    bench.ask("abc", max_tokens=0)
    bench.ask("abc", max_tokens=10)
    assert bench.steps.n_resumed_tokens == 10


# --- branches ---


def test_a_branch_costs_what_is_different_of_it() -> None:
    bench = Bench()
    first = bench.ask("abc", max_tokens=6)
    other = bench.ask("abc", max_tokens=6, branch=1, branch_at=2)
    assert other.text[:2] == first.text[:2]
    assert other.text[2] == "1" != first.text[2]  # the fake's second likeliest
    assert essence(other) == essence(cold("abc", max_tokens=6, branch=1, branch_at=2))
    # The tokens before are known; the last of them is fed again for what else may follow.
    assert bench.steps.n_resumed_tokens == 2
    assert bench.steps.n_prefill_tokens + bench.steps.n_decode_steps == 4
    third = bench.ask("abc", max_tokens=6, branch=2, branch_at=2)
    assert third.text[:3] == first.text[:2] + "2"


def test_a_branch_is_not_remembered_as_the_likeliest() -> None:
    bench = Bench()
    for branch in (1, 2, 0, 1):
        found = bench.ask("abc", max_tokens=6, branch=branch)
        assert essence(found) == essence(cold("abc", max_tokens=6, branch=branch))


def test_a_branch_that_is_hardly_likely_is_not_written() -> None:
    found = Bench().ask("abc", max_tokens=6, branch=5)
    assert (found.text, found.finish) == ("", Finish.EOS)


def test_a_branch_keeps_to_what_is_required() -> None:
    bench = Bench(lambda _: ord("a"), pieces=[b"ab", b"ac", b"xa"])
    assert bench.ask("x", heal="a", max_tokens=2).text == "a"
    assert bench.ask("x", heal="a", max_tokens=2, branch=1).text == "ba"
    assert bench.ask("x", heal="a", max_tokens=2, branch=2).text == "ca"
    assert bench.ask("x", heal="a", max_tokens=2, branch=3).text == ""


# --- several picks of one step ---


def test_each_of_the_last_tokens_of_a_step_can_be_picked_behind() -> None:
    bench = Bench()
    tokens = [*map(ord, "abcdef")]
    bench.kv.feed(tokens[:2])
    bench.kv.feed(tokens[2:], 3)
    for n_tokens in (4, 6, 5):
        assert bench.kv.reuse(tokens[:n_tokens]) == n_tokens
        assert bench.kv.pick(n_tokens).token == letters(tokens[:n_tokens])
    assert bench.kv.tokens == tokens  # nothing was to be fed
    assert bench.kv.recall(tokens[:5], b"", Start.ANY) is not None
    # Behind the third no pick was asked for: it is fed again.
    assert bench.kv.reuse(tokens[:3]) == 2


def test_a_rejected_draft_is_cut_off_and_what_was_picked_before_it_is_kept() -> None:
    bench = Bench()
    tokens = [*map(ord, "abcdef")]
    bench.kv.feed(tokens, 4)
    first = bench.kv.pick(3)
    bench.kv.pick(6)
    taken = [*tokens[:3], first.token]
    assert bench.kv.reuse(taken) == 3
    assert bench.kv.tokens == bench.decoder.sequence == tokens[:3]
    assert bench.kv.recall(tokens[:3], b"", Start.ANY) == first
    bench.kv.feed(taken[3:])
    assert bench.kv.pick(4).token == letters(taken)
    assert bench.kv.recall([*taken, 0, 0], b"", Start.ANY) is None


def test_another_documents_step_ends_the_picks() -> None:
    bench = Bench()
    tokens = [*map(ord, "abcdef")]
    bench.kv.use("a")
    bench.kv.feed(tokens, 4)
    bench.kv.use("b")
    bench.kv.feed(tokens[:3])
    bench.kv.use("a")
    assert bench.kv.reuse(tokens[:4]) == 3


# --- the invariant ---

requests = st.fixed_dictionaries(
    {
        "document": st.sampled_from("xyz"),
        "text": st.text("ab", min_size=1, max_size=24),
        "heal": st.sampled_from(["", "", "a", "ab", "b"]),
        "max_tokens": st.integers(0, 8),
        "start": st.sampled_from(Start),
        "budget_ms": st.sampled_from([3.5, 8.5, 1e6, 1e6]),
        "branch": st.sampled_from([0, 0, 1, 2]),
        "branch_at": st.integers(0, 3),
    }
)
closings = st.sampled_from([*"xyz", None, None, None])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(requests, closings), min_size=1, max_size=14),
    st.integers(1, 4),
    st.booleans(),
    st.integers(32, 70),
    st.sampled_from([by_content, letters]),
    st.sampled_from([lambda: None, Odds, Eager]),
)
def test_what_was_asked_before_changes_nothing(
    asked: list[tuple[dict[str, Any], str | None]],
    n_sequences: int,
    cuts: bool,
    n_cells: int,
    rule: Any,
    odds: Callable[[], Odds | None],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "EVICT_TOKENS", 3)
        bench = Bench(rule, odds(), n_ctx=32, n_cells=n_cells, n_sequences=n_sequences, cuts=cuts)
        for request, closed in asked:
            if closed is not None:
                bench.kv.abandon(closed)
            found = bench.ask(**request)
            held = sum(map(len, bench.decoder.sequences))
            assert held == bench.kv.n_held <= n_cells
            assert bench.kv.tokens == bench.decoder.sequence
            unhurried = {**request, "budget_ms": 1e6}
            expected = Bench(rule).ask(**unhurried)
            if found.finish is Finish.DEADLINE:
                assert expected.logprobs[: found.n_predicted] == found.logprobs
                assert expected.text.startswith(found.text)
            else:
                assert essence(found) == essence(expected)
