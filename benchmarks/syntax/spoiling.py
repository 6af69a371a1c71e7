"""Texts to complete with where no model is asked: what stood there, and what nearly did.

Owns: an engine that says what was taken out, as it was or spoiled by one change.

Invariant: what is said is known by the place alone. A true text that is cut or dropped shows what
the look at the syntax costs; a spoiled one that is shown, what it overlooks.

Threads: the event loop.
"""

from __future__ import annotations

import random

from benchmarks.syntax.places import Hole
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.types import Finish, Generation

MODEL, TRUTH, SPOILED = "model", "truth", "spoiled"
SAYS = (MODEL, TRUTH, SPOILED)
_SIGNS = "()[]{},;:\"'="
_JUNK = (" ) ", " = = ", " } ", " ( ", " @ ")


def said(hole: Hole, says: str) -> str:
    """What is said at a hole; no indentation, as a model is asked for none."""
    text = hole.middle.lstrip(" \t") if hole.before.endswith("\n") else hole.middle
    return spoiled(text, random.Random(hole.name)) if says == SPOILED else text


def spoiled(text: str, rng: random.Random) -> str:
    """The text without one of its signs, with one twice, with junk in it, or its beginning."""
    kind = rng.choice(("dropped", "doubled", "cut", "junk"))
    signs = [at for at, char in enumerate(text) if char in _SIGNS]
    if kind == "cut" or (kind != "junk" and not signs):
        return text[: rng.randint(1, len(text))]
    at = rng.choice(signs) if kind != "junk" else rng.randrange(len(text))
    if kind == "junk":
        return text[:at] + rng.choice(_JUNK) + text[at:]
    return text[:at] + text[at + 1 :] if kind == "dropped" else text[:at] + text[at] + text[at:]


class Saying(FakeEngine):
    """Says the same to every mode."""

    def say(self, hole: Hole, says: str) -> None:
        self._answers[:] = [Generation(said(hole, says), Finish.STOP)]
