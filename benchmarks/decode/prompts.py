"""Places in Python's standard library where code repeats itself, and where it does not.

Owns: which they are: the same for the same Python and the same number.

A function's body is taken out; the prompt is the file up to there. The body repeats what comes
before as far as its lines, or its words by threes, are there already.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What a prompt of the product holds, roughly.
MAX_CHARS, MIN_CHARS = 3500, 2500
MIN_BODY_LINES = 5
WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Place:
    """A function whose body is to be written; `repeated` is its share of what was there."""

    name: str
    prompt: str
    repeated: float


def choose(n_places: int) -> dict[str, list[Place]]:
    """So many places of either kind, each in a file of its own."""
    files: dict[str, list[Place]] = {}
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        if found := list(places(path)):
            files[path.name] = found
    most = sorted((max(each, key=_share) for each in files.values()), key=_share)
    repeating = most[-n_places:]
    taken = {place.name.partition(":")[0] for place in repeating}
    others = (found for name, found in files.items() if name not in taken)
    least = sorted((min(each, key=_share) for each in others), key=_share)
    return {"repeating": repeating, "other": least[:n_places]}


def _share(place: Place) -> tuple[float, str]:
    return place.repeated, place.name


def places(path: Path) -> Iterator[Place]:
    """The functions of one file that have enough before them."""
    source = path.read_text(encoding="utf-8", errors="replace")
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef):
            continue
        body = node.body[1:] if ast.get_docstring(node) else node.body
        if not body or (body[-1].end_lineno or 0) - body[0].lineno + 1 < MIN_BODY_LINES:
            continue
        prompt = _window("".join(lines[: body[0].lineno - 1]))
        if len(prompt) >= MIN_CHARS:
            text = "".join(lines[body[0].lineno - 1 : body[-1].end_lineno])
            yield Place(f"{path.name}:{node.name}", prompt, repeated(text, prompt))


def _window(text: str) -> str:
    """The last whole lines of a text."""
    return text if len(text) <= MAX_CHARS else text[-MAX_CHARS:].partition("\n")[2]


def repeated(text: str, before: str) -> float:
    """Which share of a text's words, taken by threes, is in another text as well."""
    threes = list(_threes(text))
    known = set(_threes(before))
    return sum(three in known for three in threes) / max(1, len(threes))


def _threes(text: str) -> Iterator[tuple[str, ...]]:
    words = WORD.findall(text)
    return zip(words, words[1:], words[2:], strict=False)
