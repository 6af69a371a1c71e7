"""What of a file goes into a prompt, and that typing seldom moves it.

Owns: made-up files, by the length of their lines. Invariant: windows never exceed their
limits, and their start only moves forward. Threads: the test's own.
"""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.prompt.budget import clip_suffix, window_start

QUICK = settings(derandomize=True, deadline=None, max_examples=150, database=None)
LIMITS = st.integers(0, 400) | st.sampled_from([1, 2, 768, 2304])
FILES = st.lists(st.integers(0, 90) | st.sampled_from([0, 0, 400, 3000]), max_size=120).map(
    lambda lengths: "\n".join("x" * n for n in lengths)
)


def code(n_lines: int, longest: int, seed: int = 0) -> str:
    """Lines of any length up to `longest`, blank ones among them."""
    lengths = random.Random(seed)
    return "".join("c" * lengths.randint(0, longest) + "\n" for _ in range(n_lines))


@QUICK
@given(FILES, LIMITS)
def test_the_window_keeps_its_limit(prefix: str, max_chars: int) -> None:
    start = window_start(prefix, max_chars)
    assert 0 <= start <= len(prefix)
    assert len(prefix) - start <= max_chars
    assert start == 0 or len(prefix) > max_chars


@QUICK
@given(FILES, LIMITS, FILES)
def test_the_start_only_moves_forward(prefix: str, max_chars: int, typed: str) -> None:
    assert window_start(prefix, max_chars) <= window_start(prefix + typed, max_chars)


@pytest.mark.parametrize(
    ("max_chars", "longest", "lines_a_move"),
    [(2304, 60, 32), (2304, 100, 20), (6000, 80, 64), (768, 60, 10), (300, 40, 6)],
)
def test_typing_seldom_moves_the_start(max_chars: int, longest: int, lines_a_move: int) -> None:
    text = code(2000, longest)
    lengths = range(0, len(text), 5)
    starts = [window_start(text[:n], max_chars) for n in lengths]
    assert sum(a != b for a, b in itertools.pairwise(starts)) <= 2000 / lines_a_move
    assert all(start == 0 or text[start - 1] == "\n" for start in starts)
    # A move leaves about half of the window: no less context, and no more to read again.
    left = [
        n - b for n, (a, b) in zip(lengths[1:], itertools.pairwise(starts), strict=True) if a < b
    ]
    assert max_chars / 2 - longest <= min(left) <= max(left) <= max_chars / 2 + 5


def test_an_edit_far_above_leaves_the_start_at_its_line() -> None:
    text = code(2000, 60)
    edited = "import os\n" + text
    assert window_start(edited, 2304) == window_start(text, 2304) + len("import os\n")


@pytest.mark.parametrize("around", ["", "a\nb\n"])
def test_a_huge_line_is_cut_inside(around: str) -> None:
    text = around + "x" * 100_000
    starts = {window_start(text[:n], 1000) for n in range(50_000, 60_000, 7)}
    assert len(starts) == 10_000 / 500 + 1


@pytest.mark.parametrize(
    ("suffix", "max_lines", "max_chars", "expect"),
    [
        ("", None, 10, ""),
        (")\na\nb", None, 100, ")\na\nb"),
        # the rest of the cursor's own line is no line
        (")\na\nb\nc", 0, 100, ")\n"),
        (")\na\nb\nc", 2, 100, ")\na\nb\n"),
        (")\na\nb\nc", 3, 100, ")\na\nb\nc"),
        ("\n\n\nc", 1, 100, "\n\n"),
        # whole lines where there is a choice
        (")\nabc\ndef", None, 7, ")\nabc\n"),
        (")\nabc\ndef", None, 6, ")\nabc\n"),
        (")\nabc\ndef", None, 5, ")\n"),
        (")abcdefg", None, 5, ")abcd"),
        ("\nabcdef", None, 5, "\nabcd"),
        (")\r\nabc\r\ndef", 1, 100, ")\r\nabc\r\n"),
        (")\na", None, 0, ""),
    ],
)
def test_suffix(suffix: str, max_lines: int | None, max_chars: int, expect: str) -> None:
    assert clip_suffix(suffix, max_lines, max_chars) == expect


@QUICK
@given(FILES, st.none() | st.integers(0, 9), LIMITS)
def test_a_clipped_suffix_is_a_beginning(suffix: str, n_lines: int | None, n_chars: int) -> None:
    clipped = clip_suffix(suffix, n_lines, n_chars)
    assert suffix.startswith(clipped)
    assert len(clipped) <= n_chars
    assert n_lines is None or clipped.count("\n") <= n_lines + 1
    assert clipped or not suffix or not n_chars
