"""Laws of the recommendation: what holds for any machine and any models.

Invariant: nothing is measured; machines are made up.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tune_scene import GB, candidate, limits

from slm_lsp.config import Config
from slm_lsp.tune.candidate import Candidate
from slm_lsp.tune.cost import (
    Speed,
    cold_ms,
    line_ms,
    longest_cold_prompt,
    read_ms,
    speed_of,
    warm_ms,
)
from slm_lsp.tune.estimate import estimated
from slm_lsp.tune.measurement import SIZES, Measurement, to_json
from slm_lsp.tune.recommend import (
    FILL_MS,
    Limits,
    Verdict,
    judge,
    memory_bytes,
    recommended,
    worth_obtaining,
)
from slm_lsp.tune.wording import settings_for

MANY = settings(derandomize=True, deadline=None, max_examples=120, database=None)
TIMES = st.floats(0.05, 400.0)


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    """Any times whatever, also such as no machine has: larger steps that take less time."""
    threads = draw(st.sampled_from([(1,), (1, 2), (1, 2, 4)]))
    return Measurement(
        step_ms={n: {size: draw(TIMES) * size**0.8 for size in SIZES} for n in threads},
        write_ms={n: draw(TIMES) for n in threads},
        step_slope_ms=draw(st.floats(0.0, 0.01)),
        write_slope_ms=draw(st.floats(0.0, 0.05)),
        n_ctx=2048,
        rss_bytes=draw(st.integers(100_000_000, 8 * GB)),
        pss_bytes=0,
        n_rounds=3,
    )


@st.composite
def candidates(draw: st.DrawFn, min_size: int = 0) -> list[Candidate]:
    made: list[Candidate] = []
    for i in range(draw(st.integers(min_size, 4))):
        source = draw(st.sampled_from(["F16", "Q8_0", "Q4_1", "Q4_K_M"]))
        made.append(
            candidate(
                f"model-{i % 3}",
                draw(st.sampled_from([source, "Q8_0", "Q4_0"])),
                draw(st.sampled_from([135_000_000, 494_000_000, 1_540_000_000])),
                draw(measurements()),
                made_from=source,
            )
        )
    return made


LIMITS = st.builds(
    limits,
    budget_ms=st.floats(10.0, 3000.0),
    memory_bytes=st.integers(100_000_000, 10 * GB),
    prompt_tokens=st.sampled_from([64, 300, 512, 1024, 1500, 4096]),
    context_tokens=st.sampled_from([256, 1024, 2048, 8192]),
    n_cores=st.sampled_from([1, 2, 4]),
)


def verdicts_of(made: list[Candidate], asked: Limits) -> list[Verdict]:
    return [verdict for each in made if (verdict := judge(each, asked)) is not None]


def scaled(measured: Measurement, share: float) -> Measurement:
    """The same, measured on a machine that needs that share of the time."""
    return dataclasses.replace(
        measured,
        step_ms={
            n: {s: share * ms for s, ms in sizes.items()} for n, sizes in measured.step_ms.items()
        },
        write_ms={n: share * ms for n, ms in measured.write_ms.items()},
        step_slope_ms=share * measured.step_slope_ms,
        write_slope_ms=share * measured.write_slope_ms,
    )


@MANY
@given(made=candidates(), asked=LIMITS)
def test_what_is_recommended_keeps_the_budget_by_its_own_figures(
    made: list[Candidate], asked: Limits
) -> None:
    best = recommended(verdicts_of(made, asked))
    if best is None:
        return
    choice, measured = best.choice, best.candidate.measured
    assert measured is not None
    speed = speed_of(measured, choice.threads, choice.batch_threads)
    assert best.warm_ms == warm_ms(speed, choice.prompt_tokens) <= asked.for_model_ms
    assert best.fill_ms == read_ms(speed, choice.prompt_tokens) <= FILL_MS
    assert best.memory_bytes == memory_bytes(best.candidate, choice.context_tokens)
    assert best.memory_bytes <= asked.memory_bytes
    assert choice.prompt_tokens <= asked.prompt_tokens
    assert choice.context_tokens > choice.prompt_tokens
    assert not best.why_not


@MANY
@given(made=candidates(), asked=LIMITS)
def test_nothing_better_that_keeps_the_budget_is_passed_over(
    made: list[Candidate], asked: Limits
) -> None:
    verdicts = verdicts_of(made, asked)
    best = recommended(verdicts)
    for each in verdicts:
        assert each.keeps == (each.misses == "")
        if each.keeps:
            assert best is not None
            assert each.candidate.quality <= best.candidate.quality


@MANY
@given(
    made=candidates(min_size=1),
    asked=LIMITS,
    share=st.floats(0.05, 1.0),
    more_bytes=st.integers(0, 4 * GB),
    more_ms=st.floats(0.0, 1000.0),
)
def test_a_faster_or_larger_machine_gets_no_smaller_recommendation(
    made: list[Candidate], asked: Limits, share: float, more_bytes: int, more_ms: float
) -> None:
    before = recommended(verdicts_of(made, asked))
    faster = [
        dataclasses.replace(e, measured=scaled(e.measured, share)) for e in made if e.measured
    ]
    larger = dataclasses.replace(
        asked,
        memory_bytes=asked.memory_bytes + more_bytes,
        budget_ms=asked.budget_ms + more_ms,
    )
    after = recommended(verdicts_of(faster, larger))
    if before is None:
        return
    assert after is not None
    assert after.candidate.quality >= before.candidate.quality
    if after.candidate.quality == before.candidate.quality:
        assert after.choice.prompt_tokens >= before.choice.prompt_tokens


@MANY
@given(slow=measurements(), data=st.data(), n_tokens=st.integers(0, 3000))
def test_where_each_step_is_faster_so_is_everything(
    slow: Measurement, data: st.DataObject, n_tokens: int
) -> None:
    share = st.floats(0.1, 1.0)
    fast = dataclasses.replace(
        slow,
        step_ms={
            n: {size: ms * data.draw(share) for size, ms in sizes.items()}
            for n, sizes in slow.step_ms.items()
        },
        write_ms={n: ms * data.draw(share) for n, ms in slow.write_ms.items()},
    )
    before, after = speed_of(slow, 1, 1), speed_of(fast, 1, 1)
    for cost in (read_ms, line_ms, warm_ms, cold_ms):
        assert cost(after, n_tokens) <= cost(before, n_tokens) * (1 + 1e-9)


@MANY
@given(
    measured=measurements(),
    n_tokens=st.one_of(st.integers(0, 64), st.integers(0, 2000)),
    more=st.integers(1, 100),
)
def test_more_tokens_never_take_less_time(measured: Measurement, n_tokens: int, more: int) -> None:
    speed = speed_of(measured, 1, 1)
    for cost in (read_ms, line_ms, warm_ms, cold_ms):
        assert cost(speed, n_tokens) <= cost(speed, n_tokens + more) * (1 + 1e-9)


@MANY
@given(measured=measurements(), within_ms=st.floats(1.0, 5000.0), n_max=st.integers(0, 2000))
def test_the_longest_cold_prompt_is_the_longest(
    measured: Measurement, within_ms: float, n_max: int
) -> None:
    speed: Speed = speed_of(measured, 1, 1)
    n_tokens = longest_cold_prompt(speed, within_ms, n_max)
    assert 0 <= n_tokens <= n_max
    assert n_tokens == 0 or cold_ms(speed, n_tokens) <= within_ms
    assert n_tokens == n_max or cold_ms(speed, n_tokens + 1) > within_ms


@MANY
@given(made=candidates(min_size=1), asked=LIMITS, size=st.floats(0.05, 60.0))
def test_estimates_are_named_and_never_recommended(
    made: list[Candidate], asked: Limits, size: float
) -> None:
    absent = dataclasses.replace(
        made[0],
        model="absent",
        n_parameters=int(made[0].n_parameters * size),
        file_bytes=int(made[0].file_bytes * size),
        measured=None,
        is_here=False,
    )
    guess = estimated(absent, made, own_bytes=absent.file_bytes)
    assert guess.is_estimate
    verdicts = verdicts_of([*made, guess], asked)
    best, better = recommended(verdicts), worth_obtaining(verdicts)
    assert best is None or not best.candidate.is_estimate
    if better is not None:
        assert better.candidate.is_estimate
        assert better.keeps
        assert best is None or better.candidate.quality > best.candidate.quality


@MANY
@given(made=candidates(min_size=1), asked=LIMITS)
def test_settings_written_once_are_not_to_be_changed_again(
    made: list[Candidate], asked: Limits
) -> None:
    verdict = judge(made[0], asked)
    assert verdict is not None
    config = Config()
    changed: dict[str, Any] = settings_for(verdict, config, "Q8_0")
    config = dataclasses.replace(config, **changed)
    assert settings_for(verdict, config, "Q8_0") == {}
    assert config.n_threads == verdict.choice.threads
    assert config.n_threads_batch == verdict.choice.batch_threads
    assert config.prompt_tokens == verdict.choice.prompt_tokens


@MANY
@given(measured=measurements())
def test_a_measurement_survives_json(measured: Measurement) -> None:
    import json

    assert Measurement.from_json(json.loads(json.dumps(to_json(measured)))) == measured


@pytest.mark.parametrize(
    "values",
    [
        {},
        [],
        None,
        {"step_ms": {}, "write_ms": {}},
        {**to_json(candidate().measured or Measurement.from_json({})), "write_ms": {"1": -1}},
        {**to_json(candidate().measured or Measurement.from_json({})), "write_ms": {"1": True}},
        {**to_json(candidate().measured or Measurement.from_json({})), "step_ms": {"1": {"8": 1}}},
        {**to_json(candidate().measured or Measurement.from_json({})), "more": 1},
    ],
)
def test_what_is_no_measurement(values: Any) -> None:
    with pytest.raises(ValueError, match="not a"):
        Measurement.from_json(values)
