"""Text that is not what was asked for: control tokens spelled out, chat, comments instead of code.

Owns: how such text begins. Where a model leaves the code, all that follows is of no use.

Invariant: pure and total; text is only cut, at its end. What the document near the cursor holds
itself is no drift: somebody writes about just that.

Threads: any.
"""

from __future__ import annotations

import re

from slm_lsp.completion.brackets import open_quote
from slm_lsp.completion.place import Place

# Control tokens of models, as text: those of no language. Others are cut only where they are the
# model's own (`Place.specials`), as `<filename>` may well be what a program prints.
_SPECIAL = re.compile(
    r"<\|[a-z][a-z_]{2,24}\|>|<\|EOT\|>|<｜[^\s｜]{1,24}｜>|<\[[a-z▁-]{3,24}\]>|<EOT>"
    r"|<fim[_-](?:prefix|suffix|middle|pad)>|<(?:file_sep|repo_name|end_of_turn)>|</?COMPLETION>"
)
# Lines that are no code in any language, each at its beginning.
_NO_CODE = re.compile(
    r"```|~~~|diff --git |@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@|(?:---|\+\+\+) [ab]/"
    r"|(?:#|//|--)\s*(?:Path|File(?:name|path)?):\s*\S*[/\\.]\w+\s*$"
    r"|(?:Sure|Certainly|Of course)[,!.]|As an AI\b|I(?:'m| am) sorry\b|Explanation:"
    r"|Here(?:'s| is| are) (?:the|a|an|your|how|some|my)\b"
    r"|(?:This|The (?:above|following|given)) (?:code|function|program|script|class|method) \w+ \w+"
    r"|[A-Z][\w'-]*,?(?: [\w'`-]+,?){5,}[.:]$"
)
_PROSE = re.compile(r"[\w'`-]+[,.]?(?: [\w'`\"()/-]+[,.]?){4,}$|\"\"\"|'''")
# A comment that stands where code should.
_BLOCK_COMMENT_LINE = re.compile(r"\*(?:\s|/|$)")


def cut_specials(text: str, place: Place) -> str:
    """Cut before a control token that is written out."""
    end = len(text)
    own = (special.strip("▁ ") for special in place.specials)
    for at, special in (
        *((found.start(), found.group()) for found in _SPECIAL.finditer(text)),
        *((text.find(special), special) for special in own if special),
    ):
        if 0 <= at < end and special not in place.before and special not in place.after:
            end = at
    return text[:end]


def cut_drift(text: str, place: Place) -> str:
    """Cut before a line of Markdown, of a patch or of an answer in a chat, where code is."""
    if place.language.prose or place.context.in_string or place.context.in_comment:
        return text
    if _PROSE.match((place.above or [""])[-1].strip()):
        return text  # a string or comment that began too far above to be seen
    at = 0
    for i, line in enumerate(text.split("\n")):
        begun = i == 0 and bool(place.line.strip())
        found = None if begun else _NO_CODE.match(line.strip())
        if found is not None and not _is_meant(found.group(), text[:at], place):
            return text[:at]
        at += len(line) + 1
    return text


def _is_meant(found: str, before: str, place: Place) -> bool:
    """Whether a line like this may stand here: in a string, a comment or markup."""
    around = place.before + place.after
    # The document has fences or a patch of its own; that other sentences are there says nothing.
    if not found[0].isupper() and found[:3] in around:
        return True
    if "</" in around:
        return True
    if before.rfind("/*") > before.rfind("*/"):
        return True
    return open_quote(before, place.language) is not None


def drop_comments(text: str, place: Place) -> str:
    """Drop a text of comments only, but where comments are written."""
    context = place.context
    if place.language.prose or context.in_string or context.in_comment or place.line.strip():
        return text
    adjacent = place.before.removesuffix(place.line).rstrip("\n").rpartition("\n")[2]
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if _is_comment(adjacent.strip(), place) or not lines:
        return text
    return "" if all(_is_comment(line, place) for line in lines) else text


def _is_comment(line: str, place: Place) -> bool:
    block = place.language.block_comment
    if block is not None and (line.startswith(block[0]) or _BLOCK_COMMENT_LINE.match(line)):
        return True
    return line.startswith(place.language.line_comments) and not line.startswith("#!")
