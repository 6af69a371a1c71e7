"""Who runs, who gives way, and that everybody is answered: the Scheduler without a model.

Owns: `Desk`, a scheduler with a scripted decoder; gates that hold its thread inside a step.
Invariant: no test waits for time to pass, but for one deadline of 30 ms, on which it turns.
Threads: the test's own, and the scheduler's where a test starts it.
"""

from __future__ import annotations

import asyncio
import threading
from asyncio import Task
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path

import pytest

from slm_lsp.deadline import Cancelled, CancelToken, Deadline, FakeClock
from slm_lsp.engine.base import Decoder, EngineUnavailable, ModelLoadError, PromptError, Superseded
from slm_lsp.engine.fake import FakeDecoder
from slm_lsp.engine.jobs import Job
from slm_lsp.engine.rates import CHUNK_MS
from slm_lsp.engine.rates_file import SAVE_EVERY_MS
from slm_lsp.engine.scheduler import Scheduler
from slm_lsp.types import (
    EngineState,
    Finish,
    Generation,
    GenerationRequest,
    Priority,
    Prompt,
    Segment,
    Special,
    Text,
)

ASKED, AHEAD, WARM = Priority.INTERACTIVE, Priority.SPECULATIVE, Priority.WARMUP
PATIENCE_S = 20.0


class Gate:
    """Holds the engine's thread inside one step until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def hold(self) -> None:
        self.reached.set()
        assert self.opened.wait(PATIENCE_S)


class Desk:
    """A scheduler, loaded by the test, and its decoder, which writes `xy`."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.decoder = FakeDecoder("xy", self.clock)
        self.scheduler = Scheduler(lambda: self.decoder, self.clock)

    def request(
        self,
        prompt: str | Segment,
        session: str = "s",
        priority: Priority = ASKED,
        budget_ms: float = 1000.0,
        document: str = "",
        max_tokens: int = 64,
    ) -> GenerationRequest:
        segment = Text(prompt) if isinstance(prompt, str) else prompt
        deadline = Deadline.after(budget_ms, self.clock)
        return GenerationRequest(
            session,
            Prompt((segment,), max_tokens=max_tokens),
            deadline,
            CancelToken(),
            priority,
            document,
        )

    def submit(
        self, text: str, session: str = "s", priority: Priority = ASKED, document: str = ""
    ) -> Job:
        return self.scheduler.submit(self.request(text, session, priority, document=document))

    def read_ahead(self, text: str, document: str = "", budget_ms: float = 1000.0) -> Job:
        """Submit a warm-up: the prompt is read and nothing is written."""
        request = self.request(text, "ahead", WARM, budget_ms, document, max_tokens=0)
        return self.scheduler.submit(request)

    def during(self, n_step: int, action: Callable[[], object]) -> None:
        """Do something in the decoder's `n_step`th step."""

        def on_step() -> None:
            if self.decoder.n_steps == n_step:
                action()

        self.decoder.on_step = on_step


@pytest.fixture
def desk() -> Desk:
    """A desk without a thread."""
    desk = Desk()
    desk.scheduler.load()
    return desk


@pytest.fixture
def staffed() -> Iterator[Desk]:
    """A desk whose scheduler works on its own thread."""
    desk, ready = Desk(), threading.Event()
    desk.scheduler = Scheduler(lambda: desk.decoder, desk.clock, lambda state: ready.set())
    desk.scheduler.start()
    assert ready.wait(PATIENCE_S)
    yield desk
    desk.scheduler.close()
    assert desk.decoder.closed


def outcome(job: Job) -> str:
    """How a job was settled, in a word."""
    if not job.future.done():
        return "open"
    error = job.future.exception()
    return type(error).__name__ if error else f"{job.future.result().finish}"


def check(desk: Desk, jobs: list[Job], *expect: str) -> None:
    """Run whatever waits; then compare the outcomes, and that nothing is left or counted twice."""
    while desk.scheduler.run_next():
        pass
    assert [outcome(job) for job in jobs] == list(expect)
    stats = desk.scheduler.stats()
    settled = stats.n_finished + stats.n_cancelled + stats.n_expired + stats.n_failed
    assert (settled, stats.n_queued) == (stats.n_requests, 0)


# --- who runs ---


def test_the_latest_request_of_a_session_wins(desk: Desk) -> None:
    jobs = [desk.submit("a", "1"), desk.submit("b", "2"), desk.submit("c", "1")]
    assert [outcome(job) for job in jobs] == ["Superseded", "open", "open"]
    check(desk, jobs, "Superseded", "eos", "eos")
    assert desk.decoder.texts == ["b", "c"]


def test_an_abandoned_sequence_is_the_next_ones_that_begins_alike(desk: Desk) -> None:
    for text, document in (("p" * 20, "a"), ("p" * 21, "b")):
        job = desk.submit(text, document=document)
        desk.scheduler.run_next()
        n_cached = job.future.result(0).n_cached
        desk.scheduler.abandon(document)
    assert n_cached == 20


def test_it_wins_over_a_running_one_at_the_next_step(desk: Desk) -> None:
    jobs = [desk.submit("p" * 100)]
    seen: list[str] = []

    def supersede() -> None:
        jobs.append(desk.submit("q"))
        seen.append(outcome(jobs[0]))

    desk.during(2, supersede)
    check(desk, jobs, "Superseded", "eos")
    assert seen == ["Superseded"]
    assert desk.scheduler.stats().n_cancelled_steps == 1
    assert desk.decoder.n_steps == 2 + 3


def test_lower_priorities_wait(desk: Desk) -> None:
    order = [("w", WARM), ("s", AHEAD), ("i", ASKED), ("v", WARM), ("t", AHEAD)]
    jobs = [desk.submit(text, priority=priority) for text, priority in order]
    check(desk, jobs, *["eos"] * 5)
    assert desk.decoder.texts == ["i", "s", "t", "w", "v"]


@pytest.mark.parametrize(
    ("running", "new", "gives_way"),
    [
        (AHEAD, ASKED, True),
        (AHEAD, AHEAD, False),
        (ASKED, ASKED, False),
        (ASKED, AHEAD, False),
        (AHEAD, WARM, False),
    ],
)
def test_a_running_request_gives_way(
    desk: Desk, running: Priority, new: Priority, gives_way: bool
) -> None:
    jobs = [desk.submit("p" * 100, "1", running)]
    desk.during(1, lambda: jobs.append(desk.submit("q", "2", new)))
    check(desk, jobs, "Cancelled" if gives_way else "eos", "eos")
    assert desk.scheduler.stats().n_cancelled_steps == gives_way


@pytest.mark.parametrize("priority", [ASKED, AHEAD])
def test_reading_ahead_gives_way_within_a_chunk_and_goes_on(desk: Desk, priority: Priority) -> None:
    jobs = [desk.read_ahead("p" * 900, "1"), desk.read_ahead("r", "3")]
    desk.during(3, lambda: jobs.append(desk.submit("q", "2", priority)))
    assert desk.scheduler.run_next()
    assert (desk.decoder.n_steps, outcome(jobs[0])) == (3, "open")
    n_read = desk.scheduler.stats().n_prefill_tokens
    assert desk.scheduler.stats().n_queued == 3
    check(desk, jobs, "length", "length", "eos")
    stats = desk.scheduler.stats()
    assert (stats.n_preempted, stats.n_cancelled_steps) == (1, 0)
    assert desk.decoder.texts == ["p" * 900, "q", "p" * 900, "r"]
    assert stats.n_prefill_tokens == 900 + 2  # nothing is read twice
    assert jobs[0].future.result().n_cached == n_read


def test_it_gives_way_as_often_as_need_be_and_no_longer_than_its_deadline(desk: Desk) -> None:
    jobs = [desk.read_ahead("p" * 1000, "1")]
    others: list[Job] = []

    def ask() -> None:
        if desk.decoder.sequence[0] == ord("p"):
            others.append(desk.submit("q", "2"))

    desk.decoder.on_step = ask
    check(desk, jobs, "length")
    assert [outcome(job) for job in others] == ["eos"] * len(others)
    assert desk.scheduler.stats().n_preempted >= 3
    late = desk.read_ahead("r" * 1000, "3", budget_ms=10.0)
    desk.during(desk.decoder.n_steps + 1, lambda: desk.submit("s", "2"))
    desk.scheduler.run_next()
    desk.clock.advance(10.0)
    check(desk, [late], "deadline")


def test_a_cancelled_one_does_not_go_on(desk: Desk) -> None:
    jobs = [desk.read_ahead("p" * 400, "1")]

    def interrupt() -> None:
        jobs.append(desk.submit("q", "2"))
        jobs[0].request.cancel.cancel()

    desk.during(2, interrupt)
    check(desk, jobs, "Cancelled", "eos")


@pytest.mark.parametrize(
    ("old", "new", "document", "superseded"),
    [
        (WARM, WARM, "d", True),
        (WARM, AHEAD, "d", True),
        (WARM, ASKED, "d", True),
        (AHEAD, ASKED, "d", True),
        (AHEAD, AHEAD, "d", False),
        (AHEAD, WARM, "d", False),
        (ASKED, WARM, "d", False),
        (ASKED, AHEAD, "d", False),
        (ASKED, ASKED, "d", False),
        (WARM, WARM, "other", False),
        (WARM, ASKED, "other", False),
        (AHEAD, ASKED, "other", False),
        (WARM, WARM, "", False),
    ],
)
def test_a_newer_job_of_a_document_replaces_what_prepared_an_older_state(
    desk: Desk, old: Priority, new: Priority, document: str, superseded: bool
) -> None:
    waits = desk.submit("a", "1", old, "d" if document else "")
    jobs = [waits, desk.submit("b", "2", new, document)]
    assert outcome(waits) == ("Superseded" if superseded else "open")
    check(desk, jobs, "Superseded" if superseded else "eos", "eos")


def test_a_running_one_is_replaced_too(desk: Desk) -> None:
    jobs = [desk.read_ahead("p" * 400, "d")]
    desk.during(2, lambda: jobs.append(desk.read_ahead("p" * 100 + "q" * 20, "d")))
    check(desk, jobs, "Superseded", "length")
    assert desk.scheduler.stats().n_prefill_tokens < 400


def test_what_a_deadline_cut_is_gone_on_with_by_asking_again(desk: Desk) -> None:
    prompt = "p" * 300
    cut = desk.scheduler.submit(desk.request(prompt, budget_ms=150.0, document="d"))
    desk.decoder.on_step = lambda: desk.clock.advance(float(desk.decoder.fed[-1]))
    check(desk, [cut], "deadline")
    n_read = desk.scheduler.stats().n_prefill_tokens
    assert 0 < n_read < 300
    ahead = desk.request(prompt, priority=AHEAD, budget_ms=9e4, document="d")
    check(desk, [desk.scheduler.submit(ahead)], "eos")
    assert desk.scheduler.stats().n_prefill_tokens == 300
    # The next keystroke finds all of it, and makes no step.
    n_steps = desk.decoder.n_steps
    job = desk.scheduler.submit(desk.request(prompt, document="d"))
    check(desk, [job], "eos")
    assert (job.future.result().text, desk.decoder.n_steps) == ("xy", n_steps)
    assert desk.scheduler.stats().n_resumed_tokens >= 2


def test_a_chunk_read_ahead_is_small_however_late_its_deadline(desk: Desk) -> None:
    desk.decoder.on_step = lambda: desk.clock.advance(float(desk.decoder.fed[-1]))
    check(desk, [desk.read_ahead("p" * 500, budget_ms=1e6)], "length")
    assert max(desk.decoder.fed) <= CHUNK_MS


@pytest.mark.parametrize("drafts", [True, False])
def test_what_was_written_before_is_tried_unless_that_is_not_wanted(drafts: bool) -> None:
    desk = Desk()
    desk.decoder = FakeDecoder("abcdefghij" * 2, desk.clock)
    desk.scheduler = Scheduler(lambda: desk.decoder, desk.clock, drafts=drafts)
    desk.scheduler.load()
    job = desk.submit("abcdefghij" * 3)
    check(desk, [job], "eos")
    assert job.future.result().text == "abcdefghij" * 2
    stats = desk.scheduler.stats()
    assert stats.n_decode_steps + stats.n_accepted_tokens == 20
    assert (stats.n_drafted_tokens > 0) is (stats.n_accepted_tokens > 10) is drafts


def test_the_measured_speed_is_told_and_kept(tmp_path: Path) -> None:
    desk = Desk()
    desk.scheduler = Scheduler(lambda: desk.decoder, desk.clock, rates_folder=tmp_path)
    desk.scheduler.load()
    stats = desk.scheduler.stats()
    assert stats.decode_ms == pytest.approx(1.0, abs=0.1)  # of the warm-up
    for n in range(20):
        check(desk, [desk.submit(chr(0x4E00 + n) * 100)], "eos")
    stats = desk.scheduler.stats()
    assert stats.decode_ms == pytest.approx(1.0, abs=0.1)
    assert 0.0 < stats.prefill_ms_per_token < 0.1
    assert list(tmp_path.iterdir()) == []
    desk.clock.advance(SAVE_EVERY_MS)
    check(desk, [desk.submit("a")], "eos")
    assert len(list(tmp_path.iterdir())) == 1
    other = Scheduler(lambda: desk.decoder, desk.clock, rates_folder=tmp_path)
    other.load()
    assert other.stats().decode_ms == pytest.approx(1.0, abs=0.1)


def test_what_came_too_late_never_starts(desk: Desk) -> None:
    jobs = [desk.submit("a", "1"), desk.submit("b", "2"), desk.submit("c", "3")]
    jobs[1].request.cancel.cancel()
    desk.clock.advance(2000.0)
    jobs.append(desk.submit("d", "4"))
    check(desk, jobs, "deadline", "Cancelled", "deadline", "eos")
    assert desk.decoder.texts == ["d"]
    assert desk.scheduler.stats().n_expired == 2


# --- what goes wrong ---


def test_a_refused_prompt_harms_nobody(desk: Desk) -> None:
    unknown = desk.request(Special("<nosuch>"), "2")
    jobs = [desk.submit("p" * 5000), desk.scheduler.submit(unknown), desk.submit("a", "3")]
    check(desk, jobs, "PromptError", "PromptError", "eos")
    with pytest.raises(PromptError, match="<nosuch>"):
        jobs[1].future.result()


def test_a_failed_step_is_told_and_the_next_request_works(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [desk.submit("ab")]
    check(desk, jobs, "eos")

    def fail() -> None:
        raise RuntimeError("code -3")

    desk.during(desk.decoder.n_steps + 2, fail)
    jobs += [desk.submit("abc", "1"), desk.submit("abc", "2")]
    check(desk, jobs, "eos", "EngineUnavailable", "eos")
    with pytest.raises(EngineUnavailable, match="code -3"):
        jobs[1].future.result()
    assert jobs[2].future.result().n_cached == 0
    assert "a native step failed" in caplog.text


@pytest.mark.parametrize(
    ("error", "told", "logged"),
    [
        (ModelLoadError("obtain it again"), "obtain it again", False),
        (RuntimeError("broken"), "broken", True),
        (MemoryError(), "MemoryError()", True),
    ],
)
def test_a_failed_load_is_told(
    error: Exception, told: str, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> Decoder:
        raise error

    states: list[EngineState] = []
    scheduler = Scheduler(load, FakeClock(), states.append)
    scheduler.load()
    assert states == [EngineState.FAILED]
    assert scheduler.failure == told
    assert bool(caplog.records) == logged


@pytest.mark.parametrize("state", [EngineState.LOADING, EngineState.FAILED, EngineState.CLOSED])
def test_only_a_ready_engine_takes_requests(state: EngineState) -> None:
    desk = Desk()
    if state is EngineState.FAILED:
        desk.scheduler = Scheduler(lambda: 1 // 0, desk.clock)  # type: ignore[arg-type, return-value]
    if state is not EngineState.LOADING:
        desk.scheduler.load()
    if state is EngineState.CLOSED:
        desk.scheduler.close()
        desk.scheduler.load()  # that ends after `close` must not open it again
    assert desk.scheduler.state is state
    with pytest.raises(EngineUnavailable, match="division" if state == "failed" else state):
        desk.submit("a")
    assert desk.scheduler.stats().n_requests == 0


def test_a_listener_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()

    def fail(state: EngineState) -> None:
        raise RuntimeError(state)

    desk.scheduler = Scheduler(lambda: desk.decoder, desk.clock, fail)
    desk.scheduler.load()
    check(desk, [desk.submit("a")], "eos")
    assert "nobody could be told" in caplog.text
    assert desk.scheduler.info is desk.decoder.info


# --- on its own thread ---


def test_close_answers_everybody_and_ends_the_thread(staffed: Desk) -> None:
    gate = Gate()
    staffed.during(1, gate.hold)
    jobs = [staffed.submit("a", "1"), staffed.submit("b", "2"), staffed.submit("c", "3", WARM)]
    assert gate.reached.wait(PATIENCE_S)
    jobs[2].future.add_done_callback(lambda _: gate.opened.set())
    staffed.scheduler.close()
    assert staffed.decoder.closed
    check(staffed, jobs, *["EngineUnavailable"] * 3)
    assert staffed.decoder.n_steps == 1


def test_rates_are_kept_at_the_end(tmp_path: Path) -> None:
    desk, ready = Desk(), threading.Event()
    desk.scheduler = Scheduler(
        lambda: desk.decoder, desk.clock, lambda state: ready.set(), rates_folder=tmp_path
    )
    desk.scheduler.start()
    assert ready.wait(PATIENCE_S)
    assert desk.submit("a").future.result(PATIENCE_S).text == "xy"
    desk.scheduler.close()
    assert len(list(tmp_path.iterdir())) == 1


def test_closing_answers_one_that_gave_way(staffed: Desk) -> None:
    gate = Gate()
    staffed.during(2, gate.hold)
    jobs = [staffed.read_ahead("p" * 400, "1")]
    assert gate.reached.wait(PATIENCE_S)
    jobs.append(staffed.submit("q", "2"))
    jobs[0].future.add_done_callback(lambda _: gate.opened.set())
    staffed.scheduler.close()
    check(staffed, jobs, *["EngineUnavailable"] * 2)


def test_cancelling_reaches_a_running_step(staffed: Desk) -> None:
    gate = Gate()
    staffed.during(2, gate.hold)
    job = staffed.submit("a")
    assert gate.reached.wait(PATIENCE_S)
    job.request.cancel.cancel()
    gate.opened.set()
    with pytest.raises(Cancelled):
        job.future.result(PATIENCE_S)
    assert staffed.decoder.n_steps == 2


@pytest.mark.parametrize(
    ("n_sessions", "n_cancel", "n_done"), [(1000, 950, 50), (1, 0, 1), (1, 1000, 0), (50, 0, 50)]
)
def test_a_thousand_requests(staffed: Desk, n_sessions: int, n_cancel: int, n_done: int) -> None:
    gate = Gate()
    staffed.during(1, gate.hold)
    settled: list[Future[Generation]] = []
    jobs = []
    for n in range(1000):
        # All different, or the model would write but once.
        jobs.append(staffed.submit(chr(0x4E00 + n), str(n % n_sessions)))
        jobs[-1].future.add_done_callback(settled.append)
        assert n or gate.reached.wait(PATIENCE_S)  # the first is inside its first step
    for job in jobs[:n_cancel]:
        job.request.cancel.cancel()
    gate.opened.set()
    assert not wait([job.future for job in jobs], PATIENCE_S).not_done
    staffed.scheduler.close()
    check(staffed, jobs[-n_done:] if n_done else [], *["eos"] * n_done)
    assert len(settled) == len(set(settled)) == 1000
    assert staffed.scheduler.stats().n_finished == n_done
    # The first one's step is the only one spent in vain; the others have three each.
    assert staffed.scheduler.stats().n_cancelled_steps == 1
    assert staffed.decoder.n_steps == 1 + 3 * n_done


def test_cancelling_at_any_time_costs_one_step_a_started_request(staffed: Desk) -> None:
    jobs = [staffed.submit("p" * 99, str(n)) for n in range(300)]
    for job in jobs[::-1]:
        job.request.cancel.cancel()
    wait([job.future for job in jobs], PATIENCE_S)
    staffed.scheduler.close()
    started = [job for job in jobs if job.run is not None and outcome(job) == "Cancelled"]
    assert staffed.scheduler.stats().n_cancelled_steps <= len(started)


# --- generate ---


async def test_generate_answers(staffed: Desk) -> None:
    generate = staffed.scheduler.generate
    assert (await generate(staffed.request("a"))).text == "xy"
    with pytest.raises(PromptError):
        await generate(staffed.request(Special("<nosuch>")))
    assert (await generate(staffed.request("a", budget_ms=0.0))).finish is Finish.DEADLINE
    staffed.scheduler.close()
    with pytest.raises(EngineUnavailable):
        await generate(staffed.request("a"))


async def held(desk: Desk, gate: Gate, *requests: GenerationRequest) -> list[Task[Generation]]:
    """Tasks of generate(), the first of them inside its second step."""
    desk.during(2, gate.hold)
    tasks = [asyncio.create_task(desk.scheduler.generate(request)) for request in requests]
    await asyncio.sleep(0)
    assert gate.reached.wait(PATIENCE_S)
    return tasks


async def test_generate_is_not_later_than_a_step_that_never_ends(staffed: Desk) -> None:
    # The engine's clock stands still: it is generate() that has to notice the time.
    gate, requests = Gate(), [staffed.request("a", session, budget_ms=30.0) for session in "12"]
    answers = [await task for task in await held(staffed, gate, *requests)]
    assert [(each.text, each.finish) for each in answers] == [("x", "deadline"), ("", "deadline")]
    assert all(request.cancel.cancelled for request in requests)
    gate.opened.set()


async def test_ending_the_task_cancels_the_request(staffed: Desk) -> None:
    gate, requests = Gate(), [staffed.request("a", session) for session in "12"]
    tasks = await held(staffed, gate, *requests)
    assert [task.cancel() for task in tasks] == [True, True]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [asyncio.CancelledError] * 2
    assert all(request.cancel.cancelled for request in requests)
    gate.opened.set()
    staffed.scheduler.close()
    assert (staffed.decoder.texts, staffed.scheduler.stats().n_cancelled) == (["a"], 2)


async def test_a_cancelled_request_has_no_partial_text(staffed: Desk) -> None:
    gate, request = Gate(), staffed.request("a", budget_ms=30.0)
    tasks = await held(staffed, gate, request)
    request.cancel.cancel()
    with pytest.raises(Cancelled):
        await tasks[0]
    gate.opened.set()


async def test_a_superseded_request_is_told_at_once(staffed: Desk) -> None:
    gate = Gate()
    tasks = await held(staffed, gate, staffed.request("a"), staffed.request("b"))
    with pytest.raises(Superseded):
        await tasks[0]
    gate.opened.set()
    assert (await tasks[1]).text == "xy"


def test_a_late_answer_looks_for_no_closed_loop(
    staffed: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()

    async def ask() -> Generation:
        return await (await held(staffed, gate, staffed.request("a", budget_ms=30.0)))[0]

    assert asyncio.run(ask()).text == "x"
    gate.opened.set()
    staffed.scheduler.close()
    assert caplog.records == []
