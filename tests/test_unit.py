"""One step of indentation, as most blocks have it.

Owns: the vote of the lines, and that a plain one ends early without another outcome.

Invariant: pure. Threads: the caller's.
"""

from __future__ import annotations

from slm_lsp.context import lines as subject
from slm_lsp.context.languages import language_of
from slm_lsp.context.lines import unit_of

PYTHON = language_of("python")


def blocks(unit: str, n: int) -> list[str]:
    return ["if x:", f"{unit}y()"] * n


def test_most_blocks_decide_wherever_they_stand() -> None:
    for first, last in (("  ", "    "), ("    ", "  ")):
        assert unit_of(PYTHON, blocks(first, 1) + blocks(last, 20)) == last
        assert unit_of(PYTHON, blocks(first, 20) + blocks(last, 1)) == first
        assert unit_of(PYTHON, blocks(first, 12) + blocks(last, 15)) == last


def test_a_plain_vote_reads_no_further() -> None:
    class Counted(list[str]):
        n_read = 0

        def __iter__(self):  # type: ignore[no-untyped-def]
            for line in super().__iter__():
                self.n_read += 1
                yield line

    lines = Counted(blocks("    ", 500))
    assert unit_of(PYTHON, lines) == "    "
    assert lines.n_read == 2 * subject._ENOUGH_VOTES
