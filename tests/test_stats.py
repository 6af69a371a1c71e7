"""`slm-lsp stats`: what is said of the kept sessions, to humans and to machines.

Invariant: the cache folder is the test's own.
Threads: the main thread.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_sessions_file import ONE, OTHER, histogram_of

from slm_lsp import stats as subject
from slm_lsp.cli import run
from slm_lsp.completion.session_counts import SessionCounts
from slm_lsp.completion.sessions_file import SessionFile

Captured = pytest.CaptureFixture[str]
N_SCREEN_LINES, N_SCREEN_COLUMNS = 30, 120


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command looks."""
    folder = tmp_path / "sessions"
    monkeypatch.setattr(subject, "default_folder", lambda: folder)
    return folder


def keep(folder: Path, *sessions: SessionCounts) -> None:
    for counts in sessions:
        file = SessionFile(folder)
        file.offer(counts)
        file.flush()


def shown(captured: Captured, *arguments: str, status: int = 0) -> str:
    assert run(["stats", *arguments]) == status
    said = captured.readouterr()
    assert said.err == ""
    return said.out


def shown_json(captured: Captured, *arguments: str, status: int = 0) -> Any:
    return json.loads(shown(captured, "--json", *arguments, status=status))


def test_before_the_first_session(capsys: Captured) -> None:
    said = shown(capsys, status=1)
    assert said.startswith("no session in the last 30 days: ")
    assert "slm-lsp serve" in said
    figures = shown_json(capsys, "--days", "7", status=1)
    assert (figures["n_sessions"], figures["days"]) == (0, 7)
    assert figures["acceptance"] is figures["cpu_s_per_suggestion"] is None
    assert figures["latency_ms"]["answered"] == {"n": 0, "p50": None, "p95": None, "p99": None}


def test_figures(folder: Path, capsys: Captured) -> None:
    keep(folder, ONE, OTHER)
    figures = shown_json(capsys)
    latency_ms = figures.pop("latency_ms")
    assert figures == {
        "days": 30,
        "n_sessions": 2,
        "n_requests": 7,
        "latency_resolution": 0.044,
        "n_suggestions": 4,
        "origins": {"model": 2, "reused": 2},
        "rejects": {"empty": 2, "loading": 1},
        "n_sessions_telling": 1,
        "n_shown": 3,
        "n_accepted": 1,
        "acceptance": 0.3333,
        "cpu_s": {"server": 2.0, "daemon": 4.25},
        "daemon_shared": True,
        "cpu_s_per_suggestion": 1.5625,
    }
    assert latency_ms["answered"]["n"] == 7
    assert latency_ms["answered"]["p50"] == pytest.approx(10.0, rel=0.045)
    assert latency_ms["suggested"]["p99"] == pytest.approx(200.0, rel=0.045)


def row(said: str, label: str) -> list[str]:
    [line] = [line for line in said.splitlines() if line.strip().startswith(label + " ")]
    return line.strip().removeprefix(label).split()


def test_what_a_human_sees(folder: Path, capsys: Captured) -> None:
    keep(folder, ONE, OTHER)
    said = shown(capsys)
    assert said.startswith("sessions: 2 in the last 30 days, requests: 7\n")
    assert row(said, "every answer") == ["9.9", "206", "206", "7"]
    assert row(said, "suggestions") == ["4", "57.1", "%", "of", "requests"]
    assert row(said, "reused") == ["2", "50.0", "%"]
    assert "33.3 % of 3 shown, as the editor told in 1 of 2 sessions" in said
    assert row(said, "loading") == ["1", "33.3", "%"]
    assert row(said, "CPU-seconds") == ["6.2", "servers", "2.0,", "daemon", "4.2"]
    assert row(said, "for a suggestion") == ["1.56"]
    assert "to within 5 %" in said
    assert "shared" in said


def test_an_editor_that_does_not_tell(folder: Path, capsys: Captured) -> None:
    keep(folder, OTHER)
    said = shown(capsys)
    assert "the editor does not tell" in said
    assert "shared" not in said  # no daemon's time is in it
    assert shown_json(capsys)["acceptance"] is None


def test_what_is_accepted_of_nothing_shown_is_no_share(folder: Path, capsys: Captured) -> None:
    keep(folder, ONE, SessionCounts(n_requests=9, n_accepted=9))
    figures = shown_json(capsys)
    assert (figures["n_accepted"], figures["acceptance"]) == (1, 0.3333)


def test_a_session_without_a_suggestion(folder: Path, capsys: Captured) -> None:
    keep(folder, SessionCounts(n_requests=1, rejects={"empty": 1}, server_cpu_s=3.0))
    said = shown(capsys)
    assert row(said, "a suggestion") == ["-", "-", "-", "0"]
    assert row(said, "for a suggestion") == ["-"]
    assert row(said, "empty") == ["1", "100.0", "%"]


def test_all_of_it_fits_on_a_screen(folder: Path, capsys: Captured) -> None:
    many = 10**9
    letters = "abcdefghijklmnopqr"
    crowded = SessionCounts(
        n_requests=many,
        n_shown=many,
        n_accepted=many,
        origins=dict.fromkeys(("model", "reused", "lexical"), many),
        rejects={f"reason_{letter}": many + n for n, letter in enumerate(letters)},
        answered_ms=histogram_of(600_000.0),
        suggested_ms=histogram_of(600_000.0),
        server_cpu_s=1e6,
        daemon_cpu_s=1e6,
    )
    keep(folder, crowded)
    lines = shown(capsys).splitlines()
    assert len(lines) <= N_SCREEN_LINES
    assert max(map(len, lines)) <= N_SCREEN_COLUMNS
    assert row("\n".join(lines), f"{len(letters) - subject.N_REASONS} more")[0] == "12,000,000,066"


def test_a_broken_file_is_named_and_left_out(
    folder: Path, capsys: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    keep(folder, ONE)
    (folder / "broken.json").write_text("{")
    assert run(["stats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_sessions"] == 1
    assert "broken.json" in caplog.text


@pytest.mark.parametrize("days", ["0", "-1", "soon", "nan", "inf", "1e9"])
def test_days_that_are_none(days: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as exit_:
        run(["stats", f"--days={days}"])
    assert exit_.value.code == 2
    assert "must be a number of days" in capsys.readouterr().err
