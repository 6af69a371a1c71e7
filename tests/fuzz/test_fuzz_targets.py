"""Every fuzzed target on random changes of its beginnings, and on what was found before.

Invariant: no coverage is measured here, and the same bytes are tried in every run; `fuzz_run` looks
for new ones.
"""

from __future__ import annotations

import random

import pytest
from fuzz_run import found
from fuzz_targets import TARGETS

N_TRIES = 1_000


def changed(data: bytes, chance: random.Random) -> bytes:
    """The bytes with some of them other, more or gone."""
    raw = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(raw) + 1)
        kind = chance.randrange(4)
        if kind == 0 and at < len(raw):
            raw[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        elif kind == 1:
            raw[at:at] = chance.randbytes(chance.choice([1, 2, 4, 8]))
        elif kind == 2:
            del raw[at : at + chance.choice([1, 2, 8])]
        else:
            raw[at:at] = raw[at // 2 : at]
    return bytes(raw[:4096])


@pytest.mark.parametrize("name", TARGETS)
def test_random_bytes(name: str) -> None:
    target, seeds = TARGETS[name]
    chance, starts = random.Random(name), seeds()
    for data in (b"", *starts, *found(name)):
        target(data)
    for n in range(N_TRIES):
        data = changed(chance.choice(starts), chance)
        try:
            target(data)
        except Exception as error:
            raise AssertionError(f"try {n}: {data!r}") from error
