"""Spans, and the file they are written to.

Owns: what a trace line holds, and that no trouble with the file reaches a request.

Invariant: time is a FakeClock's; files are in a folder of the test.
"""

from __future__ import annotations

import errno
import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from slm_lsp.completion.completer import Completer
from slm_lsp.config import Config
from slm_lsp.deadline import CancelToken, Deadline, FakeClock
from slm_lsp.engine.base import EngineUnavailable
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.trace import KEYS, Span, Trace
from slm_lsp.types import CompletionRequest, DocumentSnapshot, Finish, Generation, Trigger


def finished(**facts: Any) -> Span:
    span = Span(FakeClock())
    span.note(**facts)
    return span


def test_stages_of_one_name_add_up() -> None:
    clock = FakeClock(50.0)
    span = Span(clock)
    for ms in (1.0, 2.5):
        with span.stage("engine"):
            clock.advance(ms)
    clock.advance(0.12345)
    with span.stage("outer"), span.stage("inner"):
        clock.advance(4)
    line = span.line()
    assert line["stages_ms"] == {"engine": 3.5, "outer": 4.0, "inner": 4.0}
    assert line["request_ms"] == 7.623


def test_a_stage_that_fails_is_timed() -> None:
    clock = FakeClock()
    span = Span(clock)

    def fail() -> None:
        with span.stage("engine"):
            clock.advance(3)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert span.line()["stages_ms"] == {"engine": 3.0}


def test_later_facts_replace_earlier_ones() -> None:
    span = finished(reject="empty", want="line")
    span.note(reject=None)
    assert span.line()["reject"] is None
    assert span.line()["want"] == "line"


def test_one_line_a_span_at_the_end_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text('{"before": 1}\n', encoding="utf-8")
    trace = Trace(path)
    trace.write(finished(session="file:///größe.py", reject="empty"))
    # Whole lines are there before the trace is closed.
    assert len(path.read_text("utf-8").splitlines()) == 2
    trace.write(finished(session="file:///a\nb\u2028.py", reject=None))
    trace.close()
    first, second, third = path.read_bytes().split(b"\n")[:-1]
    assert json.loads(first) == {"before": 1}
    assert json.loads(second)["session"] == "file:///größe.py"
    assert json.loads(third)["session"] == "file:///a\nb\u2028.py"
    assert (trace.n_requests, dict(trace.rejects)) == (2, {"empty": 1})


def test_without_a_file_reasons_are_counted() -> None:
    trace = Trace()
    for reason in ("empty", None, "empty", "loading"):
        trace.write(finished(reject=reason))
    trace.close()
    assert (trace.n_requests, dict(trace.rejects)) == (4, {"empty": 2, "loading": 1})


def test_the_home_folder_may_be_written_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    trace = Trace(Path("~/trace.jsonl"))
    trace.write(finished())
    trace.close()
    assert (tmp_path / "trace.jsonl").read_text("utf-8").count("\n") == 1


@pytest.mark.parametrize("name", ["missing/trace.jsonl", ".", "a\0b", "x" * 5000])
def test_a_file_that_cannot_be_written_is_reported_once(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    trace = Trace(tmp_path / name)
    for _ in range(3):
        trace.write(finished(reject="empty"))
    trace.close()
    assert trace.n_requests == 3
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "no trace" in record.getMessage()


class FullDisk(io.StringIO):
    """A file that takes one line, and whose close fails as well."""

    n_lines = 0

    def write(self, text: str) -> int:
        if self.n_lines:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.n_lines += 1
        return len(text)

    def close(self) -> None:
        super().close()
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_ends_the_trace(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FullDisk()
    monkeypatch.setattr(Path, "open", lambda *_, **__: disk)
    trace = Trace(Path("trace.jsonl"))
    for _ in range(3):
        trace.write(finished(reject="empty"))
    trace.close()
    assert disk.n_lines == 1
    assert disk.closed
    assert trace.n_requests == 3
    (record,) = caplog.records
    assert "No space left" in record.getMessage()


def test_closing_on_a_full_disk_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", lambda *_, **__: FullDisk())
    trace = Trace(Path("trace.jsonl"))
    trace.close()
    trace.close()


def test_a_fact_that_json_does_not_know_is_written_as_text(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "trace.jsonl")
    trace.write(finished(detail=tmp_path))
    trace.close()
    line = json.loads((tmp_path / "trace.jsonl").read_text("utf-8"))
    assert line["detail"] == str(tmp_path)


def test_a_worker_may_still_add_while_the_line_is_made() -> None:
    class Growing(dict[str, float]):
        """Gets another stage while it is looked through."""

        def items(self) -> Any:
            raise RuntimeError("dictionary changed size during iteration")

    span = finished()
    span.stages_ms = Growing(context=1.0, prompt=2.0)
    assert span.line()["stages_ms"] == {"context": 1.0, "prompt": 2.0}


def test_every_key_is_explained() -> None:
    for key, meaning in KEYS.items():
        assert key.islower()
        assert len(meaning) > 10, f"say in KEYS what {key} is"


SECRET = "sw0rdfish"


@pytest.mark.parametrize(
    "answer",
    [
        Generation(f"{SECRET} + 1", Finish.STOP),
        Generation(f"{SECRET})\ufffd", Finish.LENGTH),
        Generation(f"{SECRET} = 1", Finish.DEADLINE),
        EngineUnavailable("the model failed"),
        ValueError(SECRET),
    ],
)
async def test_no_source_text_is_written(tmp_path: Path, answer: Generation | Exception) -> None:
    path = tmp_path / "trace.jsonl"
    engine, trace = FakeEngine(), Trace(path)
    completer = Completer(engine, Config(), trace)
    engine.enqueue(answer)
    text = f"{SECRET} = 0\nx = {SECRET}(\n"
    await completer.complete(
        CompletionRequest(
            session="file:///a.py",
            snapshot=DocumentSnapshot("file:///a.py", 1, "python", text),
            offset=len(text) - 1,
            trigger=Trigger.INVOKED,
            deadline=Deadline.after(1000, FakeClock()),
            cancel=CancelToken(),
        )
    )
    completer.close()
    trace.close()
    written = path.read_text("utf-8")
    assert written.count("\n") == 1
    assert SECRET not in written
