"""How many threads read a prompt, on a machine that is idle, busy, and idle again."""

from __future__ import annotations

from slm_lsp.engine.threads import TRY_EVERY, ThreadChoice

IDLE = {1: 1.4, 2: 1.0}
BUSY = {1: 1.6, 2: 8.0}


def run(choice: ThreadChoice, n_steps: int, ms: dict[int, float]) -> list[int]:
    """The choices of so many steps of 64 tokens, at so many ms a token."""
    chosen = []
    for _ in range(n_steps):
        n_threads = choice.choose()
        chosen.append(n_threads)
        choice.add(n_threads, 64, 64 * ms[n_threads])
    return chosen


def test_an_idle_machine_uses_all_and_tries_nothing() -> None:
    assert set(run(ThreadChoice(2), 200, IDLE)) == {2}


def test_a_busy_machine_soon_uses_one_and_tries_all_now_and_then() -> None:
    choice = ThreadChoice(2)
    run(choice, 20, IDLE)
    chosen = run(choice, 120, BUSY)
    assert chosen.index(1) <= 2
    assert chosen[4:].count(2) <= 120 / TRY_EVERY + 1
    assert chosen[4:].count(2) >= 3


def test_it_goes_back_once_the_machine_is_idle() -> None:
    choice = ThreadChoice(2)
    run(choice, 20, IDLE)
    run(choice, 60, BUSY)
    chosen = run(choice, 20 * TRY_EVERY, IDLE)
    assert set(chosen[-2 * TRY_EVERY :]) == {2}


def test_all_stay_where_one_is_no_better() -> None:
    choice = ThreadChoice(2)
    run(choice, 20, IDLE)
    chosen = run(choice, 100, {1: 9.0, 2: 5.0})
    assert chosen.count(1) <= 2


def test_small_steps_and_single_threads_say_nothing() -> None:
    choice = ThreadChoice(2)
    choice.add(2, 1, 1.0)
    choice.add(2, 1, 99.0)
    assert choice.choose() == 2
    assert set(run(ThreadChoice(1), 50, {1: 1.0})) == {1}
