"""Drafts: what is likely to be written next, because it was written before in the same prompt.

Owns: where the last tokens occurred before (`Lookup`), what a guess made from that has been
worth (`Odds`), and one job's guesses (`Drafter`).

A step that feeds a draft behind the token due costs more than one of a single token, and saves
a step for each of the draft's tokens that the model then picks itself. Guesses are judged
whether they were drafted or not, so text that never repeats costs no step to be known as such.

Invariant: pure. A draft changes the steps, not the text: it is fed, but only what the model picks
is written. That is exact as far as the model's is: llama.cpp computes a single token by other
kernels than several, and their logits differ (decision 8), so where two tokens are about equally
likely a text may be another with drafts than without.

Threads: the Scheduler's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from slm_lsp.engine.rates import PICKED, Rates

# Fewer tokens alike say too little; more than N_MATCH are not told apart.
N_GRAM, N_MATCH = 3, 16
# So many occurrences, the latest ones, are compared.
N_OCCURRENCES = 8
# A draft's lengths: with the token due, the steps of which times are kept.
LENGTHS = tuple(n_tokens - 1 for n_tokens in PICKED)
N_DRAFT = LENGTHS[-1]
# A draft is made where it is expected to save so much: measured times are uncertain.
MARGIN = 1.1
# By the length of the match, how likely a guess is right before any was made, which counts
# as much as so many guesses; and what the newest one counts at least.
MATCHES = (4, 5, 7, 10, 16)
PRIORS = (0.55, 0.7, 0.8, 0.85, 0.9, 0.95)
PRIOR_WEIGHT, NEWEST_WEIGHT = 4.0, 0.05
# A guess so likely right is drafted now and then though the measured times speak against it:
# they may be past. That may cost such a share of the time.
LIKELY, PROBE_SHARE = 0.7, 0.02


class Lookup:
    """Where the end of a growing sequence of tokens occurred before in it."""

    def __init__(self) -> None:
        # Behind which place each n-gram ended last, and for each place the one before.
        self._last: dict[tuple[int, ...], int] = {}
        self._before: list[int] = [0] * N_GRAM

    def find(self, tokens: Sequence[int]) -> tuple[int, int] | None:
        """The place behind the longest match, the latest of several, and how long that is.

        `tokens` are those of the last call, and more.
        """
        self._read(tokens)
        place = self._last.get(tuple(tokens[-N_GRAM:]), 0)
        best, n_best = 0, 0
        for _ in range(N_OCCURRENCES):
            if not place or n_best >= N_MATCH:
                break
            n_alike = _n_alike(tokens, place)
            if n_alike > n_best:
                best, n_best = place, n_alike
            place = self._before[place]
        return (best, n_best) if best else None

    def _read(self, tokens: Sequence[int]) -> None:
        """Take in what is new, without the last n-gram, which is the one that is looked for."""
        last, before = self._last, self._before
        start = len(before) - N_GRAM
        new = tokens[start:-1]
        for place, gram in enumerate(zip(new, new[1:], new[2:], strict=False), start + N_GRAM):
            before.append(last.get(gram, 0))
            last[gram] = place


def _n_alike(tokens: Sequence[int], place: int) -> int:
    """How many tokens before `place` are those at the end; N_GRAM of them are."""
    n_most = min(place, N_MATCH)
    n_alike = N_GRAM
    while n_alike < n_most and tokens[place - 1 - n_alike] == tokens[-1 - n_alike]:
        n_alike += 1
    return n_alike


class Odds:
    """How likely guesses are right, by the length of their match, as measured on this engine."""

    def __init__(self) -> None:
        self._chances = list(PRIORS)
        self._n_judged = [0] * len(PRIORS)
        self._credit_ms = 0.0

    def chance(self, n_match: int) -> float:
        """How likely the token behind such a match is the model's, too."""
        return self._chances[bisect_right(MATCHES, n_match)]

    def learn(self, n_match: int, was_right: bool) -> None:
        """Take one more guess into account."""
        at = bisect_right(MATCHES, n_match)
        self._n_judged[at] += 1
        weight = max(NEWEST_WEIGHT, 1.0 / (self._n_judged[at] + PRIOR_WEIGHT))
        self._chances[at] += weight * (was_right - self._chances[at])

    def written(self, n_match: int, n_draft: int) -> float:
        """How many tokens a step with such a draft is expected to write. With the chance p of a
        match that is 1 + p + ... + p^n; p grows with the match."""
        reached = expected = 1.0
        for n_right in range(n_draft):
            reached *= self.chance(n_match + n_right)
            expected += reached
        return expected

    def length(self, n_match: int, n_max: int, rates: Rates, within_ms: float) -> int:
        """How many tokens behind such a match to draft, one of LENGTHS; 0 where a single token
        is as good. A draft that is longer than its match loses as often as it wins, so none is.
        """
        gains: dict[int, float] = {}
        one_ms = rates.step_ms(1)
        for n_draft in LENGTHS:
            step_ms = rates.picks_ms(1 + n_draft)
            if n_draft > min(n_match, n_max) or step_ms >= within_ms:
                break
            # What is saved beyond what is asked for.
            gains[n_draft] = self.written(n_match, n_draft) * one_ms / max(step_ms, 1e-6) - MARGIN
        if not gains:
            return 0
        best = max(gains, key=lambda n_draft: gains[n_draft])
        if gains[best] > 0.0:
            return best
        short_ms = -gains[best] * rates.picks_ms(1 + best)
        return best if self._may_probe(n_match, one_ms, short_ms) else 0

    def _may_probe(self, n_match: int, one_ms: float, short_ms: float) -> bool:
        """Whether enough was saved up for a draft that falls so far short of paying."""
        if self.chance(n_match) < LIKELY:
            return False
        self._credit_ms += PROBE_SHARE * one_ms
        if self._credit_ms <= short_ms:
            return False
        self._credit_ms = 0.0
        return True


class Drafter:
    """One job's guesses. Each is made before a step and judged by the picks that follow."""

    def __init__(self, odds: Odds) -> None:
        self._odds = odds
        self._lookup = Lookup()
        # What is still to be judged, and how much of it was fed.
        self._guess: list[int] = []
        self._n_match = 0
        self._n_fed = 0

    def guess(self, tokens: Sequence[int]) -> list[int]:
        """What may follow `tokens`, which are those of the last call, and more: as much as may be
        drafted, and one more to be judged."""
        self._guess, self._n_fed = [], 0
        found = self._lookup.find(tokens)
        if found is None:
            return []
        place, self._n_match = found
        n_most = min(N_DRAFT, self._n_match)
        guess = list(tokens[place : place + n_most + 1])
        while len(guess) <= n_most:  # where the match is a part of it, it goes on as it began
            guess.append(guess[place - len(tokens)])
        self._guess = guess
        return guess

    def draft(self, n_max: int, rates: Rates, within_ms: float) -> list[int]:
        """How much of the guess is worth being fed, if no more than `n_max` tokens are of use
        and the step has to end within a time."""
        if not self._guess:
            return []
        self._n_fed = self._odds.length(self._n_match, n_max, rates, within_ms)
        del self._guess[self._n_fed + 1 :]
        return self._guess[: self._n_fed]

    def picked(self, token: int) -> bool:
        """Judge the guess by the model's next token; whether that had been drafted."""
        if not self._guess:
            return False
        was_right = token == self._guess.pop(0)
        self._odds.learn(self._n_match, was_right)
        if not was_right:
            self._guess.clear()
            return False
        self._n_match += 1
        self._n_fed -= 1
        return self._n_fed >= 0
