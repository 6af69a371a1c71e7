"""Which stretch of a source text a model is asked to fill in.

Owns: the kinds of middles and how often each is drawn, and how much each line of a text is worth
practising.

Invariant: pure; the same outline and random state give the same span. A middle is never empty,
blank, or begun in a licence header. Offsets are code points.

Threads: any.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

from models.training.outline import NAME, Outline, Scope

# Single lines are what an editor asks for most; the rest keeps the model able to stop anywhere.
KINDS: Mapping[str, float] = MappingProxyType(
    {
        "rest_of_line": 0.46,
        "line_part": 0.12,
        "lines": 0.13,
        "statement": 0.08,
        "block": 0.07,
        "arguments": 0.05,
        "identifier": 0.03,
        "random": 0.06,  # Bavarian et al. 2022 (2207.14255)
    }
)

FUNCTION_SHARE = 0.6
DOCUMENTED_WEIGHT = 3.0
DECIDED_SHARE = 0.5
N_CANDIDATES = 3
LINES_BEFORE, LINES_BEHIND = 30, 10
MAX_LINES = 5
_TRIES, _TRIES_PER_KIND = 12, 4
_TOKEN = re.compile(r"\w+|[^\w\s]")
_BRACKETED = re.compile(r"\(([^()\n]+)\)|\[([^\[\]\n]+)\]|\"([^\"\n]+)\"|'([^'\n]+)'")


@dataclass(frozen=True, slots=True)
class Span:
    """The middle `text[start:end]`; `scope` is the function it was drawn from, if it was."""

    start: int
    end: int
    kind: str
    scope: Scope | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where to draw from: lines `first` to `last` (excluded)."""

    outline: Outline
    first: int
    last: int
    max_chars: int

    def draw_line(self, rng: Random) -> int | None:
        worth = self.outline.worth_before
        low, high = worth[self.first], worth[self.last]
        if high <= low:
            return None
        drawn = bisect_right(worth, low + rng.random() * (high - low)) - 1
        return min(max(drawn, self.first), self.last - 1)

    def draw_extent(self, extents: list[tuple[int, int]], rng: Random) -> tuple[int, int] | None:
        starts = self.outline.starts
        low = bisect_left(extents, (starts[self.first], 0))
        high = bisect_left(extents, (starts[self.last], 0))
        for _ in range(_TRIES if low < high else 0):
            start, end = extents[rng.randrange(low, high)]
            if 0 < end - start <= self.max_chars and rng.random() < self.outline.worth_at(start):
                return start, end
        return None


def draw(
    outline: Outline, rng: Random, max_chars: int, kinds: Mapping[str, float] = KINDS
) -> Span | None:
    """A span of at most `max_chars` characters, or None if none was found."""
    first = _draw_one(outline, rng, max_chars, kinds)
    if first is None or rng.random() >= DECIDED_SHARE:
        return first
    more = [_draw_one(outline, rng, max_chars, kinds) for _ in range(N_CANDIDATES - 1)]
    return max([first, *filter(None, more)], key=lambda span: n_decided(outline, span))


def n_decided(outline: Outline, span: Span) -> int:
    """How many names of the middle are used in the next lines and not in those before."""
    line, last = outline.line_at(span.start), outline.line_at(span.end)
    names = set(NAME.findall(outline.text, span.start, span.end))
    names.intersection_update(set().union(*outline.names[last + 1 : last + 1 + LINES_BEHIND]))
    names.difference_update(*outline.names[max(0, line - LINES_BEFORE) : line])
    return len(names)


def _draw_one(
    outline: Outline, rng: Random, max_chars: int, kinds: Mapping[str, float]
) -> Span | None:
    kind = ""
    for attempt in range(_TRIES):
        # Kinds that often find nothing are not given up at once, or they would be rare.
        if attempt % _TRIES_PER_KIND == 0:
            (kind,) = rng.choices(list(kinds), list(kinds.values()))
        scope = _draw_scope(outline, rng) if rng.random() < FUNCTION_SHARE else None
        first, last = (scope.first, scope.last) if scope else (0, len(outline.starts) - 1)
        found = _DRAW[kind](_Place(outline, first, last, max_chars), rng)
        if found is not None and _is_good(outline, *found, max_chars):
            return Span(*found, kind, scope)
    return None


def _draw_scope(outline: Outline, rng: Random) -> Scope | None:
    if not outline.scopes:
        return None
    scope = rng.choice(outline.scopes)
    for _ in range(_TRIES):
        if scope.documented or rng.random() < 1 / DOCUMENTED_WEIGHT:
            break
        scope = rng.choice(outline.scopes)
    return scope


def _is_good(outline: Outline, start: int, end: int, max_chars: int) -> bool:
    return 0 < end - start <= max_chars and not outline.text[start:end].isspace()


def _line_start(outline: Outline, line: int, rng: Random) -> int:
    """The line's first character or, as often, its first that is not blank."""
    return outline.starts[line] if rng.random() < 0.5 else outline.code_start(line)


def rest_of_line(place: _Place, rng: Random) -> tuple[int, int] | None:
    """From a place in a line to the line's end."""
    line = place.draw_line(rng)
    if line is None:
        return None
    outline, end = place.outline, place.outline.end(line)
    drawn = rng.random()
    if drawn < 0.6:
        return _line_start(outline, line, rng), end
    tokens = list(_TOKEN.finditer(outline.text, outline.code_start(line), end))
    words = [token for token in tokens if token.end() - token.start() > 2]
    if drawn < 0.8 and words:
        word = rng.choice(words)
        return rng.randrange(word.start() + 1, word.end()), end
    if len(tokens) < 2:
        return None
    token = rng.choice(tokens[:-1])
    return token.end(), end


def line_part(place: _Place, rng: Random) -> tuple[int, int] | None:
    """From a place in a line to a later one before its end."""
    line = place.draw_line(rng)
    if line is None:
        return None
    text, start, end = place.outline.text, place.outline.code_start(line), place.outline.end(line)
    if rng.random() < 0.5:
        found = [
            match.span(match.lastindex or 0) for match in _BRACKETED.finditer(text, start, end)
        ]
        if not found:
            return None
        low, high = rng.choice(found)
        return (low if rng.random() < 0.5 else rng.randrange(low, high)), high
    tokens = list(_TOKEN.finditer(text, start, end))
    if len(tokens) < 3:
        return None
    low, high = sorted(rng.sample(range(len(tokens)), 2))
    return tokens[low].start(), tokens[high].start() if rng.random() < 0.5 else tokens[low].end()


def lines(place: _Place, rng: Random) -> tuple[int, int] | None:
    """One to five whole lines, without the last one's line end."""
    line = place.draw_line(rng)
    if line is None:
        return None
    last = min(line + rng.randint(1, MAX_LINES), place.last)
    while last > line + 1 and place.outline.is_blank(last - 1):
        last -= 1
    return _line_start(place.outline, line, rng), place.outline.end(last - 1)


def statement(place: _Place, rng: Random) -> tuple[int, int] | None:
    """A whole statement, with or without its indentation."""
    found = place.draw_extent(place.outline.statements, rng)
    if found is None:
        return None
    start, end = found
    line = place.outline.line_at(start)
    begins_line = start == place.outline.code_start(line)
    return (_line_start(place.outline, line, rng) if begins_line else start), end


def block(place: _Place, rng: Random) -> tuple[int, int] | None:
    """The body of a definition, branch or loop; sometimes from the end of the line above."""
    found = place.draw_extent(place.outline.blocks, rng)
    if found is None:
        return None
    start, end = found
    line = place.outline.line_at(start)
    if line == 0 or start != place.outline.code_start(line):
        return found
    if rng.random() < 0.25:
        return place.outline.end(line - 1), end
    return _line_start(place.outline, line, rng), end


def arguments(place: _Place, rng: Random) -> tuple[int, int] | None:
    """What is between the parentheses of a call or definition, or the last part of it."""
    found = place.draw_extent(place.outline.arguments, rng)
    if found is None or rng.random() < 0.6:
        return found
    start, end = found
    token = rng.choice([*_TOKEN.finditer(place.outline.text, start, end)])
    return token.start(), end


def identifier(place: _Place, rng: Random) -> tuple[int, int] | None:
    """A name or the end of one."""
    found = place.draw_extent(place.outline.identifiers, rng)
    if found is None or rng.random() < 0.5:
        return found
    return rng.randrange(*found), found[1]


def random(place: _Place, rng: Random) -> tuple[int, int] | None:
    """Uniformly drawn characters (Bavarian et al. 2022) near a line worth practising."""
    line = place.draw_line(rng)
    if line is None:
        return None
    start = rng.randint(place.outline.starts[line], place.outline.end(line))
    last = min(start + place.max_chars, place.outline.end(place.last - 1))
    return (start, rng.randint(start + 1, last)) if last > start else None


_DRAW: Mapping[str, Callable[[_Place, Random], tuple[int, int] | None]] = {
    "rest_of_line": rest_of_line,
    "line_part": line_part,
    "lines": lines,
    "statement": statement,
    "block": block,
    "arguments": arguments,
    "identifier": identifier,
    "random": random,
}
