"""Anchors: typing appends, whatever else was edited, and the prompt tells the truth.

Owns: documents with <CURSOR>, before and after an edit.

Invariant: `check` compares what was typed since the anchor was dropped; a property test holds
that a prompt from an anchor is a stretch of the document around the cursor.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.prompt.anchor import MAX_CLOSERS, MAX_LINE_CHARS, Anchor, drop, shown, typed_since
from slm_lsp.types import CompletionContext, FimTemplate

TEMPLATE = FimTemplate("t", ("<p>", "{prefix}", "<s>", "{suffix}", "<m>"))
QUICK = settings(derandomize=True, deadline=None, max_examples=300, database=None)
LONG = "".join(f"value_{n} = compute({n})\n" for n in range(300))


def context(marked: str) -> CompletionContext:
    prefix, _, suffix = marked.partition("<CURSOR>")
    return CompletionContext(prefix, suffix)


def check(before: str, after: str, typed: str | None, n_tokens: int = 1024) -> None:
    """Drop an anchor in one text; what was typed since, in the other, or that it is lost."""
    anchor = drop(context(before), TEMPLATE, n_tokens)
    assert typed_since(anchor, context(after), 1200) == typed


def test_it_is_dropped_at_the_start_of_the_line() -> None:
    anchor = drop(context("import os\n\ndef f():\n    retu<CURSOR>\n\nf()\n"), TEMPLATE, 1024)
    assert anchor == Anchor("import os\n\ndef f():\n", "\n\nf()\n", 20, True, 1024)


def test_a_very_long_line_is_not_typed_again() -> None:
    line = "x" * (MAX_LINE_CHARS + 1)
    assert drop(context(f"a\n{line}<CURSOR>"), TEMPLATE, 1024).head == f"a\n{line}"


def test_it_keeps_to_its_window() -> None:
    anchor = drop(context(f"{LONG}va<CURSOR>\n{LONG}"), TEMPLATE, 100)
    assert (LONG + "va").endswith(anchor.head + "va")
    assert 100 < len(anchor.head) <= 225
    assert ("\n" + LONG).startswith(anchor.suffix)
    assert 25 < len(anchor.suffix) <= 75
    assert not anchor.whole


@pytest.mark.parametrize(
    ("before", "after", "typed"),
    [
        ("a\nb<CURSOR>\nc", "a\nb<CURSOR>\nc", "b"),
        ("a\nb<CURSOR>\nc", "a\nb = 1\nd<CURSOR>\nc", "b = 1\nd"),
        ("a\nbcd<CURSOR>\nc", "a\nb<CURSOR>\nc", "b"),
        ("a\nb<CURSOR>\nc", "a\n<CURSOR>\nc", ""),
        # deleted to before the anchor, another prefix, another suffix
        ("a\nb<CURSOR>\nc", "a<CURSOR>\nc", None),
        ("a\nb<CURSOR>\nc", "A\nb<CURSOR>\nc", None),
        ("a\nb<CURSOR>\nc", "a\nb<CURSOR>\nC", None),
        ("a\nb<CURSOR>\nc", "a\nb<CURSOR>\nc\nd", None),
        ("a\nb<CURSOR>", "a\nb<CURSOR>\n", None),
        # brackets and quotes that the editor adds, and takes away again
        ("a\nf<CURSOR>\nc", "a\nf(<CURSOR>)\nc", "f("),
        ("a\nf<CURSOR>", 'a\nf(["<CURSOR>"])', 'f(["'),
        ("a\nf<CURSOR>\nc", "a\nf(<CURSOR>) + 1\nc", None),
        ("a\nf(<CURSOR>)\nc", "a\nf()<CURSOR>\nc", None),
        ("a\nf<CURSOR>", "a\nf<CURSOR>" + ")" * MAX_CLOSERS, "f"),
        ("a\nf<CURSOR>", "a\nf<CURSOR>" + ")" * (MAX_CLOSERS + 1), None),
    ],
)
def test_what_was_typed_since(before: str, after: str, typed: str | None) -> None:
    check(before, after, typed)


def test_an_edit_above_moves_it() -> None:
    check(f"{LONG}va<CURSOR>\n{LONG}", f"import os\n{LONG}value<CURSOR>\n{LONG}", "value", 100)
    # One inside the window is an edit of what the model has read.
    edited = LONG.replace("value_298", "other")
    check(f"{LONG}va<CURSOR>\n{LONG}", f"{edited}value<CURSOR>\n{LONG}", None, 100)


def test_too_much_typed_is_no_use() -> None:
    check("a\n<CURSOR>\nb", "a\n" + "x" * 1200 + "<CURSOR>\nb", "x" * 1200)
    check("a\n<CURSOR>\nb", "a\n" + "x" * 1201 + "<CURSOR>\nb", None)


TEXTS = st.text("ab)\n", max_size=30)


@QUICK
@given(TEXTS, TEXTS, TEXTS, TEXTS, st.sampled_from([1, 4, 8, 1024]), st.integers(0, 20))
def test_a_prompt_is_a_stretch_of_the_document(
    prefix: str, suffix: str, new_prefix: str, new_suffix: str, n_tokens: int, max_chars: int
) -> None:
    anchor = drop(CompletionContext(prefix, suffix), TEMPLATE, n_tokens)
    for there in (
        CompletionContext(new_prefix, new_suffix),
        CompletionContext(prefix + new_prefix, suffix),
        CompletionContext(prefix, ")" + suffix),
    ):
        typed = typed_since(anchor, there, max_chars)
        if typed is None:
            continue
        told = shown(anchor, typed, there)
        assert there.prefix.endswith(told.prefix)
        assert len(typed) <= max_chars
        n_closers = there.suffix.find(told.suffix)
        assert 0 <= n_closers <= MAX_CLOSERS
        assert set(there.suffix[:n_closers]) <= {")"}


@QUICK
@given(TEXTS, TEXTS, st.sampled_from([1, 4, 8, 1024]))
def test_a_new_anchor_fits_its_own_place(prefix: str, suffix: str, n_tokens: int) -> None:
    here = CompletionContext(prefix, suffix)
    anchor = drop(here, TEMPLATE, n_tokens)
    assert typed_since(anchor, here, MAX_LINE_CHARS) == prefix[anchor.at :]


def test_in_a_long_line_the_word_begun_is_typed_again() -> None:
    line = "x = [" + "1, " * MAX_LINE_CHARS
    for begun, typed in (("ret", " ret"), ("(ret", "ret"), ("(", ""), ("y" * 100, "")):
        prefix = line.rstrip() + (f" {begun}" if begun.isalpha() else begun)
        anchor = drop(CompletionContext(prefix, ""), TEMPLATE, 1024)
        assert prefix[anchor.at :] == typed
