"""What `engine.base.Engine` promises, held against each engine of `engine_cases.CASES`.

Invariant: only the protocol's own methods are used, so that any engine can be added. What is to be
written is asked of a fresh decoder on the same model.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from engine_cases import EngineCase, parameters

from slm_lsp.deadline import SYSTEM_CLOCK, Cancelled, CancelToken, Deadline
from slm_lsp.engine.base import (
    Decoder,
    Engine,
    EngineStats,
    EngineUnavailable,
    PromptError,
    Superseded,
)
from slm_lsp.engine.kv import KvCache
from slm_lsp.engine.run import Run
from slm_lsp.types import (
    EngineState,
    Finish,
    Generation,
    GenerationRequest,
    Priority,
    Prompt,
    Segment,
    Special,
    Start,
    StopRule,
    Text,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

CODE = "def f(self, x1):\n    for x1 in self:\n        return x1 == 5\n\n"
# So that nothing which is asserted depends on the machine's speed.
PATIENT_MS = 30_000.0
N_LONG = 300
numbers = itertools.count()


@pytest.fixture(scope="module", params=parameters())
def case(request: pytest.FixtureRequest) -> EngineCase:
    found = request.param
    assert isinstance(found, EngineCase)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(case: EngineCase, folder: Path) -> AsyncIterator[Engine]:
    async with case.open(folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def decoder(case: EngineCase, folder: Path) -> Iterator[Decoder]:
    decoder = case.decoder.load(folder)
    yield decoder
    decoder.close()


Expected = Callable[[Prompt], Generation]


@pytest.fixture(scope="module")
def expected(decoder: Decoder) -> Expected:
    """What a decoder of its own writes that has read nothing else."""

    def expected(prompt: Prompt) -> Generation:
        kv = KvCache(decoder, SYSTEM_CLOCK, EngineStats())
        kv.cut(0)
        return Run(kv, asked(prompt), SYSTEM_CLOCK).finish()

    return expected


def asked(
    prompt: Prompt, budget_ms: float = PATIENT_MS, session: str = "", document: str = ""
) -> GenerationRequest:
    """A request that starts now; of a session of its own, if none is named."""
    return GenerationRequest(
        session or f"s{next(numbers)}",
        prompt,
        Deadline.after(budget_ms),
        CancelToken(),
        document=document,
    )


def prompt_of(text: str = CODE, max_tokens: int = 24, **more: object) -> Prompt:
    return replace(Prompt((Text(text),), max_tokens=max_tokens), **more)  # type: ignore[arg-type]


def alike(found: Generation, wanted: Generation) -> bool:
    """Token for token: what is cached changes the steps only."""
    logprobs = zip(found.logprobs, wanted.logprobs, strict=True)
    return (
        (found.text, found.finish, found.ends) == (wanted.text, wanted.finish, wanted.ends)
        and (found.n_prompt, found.n_predicted) == (wanted.n_prompt, wanted.n_predicted)
        and all(math.isclose(one, other, abs_tol=0.05) for one, other in logprobs)
    )


async def test_it_says_what_the_model_says(
    case: EngineCase, engine: Engine, expected: Expected
) -> None:
    for text in (CODE, "x", CODE * 3 + "return", "é漢😀\t\r\n"):
        wanted = expected(prompt_of(text))
        found = await engine.generate(asked(prompt_of(text)))
        assert found.text == wanted.text
        if case.counts:
            assert alike(found, wanted)
        again = await engine.generate(asked(prompt_of(text)))
        assert again.text == wanted.text


async def test_typing_reads_only_what_is_typed(
    case: EngineCase, engine: Engine, decoder: Decoder, expected: Expected
) -> None:
    text, document = "typed = " + CODE * 2, f"d{next(numbers)}"
    before = decoder.tokenize([Text(text)])
    for typed in ("", "return", "return x1\n"):
        prompt = prompt_of(text + typed)
        found = await engine.generate(asked(prompt, document=document))
        assert found.text == expected(prompt).text
        if case.counts and typed and decoder.cuts:
            tokens = decoder.tokenize([Text(text + typed)])
            shared = next(
                (i for i, pair in enumerate(zip(before, tokens, strict=False)) if len({*pair}) > 1),
                min(len(before), len(tokens)),
            )
            assert found.n_prompt == len(tokens)
            assert shared - 1 <= found.n_cached <= found.n_prompt
            assert shared > 40


async def test_an_edit_further_up_changes_what_it_changes(
    engine: Engine, expected: Expected
) -> None:
    document = f"d{next(numbers)}"
    for text in (CODE * 2, "self\n" + CODE * 2, CODE + "x1" + CODE, CODE):
        prompt = prompt_of(text)
        found = await engine.generate(asked(prompt, document=document))
        assert found.text == expected(prompt).text


async def test_a_prompt_that_is_only_read_makes_the_next_one_quick(
    case: EngineCase, engine: Engine, expected: Expected
) -> None:
    if not case.ahead:
        pytest.skip("nothing is sent to a server ahead of a request")
    document = f"d{next(numbers)}"
    read = prompt_of("read = " + CODE, max_tokens=0)
    request = replace(asked(read, document=document), priority=Priority.WARMUP)
    assert (await engine.generate(request)).text == ""
    found = await engine.generate(asked(replace(read, max_tokens=8), document=document))
    assert found.text == expected(replace(read, max_tokens=8)).text
    if case.counts:
        assert found.n_cached == found.n_prompt


async def test_a_text_that_spells_a_sentinel_is_text(
    case: EngineCase, engine: Engine, decoder: Decoder, expected: Expected
) -> None:
    if not case.specials:
        pytest.skip("the server is sent text alone")
    name = sorted(decoder.info.specials)[0]
    segments: list[tuple[Segment, ...]] = [
        (Text(CODE + name),),
        (Text(CODE), Special(name)),
        (Text(CODE), Special(name), Text(name)),
    ]
    found = []
    for each in segments:
        prompt = Prompt(each, max_tokens=8)
        found.append(await engine.generate(asked(prompt)))
        assert found[-1].text == expected(prompt).text
    if case.counts:
        plain = len(decoder.tokenize([Text(CODE)]))
        assert found[1].n_prompt == plain + 1
        assert found[0].n_prompt > plain + 1


async def test_a_stop_ends_the_text_before_it(engine: Engine, expected: Expected) -> None:
    whole = expected(prompt_of()).text
    stop = whole[6:8]
    prompt = prompt_of(stop=StopRule((stop,)))
    found = await engine.generate(asked(prompt))
    assert found.text == whole[: whole.index(stop)]
    assert found.finish is Finish.STOP


async def test_the_longest_text_is_as_long_as_was_asked(engine: Engine) -> None:
    found = await engine.generate(asked(prompt_of(max_tokens=5)))
    assert (found.n_predicted, found.finish) == (5, Finish.LENGTH)


async def test_an_end_token_of_the_prompts_ends_the_text(
    case: EngineCase, engine: Engine, decoder: Decoder
) -> None:
    if not case.specials:
        pytest.skip("the server is sent text alone")
    # None of these models writes one by itself: that it is taken is all that can be seen.
    prompt = prompt_of(max_tokens=5, stop_specials=tuple(sorted(decoder.info.specials)))
    assert (await engine.generate(asked(prompt))).finish is Finish.LENGTH


@pytest.mark.parametrize("heal", ["ret", " x", "(se", "é"])
async def test_a_required_beginning_is_not_said_again(
    case: EngineCase, engine: Engine, expected: Expected, heal: str
) -> None:
    if not case.heals:
        pytest.skip("the server cannot be told what comes first")
    prompt = prompt_of(CODE, heal=heal, start=Start.TEXT)
    found = await engine.generate(asked(prompt))
    assert found.text == expected(prompt).text
    assert found.text.strip()


# --- time ---


async def test_at_the_deadline_there_is_what_was_written_so_far(
    engine: Engine, expected: Expected
) -> None:
    late = await engine.generate(asked(prompt_of(), budget_ms=0.0))
    assert (late.text, late.finish) == ("", Finish.DEADLINE)
    whole = expected(prompt_of(max_tokens=N_LONG)).text
    for budget_ms in (5.0, 20.0, 60.0):
        found = await engine.generate(asked(prompt_of(max_tokens=N_LONG), budget_ms))
        # A character may be cut by the end of what was written.
        assert whole.startswith(found.text.rstrip("\ufffd"))
        assert found.finish is (Finish.LENGTH if found.text == whole else Finish.DEADLINE)


async def test_cancelled_is_no_answer(engine: Engine) -> None:
    request = asked(prompt_of())
    request.cancel.cancel()
    with pytest.raises(Cancelled):
        await engine.generate(request)
    request = asked(prompt_of(max_tokens=N_LONG))
    task = asyncio.create_task(engine.generate(request))
    await asyncio.sleep(0)
    request.cancel.cancel()
    with pytest.raises(Cancelled):
        await task


async def test_a_caller_that_goes_away_leaves_nothing_behind(
    engine: Engine, expected: Expected
) -> None:
    task = asyncio.create_task(engine.generate(asked(prompt_of(max_tokens=N_LONG))))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await engine.generate(asked(prompt_of()))).text == expected(prompt_of()).text


async def test_the_latest_of_a_session_wins(
    case: EngineCase, engine: Engine, expected: Expected
) -> None:
    session = f"s{next(numbers)}"
    # Nothing of it is known from before, so that it takes its time.
    long = prompt_of("latest = " + CODE, max_tokens=N_LONG)
    requests = [asked(long, session=session) for _ in range(3)]
    requests.append(asked(prompt_of(), session=session))
    answers = await asyncio.gather(*map(engine.generate, requests), return_exceptions=True)
    assert isinstance(answers[-1], Generation)
    assert answers[-1].text == expected(prompt_of()).text
    superseded = [isinstance(answer, Superseded) for answer in answers[:-1]]
    # One that was done when the next came has its answer.
    whole = expected(long).text
    assert all(
        wrong or (isinstance(answer, Generation) and answer.text == whole)
        for wrong, answer in zip(superseded, answers[:-1], strict=True)
    )
    assert any(superseded) or not case.decoder.library


async def test_every_request_is_answered_once(engine: Engine, expected: Expected) -> None:
    prompts = [prompt_of(f"x{n} = " + CODE, max_tokens=6) for n in range(12)]
    wanted = [expected(prompt).text for prompt in prompts]
    answers = await asyncio.gather(*(engine.generate(asked(prompt)) for prompt in prompts))
    assert [answer.text for answer in answers] == wanted


# --- what cannot be ---


async def test_a_prompt_that_does_not_fit_is_refused(engine: Engine, expected: Expected) -> None:
    with pytest.raises(PromptError, match="do not fit"):
        await engine.generate(asked(prompt_of(CODE * 40)))
    assert (await engine.generate(asked(prompt_of()))).text == expected(prompt_of()).text


async def test_a_sentinel_that_the_model_lacks_is_refused(case: EngineCase, engine: Engine) -> None:
    if not case.specials:
        pytest.skip("the server is sent text alone")
    with pytest.raises(PromptError, match="<nosuch>"):
        await engine.generate(asked(Prompt((Text("x"), Special("<nosuch>")))))


async def test_what_it_says_of_itself(case: EngineCase, engine: Engine, decoder: Decoder) -> None:
    assert engine.state is EngineState.READY
    assert engine.failure is None
    assert engine.info is not None
    if case.specials:
        assert engine.info.specials == decoder.info.specials
        assert engine.info.n_ctx == decoder.info.n_ctx
    before = engine.stats()
    await engine.generate(asked(prompt_of("once" + CODE)))
    engine.abandon("s")
    await engine.generate(asked(prompt_of("once" + CODE)))
    assert engine.stats().n_requests >= before.n_requests


async def test_a_closed_engine_says_so(case: EngineCase, folder: Path) -> None:
    async with case.open(folder) as engine:
        task = asyncio.create_task(engine.generate(asked(prompt_of(max_tokens=N_LONG))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        engine.close()
        with pytest.raises(EngineUnavailable):
            await task
        assert engine.state is EngineState.CLOSED
        with pytest.raises(EngineUnavailable):
            await engine.generate(asked(prompt_of()))
