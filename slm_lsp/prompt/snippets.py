"""Which snippets of other files a prompt has room for, and in which order.

Owns: the share of a prompt that other files may have, and the order that keeps what was read.

Invariant: pure. Snippets that an earlier prompt showed keep their order and come first while they
are still wanted; new ones are only appended. So what the model has read of them stays read. A
smaller prompt first gives up snippets, and only then a part of the file itself.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slm_lsp.prompt.budget import CHARS_PER_TOKEN
from slm_lsp.prompt.files import AROUND_CHARS, shown_chars
from slm_lsp.types import FileName, Snippet

# Of a prompt's tokens, all other files together get one in so many at the most (decision 16).
SHARE = 3
# So much is shown of the file itself before anything of another.
LEAST_OWN_TOKENS = 256


def most_chars(n_tokens: int) -> int:
    """What the snippets of a prompt of `n_tokens` may hold together."""
    n_snippet_tokens = min(n_tokens // SHARE, n_tokens - LEAST_OWN_TOKENS)
    return max(0, n_snippet_tokens) * CHARS_PER_TOKEN


def fitting(wanted: Iterable[Snippet], max_chars: int) -> tuple[Snippet, ...]:
    """Those of `wanted`, best first, that fit together; one too long is left out."""
    found: list[Snippet] = []
    for snippet in wanted:
        n_chars = shown_chars(snippet)
        if n_chars <= max_chars and snippet not in found:
            found.append(snippet)
            max_chars -= n_chars
    return tuple(found)


def arranged(
    wanted: Iterable[Snippet], earlier: Iterable[Snippet], max_chars: int
) -> tuple[Snippet, ...]:
    """Those that fit, in the order of `earlier` where they are among them, new ones behind."""
    chosen = fitting(wanted, max_chars)
    kept = [each for each in dict.fromkeys(earlier) if each in chosen]
    return (*kept, *(each for each in chosen if each not in kept))


def n_tokens_of(snippets: Sequence[Snippet], file: FileName) -> int:
    """What snippets take of a prompt's budget, and with them the name of the file itself."""
    n_chars = sum(map(shown_chars, snippets))
    if snippets:
        n_chars += len(file.repo) + len(file.path) + 2 * AROUND_CHARS
    return -(-n_chars // CHARS_PER_TOKEN)


def lacks(held: Sequence[Snippet], wanted: Iterable[Snippet], n_tokens: int) -> bool:
    """Whether a prompt that shows `held` lacks more than half of what one of `n_tokens` would
    show, where a snippet counts for less the further behind it is: less is not worth reading the
    file again behind other snippets."""
    weights = {each: 1 / rank for rank, each in enumerate(fitting(wanted, most_chars(n_tokens)), 1)}
    missing = sum(weight for each, weight in weights.items() if each not in held)
    return 2 * missing > sum(weights.values())
