"""How other files are shown before a file: in a model's own format, or as comments.

Owns: the filling in of a layout, and what of a snippet or a name may stand in a prompt.

Invariant: pure. What comes from a file or its name becomes Text segments only; a placeholder
that stands in such a text stays as it is. Each snippet ends with one line end.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from slm_lsp.text.whitespace import unix_lines
from slm_lsp.types import CompletionContext, FimTemplate, Segment, Snippet, Special, Text

PREFIX, SUFFIX, FILES = "{prefix}", "{suffix}", "{files}"
_PLACEHOLDER = re.compile(r"\{(prefix|suffix|repo|path|text)\}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")
# Where the language has no line comment, or none is known.
DEFAULT_COMMENT = "#"
# A control token and a line end, in characters.
AROUND_CHARS = 4


def is_text(part: str) -> bool:
    """Whether a layout's part is text to be filled in, and no control token."""
    return part == FILES or _PLACEHOLDER.search(part) is not None


def sentinels(layout: Sequence[str]) -> tuple[str, ...]:
    """The control texts of a layout."""
    return tuple(part for part in layout if not is_text(part))


def layout_of(template: FimTemplate, context: CompletionContext) -> tuple[str, ...]:
    """The layout for a context: with other files, if it has any."""
    if not context.snippets:
        return template.layout
    if template.files_layout:
        return template.files_layout
    at = template.layout.index(PREFIX)
    return (*template.layout[:at], FILES, *template.layout[at:])


def segments(
    template: FimTemplate, context: CompletionContext, prefix: str, suffix: str
) -> list[Segment]:
    """The layout filled in."""
    own = {
        "prefix": prefix,
        "suffix": suffix,
        "repo": _name(context.file.repo),
        "path": _name(context.file.path),
    }
    found: list[Segment] = []
    for part in layout_of(template, context):
        if part == FILES:
            for snippet in context.snippets:
                found.extend(_file(template, snippet, context.line_comment or DEFAULT_COMMENT))
        else:
            found.append(_segment(part, own))
    return found


def shown_chars(snippet: Snippet) -> int:
    """About how many characters a snippet takes in a prompt."""
    return len(snippet.path) + len(snippet.text) + AROUND_CHARS


def _segment(part: str, values: Mapping[str, str]) -> Segment:
    if is_text(part):
        return Text(_PLACEHOLDER.sub(lambda found: values[found.group(1)], part))
    return Special(part)


def _file(template: FimTemplate, snippet: Snippet, comment: str) -> Iterator[Segment]:
    path, text = _name(snippet.path), unix_lines(snippet.text).rstrip() + "\n"
    if not template.files_layout:
        lines = f"{path}\n{text}"[:-1].split("\n")
        yield Text("".join(f"{comment} {line}".rstrip() + "\n" for line in lines))
        return
    values = {"path": path, "text": text}
    for part in template.file:
        yield _segment(part, values)


def _name(name: str) -> str:
    """A name on one line, whatever it is called."""
    return _UNPRINTABLE.sub(" ", name)
