"""Sessions: who types what, where and when, as data.

Owns: the making of a session from module texts and a seed. A session deletes the bodies of
three functions, two of one file and one of another, and types them back piece by piece, in
turns, so that the cursor jumps between places and files.

Invariant: pure and deterministic: the same texts, seed and number give the same session. A
session holds no decision: what a replay accepts is decided when it runs (`replay.decide`),
and the events that type what has been accepted already are then left out.

Threads: any.

Gaps between keys are log-normal, as measured for typing in general (Dhakal et al. 2018,
"Observations on typing from 136 million keystrokes": median 120 ms for fast typists).
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.latency.corpus import Body, bodies

KEY_MEDIAN_MS, KEY_SIGMA = 120.0, 0.45
LINE_MEDIAN_MS, LINE_SIGMA = 400.0, 0.5
NOTICE_MEDIAN_MS = 220.0  # until a wrong key is noticed
JUMP_MEDIAN_MS = 1500.0
MISTYPE_SHARE = 0.03
# Now and then a typist reads what there is.
WAIT_SHARE, WAIT_LOW_MS, WAIT_HIGH_MS = 0.06, 1500.0, 4500.0
MAX_PIECES = 3


class Kind(StrEnum):
    """What happens in an event."""

    OPEN = "open"
    SWITCH = "switch"
    MOVE = "move"
    TYPE = "type"
    MISTYPE = "mistype"
    BACKSPACE = "backspace"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Passage:
    """A text to be typed: `start` is its offset in its file's original text."""

    file: int
    start: int
    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """One thing the typist does, `gap_ms` after the one before.

    `passage` is what it belongs to (for OPEN, the file). `index` is how much of the passage
    has been typed before it; `text` is what a key inserts. A line break and the indentation
    that follows are one key, as editors indent by themselves.
    """

    kind: Kind
    gap_ms: float
    passage: int = 0
    index: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """See the module. `files` are names, `originals` their whole texts."""

    number: int
    files: tuple[str, ...]
    originals: tuple[str, ...]
    passages: tuple[Passage, ...]
    events: tuple[Event, ...]


def make_session(texts: Mapping[str, str], seed: int, number: int) -> Session:
    """The session of that number; raises ValueError where no module has two bodies."""
    rng = random.Random(f"slm-lsp latency {seed} {number}")
    candidates = {name: bodies(text) for name, text in texts.items()}
    rich = sorted(name for name, found in candidates.items() if len(found) >= 2)
    if not rich or len(candidates) < 2:
        raise ValueError("sessions need two modules, one of them with two functions")
    first = rng.choice(rich)
    second = rng.choice(sorted(n for n, found in candidates.items() if found and n != first))
    chosen = [(0, body) for body in rng.sample(candidates[first], 2)]
    chosen.append((1, rng.choice(candidates[second])))
    names = (first, second)
    originals = tuple(texts[name] for name in names)
    passages = tuple(_passage(file, originals[file], body) for file, body in chosen)
    files = tuple(f"{name}.py" for name in names)
    return Session(number, files, originals, passages, tuple(_events(passages, rng)))


def _passage(file: int, text: str, body: Body) -> Passage:
    return Passage(file, body.start, text[body.start : body.end])


def _events(passages: tuple[Passage, ...], rng: random.Random) -> Iterator[Event]:
    """All passages in turns, a piece at a time."""
    pieces = [list(_pieces(passage.text, rng)) for passage in passages]
    turns = [number for number in range(len(passages)) for _ in pieces[number]]
    # Interleaved: the k-th pieces of all passages come before their (k+1)-th.
    order = {number: iter(range(len(passages))) for number in range(len(passages))}
    turns.sort(key=lambda number: next(order[number]))
    opened: set[int] = set()
    last_file = -1
    for number in turns:
        file = passages[number].file
        if file not in opened:
            opened.add(file)
            yield Event(Kind.OPEN, 0.0, file)
        kind = Kind.SWITCH if file != last_file else Kind.MOVE
        last_file = file
        yield Event(kind, gap(rng, JUMP_MEDIAN_MS, KEY_SIGMA), number)
        start, end = pieces[number].pop(0)
        yield from _typing(passages[number].text, number, start, end, rng)


def _pieces(text: str, rng: random.Random) -> Iterator[tuple[int, int]]:
    """Up to MAX_PIECES pieces that end at ends of lines."""
    ends = [match.start() for match in re.finditer(r"\n", text)]
    cuts = sorted(rng.sample(ends, min(rng.randrange(MAX_PIECES), len(ends))))
    bounds = [0, *cuts, len(text)]
    yield from itertools.pairwise(bounds)


def _typing(text: str, number: int, start: int, end: int, rng: random.Random) -> Iterator[Event]:
    """The keys that type one piece."""
    index = start
    while index < end:
        key = _key(text, index, end)
        new_line = key[0] == "\n"
        if key.isalpha() and rng.random() < MISTYPE_SHARE:
            yield from _mistype(number, index, rng)
        gap_ms = gap(rng, KEY_MEDIAN_MS, KEY_SIGMA)
        if new_line:
            gap_ms = gap(rng, LINE_MEDIAN_MS, LINE_SIGMA)
        yield Event(Kind.TYPE, gap_ms, number, index, key)
        index += len(key)
        if new_line and rng.random() < WAIT_SHARE:
            yield Event(Kind.WAIT, rng.uniform(WAIT_LOW_MS, WAIT_HIGH_MS), number, index)


def _key(text: str, index: int, end: int) -> str:
    """What one key inserts: a character, or a line break and the indentation behind it."""
    if text[index] != "\n":
        return text[index]
    stop = index + 1
    while stop < end and text[stop] == " ":
        stop += 1
    return text[index:stop]


def _mistype(number: int, index: int, rng: random.Random) -> Iterator[Event]:
    n_wrong = rng.choice((1, 1, 2))
    for _ in range(n_wrong):
        wrong = rng.choice("abcdefghijklmnopqrstuvwxyz")
        yield Event(Kind.MISTYPE, gap(rng, KEY_MEDIAN_MS, KEY_SIGMA), number, index, wrong)
    for i in range(n_wrong):
        median_ms = KEY_MEDIAN_MS if i else NOTICE_MEDIAN_MS
        yield Event(Kind.BACKSPACE, gap(rng, median_ms, KEY_SIGMA), number, index)


def gap(rng: random.Random, median_ms: float, sigma: float) -> float:
    """Time before a key, in milliseconds."""
    return round(rng.lognormvariate(math.log(median_ms), sigma), 1)
