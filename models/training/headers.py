"""What stands before a file in a sample: its path, the repository's name, lines of another file.

Owns: the repository format of StarCoder 2 (2402.19173), whose sentinels the base model knows from
its own pre-training.

Invariant: pure. Control tokens only where the format has them.

Threads: any.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from models.training.document import Document
from models.training.tokenized import Tokenizer

if TYPE_CHECKING:
    from models.training.vocabulary import Sentinels

_MIN_LINES, _MAX_LINES = 3, 12


def path(document: Document, tokenizer: Tokenizer, sentinels: Sentinels) -> list[int]:
    """`[FILE_SEP] path` and a line end."""
    return [sentinels.file_sep, *tokenizer.encode(document.path + "\n")]


def snippet(
    document: Document, tokenizer: Tokenizer, sentinels: Sentinels, max_tokens: int, rng: Random
) -> list[int]:
    """`[REPO_NAME] source`, then the path and some lines of a file of it.

    The lines start with a definition or the like and have at most `max_tokens` tokens. If not
    even one line fits, there is the name alone.
    """
    name = [sentinels.repo_name, *tokenizer.encode(document.source + "\n")]
    lines = document.text.split("\n")
    tops = [i for i, line in enumerate(lines) if line and line[0].isalpha()] or [0]
    first = rng.choice(tops)
    n_lines = rng.randint(_MIN_LINES, _MAX_LINES)
    while n_lines > 0:
        ids = tokenizer.encode("\n".join(lines[first : first + n_lines]) + "\n")
        if len(ids) <= max_tokens:
            return [*name, *path(document, tokenizer, sentinels), *ids]
        n_lines //= 2
    return name
