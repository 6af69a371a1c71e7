"""Models that take turns while they are measured.

Owns: whose turn it is, how many turns each gets, and when a model is loaded.

Invariant: one model computes at a time; rounds go from model to model, so that a machine whose
speed drifts treats them alike. Each is loaded once where all of them are to be held together, else
for each of its turns. However this ends, none is left open, and the trouble of one is its own.

Threads: the caller's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from slm_lsp.tune.children import MeasureError
from slm_lsp.tune.measurement import Plan, Turn

# Of a model's time: what the rounds may take, and what it may take in all.
ROUNDS_SHARE, MOST_SHARE = 0.7, 1.2

Report = Callable[[str, float], None]


class Loaded(Protocol):
    """A model that is loaded, or loads for its first turn."""

    def turn(self, kind: str, left_ms: float) -> Turn:
        """A "round", or the "deep" end of a prompt. Raises MeasureError."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


Load = Callable[[Plan], Loaded]


@dataclass
class Entrant:
    """A model that takes turns, and what they gave so far."""

    plan: Plan
    label: str
    turns: list[Turn] = field(default_factory=list)
    spent_ms: float = 0.0
    trouble: str = ""
    _loaded: Loaded | None = None

    def wants_round(self, limit_ms: float) -> bool:
        """Whether another one should fit into its time; the first one is made anyway."""
        if self.trouble or not self.turns:
            return not self.trouble
        return self.spent_ms + self.turns[-1].took_ms <= ROUNDS_SHARE * limit_ms

    def take(self, kind: str, left_ms: float, load: Load, *, is_held: bool) -> None:
        """One turn. Afterwards it stays open if it is to be held."""
        is_loaded_again = self._loaded is None and bool(self.turns)
        try:
            if self._loaded is None:
                self._loaded = load(self.plan)
            turn = self._loaded.turn(kind, left_ms)
            self.spent_ms += turn.took_ms + (turn.load_ms if is_loaded_again else 0.0)
            self.turns.append(turn)
        except (MeasureError, OSError) as error:
            self.trouble = str(error)
            self.close()
        if not is_held:
            self.close()

    def close(self) -> None:
        """Free the model, if it is open."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.close()


def take_turns(
    entrants: Sequence[Entrant],
    load: Load,
    *,
    is_held: bool,
    n_rounds: int,
    limit_ms: float,
    report: Report,
) -> None:
    """Rounds in turn until each has all of them or its time is over, then the deep ends."""
    n_all = max(1, len(entrants) * (n_rounds + 1))
    with _all_closed(entrants):
        for i in range(n_rounds):
            for n, each in enumerate(entrants):
                if each.wants_round(limit_ms):
                    done = (i * len(entrants) + n) / n_all
                    report(f"{each.label}: round {i + 1} of {n_rounds}", done)
                    left_ms = max(0.0, limit_ms - each.spent_ms)
                    each.take("round", left_ms, load, is_held=is_held)
        for n, each in enumerate(entrants):
            if not each.trouble:
                report(f"{each.label}: a long prompt", 1.0 - (len(entrants) - n) / n_all)
                left_ms = max(0.0, MOST_SHARE * limit_ms - each.spent_ms)
                each.take("deep", left_ms, load, is_held=False)


@contextlib.contextmanager
def _all_closed(entrants: Sequence[Entrant]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for each in entrants:
            stack.callback(each.close)
        yield
