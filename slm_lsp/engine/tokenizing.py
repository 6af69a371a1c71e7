"""From a prompt's segments to tokens, whatever library tokenizes the text between control tokens.

Owns: what all libraries' prompts have in common: the start token, control tokens by their exact
text, and cutting plain text so that no tokenizer finds one of them in it.

Invariant: a Special is one token or an error; a control text in plain text is never given to a
tokenizer in one piece.

Threads: the engine's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from slm_lsp.engine.base import PromptError
from slm_lsp.engine.vocabulary import Vocabulary
from slm_lsp.types import Segment, Special

Guard = re.Pattern[str]


def prompt_tokens(
    vocabulary: Vocabulary,
    model: str,
    segments: Sequence[Segment],
    text_tokens: Callable[[str, bool], list[int]],
) -> list[int]:
    """The tokens of a whole prompt, never none; `text_tokens` takes a text and whether it is the
    prompt's first. Raises PromptError for a control text that the model does not have."""
    tokens = [vocabulary.bos] if vocabulary.adds_bos else []
    is_first = True
    for segment in segments:
        if isinstance(segment, Special):
            token = vocabulary.specials.get(segment.text)
            if token is None:
                raise PromptError(f"{model} has no control token {segment.text!r}")
            tokens.append(token)
        elif segment.text:
            tokens += text_tokens(segment.text, is_first)
            is_first = False
    return tokens or [vocabulary.start]


def guard_of(texts: Iterable[str]) -> Guard | None:
    """What finds where control texts begin; None where there are none. A lookahead, so that it
    also finds those that overlap."""
    escaped = [re.escape(text) for text in sorted(texts)]
    return re.compile(f"(?={'|'.join(escaped)})") if escaped else None


def apart(text: str, shown: str, guard: Guard | None) -> Iterator[str]:
    """A text cut behind the first character of each control text; `shown`, of the same length, is
    the text as the tokenizer sees it."""
    cuts = [found.start() + 1 for found in guard.finditer(shown)] if guard else []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        yield text[start:end]
