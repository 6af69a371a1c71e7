"""One request on one decoder: what is fed, when it ends, and what it returns.

Owns: `Model`, a scripted decoder whose clock moves with its steps.
Invariant: after every request the sequence holds what the decoder was fed, and no step that
could be expected to end past the deadline was started. Whatever is drafted, it writes the same.
Threads: the test's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.deadline import Cancelled, CancelToken, Deadline, FakeClock
from slm_lsp.engine import run as run_module
from slm_lsp.engine.base import EngineStats, PromptError
from slm_lsp.engine.draft import LENGTHS, N_DRAFT, Drafter, Odds
from slm_lsp.engine.fake import END, FILE_SEP, START, FakeDecoder
from slm_lsp.engine.kv import KvCache
from slm_lsp.engine.rates import (
    CHUNK_MS,
    MAX_CHUNK_TOKENS,
    MIN_CHUNK_TOKENS,
    PATIENCE,
    PICKED,
    SMALL,
    Rates,
)
from slm_lsp.engine.run import Run
from slm_lsp.types import (
    Finish,
    Generation,
    GenerationRequest,
    Prompt,
    Segment,
    Special,
    Start,
    StopRule,
    Text,
)

LINE = StopRule(strings=("\n",))
# So long that a chunk may take CHUNK_MS and no longer.
BUDGET_MS = CHUNK_MS / PATIENCE
E_ACUTE = (b"\xc3", b"\xa9")


class Model:
    """A decoder and its sequence; a step takes `step_ms` and `token_ms` for each token."""

    def __init__(
        self,
        script: Callable[[str], str] | str = "",
        step_ms: float = 1.0,
        token_ms: float = 0.0,
        odds: Odds | None = None,
        **decoder: Any,
    ) -> None:
        self.clock = FakeClock()
        self.decoder = FakeDecoder(script, self.clock, step_ms, **decoder)
        self.decoder.on_step = lambda: self.clock.advance(token_ms * self.decoder.fed[-1])
        self.stats = EngineStats()
        self.kv = KvCache(self.decoder, self.clock, self.stats, odds=odds)
        self.cancel = CancelToken()

    def run(self, prompt: Prompt, budget_ms: float = BUDGET_MS) -> Run:
        self.decoder.fed.clear()
        self.cancel = CancelToken()
        deadline = Deadline.after(budget_ms, self.clock)
        return Run(self.kv, GenerationRequest("s", prompt, deadline, self.cancel), self.clock)

    def ask(self, text: str, budget_ms: float = BUDGET_MS, **prompt: Any) -> Generation:
        ends_ms = self.clock.now_ms() + budget_ms
        generation = self.run(Prompt((Text(text),), **prompt), budget_ms).finish()
        assert self.kv.tokens == self.decoder.sequence
        assert self.clock.now_ms() <= ends_ms
        assert generation.n_predicted == len(generation.logprobs) == len(generation.ends)
        assert list(generation.ends) == sorted(generation.ends)
        return generation

    def after(self, n_steps: int, action: Callable[[], None]) -> None:
        """Do something during the `n_steps`th step from now."""
        last = self.decoder.n_steps + n_steps

        def on_step() -> None:
            if self.decoder.n_steps == last:
                action()

        self.decoder.on_step = on_step


def rates(token_ms: float) -> Rates:
    """As if many steps had taken so long a token."""
    return Rates.from_json({"1": [token_ms, 0.0], f"{SMALL}": [token_ms, 0.0]})


def check(model: Model, text: str, finish: Finish, expect: str, **ask: Any) -> Generation:
    """Ask, and compare how and with what it ends."""
    generation = model.ask(text, **ask)
    assert (generation.finish, generation.text) == (finish, expect)
    return generation


# --- KV reuse ---


@pytest.mark.parametrize(
    ("first", "second", "n_cached", "cuts"),
    [
        ("ab", "abc", 2, True),  # typed one more
        ("ab", "ab", 2, True),  # what follows is known
        ("ab", "abx", 3, True),  # typed what was suggested
        ("ab", "abxy", 4, True),  # accepted
        ("ab", "abxyzQ", 5, True),  # accepted and typed on
        ("ab", "abxQ", 3, True),  # typed the beginning, and then something else
        ("ab", "a", 0, True),
        ("abcd", "abXd", 2, True),
        ("ab", "b", 0, True),
        ("ab", "abxyzQ", 5, False),
        ("ab", "abxy", 4, False),
        ("ab", "abx", 3, False),
        ("ab", "ac", 0, False),
    ],
)
def test_only_what_is_new_is_fed(first: str, second: str, n_cached: int, cuts: bool) -> None:
    model = Model(lambda prompt: "xyz".removeprefix(prompt[2:]), cuts=cuts)
    check(model, first, Finish.EOS, "xyz")
    before = model.stats.n_prefill_tokens
    generation = check(model, second, Finish.EOS, "xyz".removeprefix(second[2:]))
    assert (generation.n_cached, generation.n_prompt) == (n_cached, len(second))
    assert model.stats.n_prefill_tokens - before == len(second) - n_cached


def test_typing_a_line_feeds_one_token_a_keystroke() -> None:
    model = Model("out")
    model.ask("x" * 100)
    before = model.stats.n_prefill_tokens
    for n_typed in range(1, 21):
        assert model.ask("x" * 100 + "y" * n_typed).n_cached == 99 + n_typed
    assert model.stats.n_prefill_tokens - before == 20


def test_an_empty_prompt_begins_with_the_start_token() -> None:
    assert check(Model("a"), "", Finish.EOS, "a").n_prompt == 1


# --- prefill ---


@pytest.mark.parametrize(
    ("token_ms", "budget_ms", "largest"),
    [(0.05, 400.0, MAX_CHUNK_TOKENS), (1.0, 2000.0, 153), (0.25, 500.0, 170), (9.0, 9e4, 256)],
)
def test_chunks_take_as_long_as_a_newer_request_may_wait(
    token_ms: float, budget_ms: float, largest: int
) -> None:
    model = Model("x", step_ms=0.0, token_ms=token_ms)
    model.ask("p" * 1600, budget_ms=budget_ms)
    chunks = model.decoder.fed[:-1]
    assert sum(chunks) == 1600
    assert abs(max(chunks) - largest) <= 32
    left_ms = budget_ms
    for chunk in chunks:
        patience_ms = max(CHUNK_MS, PATIENCE * left_ms)
        assert chunk <= max(MIN_CHUNK_TOKENS, patience_ms / token_ms)
        left_ms -= chunk * token_ms


def test_the_deadline_ends_a_prefill_and_the_next_request_goes_on_from_there() -> None:
    model = Model("x", step_ms=0.0, token_ms=1.0)
    generation = check(model, "p" * 400, Finish.DEADLINE, "", budget_ms=150.0)
    done = sum(model.decoder.fed)
    assert 100 <= done <= 150
    assert (generation.n_prompt, generation.n_predicted, generation.ttft_ms) == (400, 0, None)
    assert check(model, "p" * 400, Finish.EOS, "x").n_cached == done


def test_a_step_of_few_tokens_is_expected_to_take_as_long_as_one_of_one() -> None:
    model = Model("xxxx", step_ms=20.0)
    model.ask("ab")
    before = model.decoder.n_steps
    check(model, "abQ", Finish.DEADLINE, "", budget_ms=15.0)
    assert model.decoder.n_steps == before


def test_nothing_starts_after_the_deadline() -> None:
    model = Model("x")
    check(model, "p", Finish.DEADLINE, "", budget_ms=0.0)
    assert model.decoder.n_steps == 0


# --- decode ---


@pytest.mark.parametrize(
    ("step_ms", "budget_ms", "n_chars"),
    [
        (10.0, 105.0, 10),
        (10.0, 101.0, 10),
        (10.0, 100.0, 9),
        (50.0, 60.0, 1),
        (50.0, 49.0, 0),
        (1.0, 999.0, 64),
    ],
)
def test_the_deadline_ends_a_decode(step_ms: float, budget_ms: float, n_chars: int) -> None:
    model = Model("y" * 80, step_ms)
    model.ask("q")  # how long a step takes is known from here on
    finish = Finish.LENGTH if n_chars == 64 else Finish.DEADLINE
    generation = check(model, "p", finish, "y" * n_chars, budget_ms=budget_ms)
    assert model.decoder.fed == [1] * n_chars
    assert generation.ttft_ms == (step_ms if n_chars else None)
    assert generation.total_ms == n_chars * step_ms


@pytest.mark.parametrize("n_prompt", [1, 64])
def test_one_slow_step_does_not_stop_all_steps_for_good(n_prompt: int) -> None:
    model = Model("yyyy")
    slow = (1, 2)[n_prompt == 1]  # a chunk of the prompt, or a token of the text
    model.after(slow, lambda: model.clock.advance(20_000.0))
    model.run(Prompt((Text("p" * n_prompt),)), 250.0).finish()
    texts = [model.ask("q" * n_prompt, budget_ms=250.0).text for _ in range(14)]
    assert texts[-1] == "yyyy"


def test_an_estimate_that_holds_is_kept() -> None:
    model = Model("y", step_ms=0.0, token_ms=9.0)
    model.kv.rates = rates(9.0)
    check(model, "p" * 64, Finish.DEADLINE, "", budget_ms=250.0)
    assert model.decoder.fed == [16]
    assert model.kv.rates.step_ms(16) == pytest.approx(16 * 9.0)


@pytest.mark.parametrize(
    ("script", "prompt", "finish", "text", "n_steps"),
    [
        ("ab", Prompt(()), Finish.EOS, "ab", 3),
        ("", Prompt(()), Finish.EOS, "", 1),
        ("ab\ncd", Prompt((), LINE), Finish.STOP, "ab", 3),
        ("ab" + chr(FILE_SEP) + "c", Prompt(()), Finish.EOS, "abc", 5),
        (
            "ab" + chr(FILE_SEP) + "c",
            Prompt((), stop_specials=("<file_sep>",)),
            Finish.EOS,
            "ab",
            3,
        ),
        ("ab", Prompt((), stop_specials=("<unknown>",)), Finish.EOS, "ab", 3),
        # the last token is not fed: nothing would be made of it
        ("abc", Prompt((), max_tokens=2), Finish.LENGTH, "ab", 2),
        ("abc", Prompt((), max_tokens=3), Finish.LENGTH, "abc", 3),
        ("abc", Prompt((), max_tokens=0), Finish.LENGTH, "", 1),
        ("a\n", Prompt((), LINE, max_tokens=2), Finish.STOP, "a", 2),
        # a blank line asks for text, not for a further line
        ("\na", Prompt((), LINE), Finish.STOP, "", 1),
        ("\na", Prompt((), LINE, start=Start.NO_BREAK), Finish.EOS, "", 1),
        (" \na", Prompt((), LINE, start=Start.NO_BREAK), Finish.EOS, " ", 2),
        ("a\nb", Prompt((), start=Start.NO_BREAK), Finish.EOS, "a\nb", 4),
        # within a bracket there is to be something, be it that it is closed
        ("\na", Prompt((), LINE, start=Start.TEXT, max_tokens=1), Finish.LENGTH, ")", 1),
        ("", Prompt((), LINE, start=Start.TEXT, max_tokens=1), Finish.LENGTH, ")", 1),
        (" \na", Prompt((), LINE, start=Start.TEXT, max_tokens=2), Finish.LENGTH, " )", 2),
        (")", Prompt((), LINE, start=Start.TEXT), Finish.EOS, ")", 2),
        ("a\nb", Prompt((), LINE, start=Start.TEXT), Finish.STOP, "a", 2),
    ],
)
def test_ends(script: str, prompt: Prompt, finish: Finish, text: str, n_steps: int) -> None:
    model = Model(script)
    generation = model.run(prompt).finish()
    assert (generation.finish, generation.text) == (finish, text)
    assert model.decoder.n_steps == n_steps
    assert generation.n_predicted == len(generation.logprobs)


# --- required text, and characters of several tokens ---


@pytest.mark.parametrize(
    ("heal", "script", "pieces", "text", "n_tokens"),
    [
        (" re", " return x", (), "turn x", 9),
        (" re", " return x", (b" return",), "turn x", 3),
        (" re", " return", (b" r", b"et"), "turn", 5),
        ("ab", "xyz", (), "z", 3),  # what the model wanted there is overruled
        ("(", "()", (b"()",), ")", 1),
        ("é", "éa", E_ACUTE, "a", 3),
        ("é", "xxa", E_ACUTE, "a", 3),
        ("\ud800", "?a", (), "a", 2),
        ("a", "a", (), "", 1),
    ],
)
def test_required_text_is_written_and_not_returned(
    heal: str, script: str, pieces: Sequence[bytes], text: str, n_tokens: int
) -> None:
    generation = check(Model(script, pieces=pieces), "p", Finish.EOS, text, heal=heal)
    assert generation.n_predicted == n_tokens


@pytest.mark.parametrize(
    ("start", "script", "pieces", "text"),
    [
        (Start.ANY, "(\n", (b"(\n",), ""),
        # the bracket is written alone, and what the script has behind it comes next
        (Start.TEXT, "(\nx", (b"(\n",), "x"),
        (Start.TEXT, "( \nx", (b"( \n",), "x"),
        (Start.TEXT, "()x", (b"()",), ")x"),
        (Start.TEXT, "(\n", (), ")"),
        (Start.TEXT, "(", (), ")"),
    ],
)
def test_a_bracket_that_is_healed_is_followed_by_text(
    start: Start, script: str, pieces: Sequence[bytes], text: str
) -> None:
    model = Model(script, pieces=pieces)
    generation = model.run(Prompt((Text("p"),), LINE, heal="(", start=start, max_tokens=2)).finish()
    assert generation.text == text
    # What is forbidden takes no step: one for each token, the first of which reads the prompt.
    assert model.decoder.n_steps == generation.n_predicted


@pytest.mark.parametrize(
    ("ask", "finish", "expect"),
    [
        ({"heal": "word", "budget_ms": 4.5}, Finish.DEADLINE, ""),
        ({"heal": "word", "budget_ms": 5.5}, Finish.DEADLINE, "s"),
        ({"heal": "word", "max_tokens": 3}, Finish.LENGTH, ""),
        ({"heal": "word", "max_tokens": 5}, Finish.LENGTH, "s"),
        ({"heal": "word", "stop": StopRule(strings=("o",))}, Finish.EOS, "s"),
        ({"heal": "word", "stop": StopRule(strings=("s",))}, Finish.STOP, ""),
    ],
)
def test_required_text_is_no_text(ask: dict[str, Any], finish: Finish, expect: str) -> None:
    model = Model("words")
    model.kv.rates = rates(1.0)
    check(model, "p", finish, expect, **ask)


@pytest.mark.parametrize(
    ("ask", "finish", "expect"),
    [
        ({}, Finish.EOS, "aéb"),
        ({"max_tokens": 2}, Finish.LENGTH, "a"),
        ({"max_tokens": 3}, Finish.LENGTH, "aé"),
        ({"stop": StopRule(strings=("é",))}, Finish.STOP, "a"),
    ],
)
def test_half_a_character_is_no_text(ask: dict[str, Any], finish: Finish, expect: str) -> None:
    check(Model("aéb", pieces=E_ACUTE), "p", finish, expect, **ask)


def test_partial_is_readable_during_any_step() -> None:
    model, texts = Model("aéb\nc", pieces=E_ACUTE), list[str]()
    run = model.run(Prompt((Text("p"),), LINE, heal="a"))
    model.decoder.on_step = lambda: texts.append(run.partial().text)
    assert run.finish().text == "éb"
    assert texts == ["", "", "", "é", "éb"]
    assert run.partial().finish is Finish.DEADLINE


# --- cancelling and failing ---


@pytest.mark.parametrize(
    ("n_steps", "n_prefill"), [(0, 0), (1, 1), (2, 2), (3, 2), (7, 2)], ids=lambda n: str(n)
)
def test_a_cancelled_request_makes_no_further_step(n_steps: int, n_prefill: int) -> None:
    model = Model("y" * 40)
    run = model.run(Prompt((Text("p" * 32),)))
    model.after(n_steps, model.cancel.cancel)
    if n_steps == 0:
        model.cancel.cancel()
    with pytest.raises(Cancelled):
        run.finish()
    assert model.decoder.n_steps == n_steps
    assert model.stats.n_prefill_steps == n_prefill
    assert model.stats.n_cancelled_steps == min(n_steps, 1)
    assert model.ask("p" * 32).n_cached == 16 * n_prefill


@pytest.mark.parametrize(
    ("segments", "max_tokens", "why"),
    [
        ((Text("p" * 60),), 5, "60 tokens and 5 to generate"),
        ((Text("p"),), 64, "1 tokens and 64"),
        ((Special("<nosuch>"), Text("p")), 5, "<nosuch>"),
    ],
)
def test_what_the_model_cannot_take_is_refused(
    segments: tuple[Segment, ...], max_tokens: int, why: str
) -> None:
    model = Model("x", n_ctx=64)
    with pytest.raises(PromptError, match=why):
        model.run(Prompt(segments, max_tokens=max_tokens)).finish()
    assert model.decoder.n_steps == 0
    check(model, "p" * 59, Finish.EOS, "x", max_tokens=5)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_nothing_is_reused_of_a_failed_step(step: int) -> None:
    model = Model("xy")
    model.ask("p" * 20)

    def fail() -> None:
        raise RuntimeError("native")

    model.after(step, fail)
    with pytest.raises(RuntimeError, match="native"):
        model.run(Prompt((Text("p" * 20 + "q" * 30),))).finish()
    assert model.kv.tokens == []
    assert check(model, "p" * 20, Finish.EOS, "xy").n_cached == 0


def test_nothing_is_reused_where_cutting_failed() -> None:
    model = Model("xy")
    model.ask("abc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.decoder, "truncate", lambda n_tokens: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            model.ask("abd")
    assert check(model, "abd", Finish.EOS, "xy").n_cached == 0


# --- drafts ---


class Eager(Odds):
    """Drafts all that there is time for."""

    def length(self, n_match: int, n_max: int, rates: Rates, within_ms: float) -> int:
        fit = [n for n in LENGTHS if n <= n_max and rates.picks_ms(1 + n) < within_ms]
        return max(fit, default=0)


@contextmanager
def guessed(model: Model, guesses: Iterator[tuple[int, list[int]]]) -> Iterator[None]:
    """Let every guess be so many right tokens and then others, whatever was written before."""

    class Told(Drafter):
        def guess(self, tokens: Sequence[int]) -> list[int]:
            n_right, others = next(guesses)
            right = model.decoder._plan[len(tokens) : len(tokens) + n_right]
            self._guess = [*right, *others][: N_DRAFT + 1]
            return list(self._guess)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "Drafter", Told)
        yield


def essence(generation: Generation) -> tuple[object, ...]:
    """What does not depend on the steps."""
    return generation.text, generation.finish, generation.logprobs, generation.n_prompt


PIECES = (b"ab", b"\n", b"  ", b"ba")
tokens = st.sampled_from([*map(ord, "ab \n("), *range(END + 1, END + 5), START, FILE_SEP, END])
texts = st.lists(st.sampled_from(["a", "b", "ab", "\n", "  ", "("]), max_size=24).map("".join)
prompts = st.fixed_dictionaries(
    {
        "heal": st.sampled_from(["", "", "a", "ab", " ", "q"]),
        "max_tokens": st.integers(0, 20),
        "start": st.sampled_from(Start),
        "stop": st.sampled_from(
            [
                StopRule(),
                LINE,
                StopRule(strings=("ab", "b(")),
                StopRule(max_lines=2),
                StopRule(indent_columns=2),
            ]
        ),
        "stop_specials": st.sampled_from([(), ("<file_sep>",)]),
    }
)


@settings(max_examples=200, deadline=None)
@given(
    texts,
    texts,
    prompts,
    st.lists(st.tuples(st.integers(0, 8), st.lists(tokens, max_size=8)), min_size=1),
)
def test_whatever_is_drafted_the_same_is_written(
    text: str, script: str, ask: dict[str, Any], drafts: list[tuple[int, list[int]]]
) -> None:
    plain, model = Model(script, pieces=PIECES), Model(script, odds=Eager(), pieces=PIECES)
    expected = plain.ask(text, 1e6, **ask)
    with guessed(model, itertools.cycle(drafts)):
        assert essence(model.ask(text, 1e6, **ask)) == essence(expected)
        # Every step writes a token at least, and one more for each that was accepted.
        n_saved = plain.decoder.n_steps - model.decoder.n_steps
        assert n_saved == model.stats.n_accepted_tokens <= model.stats.n_drafted_tokens
        # What is remembered is right, too: for the same prompt, and for one that goes on.
        assert essence(model.ask(text, 1e6, **ask)) == essence(expected)
        longer = text + expected.text[:3]
        ask["heal"] = ""
        assert essence(model.ask(longer, 1e6, **ask)) == essence(plain.ask(longer, 1e6, **ask))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([0.0, 1.0, 5.0]),
    st.sampled_from([0.0, 1.0, 5.0]),
    st.floats(0.0, 150.0),
    st.lists(st.tuples(st.integers(0, 8), st.lists(tokens, max_size=8)), min_size=1),
)
def test_a_draft_is_as_short_as_the_time_left(
    step_ms: float, token_ms: float, budget_ms: float, drafts: list[tuple[int, list[int]]]
) -> None:
    model = Model("ab" * 20, step_ms, token_ms, odds=Eager(), pieces=PIECES)
    picked = {f"picked {n}": [step_ms + n * token_ms, 0.0] for n in PICKED}
    model.kv.rates = Rates.from_json({"1": [step_ms + token_ms, 0.0], **picked})
    with guessed(model, itertools.cycle(drafts)):
        generation = model.ask("p", budget_ms)  # which looks at the clock
    assert ("ab" * 20).startswith(generation.text)
    if generation.finish is Finish.DEADLINE:
        assert budget_ms - model.clock.now_ms() <= step_ms + token_ms


def test_what_was_written_before_is_written_in_fewer_steps() -> None:
    line = "total += weight(item)\n"
    model = Model(line[4:] + line, odds=Odds())
    check(model, "x = 1\n" + line + line + line[:4], Finish.EOS, line[4:] + line)
    assert model.stats.n_decode_steps < len(line)
    assert model.stats.n_accepted_tokens >= len(line)
    assert max(model.decoder.fed[-model.stats.n_decode_steps :]) == 1 + N_DRAFT


def test_without_odds_nothing_is_drafted() -> None:
    model = Model("a" * 30)
    model.ask("a" * 30)
    assert (model.stats.n_decode_steps, model.stats.n_drafted_tokens) == (30, 0)


def test_a_memory_that_cannot_be_cut_gets_no_drafts() -> None:
    model = Model("a" * 30, odds=Eager(), cuts=False)
    check(model, "a" * 30, Finish.EOS, "a" * 30)
    assert (model.stats.n_decode_steps, model.stats.n_drafted_tokens) == (30, 0)


@pytest.mark.parametrize(
    ("ask", "n_drafted"),
    [
        ({"max_tokens": 9}, 7),
        ({"max_tokens": 3}, 1),
        ({"max_tokens": 2}, 0),
        ({"stop": StopRule(strings=("de",))}, 3),  # `e` ends it: behind it nothing is picked
        ({"heal": "a"}, 7),
        ({"heal": "abc"}, 0),  # not while something is required
    ],
)
def test_a_draft_is_of_use_to_its_last_token(ask: dict[str, Any], n_drafted: int) -> None:
    model = Model("abcdefghijk", odds=Eager())
    with guessed(model, itertools.repeat((8, []))):
        model.ask("p" * 4, **ask)
    assert model.decoder.fed[1] == 1 + n_drafted


def test_a_cancelled_request_makes_no_further_step_for_what_was_drafted() -> None:
    model = Model("abcabcabcabcabc", odds=Eager())
    run = model.run(Prompt((Text("abcabcabc"),)))
    model.after(2, model.cancel.cancel)
    with pytest.raises(Cancelled):
        run.finish()
    assert (model.decoder.n_steps, model.stats.n_cancelled_steps) == (2, 1)
    assert model.kv.tokens == model.decoder.sequence
    check(model, "abcabcabc", Finish.EOS, "abcabcabcabcabc")


def test_nothing_is_reused_of_a_failed_draft() -> None:
    model = Model("abcabc", odds=Eager())

    def fail() -> None:
        raise RuntimeError("native")

    model.after(2, fail)
    with pytest.raises(RuntimeError, match="native"):
        model.run(Prompt((Text("abcabcabc"),))).finish()
    assert model.decoder.fed[-1] > 1
    assert model.kv.tokens == []
    assert check(model, "abcabcabc", Finish.EOS, "abcabc").n_cached == 0


def test_partial_holds_what_was_accepted() -> None:
    model, seen = Model("bcabcabcabc\n", odds=Eager()), list[str]()
    run = model.run(Prompt((Text("abcabca"),), LINE))
    model.decoder.on_step = lambda: seen.append(run.partial().text)
    assert run.finish().text == "bcabcabcabc"
    assert len(seen) == model.decoder.n_steps < 6
    assert all("bcabcabcabc".startswith(text) for text in seen)


@pytest.mark.parametrize(
    ("heal", "script", "pieces", "ends"),
    [
        ("", "abc", (), (1, 2, 3)),
        ("", "abc", (b"ab",), (2, 3)),
        ("ab", "abc", (), (0, 0, 1)),
        ("a", "abc", (b"ab",), (1, 2)),
        ("", "é!", E_ACUTE, (0, 1, 2)),  # half of a character is none
    ],
)
def test_each_token_says_how_long_the_text_was_behind_it(
    heal: str, script: str, pieces: Sequence[bytes], ends: tuple[int, ...]
) -> None:
    model = Model(script, pieces=pieces)
    assert model.ask("p", heal=heal).ends == ends
    # Known from memory, it says the same.
    again = model.ask("p", heal=heal)
    assert (again.ends, again.n_resumed) == (ends, len(ends) + 1)  # the end is a token, too


def test_the_ends_may_lie_behind_where_the_text_was_cut() -> None:
    generation = Model("ab\ncd", pieces=(b"b\nc",)).ask("p", stop=LINE)
    assert (generation.text, generation.ends) == ("ab", (1, 4))
