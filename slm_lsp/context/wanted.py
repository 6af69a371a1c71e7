"""How much text is wanted at a place: none, the rest of a line, or a block.

Owns: the decision before anything is generated, and which first lines will change it.

Invariant: total, and made from lines and brackets alone: a tree of code that is being written
says least just where the cursor is. What is asked for by hand is refused within a word only.

Threads: any; pure functions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from slm_lsp.context.languages import Blocks, Language
from slm_lsp.context.lines import Line, closes_block, group_of, lines_above
from slm_lsp.context.scan import Literal, Scan
from slm_lsp.text.whitespace import columns
from slm_lsp.types import Trigger, Unwanted, Want

# What may stand behind a cursor at the end of what is said on its line.
CLOSERS = ")]}>\"'`;,: \t"
# Of a text behind the cursor that is longer, an editor would show the two in one heap. llama.vim
# (autoload/llama.vim) asks for nothing either where more than 8 characters follow.
MAX_BEHIND_CHARS = 8
# How much is looked at to see whether there is anything.
ENOUGH_CHARS = 400

# A statement that is not one without the block behind it.
WANTS_BLOCK = re.compile(
    r"\s*(?:[}\])]\s*)*(?:(?:async|export|pub|public|private|protected|static|default)\s+)*"
    r"(?:catch|class|def|do|elif|else|except|finally|fn|for|func|function|if|impl|interface|"
    r"match|struct|switch|try|unless|until|while|with)\b"
)
# The first lines that go on, by how blocks are opened.
_OPENS = {Blocks.COLON: ":{([", Blocks.BRACES: "{(["}
_CLOSING_TAG = re.compile(r"</[\w.:-]*>")
_STATEMENT_END = re.compile(r"(?:[)\]};]|^\s*(?:pass|break|continue))\Z")
# Two words before a bracket: a type and the name of what is being defined.
_TWO_WORDS = re.compile(r"\w[\w<>\[\],:*&?~]*\s+[*&]?\w")


@dataclass(frozen=True, slots=True)
class Here:
    """A place. `above` are whole lines, `line` and `rest` the cursor's line before and behind it,
    `below` the lines after; `opener` is the line that opens a block just before the cursor,
    `indent` what the completed line begins with."""

    language: Language
    trigger: Trigger
    found: Scan
    above: str
    line: str
    rest: str
    below: tuple[str, ...]
    opener: Line | None
    indent: str

    @property
    def opens(self) -> str:
        """The endings of a line that opens a block or a bracket."""
        return _OPENS.get(self.language.blocks, "")

    @property
    def bracket(self) -> str:
        """The innermost bracket that is open, empty if there is none."""
        found = self.found.brackets
        return (self.above + self.line)[found[-1]] if found else ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The decision: `unwanted` says why it is nothing, `opens` which first lines change it."""

    want: Want
    unwanted: Unwanted | None = None
    opens: str = ""


def wanted(here: Here) -> Wanted:
    """How much text fits at a place."""
    unwanted = _unwanted(here)
    if unwanted is not None:
        return Wanted(Want.NOTHING, unwanted)
    if here.found.literal is not Literal.CODE or here.rest.strip(CLOSERS):
        return Wanted(Want.LINE)
    following = next((each for each in here.below if each.strip()), "")
    has_body = (
        here.opener is not None
        and columns(following) > columns(here.opener.indent)
        and not closes_block(here.language, following)
    )
    if has_body and here.line.strip():
        return Wanted(Want.LINE)
    if here.opener is not None and not has_body:
        # What stands on the opening line itself is all that the block holds.
        begun = bool(here.line.strip()) and bool(here.opens)
        return Wanted(Want.BLOCK, opens=here.opens + "\n" if begun else "")
    # A block that is not there yet may be written where no deeper line follows.
    opens = here.opens if columns(following) <= columns(here.indent) else ""
    if has_body or here.line.strip() or here.rest.strip() or _is_item(here):
        return Wanted(Want.LINE, opens=opens)
    adjacent = here.below[0] if here.below else ""
    inserted = bool(adjacent.strip()) and columns(adjacent) >= columns(here.indent)
    closing = adjacent.lstrip()[:1] in (")", "]", "}") or closes_block(here.language, adjacent)
    return Wanted(Want.LINE, opens=opens) if inserted and not closing else Wanted(Want.BLOCK)


def _is_item(here: Here) -> bool:
    """Whether an empty line stands among arguments or the items of a list."""
    is_block = here.language.blocks is not Blocks.COLON and here.bracket == "{"
    return bool(here.opens and here.bracket) and not is_block


def _unwanted(here: Here) -> Unwanted | None:
    """Why nothing is wanted, if so."""
    line, rest = here.line, here.rest
    if _is_word(line[-1:]) and _is_word(rest[:1]):
        return Unwanted.INSIDE_WORD
    if here.trigger is Trigger.INVOKED:
        return None
    if not _says_anything(here):
        return Unwanted.NO_CONTEXT
    behind = _behind(here)
    if _is_word(rest[:1]) or len(behind) > MAX_BEHIND_CHARS:
        return Unwanted.TEXT_BEHIND
    if here.found.literal is Literal.CODE and _has_ended(here, behind):
        return Unwanted.STATEMENT_ENDED
    return None


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _says_anything(here: Here) -> bool:
    """Whether the document holds more than a word or a sign: `x =` and `import os` do."""
    near = here.above + here.line + here.rest + "".join(here.below[:20])
    near = near.strip()[:ENOUGH_CHARS]
    words = re.findall(r"\w+", near)
    return len(words) > 1 or (bool(words) and re.search(r"[^\w\s]", near) is not None)


def _behind(here: Here) -> str:
    """What follows on the line, besides what closes something and a comment."""
    rest = _CLOSING_TAG.sub("", here.rest).strip(CLOSERS)
    return "" if rest.startswith(here.language.line_comments) else rest


def _has_ended(here: Here, behind: str) -> bool:
    """Whether the cursor stands right behind the end of a statement."""
    if here.language.prose or not _STATEMENT_END.search(here.line):
        return False
    if behind:
        return True
    bracket = here.bracket
    if bracket and (bracket != "{" or here.language.blocks is Blocks.COLON):
        return False
    before = here.above + here.line
    line = next(lines_above(here.language, before, len(before), here.found), None)
    if line is None or here.line.endswith((";", "}")):
        return True
    if WANTS_BLOCK.match(line.code):
        return False
    named = group_of(here.language.header, line.code + " {") if here.language.header else None
    return named is None or not _TWO_WORDS.match(line.code)
