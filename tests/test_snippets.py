"""Snippets in a prompt: their share, and an order that keeps what was read.

Owns: snippets named by one letter. Invariant: pure calls. Threads: the test's own.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.prompt import fim
from slm_lsp.prompt.anchor import drop, shown, typed_since
from slm_lsp.prompt.budget import CHARS_PER_TOKEN
from slm_lsp.prompt.files import AROUND_CHARS, shown_chars
from slm_lsp.prompt.snippets import (
    LEAST_OWN_TOKENS,
    SHARE,
    arranged,
    fitting,
    lacks,
    most_chars,
    n_tokens_of,
)
from slm_lsp.types import CompletionContext, FileName, Snippet

QUICK = settings(derandomize=True, deadline=None, max_examples=300, database=None)
SIZE = 100  # of each, path and line ends included
TEMPLATE = fim.FAMILIES[0]
OWN = FileName("repo", "src/a.py")
LINES = "".join(f"value_{n} = compute({n})\n" for n in range(300))


def texts(names: Iterable[str]) -> tuple[Snippet, ...]:
    return tuple(Snippet(name, name * (SIZE - 1 - AROUND_CHARS)) for name in names)


def named(snippets: tuple[Snippet, ...]) -> str:
    return "".join(snippet.path for snippet in snippets)


@pytest.mark.parametrize(
    ("wanted", "earlier", "n_fit", "expect"),
    [
        ("abc", "", 3, "abc"),
        ("abc", "", 2, "ab"),
        ("abc", "", 0, ""),
        ("aab", "", 2, "ab"),
        # what was read keeps its order and comes first
        ("abc", "cb", 3, "cba"),
        ("abcd", "c", 3, "cab"),
        # what is no longer wanted, or no longer fits, goes
        ("abc", "xc", 3, "cab"),
        ("abc", "c", 2, "ab"),
        ("", "abc", 3, ""),
    ],
)
def test_order(wanted: str, earlier: str, n_fit: int, expect: str) -> None:
    assert named(arranged(texts(wanted), texts(earlier), n_fit * SIZE)) == expect


def test_one_too_long_makes_room_for_the_next() -> None:
    long = Snippet("l", "x" * 500)
    assert named(fitting((long, *texts("ab")), 250)) == "ab"


SNIPPETS = st.lists(st.sampled_from("abcdefgh"), max_size=8).map(texts)


@QUICK
@given(SNIPPETS, SNIPPETS, st.integers(0, 900))
def test_laws_of_the_order(
    wanted: tuple[Snippet, ...], earlier: tuple[Snippet, ...], max_chars: int
) -> None:
    found = arranged(wanted, earlier, max_chars)
    assert set(found) == set(fitting(wanted, max_chars))
    assert len(set(found)) == len(found)
    assert sum(map(shown_chars, found)) <= max_chars
    # Asked for again, nothing moves: a prompt that was read is made again.
    assert arranged(wanted, found, max_chars) == found
    kept = [each for each in found if each in earlier]
    assert list(found[: len(kept)]) == kept
    assert not lacks(found, wanted, max_chars // CHARS_PER_TOKEN + LEAST_OWN_TOKENS) or (
        max_chars < most_chars(max_chars // CHARS_PER_TOKEN + LEAST_OWN_TOKENS)
    )


def test_a_smaller_prompt_first_gives_up_snippets() -> None:
    sizes = [1024, 768, 512, 384, 300, LEAST_OWN_TOKENS, 128]
    snippets = [most_chars(n) // CHARS_PER_TOKEN for n in sizes]
    own = [n - found for n, found in zip(sizes, snippets, strict=True)]
    assert snippets == sorted(snippets, reverse=True)
    assert all(found <= n // SHARE for n, found in zip(sizes, snippets, strict=True))
    assert snippets[-2:] == [0, 0]
    assert own == sorted(own, reverse=True)
    assert all(found >= LEAST_OWN_TOKENS for found in own[:-1])


@pytest.mark.parametrize(
    ("held", "wanted", "expect"),
    [
        ("", "", False),
        ("ab", "", False),
        ("", "a", True),
        ("ab", "abcd", False),
        ("a", "abcd", True),
        ("bcd", "abcd", False),
        ("cd", "abcd", True),  # the best count most
        ("xa", "ab", False),
        ("xy", "ab", True),
    ],
)
def test_the_best_half_of_what_is_wanted_is_enough(held: str, wanted: str, expect: bool) -> None:
    assert lacks(texts(held), texts(wanted), 1024) is expect
    assert not lacks(texts(held), texts(wanted), LEAST_OWN_TOKENS)  # has no room for any


def test_an_anchor_makes_room_for_its_snippets() -> None:
    alone = drop(CompletionContext(LINES, LINES), TEMPLATE, 1024)
    context = CompletionContext(LINES, LINES, snippets=texts("abcdefghijkl"), file=OWN)
    anchor = drop(context, TEMPLATE, 1024)
    assert named(anchor.snippets) == "abcdefghij"
    n_snippet_tokens = n_tokens_of(anchor.snippets, OWN)
    n_snippet_chars = 10 * SIZE + len("repo") + len("src/a.py") + 2 * AROUND_CHARS
    assert n_snippet_tokens == -(-n_snippet_chars // CHARS_PER_TOKEN)
    assert n_tokens_of((), OWN) == 0
    n_chars = len(anchor.head) + len(anchor.suffix) + n_snippet_tokens * CHARS_PER_TOKEN
    assert n_chars <= 1024 * CHARS_PER_TOKEN
    assert alone.head.endswith(anchor.head)
    assert drop(context, TEMPLATE, LEAST_OWN_TOKENS).snippets == ()


@QUICK
@given(st.integers(0, 300), st.integers(0, 60), SNIPPETS, st.integers(96, 1024))
def test_an_anchor_with_snippets_keeps_to_its_budget(
    n_before: int, n_after: int, wanted: tuple[Snippet, ...], n_tokens: int
) -> None:
    lines = LINES.splitlines(keepends=True)
    before, after = "".join(lines[:n_before]), "".join(lines[:n_after])
    alone = drop(CompletionContext(before, after), TEMPLATE, n_tokens)
    context = CompletionContext(before, after, snippets=wanted, file=OWN)
    anchor = drop(context, TEMPLATE, n_tokens)
    assert anchor.snippets == fitting(wanted, most_chars(n_tokens))
    n_own, n_alone = (len(each.head) + len(each.suffix) for each in (anchor, alone))
    n_left = n_tokens - n_tokens_of(anchor.snippets, OWN)
    assert n_own <= n_left * CHARS_PER_TOKEN
    # The file gives up nothing for them where it leaves room.
    assert n_own == n_alone or n_alone > n_left * CHARS_PER_TOKEN
    assert alone.head.endswith(anchor.head)
    assert alone.suffix.startswith(anchor.suffix)


def test_an_anchor_keeps_its_snippets_whatever_is_wanted_later() -> None:
    context = CompletionContext("a\nb", "\nc", snippets=texts("ab"))
    anchor = drop(context, TEMPLATE, 1024)
    later = CompletionContext("a\nbc", "\nc", snippets=texts("xyz"))
    typed = typed_since(anchor, later, 1200)
    assert typed == "bc"
    assert named(shown(anchor, typed, later).snippets) == "ab"
