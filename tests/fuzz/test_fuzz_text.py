"""20,000 edits of documents without a difference to the model; a million by `fuzz_long text`.

Invariant: the same edits in every run.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from text_machine import EDITS_A_MESSAGE, TextMachine, edits_of

from slm_lsp.text import document as document_module

N_EDITS = 20_000
STEPS, SESSIONS = 40, 10


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    """The texts of tests are short, and are to be of several blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document_module, "BLOCK_LINES", 1)
        yield


def run_sessions(n: int, number: int = 0) -> int:
    """So many sessions, with a seed; the number of their edits."""
    limits = settings(
        max_examples=n,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=False,
        # Shrinking a message of 200 edits takes minutes; the failure names its text and edit.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    before = TextMachine.n_edits
    run_state_machine_as_test(seed(number)(TextMachine), settings=limits)
    return TextMachine.n_edits - before


def test_twenty_thousand_edits_never_diverge() -> None:
    n_edits = number = 0
    while n_edits < N_EDITS:
        number += 1
        assert number < 20, "sessions without edits"
        n_edits += run_sessions(SESSIONS, number)


def test_messages_hold_edits_of_every_kind() -> None:
    raw = bytes(range(256)) * 10
    edits = list(edits_of(raw))
    assert len(edits) == len(raw) // 10
    assert any(edit.start is None for edit in edits)
    assert any(edit.end is None and edit.start for edit in edits)
    assert any(edit.start and edit.end and edit.start > edit.end for edit in edits)
    assert any(edit.start and edit.start[1] > 2**31 for edit in edits)
    assert EDITS_A_MESSAGE * 10 == 200
