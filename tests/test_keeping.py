"""Restarts: what the next engine has of what this one read, and what never gets to the disk.

Owns: `Engines`, one after another with the same folder and model, each with a fresh decoder.
Invariant: a restart changes the steps and nothing else; what was not fed or restored byte for byte
is not held. Threads: the test's own; one scheduler's where a test starts it.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_kv import Bench, cold, essence, letters

from slm_lsp.deadline import CancelToken, Deadline, FakeClock
from slm_lsp.engine import cells, keeping
from slm_lsp.engine.fake import FakeDecoder
from slm_lsp.engine.keeping import BYTES_PER_MS, MIN_TOKENS, N_KEPT, SAVE_MS, keep, key_of, take
from slm_lsp.engine.kv_file import KvFiles
from slm_lsp.engine.scheduler import Scheduler
from slm_lsp.types import EngineState, Generation, GenerationRequest, Prompt, Text

A, B, C = "file:///a.py", "file:///b.py", "file:///c.py"
LONG = "p" * 200
PATIENCE_S = 20.0


class Engines:
    """`bench` is the one that runs; `restart` ends it in order and starts the next."""

    def __init__(self, folder: Path, **decoder: Any) -> None:
        self.folder = folder
        self._decoder = decoder
        self.start()

    def start(self) -> None:
        self.bench = Bench(**self._decoder)
        decoder = self.bench.decoder
        self.bench.kv.files = KvFiles(self.folder, decoder.kv_identity, decoder.info.n_ctx)

    def restart(self) -> None:
        keep(self.bench.kv, self.bench.clock)
        self.start()

    def ask(self, text: str, document: str = A, **prompt: Any) -> Generation:
        return self.bench.ask(text, document, **{"max_tokens": 4, **prompt})

    @property
    def n_files(self) -> int:
        return len(list(self.folder.iterdir())) if self.folder.exists() else 0


@pytest.fixture
def engines(tmp_path: Path) -> Engines:
    return Engines(tmp_path / "kv")


# --- a restart ---


def test_after_a_restart_only_the_difference_is_read(engines: Engines) -> None:
    engines.ask(LONG)
    engines.restart()
    generation = engines.ask(LONG + "Q")
    assert essence(generation) == essence(cold(LONG + "Q", max_tokens=4))
    assert generation.n_cached == 200
    assert (engines.bench.steps.n_prefill_tokens, engines.bench.steps.n_restored_tokens) == (1, 200)
    engines.ask(LONG + "QR")
    assert engines.bench.steps.n_restored_tokens == 0


def test_reading_ahead_takes_it_too(engines: Engines) -> None:
    engines.ask(LONG)
    engines.restart()
    engines.ask(LONG, max_tokens=0)
    assert engines.bench.steps.n_prefill_tokens == 0
    assert essence(engines.ask(LONG)) == essence(cold(LONG, max_tokens=4))


def test_the_same_sequence_is_written_once_however_often_the_engine_ends(engines: Engines) -> None:
    engines.ask(LONG, max_tokens=0)
    engines.restart()
    [path] = engines.folder.iterdir()
    before = path.stat()
    for _ in range(3):
        engines.ask(LONG, max_tokens=0)
        engines.restart()
        assert path.stat().st_ino == before.st_ino
    assert engines.ask(LONG).n_cached == 199  # all, but the last is fed again for its pick


def test_it_is_found_whatever_the_document_is_called_now(engines: Engines) -> None:
    engines.ask(LONG, f"2/{A}#1")
    engines.restart()
    assert engines.ask(LONG + "Q", "untitled:1").n_cached == 200


@pytest.mark.parametrize("text", ["a" * 100, "a" * 90 + "b" * 90])
def test_the_one_that_begins_most_like_it_is_taken(engines: Engines, text: str) -> None:
    engines.ask("a" * 100, A)
    engines.ask("a" * 90 + "b" * 90, B)
    engines.restart()
    assert engines.ask(text + "c", C).n_cached == len(text)


def test_what_was_picked_behind_other_tokens_is_not_taken_for_it(engines: Engines) -> None:
    engines.ask(LONG, max_tokens=0)
    engines.restart()
    engines.ask("q" * 200, max_tokens=0)
    assert essence(engines.ask(LONG)) == essence(cold(LONG, max_tokens=4))
    assert engines.bench.decoder.n_restored == 1
    assert engines.bench.steps.n_prefill_tokens == 1


def test_what_another_document_has_in_memory_is_not_read(engines: Engines) -> None:
    engines.ask(LONG)
    engines.restart()
    engines.ask(LONG)
    assert engines.ask(LONG + "Q", B).n_cached == 200
    assert engines.bench.steps.n_restored_tokens == 0
    assert engines.bench.decoder.n_restored == 1


@pytest.mark.parametrize("n_shared", [MIN_TOKENS - 1, MIN_TOKENS])
def test_little_in_common_is_not_worth_it(engines: Engines, n_shared: int) -> None:
    engines.ask(LONG)
    engines.restart()
    generation = engines.ask("p" * n_shared + "q" * 200)
    assert generation.n_cached == (n_shared if n_shared == MIN_TOKENS else 0)


def test_what_memory_has_is_not_read_again(engines: Engines) -> None:
    engines.ask(LONG)
    engines.restart()
    engines.ask("p" * 150 + "q" * 10)
    assert engines.bench.steps.n_restored_tokens == 150
    engines.ask(LONG)
    assert engines.bench.steps.n_restored_tokens == 0


@pytest.mark.parametrize("late", [True, False])
def test_it_is_not_taken_where_that_would_be_late(engines: Engines, late: bool) -> None:
    engines.ask(LONG, max_tokens=0)
    engines.restart()
    kv = engines.bench.kv
    kv.use(A)
    cost_ms = 4 * len(LONG) / BYTES_PER_MS
    take(kv, [ord("p")] * 200, cost_ms * (1.0 if late else 1.01))
    assert len(kv.tokens) == (0 if late else 200)


def test_it_is_not_taken_where_feeding_is_as_fast(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines.ask(LONG)
    engines.restart()
    rates = engines.bench.kv.rates
    for _ in range(2):
        rates.add(1, 1.0)
        rates.add(200, 200.0)
    monkeypatch.setattr(keeping, "BYTES_PER_MS", 4 * 200 / rates.step_ms(200))
    assert engines.ask(LONG + "Q").n_cached == 0


# --- what is kept ---


def test_the_documents_used_last_are_kept(engines: Engines) -> None:
    for document in (A, B, C, B):
        engines.ask(document * 10, document)
    engines.restart()
    assert engines.n_files == N_KEPT == 2
    assert engines.ask(A * 10, A).n_cached < MIN_TOKENS
    assert engines.ask(B * 10 + "Q", B).n_cached == 10 * len(B)


def test_earlier_ones_stay_until_they_have_to_go(engines: Engines) -> None:
    for document in (A, B, C):
        engines.ask(document * 10, document)
        engines.restart()
    assert engines.n_files == 3


def test_one_file_in_two_windows_is_kept_once(engines: Engines) -> None:
    engines.ask("a" * 100, f"1/{A}")
    engines.ask("b" * 100, f"2/{A}")
    engines.ask("c" * 100, f"1/{B}")
    engines.restart()
    assert engines.n_files == 2
    assert [engines.ask(each * 100 + "Q").n_cached for each in "abc"] == [0, 100, 100]


@pytest.mark.parametrize(
    ("document", "key"),
    [
        (A, A),
        (f"3/{A}", A),
        (f"3/{A}#1", A + "#1"),
        ("file:///home/u/environment.py", "file:///home/u/environment.py"),
        ("file:///c%3A/keys.py", "file:///c%3A/keys.py"),
        ("", None),
        ("session", None),
        ("warm-up", None),
        ("untitled:Untitled-1", None),
        ("1/untitled:file:///a.py", None),
        ("vscode-notebook-cell:/a.ipynb#W0", None),
        ("file:///home/u/.env", None),
        ("1/file:///home/u/.env#1", None),
        ("file:///home/u/.env.local", None),
        ("file:///home/u/production.env", None),
        ("file:///home/u/server.PEM", None),
        ("file:///home/u/tls.key", None),
        ("file:///home/u/id_rsa", None),
        ("file:///home/u/id_ed25519.old", None),
        ("file:///home/u/%69d_rsa", None),
        ("file:///home/u/.aws/config", None),
        ("file:///home/u/.ssh/config", None),
        ("file:///c:%5CUsers%5Cu%5C.ssh%5Cconfig", None),
        ("file:///home/u/credentials", None),
        ("file:///home/u/gcp-credentials.json", None),
        ("file:///home/u/client_secret.json", None),
        ("file:///k8s/secrets/db.yaml", None),
        ("file:///home/u/.netrc", None),
        ("file:///home/u/.bash_history", None),
        ("file:///a\nb/.env", None),
    ],
)
def test_only_files_that_do_not_look_secret_are_kept(document: str, key: str | None) -> None:
    assert key_of(document) == key


def test_what_must_not_be_kept_is_not(engines: Engines) -> None:
    engines.ask("a" * (MIN_TOKENS - 10), A)
    engines.ask(LONG, "file:///.env")
    engines.ask(LONG, "")
    engines.restart()
    assert engines.n_files == 0


def test_a_sequence_that_nobody_knows_is_not_kept(engines: Engines) -> None:
    engines.ask(LONG)

    def fail() -> None:
        raise RuntimeError("native")

    engines.bench.decoder.on_step = fail
    with pytest.raises(RuntimeError, match="native"):
        engines.ask(LONG + "Q")
    engines.restart()
    assert engines.n_files == 0


def test_a_memory_that_cannot_be_cut_is_not_kept(tmp_path: Path) -> None:
    engines = Engines(tmp_path, cuts=False)
    engines.ask(LONG)
    engines.restart()
    assert engines.n_files == 0


def test_what_would_take_too_long_is_left(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines.ask(LONG, A)
    engines.ask("b" * 100, B)
    asked: list[int] = []

    def save(max_bytes: int) -> None:
        asked.append(max_bytes)
        engines.bench.clock.advance(0.9 * SAVE_MS)

    monkeypatch.setattr(engines.bench.decoder, "save_sequence", save)
    monkeypatch.setattr(keeping, "MAX_STATE_BYTES", 1 << 40)
    keep(engines.bench.kv, engines.bench.clock)
    assert asked == pytest.approx([SAVE_MS * BYTES_PER_MS, 0.1 * SAVE_MS * BYTES_PER_MS])


# --- when it goes wrong ---


def test_a_damaged_state_does_not_reach_the_model(engines: Engines) -> None:
    engines.ask(LONG)
    engines.restart()
    [path] = engines.folder.iterdir()
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    assert essence(engines.ask(LONG)) == essence(cold(LONG, max_tokens=4))
    assert engines.bench.decoder.n_restored == 0
    assert engines.bench.steps.n_prefill_tokens == 200
    assert engines.n_files == 0


@pytest.mark.parametrize("raises", [True, False])
def test_a_state_that_the_model_does_not_take_is_deleted(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    engines.ask(LONG)
    engines.restart()

    def fail(*_: object) -> bool:
        engines.bench.decoder.sequence.append(1)  # nobody knows what is in it now
        if raises:
            raise RuntimeError("native")
        return False

    monkeypatch.setattr(engines.bench.decoder, "restore_sequence", fail)
    assert essence(engines.ask(LONG)) == essence(cold(LONG, max_tokens=4))
    assert engines.bench.kv.tokens == engines.bench.decoder.sequence
    assert engines.n_files == 0


def test_a_model_that_cannot_be_saved_harms_nobody(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: int) -> bytearray:
        raise RuntimeError("native")

    engines.ask(LONG)
    monkeypatch.setattr(engines.bench.decoder, "save_sequence", fail)
    engines.restart()
    assert "could not be kept" in caplog.text


# --- the invariant ---

requests = st.fixed_dictionaries(
    {
        "document": st.sampled_from([A, B, C]),
        "text": st.text("ab", min_size=1, max_size=24),
        "max_tokens": st.integers(0, 8),
        "heal": st.sampled_from(["", "", "a"]),
    }
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.none() | requests, max_size=16), st.integers(1, 4), st.integers(32, 70))
def test_restarts_change_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    asked: list[dict[str, Any] | None],
    n_sequences: int,
    n_cells: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "EVICT_TOKENS", 3)
        patch.setattr(keeping, "MIN_TOKENS", 2)
        folder = tmp_path_factory.mktemp("kv")
        engines = Engines(folder, rule=letters, n_ctx=32, n_cells=n_cells, n_sequences=n_sequences)
        for request in asked:
            if request is None:
                engines.restart()
                continue
            found = engines.ask(**request)
            kv, decoder = engines.bench.kv, engines.bench.decoder
            assert sum(map(len, decoder.sequences)) == kv.n_held <= n_cells
            assert kv.tokens == decoder.sequence
            assert essence(found) == essence(Bench(letters).ask(**request))


# --- the Scheduler ---


def scheduler_on(folder: Path | None, decoder: FakeDecoder) -> Scheduler:
    ready = threading.Event()
    scheduler = Scheduler(lambda: decoder, FakeClock(), lambda state: ready.set(), kv_folder=folder)
    scheduler.start()
    assert ready.wait(PATIENCE_S)
    assert scheduler.state is EngineState.READY
    return scheduler


def answer(scheduler: Scheduler, text: str) -> Generation:
    deadline = Deadline.after(1e6, FakeClock())
    request = GenerationRequest("s", Prompt((Text(text),)), deadline, CancelToken())
    return scheduler.submit(replace(request, document=A)).future.result(PATIENCE_S)


def test_a_closed_scheduler_leaves_its_sequences_to_the_next(tmp_path: Path) -> None:
    first = FakeDecoder("xy")
    scheduler = scheduler_on(tmp_path, first)
    assert answer(scheduler, LONG).text == "xy"
    scheduler.close()
    assert first.closed
    second = FakeDecoder("xy")
    scheduler = scheduler_on(tmp_path, second)
    assert second.fed == []  # nothing is done before it is asked
    assert second.n_restored == 0
    generation = answer(scheduler, LONG + "Q")
    assert (generation.text, generation.n_cached) == ("xy", 200)
    assert scheduler.stats().n_prefill_tokens == 1
    assert scheduler.stats().n_restored_tokens == 200
    scheduler.close()


def test_another_models_scheduler_begins_anew(tmp_path: Path) -> None:
    scheduler = scheduler_on(tmp_path, FakeDecoder("xy"))
    answer(scheduler, LONG)
    scheduler.close()
    for identity in ("another", ""):
        other = FakeDecoder("xy")
        other.kv_identity = identity
        scheduler = scheduler_on(tmp_path, other)
        assert answer(scheduler, LONG).n_cached == 0
        scheduler.close()
    assert len(list(tmp_path.iterdir())) == 2


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scheduler = scheduler_on(None, FakeDecoder("xy"))
    answer(scheduler, LONG)
    scheduler.close()
    assert list(tmp_path.iterdir()) == []
