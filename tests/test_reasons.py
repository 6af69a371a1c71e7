"""Every reason for silence can be explained, and the explanation is of use."""

from __future__ import annotations

import pytest

from slm_lsp.completion.postprocess import FILTERS, RejectReason
from slm_lsp.completion.reasons import EXPLANATIONS, Explanation, explain


@pytest.mark.parametrize("reason", RejectReason)
def test_every_reason_has_a_plain_sentence_and_advice(reason: RejectReason) -> None:
    assert reason in EXPLANATIONS, (
        f"say in completion/reasons.py what {reason!r} means to a user, and what he can do"
    )
    explanation = EXPLANATIONS[reason]
    for text in (explanation.sentence, explanation.advice):
        assert text[0].isupper()
        assert text.endswith(".")
        assert len(text) < 200
    assert str(reason) not in explanation.sentence or "_" not in str(reason)


def test_no_two_reasons_say_the_same() -> None:
    sentences = [each.sentence for each in EXPLANATIONS.values()]
    assert len(set(sentences)) == len(sentences)


def test_every_filter_has_a_reason_that_is_explained() -> None:
    assert {reason for _, reason in FILTERS} <= set(EXPLANATIONS)


def test_another_versions_reason_is_named() -> None:
    said = explain("too_blue")
    assert isinstance(said, Explanation)
    assert "too_blue" in said.sentence
