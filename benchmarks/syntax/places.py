"""Random places in real files, with what stood there taken out.

Owns: the three kinds of holes: the rest of a line, a line, the body of a block.

Invariant: a place is known by its seed alone, so a run that was stopped finds the same ones.

Threads: any; pure functions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.syntax.sources import File

REST, LINE, BODY = "rest", "line", "body"
KINDS = (REST, LINE, BODY)
_MAX_TRIES = 200
_MAX_BODY_LINES = 30


@dataclass(frozen=True, slots=True)
class Hole:
    """`middle` stood between `before` and `after`; `true_line` is its first line, as it was."""

    name: str
    kind: str
    file: File
    before: str
    middle: str
    after: str
    true_line: str


def holes(
    files: Sequence[File], language: str, n: int, seed: int, is_sound: Callable[[File], bool]
) -> list[Hole]:
    """`n` places in files of a language that are sound."""
    found: list[Hole] = []
    verdicts: dict[str, bool] = {}
    for number in range(n):
        rng = random.Random(f"{seed}/{language}/{number}")
        for _ in range(_MAX_TRIES):
            file = rng.choice(files)
            if file.path not in verdicts:
                verdicts[file.path] = is_sound(file)
            hole = _hole(f"{language}/{number}", file, rng) if verdicts[file.path] else None
            if hole is not None:
                found.append(hole)
                break
    return found


def _hole(name: str, file: File, rng: random.Random) -> Hole | None:
    lines = file.text.split("\n")
    at, kind = rng.randrange(len(lines)), rng.choice(KINDS)
    line = lines[at]
    if not line.strip():
        return None
    start = sum(len(each) + 1 for each in lines[:at])
    indent = len(line) - len(line.lstrip())
    if kind == REST:
        first = start + rng.randint(indent + 1, max(indent + 1, len(line.rstrip()) - 1))
        last = start + len(line)
    elif kind == LINE:
        # Half of the users have typed the indentation, or their editor has.
        first, last = start + rng.choice((0, indent)), start + len(line)
    else:
        n_lines = _body(lines, at)
        if not 1 <= n_lines <= _MAX_BODY_LINES:
            return None
        body = lines[at + 1 : at + 1 + n_lines]
        deeper = len(body[0]) - len(body[0].lstrip())
        first = start + len(line) + 1 + rng.choice((0, deeper))
        last = start + len(line) + 1 + len("\n".join(body))
        line = body[0]
    before, middle, after = file.text[:first], file.text[first:last], file.text[last:]
    inside_word = _word(before[-1:]) and _word(after[:1])
    if inside_word or not middle.strip():
        return None
    return Hole(name, kind, file, before, middle, after, line)


def _body(lines: Sequence[str], at: int) -> int:
    """How many lines behind one are deeper than it."""
    limit, n_whole = _width(lines[at]), 0
    for n, line in enumerate(lines[at + 1 :], 1):
        if line.strip():
            if _width(line) <= limit:
                break
            n_whole = n
    if n_whole and not lines[at + 1].strip():
        return 0
    return n_whole


def _width(line: str) -> int:
    plain = line.expandtabs(8)
    return len(plain) - len(plain.lstrip(" "))


def _word(character: str) -> bool:
    return character.isalnum() or character == "_"
