"""The typist: one session, typed in time at one policy, with a record of every keystroke.

Owns: time within a session: when keys are due, how long reading a suggestion takes, how long
an answer is waited for where nobody types in real time.

Invariant: keys are never late because an answer is; only accepting holds them. Each record's
times count from its own keystroke, and an answer belongs to the keystroke after which it
came, as what is shown then is shown for the text as that key left it.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from benchmarks.latency.policy import Answer, Policy, View
from benchmarks.latency.replay import Change, Replay, decide, inserted
from benchmarks.latency.sessions import Event, Kind

REACTION_MS = 250.0
# A typist that does not type in real time waits this long for an answer: a policy without limit
# may have a long prompt read first.
FAST_PATIENCE_MS = 20_000.0
FAST_SETTLE_MS = 5.0
ACCEPT = "accept"


@dataclass(slots=True)
class Keystroke:
    """What became of one key. `place` numbers the session's events; times are milliseconds
    from the key, None if the next key came first. `n_new_chars` are those of the shown text
    that were not shown before."""

    kind: str
    place: int
    at_ms: float
    asked: bool = True
    answer_ms: float | None = None
    shown_ms: float | None = None
    n_chars: int = 0
    n_new_chars: int = 0
    # Until the next key: how long an answer could have come.
    open_ms: float = 0.0
    # Tokens that the model read until the next key, for whatever reason.
    n_read: int | None = None

    def as_json(self) -> dict[str, object]:
        """Rounded, as it is written to the results."""
        return {k: round(v, 2) if isinstance(v, float) else v for k, v in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Habits:
    """How a typist types. `every` see `replay.decide`; `accepts` false: nothing is accepted."""

    n_keystrokes: int = 0
    real: bool = True
    accepts: bool = True
    every: int | None = None


class Typist:
    """Types one session; see the module."""

    def __init__(
        self,
        replay: Replay,
        policy: Policy,
        habits: Habits,
        clock_ms: Callable[[], float] = lambda: time.perf_counter() * 1e3,
    ) -> None:
        self.records: list[Keystroke] = []
        self.n_accepted_chars = 0
        self._replay = replay
        self._policy = policy
        self._habits = habits
        self._clock_ms = clock_ms
        self._started_ms = 0.0
        self._shown = ""
        self._n_shown = 0
        self._accepted = ""
        self._suggested_at_ms = 0.0
        self._answered = asyncio.Event()
        self._modified: set[int] = set()

    async def run(self) -> list[Keystroke]:
        """Type the session, or as many keystrokes of it as the habits allow."""
        await self._policy.begin(self._show)
        self._started_ms = self._clock_ms()
        due_ms = self._started_ms
        most = self._habits.n_keystrokes
        for place, event in enumerate(self._replay.session.events):
            if most and len(self.records) >= most:
                break
            if self._replay.skips(event):
                continue
            due_ms = max(due_ms, self._clock_ms() if self._habits.real else 0.0) + event.gap_ms
            due_ms = await self._wait(due_ms, place)
            # What was accepted meanwhile need not be typed.
            if not self._replay.skips(event):
                self._act(event, place)
        await self._wait(self._clock_ms() + REACTION_MS * 4, len(self._replay.session.events))
        self._close_last(self._clock_ms() - self._started_ms)
        return self.records

    async def _wait(self, due_ms: float, place: int) -> float:
        """Wait until a key is due, and accept what can be on the way; return when it was due."""
        while True:
            if self._accepted:
                due_ms = max(due_ms, await self._accept(place) + REACTION_MS)
            left_ms = self._left_ms(due_ms)
            if left_ms <= 0:
                return due_ms
            self._answered.clear()
            try:
                await asyncio.wait_for(self._answered.wait(), left_ms / 1e3)
            except TimeoutError:
                return due_ms

    def _left_ms(self, due_ms: float) -> float:
        if self._habits.real:
            return due_ms - self._clock_ms()
        if not self.records:
            return 0.0
        last = self.records[-1]
        since_ms = self._clock_ms() - self._started_ms - last.at_ms
        waits = last.asked and last.answer_ms is None
        return (FAST_PATIENCE_MS if waits else FAST_SETTLE_MS) - since_ms

    async def _accept(self, place: int) -> float:
        """Accept after the reaction time; return when that was."""
        if self._habits.real:
            left_ms = self._suggested_at_ms + REACTION_MS - self._clock_ms()
            await asyncio.sleep(max(0.0, left_ms) / 1e3)
        text, self._accepted = self._accepted, ""
        if text:
            self.n_accepted_chars += len(text)
            self._changed(ACCEPT, self._replay.accept(text), place)
        return self._clock_ms()

    def _act(self, event: Event, place: int) -> None:
        change = self._replay.apply(event)
        if change is not None:
            self._changed(event.kind, change, place)
        elif event.kind is Kind.OPEN:
            self._policy.opened(self._view())
        elif event.kind in (Kind.MOVE, Kind.SWITCH):
            self._key(event.kind, place)
            self._shown = ""
            self._policy.moved(self._view())

    def _changed(self, kind: str, change: Change, place: int) -> None:
        self._modified.add(change.file)
        self._key(kind, place)
        typed_through = change.n_removed == 0 and self._shown.startswith(change.text)
        self._shown = self._shown[len(change.text) :] if typed_through else ""
        self._policy.changed(self._view(), change)

    def _key(self, kind: str, place: int) -> None:
        """Close the last record and open the next."""
        at_ms = self._clock_ms() - self._started_ms
        self._close_last(at_ms)
        self._accepted = ""
        self.records.append(Keystroke(str(kind), place, at_ms))

    def _close_last(self, at_ms: float) -> None:
        if self.records:
            self.records[-1].open_ms = at_ms - self.records[-1].at_ms

    def _view(self) -> View:
        replay = self._replay
        name = replay.session.files[replay.file]
        uri = f"file:///session{replay.session.number}/{name}"
        modified = replay.file in self._modified
        return View(uri, replay.texts[replay.file], replay.offset, modified)

    def _show(self, answer: Answer) -> None:
        """What the policy says for the view as it is now."""
        if not self.records:
            return
        record = self.records[-1]
        elapsed_ms = self._clock_ms() - self._started_ms - record.at_ms
        record.asked = answer.asked
        if record.answer_ms is None:
            record.answer_ms = elapsed_ms
        if answer.shown is not None:
            self._suggest(answer, record, elapsed_ms)
        self._answered.set()

    def _suggest(self, answer: Answer, record: Keystroke, elapsed_ms: float) -> None:
        assert answer.shown is not None
        view = self._view()
        text = inserted(view.text, view.offset, answer.shown)
        shown = answer.shown.text if text is None else text
        if record.shown_ms is None:
            record.shown_ms = elapsed_ms
        n_old = len(self._shown) if shown.startswith(self._shown) else 0
        record.n_new_chars += max(0, len(shown) - n_old)
        record.n_chars = len(shown)
        self._shown = shown
        self._suggested_at_ms = self._clock_ms()
        self._n_shown += 1
        if self._habits.accepts:
            remaining = self._replay.remaining()
            self._accepted = decide(text, remaining, self._n_shown, self._habits.every)
