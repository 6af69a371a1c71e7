"""What a completion did to a file, judged from outside.

Owns: counting errors in the whole file with a fresh parser, and the two questions about lines: does
the text repeat the line below it, does its first line stand where a line may stand.

Invariant: uses nothing of `slm_lsp`, neither its excerpts and incremental trees nor its filters.

Threads: any; a parser is made for every parse.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import tree_sitter

CLOSES = {"(": ")", "[": "]", "{": "}"}
MIN_TELLING_CHARS = 8
_STRING = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`")
# A line that a next one is to follow: it opens something, or ends with a comma or an operator.
_OPENS = re.compile(r"[(\[{]\s*\Z")
_GOES_ON = re.compile(r"(?:[-+*/%=<>&|^?,.:\\]|\b(?:and|or|not|in))\s*\Z")
_HEADER = re.compile(
    r"(?:@|#\[|\[\w|template\b|(?:.*\b)?(?:if|unless|while|until|for|case|def|class|module|begin|do|"
    r"try|else|then|match)\b)"
)
_LITERAL = re.compile(r"comment|string|heredoc|nowdoc|\Atext\Z")
_HOLES = ("interpolation", "template_substitution")  # code again
_FOLLOWS = (
    "",
    ";",
    "x",
    "x;",
    "\nfinally: pass",
    " finally {}",
    " catch (...) {}",
    " while (0);",
    "\ndef f(): pass",
    "\nvoid f() {}",
    "\nend",
    "\n    case _: pass",
)


@cache
def _language(module: str, function: str) -> tree_sitter.Language:
    return tree_sitter.Language(getattr(importlib.import_module(module), function)())


class Judge:
    """Counts errors in a language."""

    def __init__(self, grammars: Mapping[str, tuple[str, str]]) -> None:
        self._grammars = grammars

    def n_errors(self, language: str, text: str) -> int:
        """How many errors and missing tokens the whole file has."""
        parser = tree_sitter.Parser(_language(*self._grammars[language]))
        pending, n = [parser.parse(text.encode()).root_node], 0
        while pending:
            node = pending.pop()
            n += node.is_error or node.is_missing
            pending += (each for each in node.children if each.has_error or each.is_missing)
        return n

    def in_literal(self, language: str, text: str, at: int) -> bool:
        """Whether a place of a sound file is within a string or a comment, where white space
        at the beginning of a line is text and no indentation."""
        parser = tree_sitter.Parser(_language(*self._grammars[language]))
        byte, found = len(text[:at].encode()), False
        node: tree_sitter.Node | None = parser.parse(text.encode()).root_node
        while node is not None:
            if node.type in _HOLES:
                found = False
            elif _LITERAL.search(node.type):
                found = True
            node = next(
                (each for each in node.children if each.start_byte < byte < each.end_byte), None
            )
        return found

    def verdict(self, language: str, before: str, text: str, after: str) -> dict[str, Any]:
        """What `text` between `before` and `after` does to the syntax.

        `added`: there are more errors than without. `unfinished`: there would not be, if the
        text's last line, which asks for it, were followed by something.
        """
        n_before = self.n_errors(language, before + after)
        n_after = self.n_errors(language, before + text + after)
        added = n_after > n_before
        unfinished = added and self._goes_on(language, before, text, after, n_before)
        return {
            "n_before": n_before,
            "n_after": n_after,
            "added": added,
            "unfinished": unfinished,
        }

    def _goes_on(self, language: str, before: str, text: str, after: str, n_before: int) -> bool:
        line = (before + text).rpartition("\n")[2]
        body = text.rstrip()
        if not (_OPENS.search(body) or _GOES_ON.search(body) or _HEADER.match(line.strip())):
            return False
        closers = _closers(text)
        if "\n" in body and _closers(text[: text.rindex("\n")]) and not _OPENS.search(body):
            return False
        indent = line[: len(line) - len(line.lstrip())]
        for each in _FOLLOWS:
            follows = each.replace("\n", "\n" + indent)
            for behind in (closers + follows, follows + closers, follows + closers + ";"):
                if self.n_errors(language, before + text + behind + after) <= n_before:
                    return True
        return False


def _closers(text: str) -> str:
    """What closes the brackets that a text leaves open."""
    open_: list[str] = []
    for char in _STRING.sub("", text):
        if char in CLOSES:
            open_.append(char)
        elif open_ and char == CLOSES[open_[-1]]:
            open_.pop()
    return "".join(CLOSES[each] for each in reversed(open_))


def repeats_below(before: str, text: str, after: str) -> bool:
    """Whether a line of the text is the next line of the file."""
    below = next((line for line in after.split("\n")[1:] if line.strip()), "")
    if not re.search(r"\w", below):
        return False
    lines = (before.rpartition("\n")[2] + text).split("\n")
    return any(
        line.rstrip() == below.rstrip()
        or (line.strip() == below.strip() and len(below.strip()) >= MIN_TELLING_CHARS)
        for line in lines
    )


def is_misplaced(before: str, text: str, after: str, true_line: str) -> bool | None:
    """Whether the first line of a text on a blank line stands where no line may; None where the
    line was begun.

    It may stand where the true line did, or as far as the line above or, where that opens a block
    or a bracket, anywhere deeper; as far as a block around it, but not left of the line below.
    """
    line, rest = before.rpartition("\n")[2], after.partition("\n")[0]
    if line.strip() or rest.strip():
        return None
    first = next((each for each in (line + text).split("\n") if each.strip()), "")
    width = _width(first)
    above = [each for each in before.split("\n")[:-1] if each.strip()]
    below = next((each for each in after.split("\n")[1:] if each.strip()), "")
    if below.lstrip().startswith("*"):  # within a comment, or at its beginning
        below = ""
    if width == _width(true_line):
        return False
    if above and width > _width(above[-1]):
        opened = bool(
            re.search(r"[:({\[,=+\-*/&|>\\.?]\s*(?:#.*|//.*)?\Z|\b(?:do|then|else)\Z", above[-1])
        )
        return not (opened or _HEADER.match(above[-1].strip()) or width == _width(below))
    around = set()
    limit = 1 << 30
    for each in reversed(above):
        if _width(each) < limit:
            limit = _width(each)
            around.add(limit)
    closes = first.strip()[0] in ")]}" or re.match(r"(?:end|else|case|default|\w+:)", first.strip())
    return width not in around or (width < _width(below) and not closes)


def _width(line: str) -> int:
    plain = line.expandtabs(8)
    return len(plain) - len(plain.lstrip(" "))
