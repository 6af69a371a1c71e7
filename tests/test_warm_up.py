"""The first steps of an engine that has measured nothing: bounded, and without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from slm_lsp.deadline import FakeClock
from slm_lsp.engine.base import EngineStats
from slm_lsp.engine.fake import FakeDecoder
from slm_lsp.engine.kv import KvCache
from slm_lsp.engine.scheduler import Scheduler
from slm_lsp.engine.warm_up import WARM_UP_MS, warm_up


def warmed(step_ms: float) -> tuple[KvCache, FakeDecoder]:
    clock = FakeClock()
    decoder = FakeDecoder("x", clock=clock, step_ms=step_ms)
    kv = KvCache(decoder, clock, EngineStats())
    warm_up(kv, clock)
    return kv, decoder


def test_it_measures_and_leaves_nothing() -> None:
    kv, decoder = warmed(5.0)
    assert decoder.fed == [4, 1, 1, 1, 8, 48, 1, 128]
    assert kv.rates.is_measured
    assert kv.rates.decode_ms == pytest.approx(5.0, rel=0.3)
    assert not any(decoder.sequences)


@pytest.mark.parametrize(("step_ms", "n_steps"), [(100.0, 4), (10_000.0, 4)])
def test_a_slow_model_makes_few_steps(step_ms: float, n_steps: int) -> None:
    kv, decoder = warmed(step_ms)
    assert decoder.n_steps <= max(n_steps, WARM_UP_MS / step_ms + 1)
    assert kv.rates.is_measured


def test_a_failing_step_is_left_to_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    decoder = FakeDecoder("x", clock=clock)
    kv = KvCache(decoder, clock, EngineStats())

    def fail(*_: object) -> None:
        raise RuntimeError("llama_decode failed")

    monkeypatch.setattr(decoder, "feed", fail)
    warm_up(kv, clock)
    assert kv.tokens == []


def test_it_is_done_once_a_machine(tmp_path: Path) -> None:
    assert n_first_steps(tmp_path) == 8
    assert n_first_steps(tmp_path) == 0


def n_first_steps(folder: Path) -> int:
    """How many steps an engine makes to become ready; its rates are kept in the folder."""
    clock = FakeClock()
    decoder = FakeDecoder("x", clock=clock)
    scheduler = Scheduler(lambda: decoder, clock, rates_folder=folder)
    scheduler.load()
    n_steps = decoder.n_steps
    assert scheduler.stats().n_prefill_tokens == 0
    kv, file = scheduler._kv, scheduler._rates_file
    assert kv is not None
    assert file is not None
    file.save(kv.rates)
    return n_steps
