"""Prompts of several sizes for one place: the engine takes the largest that is as good as read.

Owns: a Bench of which it is believed that each token takes a millisecond. Invariant: what is
written is what a fresh decoder writes behind the prompt that was taken. Threads: the test's own.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_keeping import Engines
from test_kv import Bench, cold, essence

from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.engine.keeping import BEGINNING_CHARS, BYTES_PER_MS, beginning, reading_ms
from slm_lsp.engine.kv import BORROW_TOKENS
from slm_lsp.engine.rates import SMALL, Rates
from slm_lsp.engine.run import Run
from slm_lsp.types import LINE_TOKENS, Generation, GenerationRequest, Prompt, Special, Text

SMALL_PROMPT, RICHER_PROMPT = "s" * 100, "r" * 400
TOKEN_MS = 1.0


def believed(bench: Bench) -> Bench:
    """The bench, whatever its steps have taken so far."""
    rate = [TOKEN_MS, 0.0]
    bench.kv.rates = Rates.from_json({"1": rate, str(SMALL): rate})
    return bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


def ask(bench: Bench, budget_ms: float, document: str = "d", **prompt: Any) -> Generation:
    return believed(bench).ask(
        *(SMALL_PROMPT, document, budget_ms, (RICHER_PROMPT,)), **{"max_tokens": 4, **prompt}
    )


def check(generation: Generation, is_richer: bool) -> None:
    assert generation.other_at == (0 if is_richer else None)
    text = RICHER_PROMPT if is_richer else SMALL_PROMPT
    assert essence(generation) == essence(cold(text, max_tokens=4))


def test_what_was_read_is_taken(bench: Bench) -> None:
    bench.ask(RICHER_PROMPT, "d", max_tokens=0)
    generation = ask(bench, 250.0)
    check(generation, is_richer=True)
    assert (generation.n_cached, bench.steps.n_prefill_tokens) == (400, 0)


def test_what_another_document_has_is_copied(bench: Bench) -> None:
    bench.ask(RICHER_PROMPT, "closed", max_tokens=0)
    check(ask(bench, 250.0), is_richer=True)
    assert bench.steps.n_borrowed_tokens == 400


def test_what_a_restart_left_on_the_disk_is_taken(tmp_path: Path) -> None:
    engines = Engines(tmp_path)
    engines.ask(RICHER_PROMPT)
    engines.restart()
    check(ask(engines.bench, 250.0), is_richer=True)
    assert engines.bench.steps.n_restored_tokens == 400


@pytest.mark.parametrize("spare_ms", [-1.0, 0.0])
def test_what_is_missing_is_read_if_a_line_is_still_in_time(bench: Bench, spare_ms: float) -> None:
    bench.ask(RICHER_PROMPT[:250], "d", max_tokens=0)
    in_time_ms = (150 + LINE_TOKENS) * TOKEN_MS
    check(ask(bench, in_time_ms + spare_ms), is_richer=spare_ms >= 0)


def test_what_is_no_slower_than_the_other_is_taken_however_late(bench: Bench) -> None:
    bench.ask(RICHER_PROMPT[:300], "d", max_tokens=0)
    generation = ask(bench, 60.0)
    assert (generation.other_at, generation.n_prompt) == (0, 400)
    # The other one would have taken as long; read already, it is quicker.
    other = Bench()
    other.ask(RICHER_PROMPT[:300], "there", max_tokens=0)
    other.ask(SMALL_PROMPT, "d", max_tokens=0)
    assert ask(other, 60.0).other_at is None


def test_it_ends_as_it_asks_itself(bench: Bench) -> None:
    bench.ask(RICHER_PROMPT, "d", max_tokens=0)
    plain, richer = (Prompt((Text(text),)) for text in (SMALL_PROMPT, RICHER_PROMPT))
    richer = replace(richer, max_tokens=7)
    request = GenerationRequest(
        *("s", plain, Deadline.after(250.0, bench.clock), CancelToken()),
        document="d",
        others=(richer,),
    )
    assert Run(believed(bench).kv, request, bench.clock).finish().n_predicted == 7


def test_the_first_of_several_is_taken_that_was_read(bench: Bench) -> None:
    larger, smaller = "q" * 800, "p" * 200
    bench.ask(RICHER_PROMPT, "d", max_tokens=0)
    bench.ask(smaller, "d#1", max_tokens=0)
    richer = (larger, RICHER_PROMPT, smaller)
    generation = believed(bench).ask(SMALL_PROMPT, "d", 250.0, richer, max_tokens=4)
    assert (generation.other_at, generation.n_cached) == (1, 400)


@pytest.mark.parametrize("spare_ms", [-1.0, 0.0])
def test_less_is_taken_where_only_that_is_in_time(bench: Bench, spare_ms: float) -> None:
    bench.ask(SMALL_PROMPT, "before", max_tokens=0)
    budget_ms = (len(RICHER_PROMPT) + LINE_TOKENS) * TOKEN_MS + spare_ms
    others = ("q" * 800, SMALL_PROMPT)
    generation = believed(bench).ask(RICHER_PROMPT, "d", budget_ms, others, max_tokens=4)
    assert generation.other_at == (1 if spare_ms < 0 else None)
    text = SMALL_PROMPT if spare_ms < 0 else RICHER_PROMPT
    assert essence(generation) == essence(cold(text, max_tokens=4))


def test_less_is_left_that_is_not_in_time_either(bench: Bench) -> None:
    bench.ask(SMALL_PROMPT[:90], "before", max_tokens=0)
    generation = believed(bench).ask(RICHER_PROMPT, "d", 30.0, (SMALL_PROMPT,), max_tokens=4)
    assert generation.other_at is None


def test_what_nothing_begins_like_is_not_read_through(bench: Bench) -> None:
    check(ask(bench, 1e6), is_richer=False)  # though there is time for it
    assert max(map(len, bench.decoder.texts)) == len(SMALL_PROMPT)


def test_what_a_prompt_begins_with() -> None:
    prompt = (Special("<s>"), Text(""), Special("<p>"), Text("x" * 30), Text("y" * 100))
    assert beginning(prompt) == (*prompt[:4], Text("y" * (BEGINNING_CHARS - 30)))
    assert beginning(prompt[:3]) == prompt[:3]


def test_a_memory_that_cannot_be_cut_is_not_reckoned_with() -> None:
    bench = Bench(cuts=False)
    bench.ask(RICHER_PROMPT + "x", "d", max_tokens=0)
    check(ask(bench, 250.0), is_richer=False)


def test_one_that_does_not_fit_is_left(bench: Bench) -> None:
    generation = bench.ask(SMALL_PROMPT, "d", 250.0, ("r" * 100_000,), max_tokens=4)
    check(generation, is_richer=False)


def test_what_reading_takes_whichever_way(tmp_path: Path) -> None:
    engines = Engines(tmp_path)
    bench, tokens = engines.bench, [ord("r")] * 400
    believed(bench).kv.use("d")
    assert reading_ms(bench.kv, tokens) == 400 * TOKEN_MS
    bench.ask(RICHER_PROMPT[:250], "other", max_tokens=0)
    believed(bench).kv.use("d")
    assert reading_ms(bench.kv, tokens) == (150 + BORROW_TOKENS) * TOKEN_MS
    bench.kv.abandon("other")
    believed(bench).kv.use("d")
    assert reading_ms(bench.kv, tokens) == 150 * TOKEN_MS
    bench.ask(RICHER_PROMPT[:250], "d", max_tokens=0)
    assert reading_ms(believed(bench).kv, tokens) == 150 * TOKEN_MS
    engines.ask(RICHER_PROMPT[:300], max_tokens=0)
    engines.restart()
    kv = believed(engines.bench).kv
    assert reading_ms(kv, tokens) == pytest.approx(100 * TOKEN_MS + 4 * 300 / BYTES_PER_MS)
