"""Where a generated text goes, as the filters look at it.

Owns: the bounded stretches of text before and behind the cursor, with `\\n` line ends.

Invariant: a value; at most LOOK_CHARS on either side, whatever the document's size.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from slm_lsp.context.languages import UNKNOWN, Language
from slm_lsp.text.whitespace import unix_lines
from slm_lsp.types import CompletionContext, Finish

LOOK_CHARS = 8000


def no_word(beginning: str) -> str | None:
    """What makes a word of a beginning where no words are known."""
    return None


@dataclass(frozen=True, slots=True)
class Place:
    """A context, how the generation ended, and the text on both sides of the cursor.

    `before` begins with a whole line and holds no inferred indentation. `end_of_word` gives
    what makes a word of the open files of a beginning, None if that is not sure. `specials`
    are the control texts of the model's own template.
    """

    context: CompletionContext
    finish: Finish
    language: Language
    before: str
    after: str
    end_of_word: Callable[[str], str | None] = no_word
    specials: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        context: CompletionContext,
        finish: Finish,
        language: Language = UNKNOWN,
        end_of_word: Callable[[str], str | None] = no_word,
        specials: tuple[str, ...] = (),
    ) -> Place:
        before = context.prefix[-LOOK_CHARS:]
        after = context.suffix[:LOOK_CHARS]
        if before.endswith("\r") and after.startswith("\n"):
            before = before[:-1]
        before, after = unix_lines(before), unix_lines(after)
        if len(context.prefix) > LOOK_CHARS:
            before = before[before.find("\n") + 1 :]
        return cls(context, finish, language, before, after, end_of_word, specials)

    def whole(self, lines: Sequence[str]) -> list[str]:
        """The lines of a text, the first with what stands before it."""
        return [self.line + self.context.inferred_indent + lines[0], *lines[1:]]

    @property
    def line(self) -> str:
        """The cursor's line before it."""
        return self.before[self.before.rfind("\n") + 1 :]

    @property
    def rest(self) -> str:
        """The cursor's line behind it."""
        return self.after.partition("\n")[0]

    @property
    def below(self) -> tuple[str, ...]:
        """The lines below the cursor's that hold something."""
        return _filled_lines(self.after[len(self.rest) :])

    @property
    def above(self) -> tuple[str, ...]:
        """The lines above the cursor's that hold something."""
        return _filled_lines(self.before[: self.before.rfind("\n") + 1])

    def keep_lines(self) -> None:
        """Cut the text around into lines, which most filters ask for, ahead of them."""
        _filled_lines(self.after[len(self.rest) :])
        _filled_lines(self.before[: self.before.rfind("\n") + 1])


@lru_cache(maxsize=8)
def _filled_lines(text: str) -> tuple[str, ...]:
    """The lines of a text that hold something; most filters of an answer ask for the same."""
    return tuple(line for line in text.split("\n") if line.strip())
