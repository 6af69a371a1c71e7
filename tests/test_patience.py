"""When suggestions are typed past, and when that ends the work in the background."""

from __future__ import annotations

import pytest

from slm_lsp.completion.patience import TIRED_AFTER, Patience
from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.types import Completion, CompletionRequest, DocumentSnapshot, Origin, Trigger


def request(marked: str, trigger: Trigger = Trigger.AUTOMATIC) -> CompletionRequest:
    before, _, after = marked.partition("<CURSOR>")
    snapshot = DocumentSnapshot("u", 1, "python", before + after)
    deadline = Deadline.after(250.0)
    return CompletionRequest("s", snapshot, len(before), trigger, deadline, CancelToken())


def show(patience: Patience, marked: str, text: str) -> None:
    asked = request(marked)
    patience.shown(asked, Completion(text, asked.offset, asked.offset, Origin.MODEL))


def tired() -> Patience:
    patience = Patience()
    for _ in range(TIRED_AFTER):
        assert not patience.is_tired("s")
        show(patience, "x = <CURSOR>", "compute(1)")
        patience.asked(request("x = v<CURSOR>"))
    assert patience.is_tired("s")
    return patience


def test_it_tires() -> None:
    tired()


@pytest.mark.parametrize(
    "then", ["x = compute(1)<CURSOR>", "x = compute(1) + 2<CURSOR>", "x = com<CURSOR>"]
)
def test_a_suggestion_that_is_taken_wakes_it(then: str) -> None:
    patience = tired()
    show(patience, "x = <CURSOR>", "compute(1)")
    patience.asked(request(then))
    assert not patience.is_tired("s")


@pytest.mark.parametrize("then", ["x = <CURSOR>", "x = c<CURSOR>", "x = co<CURSOR>"])
def test_what_may_yet_be_taken_is_not_judged(then: str) -> None:
    patience = tired()
    show(patience, "x = <CURSOR>", "compute(1)")
    patience.asked(request(then))
    assert patience.is_tired("s")
    patience.asked(request("x = compute<CURSOR>"))
    assert not patience.is_tired("s")


def test_asking_by_hand_wakes_it() -> None:
    patience = tired()
    patience.asked(request("x = <CURSOR>", Trigger.INVOKED))
    assert not patience.is_tired("s")


def test_sessions_are_apart_and_forgotten() -> None:
    patience = tired()
    assert not patience.is_tired("other")
    patience.forget("s")
    assert not patience.is_tired("s")
