"""Anchors with snippets on a decoder: how many tokens are read, as one types, moves and restarts.

Owns: a document in an editor, its anchors, and a Bench that counts what it is fed. A token is a
character. Invariant: typing reads what was typed; a new anchor reads nothing again of the
snippets that it shares with the one before. Threads: the test's own.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_kv import Bench

from slm_lsp.completion.anchors import Anchors, Chosen, Room
from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.engine.rates import SMALL, Rates
from slm_lsp.engine.run import Run
from slm_lsp.prompt import anchor, fim
from slm_lsp.types import (
    CompletionContext,
    FileName,
    FimTemplate,
    Generation,
    GenerationRequest,
    Prompt,
    Snippet,
    StopRule,
)

# The fake model's control tokens, in the two orders that there are.
SUFFIX_FIRST = FimTemplate(
    "spm",
    ("<file_sep>", "{suffix}", "<file_sep>", "{prefix}"),
    files_layout=(
        *("<start>", "{repo}", "{files}", "<file_sep>", "{suffix}"),
        *("<file_sep>", "{path}\n", "{prefix}"),
    ),
    file=("<file_sep>", "{path}\n{text}"),
)
PREFIX_FIRST = FimTemplate(
    "psm",
    ("<start>", "{prefix}", "<file_sep>", "{suffix}", "<file_sep>"),
    files_layout=(
        *("{files}", "<file_sep>", "{path}\n"),
        *("<start>", "{prefix}", "<file_sep>", "{suffix}", "<file_sep>"),
    ),
    file=("<file_sep>", "{path}\n{text}"),
)
BOTH = pytest.mark.parametrize("template", [SUFFIX_FIRST, PREFIX_FIRST], ids=["spm", "psm"])
SNIPPETS = {name: Snippet(name, name * 96 + "\n") for name in "abcdefgh"}
SNIPPET_TOKENS = 1 + len("a\n") + 97
CODE = "".join(f"v{n} = f({n})\n" for n in range(30))
TYPED_TOKENS = 2  # of what is typed, the model reads its last token for the pick
ROOM = Room(1024, 1024, 1200)
SLOW = Room(1024, 128, 1200, (1024, 768, 512))


class Editor:
    """A document, `names` of snippets that are wanted at its places, and what is asked there."""

    def __init__(self, template: FimTemplate, bench: Bench | None = None) -> None:
        self.template, self.bench = template, bench or Bench()
        # Whatever its steps have taken: a token takes a millisecond.
        rate = [1.0, 0.0]
        self.bench.kv.rates = Rates.from_json({"1": rate, str(SMALL): rate})
        self.anchors = Anchors()

    def context(self, prefix: str, suffix: str, names: str) -> CompletionContext:
        snippets = tuple(SNIPPETS[name] for name in names)
        return CompletionContext(prefix, suffix, snippets=snippets, file=FileName("r", "u.py"))

    def now(self, prefix: str, suffix: str = "\nend\n", names: str = "", room: Room = ROOM) -> int:
        """Ask; how many tokens were read for it."""
        context = self.context(prefix, suffix, names)
        chosen = self.anchors.now("u", context, self.template, room)
        richer = tuple(self.prompt(replace(chosen, anchor=each), context) for each in chosen.others)
        generation = self.ask(self.prompt(chosen, context), chosen, richer)
        self.anchors.settle("u", chosen, generation.other_at)
        self.chosen = chosen
        self.other_at = generation.other_at
        return generation.n_prompt - generation.n_cached

    def ahead(self, prefix: str, suffix: str = "\nend\n", names: str = "") -> int:
        """Read; how many tokens that took."""
        context = self.context(prefix, suffix, names)
        chosen = self.anchors.ahead("u", context, self.template, ROOM)
        prompt = replace(self.prompt(chosen, context), max_tokens=0)
        generation = self.ask(prompt, chosen)
        self.anchors.mark_read("u", chosen.anchor)
        return generation.n_prompt - generation.n_cached

    def prompt(self, chosen: Chosen, context: CompletionContext) -> Prompt:
        told = anchor.shown(chosen.anchor, chosen.typed, context)
        return fim.build(self.template, told, StopRule(), 4, len(chosen.typed))

    def ask(self, prompt: Prompt, chosen: Chosen, richer: tuple[Prompt, ...] = ()) -> Generation:
        deadline = Deadline.after(1e5, self.bench.clock)
        request = GenerationRequest(
            *("s", prompt, deadline, CancelToken()), document=chosen.sequence, others=richer
        )
        return Run(self.bench.kv, request, self.bench.clock).finish()


@BOTH
def test_typing_reads_what_is_typed_whatever_is_wanted(template: FimTemplate) -> None:
    editor = Editor(template)
    assert editor.now(f"{CODE}x", names="abc") > 3 * SNIPPET_TOKENS
    for typed, names in (("x_", "abc"), ("x_1", "cba"), ("x_1_", "abd"), ("x_1_2", "")):
        assert editor.now(CODE + typed, names=names) <= TYPED_TOKENS


@BOTH
def test_a_new_anchor_reads_none_of_the_snippets_again(template: FimTemplate) -> None:
    editor = Editor(template)
    n_first = editor.now(f"{CODE}1", names="abc")
    n_own = n_first - 3 * SNIPPET_TOKENS
    # The place is stale: the same snippets, in another order and one more.
    moved = CODE + "9" * (anchor.STALE_CHARS + 10) + "\n1"
    n_moved = len(moved) - len(CODE)
    assert editor.ahead(moved, names="dcab") <= n_own + n_moved + SNIPPET_TOKENS
    # And none of anything where nothing is new.
    assert editor.now(moved, names="dcab") <= TYPED_TOKENS


@BOTH
def test_another_place_of_the_document_shares_them(template: FimTemplate) -> None:
    editor = Editor(template)
    below = "".join(f"w{n} = g({n})\n" for n in range(30))
    editor.now(f"{CODE}1", f"\n{below}", names="abcde")
    n_there = editor.now(f"{CODE}1\n{below}2", "\nend\n", names="edcba")
    n_alone = Editor(template).now(f"{CODE}1\n{below}2", "\nend\n", names="edcba")
    assert n_there <= n_alone - 5 * SNIPPET_TOKENS


@BOTH
def test_a_restart_goes_on_from_what_was_read_with_them(template: FimTemplate) -> None:
    editor = Editor(template)
    editor.now(f"{CODE}1", names="abc", room=SLOW)
    assert editor.chosen.anchor.snippets == ()
    editor.ahead(f"{CODE}1", names="abc")
    again = Editor(template, editor.bench)
    assert again.now(f"{CODE}1", names="abc", room=SLOW) <= TYPED_TOKENS
    assert again.other_at == 0
    # Typing goes on from there.
    assert again.now(f"{CODE}1_", names="abc", room=SLOW) <= TYPED_TOKENS


@BOTH
def test_a_restart_that_does_not_find_them_yet_reads_the_small_prompt_only(
    template: FimTemplate,
) -> None:
    editor = Editor(template)
    editor.now(f"{CODE}1", names="abc", room=SLOW)
    editor.ahead(f"{CODE}1", names="abc")
    again = Editor(template, editor.bench)
    # What was read before is not what would be asked for now; the small prompt is held.
    n_small = again.now(f"{CODE}1", names="", room=SLOW)
    assert n_small <= SLOW.n_soon_tokens * 3
    # Found, they are read in the pause: of what was read, all is there.
    assert again.now(f"{CODE}1", names="abc", room=SLOW) <= TYPED_TOKENS
    assert again.chosen.renewable
    assert again.ahead(f"{CODE}1", names="abc") <= TYPED_TOKENS
