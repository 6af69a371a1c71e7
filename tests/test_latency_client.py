"""The typist's bookkeeping and the LSP client: a stub policy, and the real server with a fake
model."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.latency import processes, typist
from benchmarks.latency.client import LspClient, RequestFailed, ServerEnded, offset_of, position
from benchmarks.latency.home import Home
from benchmarks.latency.ours import Ours
from benchmarks.latency.policy import Answer, Show, View, Work
from benchmarks.latency.replay import Change, Replay, Shown
from benchmarks.latency.responses import first_item, outcomes, prefilled_each
from benchmarks.latency.sessions import Event, Kind, Passage, Session
from benchmarks.latency.typist import Habits, Keystroke, Typist

SERVE_FAKE = str(Path(__file__).parent / "serve_fake.py")
WHOLE = "x = 12345678\n"
SOURCE = "x = ("  # at its end, the fake model of `serve_fake` has something to say


def view(text: str) -> View:
    return View("file:///a.py", text, len(text), modified=False)


def session(gap_ms: float = 20.0, text: str = "12345678") -> Session:
    passage = Passage(0, 4, text)
    keys = [Event(Kind.TYPE, gap_ms, 0, i, key) for i, key in enumerate(text)]
    events = (Event(Kind.OPEN, 0.0), Event(Kind.SWITCH, 0.0), *keys)
    return Session(0, ("a.py",), (f"x = {text}\n",), (passage,), events)


class Stub:
    """Answers each key as told: after a delay, with a text or None; no entry: never."""

    name = "stub"

    def __init__(self, answers: dict[int, tuple[float, str | None]]) -> None:
        self.views: list[View] = []
        self.changes: list[Change] = []
        self._answers = answers
        self._show: Show = lambda answer: None

    async def start(self) -> None: ...

    async def begin(self, show: Show) -> None:
        self._show = show

    def opened(self, view: View) -> None: ...

    def changed(self, view: View, change: Change) -> None:
        self.changes.append(change)
        self.moved(view)

    def moved(self, view: View) -> None:
        n = len(self.views)
        self.views.append(view)
        if n in self._answers:
            delay_ms, text = self._answers[n]
            shown = Shown(view.offset, view.offset, text) if text else None
            loop = asyncio.get_running_loop()
            loop.call_later(delay_ms / 1e3, self._tell, n, Answer(shown))

    def _tell(self, n: int, answer: Answer) -> None:
        if n == len(self.views) - 1:
            self._show(answer)

    async def end(self) -> Work:
        return Work()

    async def stop(self) -> None: ...

    def marks(self) -> Sequence[str]:
        return ()


async def typed(stub: Stub, made: Session, habits: Habits) -> tuple[Typist, list[Keystroke]]:
    replay = Replay(made)
    person = Typist(replay, stub, habits)
    records = await person.run()
    return person, records


async def test_an_answer_belongs_to_the_key_before_it_and_a_later_key_supersedes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(typist, "REACTION_MS", 10.0)
    stub = Stub({1: (5.0, "junk!"), 2: (400.0, "late"), 3: (1.0, None)})
    _, records = await typed(stub, session(gap_ms=100.0), Habits())
    assert [record.kind for record in records] == ["switch", *["type"] * 8]
    one, two, three = records[1:4]
    assert one.answer_ms is not None
    assert 4.0 < one.answer_ms < 90.0
    assert one.shown_ms == pytest.approx(one.answer_ms, abs=5.0)
    assert (one.n_chars, one.n_new_chars) == (5, 5)
    assert (two.answer_ms, two.shown_ms) == (None, None)
    assert two.open_ms == pytest.approx(100.0, abs=50.0)
    assert three.answer_ms is not None
    assert three.shown_ms is None
    # After the last key the typist looks at what comes for a while.
    assert records[-1].open_ms >= 4 * typist.REACTION_MS
    assert stub.views[-1].text == WHOLE


async def test_right_text_is_accepted_after_the_reaction_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(typist, "REACTION_MS", 40.0)
    stub = Stub({1: (2.0, "2345")})
    person, records = await typed(stub, session(), Habits())
    assert [r.kind for r in records] == ["switch", "type", "accept", "type", "type", "type"]
    assert records[2].at_ms - records[1].at_ms >= 41.0
    assert stub.changes[1] == Change(0, 5, 0, "2345")
    assert person.n_accepted_chars == 4
    assert stub.views[-1].text == WHOLE


async def test_the_first_answer_counts_and_the_last_text_stands() -> None:
    class Twice(Stub):
        def moved(self, view: View) -> None:
            super().moved(view)
            n, loop = len(self.views) - 1, asyncio.get_running_loop()
            for delay_s, text in ((0.02, "zz"), (0.06, "zzzz")):
                shown = Shown(view.offset, view.offset, text)
                loop.call_later(delay_s, self._tell, n, Answer(shown))

    _, records = await typed(Twice({1: (0.0, None)}), session(gap_ms=150.0, text="1"), Habits())
    assert records[1].answer_ms is not None
    assert records[1].answer_ms < 19.0
    assert records[1].shown_ms is not None
    assert 19.0 < records[1].shown_ms < 59.0
    assert (records[1].n_chars, records[1].n_new_chars) == (4, 4)


async def test_whoever_accepts_nothing_types_everything() -> None:
    stub = Stub({n: (0.0, "2345") for n in range(9)})
    person, records = await typed(stub, session(), Habits(real=False, accepts=False))
    assert [record.kind for record in records] == ["switch", *["type"] * 8]
    assert person.n_accepted_chars == 0
    assert stub.views[-1].text == WHOLE


async def test_scripted_acceptance_counts_suggestions() -> None:
    stub = Stub({n: (0.0, "zzzz") for n in range(9)})
    _, records = await typed(stub, session(), Habits(real=False, every=3))
    # The jump and the first two keys show something; the third suggestion is taken.
    assert [record.kind for record in records] == ["switch", "type", "type", "accept"]
    assert stub.views[-1].text == WHOLE


async def test_what_is_typed_through_is_no_new_text() -> None:
    stub = Stub({0: (0.0, None), 1: (0.0, "2345z"), 2: (0.0, "345zzz"), 3: (0.0, "other")})
    _, records = await typed(stub, session(), Habits(real=False, n_keystrokes=4))
    assert [record.n_new_chars for record in records] == [0, 5, 2, 5]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_positions_and_offsets(encoding: str) -> None:
    text = "aé\n\nb𝄞c\nd"
    for offset in range(len(text) + 1):
        assert offset_of(text, position(text, offset, encoding), encoding) == offset
    widths = {"utf-8": 5, "utf-16": 3, "utf-32": 2}
    assert position(text, 6, encoding) == {"line": 2, "character": widths[encoding]}


def test_tokens_read_are_of_answered_requests() -> None:
    lines: list[dict[str, Any]] = [
        {"n_prompt": 100, "n_cached": 0, "origin": "model"},
        {"n_prompt": 102, "n_cached": 100, "origin": None, "reject": "blank"},
        {"origin": "reused"},
        {"origin": None, "reject": "superseded"},
    ]
    assert prefilled_each(lines) == (100, 2, 0)
    assert outcomes(lines) == {"model": 1, "blank": 1, "reused": 1, "superseded": 1}


def test_the_first_item_of_each_kind_of_response() -> None:
    here = view("ab")
    span = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 2}}
    inline = {"items": [{"insertText": "abc", "range": span}]}
    popup = {"isIncomplete": True, "items": [{"textEdit": {"range": span, "newText": "abc"}}]}
    assert first_item(inline, here, "utf-16") == Shown(0, 2, "abc")
    assert first_item(popup, here, "utf-16") == Shown(0, 2, "abc")
    assert first_item([{"insertText": "c"}], here, "utf-16") == Shown(2, 2, "c")
    empty: list[Any] = [None, {"items": []}, [], {"items": [{"insertText": ""}]}]
    for nothing in empty:
        assert first_item(nothing, here, "utf-16") is None


async def test_a_real_server_answers_the_last_key_and_is_told_of_every_edit() -> None:
    home = Home()
    ours = Ours([sys.executable, SERVE_FAKE], {}, home)
    answers: list[Answer] = []
    answered = asyncio.Event()

    def show(answer: Answer) -> None:
        answers.append(answer)
        answered.set()

    try:
        await ours.begin(show)
        assert len(processes.find(ours.marks())) == 1
        assert processes.memory(ours.marks()).rss_mb > 10
        assert processes.cpu_s(ours.marks()) > 0
        ours.opened(view("x = "))
        ours.moved(view("x = "))
        ours.changed(view(SOURCE), Change(0, 4, 0, "("))
        await ours._lsp().call("workspace/executeCommand", {"command": "test.open"})
        await asyncio.wait_for(answered.wait(), 20)
        # One answer, for the text as the last edit left it: the first request was cancelled.
        assert answers == [Answer(Shown(5, 5, "value + 1"))]
        work = await ours.end()
        assert len(work.prefilled_each) == 1
        # The keystroke itself may find all of its prompt read ahead.
        assert work.n_prefilled >= max(1, work.prefilled_each[0])
        assert work.n_decoded > 0
        assert work.facts["n_model"] == 1
        # There is no daemon to be observed.
        assert work.read_each == ()
    finally:
        await ours.stop()
    assert processes.find([home.mark]) == []
    assert not home.folder.exists()


async def test_a_failed_request_and_a_server_that_ends() -> None:
    client = LspClient([sys.executable, SERVE_FAKE])
    await client.start({"processId": None, "rootUri": None, "capabilities": {}})
    with pytest.raises(RequestFailed):
        await client.call("workspace/executeCommand", {"command": "there is none"})
    await client.stop()
    with pytest.raises(ServerEnded):
        await client.call("shutdown", None)
