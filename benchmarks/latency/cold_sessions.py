"""Sessions in which nothing is warm: every few keys a file is opened that was never read.

Owns: the making of such a session. Each visit opens a file, has the cursor at once at the end of a
line that is not finished, pauses for longer than any budget, types the rest of the line, and goes
on to the next file.

Invariant: pure and deterministic, as `sessions`; no file is visited twice. Where a module comes a
second time, it is under another name and at another function.

Threads: any.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from benchmarks.latency.corpus import Body, bodies
from benchmarks.latency.sessions import KEY_MEDIAN_MS, KEY_SIGMA, Event, Kind, Passage, Session, gap

N_VISITS = 32
LEAVE_MEDIAN_MS = 700.0
# Longer than every budget that is measured, so that the jump's own answer is.
LOOK_MS = 650.0
MIN_LINE_CHARS, MIN_KEYS, MAX_KEYS = 12, 3, 6


def make_cold_session(texts: Mapping[str, str], seed: int, number: int) -> Session:
    """The session of that number."""
    rng = random.Random(f"slm-lsp latency cold {seed} {number}")
    places = [(name, body) for name, text in sorted(texts.items()) for body in bodies(text)]
    chosen = rng.sample(places, min(N_VISITS, len(places)))
    files = tuple(f"{name}_{number}_{visit}.py" for visit, (name, _) in enumerate(chosen))
    passages = tuple(
        _rest_of_line(visit, texts[name], body, rng) for visit, (name, body) in enumerate(chosen)
    )
    originals = tuple(texts[name] for name, _ in chosen)
    return Session(number, files, originals, passages, tuple(_events(passages, rng)))


def _rest_of_line(file: int, text: str, body: Body, rng: random.Random) -> Passage:
    """The last characters of one of a body's lines."""
    lines = text[body.start : body.end].split("\n")
    long_enough = [i for i, line in enumerate(lines) if len(line.strip()) >= MIN_LINE_CHARS]
    row = rng.choice(long_enough)
    end = body.start + sum(len(line) + 1 for line in lines[: row + 1]) - 1
    n_keys = rng.randint(MIN_KEYS, MAX_KEYS)
    return Passage(file, end - n_keys, text[end - n_keys : end])


def _events(passages: tuple[Passage, ...], rng: random.Random) -> Iterator[Event]:
    for number, passage in enumerate(passages):
        yield Event(Kind.OPEN, gap(rng, LEAVE_MEDIAN_MS, KEY_SIGMA), passage.file)
        yield Event(Kind.SWITCH, 0.0, number)
        yield Event(Kind.WAIT, LOOK_MS, number)
        for index, key in enumerate(passage.text):
            yield Event(Kind.TYPE, gap(rng, KEY_MEDIAN_MS, KEY_SIGMA), number, index, key)
