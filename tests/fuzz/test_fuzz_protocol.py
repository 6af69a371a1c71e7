"""The real server under messages of every kind; 100,000 by `fuzz_long protocol`.

Invariant: what is sent follows from the seed; a failure says it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from rpc_fuzz import run
from rpc_messages import Messages

N_QUICK, N_MESSAGES = 300, 3_000


def check(folder: Path, n_messages: int, seed: int) -> None:
    told = run(folder, n_messages, seed)
    assert told["internal_errors"] == []


def test_three_hundred_messages(tmp_path: Path) -> None:
    check(tmp_path, N_QUICK, seed=1)


@pytest.mark.e2e
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_three_thousand_messages(tmp_path: Path, seed: int) -> None:
    check(tmp_path, N_MESSAGES // 3, seed)


def test_a_seed_says_all() -> None:
    first, again = Messages(7), Messages(7)
    sent = [first.next() for _ in range(500)]
    assert sent == [again.next() for _ in range(500)]
    n_answers = Counter(each.n_answers for each in sent)
    assert min(n_answers[n] for n in (0, 1, 2, None)) > 3
