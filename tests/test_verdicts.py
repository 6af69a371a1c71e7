"""What a document says of a text that was written for a place in it."""

from __future__ import annotations

import pytest

from slm_lsp.completion.verdicts import MAX_PENDING, Verdict, Verdicts
from slm_lsp.types import DocumentSnapshot

SCORE = -1.0


def snapshot(marked: str, uri: str = "u") -> tuple[DocumentSnapshot, int]:
    before, cursor, after = marked.partition("<CURSOR>")
    assert cursor
    return DocumentSnapshot(uri, 1, "python", before + after), len(before)


def check(marked: str, says: str, now: str, expect: bool | None) -> Verdicts:
    """Whether `says`, written at the cursor, counts as taken once the document is `now`."""
    verdicts = Verdicts()
    document, offset = snapshot(marked)
    verdicts.made(document, offset, says, SCORE)
    found = verdicts.seen("u", now)
    assert found == ([] if expect is None else [Verdict(SCORE, expect)])
    # Once is enough.
    assert not (found and verdicts.seen("u", now))
    return verdicts


AT = "x = <CURSOR>\ny = 2\n"


@pytest.mark.parametrize(
    ("now", "expect"),
    [
        ("x = compute(1)\ny = 2\n", True),  # accepted, or typed
        ("x = compute(1) + 2\ny = 2\n", True),
        ("x =  compute( 1 )\ny = 2\n", True),  # formatted
        ("x = compute()\ny = 2\n", None),  # the editor has closed the bracket
        ("x = compute(2)\ny = 2\n", True),  # most of it
        ("x = c\ny = 2\n", None),
        ("x = \ny = 2\n", None),
        ("x = v\ny = 2\n", False),
        ("x = com.y\ny = 2\n", False),  # less than half
        ("x = v\nz\n", False),  # the text behind has changed, too
        ("x = [\ny = 2\n", False),
    ],
)
def test_the_document_tells(now: str, expect: bool | None) -> None:
    check(AT, "compute(1)", now, expect)


def test_of_a_block_the_first_line_tells() -> None:
    block = "for y in z:\n    a()\n    b()"
    check("if x:\n    <CURSOR>\n", block, "if x:\n    for y in z:\n        other()\n", True)


def test_what_is_gone_says_nothing() -> None:
    verdicts = check(AT, "compute(1)", "yy = 1\n", None)
    assert len(verdicts) == 0


def test_edits_elsewhere_leave_it_open() -> None:
    verdicts = check(AT, "compute(1)", "x = \ny = 222\n", None)
    assert len(verdicts) == 1
    assert verdicts.seen("u", "x = compute(1)\ny = 222\n") == [Verdict(SCORE, True)]


def test_at_the_end_of_a_document() -> None:
    check("x = <CURSOR>", "compute(1)", "x = compute(1)\nz", True)
    check("x = <CURSOR>", "compute(1)", "x = z", False)


def test_the_same_answer_counts_once() -> None:
    verdicts = Verdicts()
    document, offset = snapshot(AT)
    for _ in range(3):
        verdicts.made(document, offset, "compute(1)", SCORE)
    assert len(verdicts) == 1


def test_documents_are_apart_and_forgotten() -> None:
    verdicts = Verdicts()
    for uri in "uv":
        document, offset = snapshot(AT, uri)
        verdicts.made(document, offset, "compute(1)", SCORE)
    assert verdicts.seen("u", "x = v\ny = 2\n") == [Verdict(SCORE, False)]
    verdicts.forget("v")
    assert len(verdicts) == 0


def test_it_is_bounded_and_what_cannot_be_seen_is_nothing() -> None:
    verdicts = Verdicts()
    for n in range(3 * MAX_PENDING):
        document, offset = snapshot(f"x{n} = <CURSOR>\n")
        verdicts.made(document, offset, " \n", SCORE)
        verdicts.made(document, offset, "y", SCORE)
    assert len(verdicts) == MAX_PENDING


def test_the_client_is_believed_of_what_was_shown_last() -> None:
    verdicts = Verdicts()
    for says, score, is_shown in (("a", -3.0, True), ("b", -1.0, True), ("c", -9.0, False)):
        document, offset = snapshot(AT)
        verdicts.made(document, offset, says, score, is_shown=is_shown)
    assert verdicts.accepted() == [Verdict(-1.0, True)]
    assert verdicts.accepted() == [Verdict(-3.0, True)]
    assert verdicts.accepted() == []
    assert len(verdicts) == 1
