"""How sure the model was of a text, and what of it is sure enough to be shown.

Owns: the score of a text (how likely the model thought its first line, as a whole), and the cut
behind which a text is no longer likely enough.

Invariant: pure and total. A text is only shortened, at a boundary of `ladder`; the score of what
is left of a text that was typed in part is made of what is left. Tokens and text are matched by
the characters that can be seen, as white space is not the model's alone.

Threads: any.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from slm_lsp.completion import ladder
from slm_lsp.completion.place import Place, no_word
from slm_lsp.types import Finish, Generation

# Behind a line, a text goes on for as long as this is its probability from there on.
LINE_LOGPROB = -3.0


def n_visible(text: str) -> int:
    """How many characters of a text can be seen."""
    return len("".join(text.split()))


@dataclass(frozen=True, slots=True)
class Certainty:
    """Of each token of a text its log-probability, and how many visible characters the text had
    behind it."""

    ends: tuple[int, ...]
    logprobs: tuple[float, ...]

    @classmethod
    def of(cls, generation: Generation) -> Certainty | None:
        """What the engine tells; None where it does not."""
        if not generation.logprobs or len(generation.ends) != len(generation.logprobs):
            return None
        ends, n_seen, at = [], 0, 0
        for end in generation.ends:
            n_seen += n_visible(generation.text[at:end])
            at = max(at, end)
            ends.append(n_seen)
        return cls(tuple(ends), generation.logprobs)

    def logprob(self, begin: int, end: int) -> float:
        """How likely what is seen from `begin` to `end` is: the sum over its tokens. One that is
        seen in part counts."""
        total, before = 0.0, 0
        for at, logprob in zip(self.ends, self.logprobs, strict=True):
            if begin < at or (begin == at == 0):
                if before >= end:
                    break
                total += logprob
            before = at
        return total

    def score(self, text: str, n_typed: int = 0) -> float:
        """How likely the first line of `text` is, of which so many visible characters of the
        generation stand before."""
        return self.logprob(n_typed, n_typed + n_visible(first_line(text)))


def first_line(text: str) -> str:
    """The first line that holds something."""
    return next((line for line in text.splitlines() if line.strip()), "")


def cut_unsure(text: str, certainty: Certainty, place: Place) -> str:
    """A text of several lines without those that are no longer likely; where nothing before them
    can stand by itself, the whole text."""
    lines = text.split("\n")
    n_seen, kept = 0, 0
    for n, line in enumerate(lines):
        n_line = n_visible(line)
        is_later = n_seen > 0
        if is_later and n_line and certainty.logprob(n_seen, n_seen + n_line) < LINE_LOGPROB:
            break
        n_seen, kept = n_seen + n_line, n + 1
    if kept == len(lines):
        return text
    cut = replace(place, finish=Finish.LENGTH, end_of_word=no_word)
    # So that the ladder takes the last line for whole.
    return ladder.down_to_boundary("\n".join(lines[:kept]) + "\n", cut) or text
