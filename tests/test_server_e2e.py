"""Real servers on the loopback with the default model: what they say is what llama.cpp says here.

llama_cpp.server (OpenAI's API) and llama.cpp's own server from the wheel `xllamacpp` (`/completion`
with tokens, `/infill`), each in a process of its own.

Invariant: nothing is asserted of time; a server that a test started has ended when the test has.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slm_lsp.config import Config
from slm_lsp.deadline import Cancelled, CancelToken, Deadline
from slm_lsp.engine.base import Engine
from slm_lsp.engine.llama import LlamaDecoder
from slm_lsp.engine.scheduler import Scheduler
from slm_lsp.engine.server import ServerEngine
from slm_lsp.engine.server_settings import ServerSettings
from slm_lsp.prompt import fim
from slm_lsp.server_check import check
from slm_lsp.servers import template_named, what_is_known
from slm_lsp.types import (
    CompletionContext,
    EngineState,
    FimTemplate,
    Finish,
    Generation,
    GenerationRequest,
    Prompt,
    StopRule,
    Want,
)
from slm_lsp.wiring import obtain

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 120.0
PATIENT_MS = 120_000.0
MODEL = "smollm2-135m"
LLAMA_CPP_CHILD = "import sys; from llama_cpp.server.__main__ import main; main()"
# None has two tokens that are nearly as likely: the wheel's llama.cpp is another build, and its
# logits differ from ours by up to 0.2.
PLACES = [
    ("def add(a, b):\n    return", "\n\nprint(add(1, 2))\n"),
    (
        "import os\n\nfor name in os.listdir(path):\n    if name.endswith(",
        "\n        print(name)\n",
    ),
    ("class Point:\n    def __init__(self, x, y):\n        self.x = x\n        self.y", "\n"),
]


@contextlib.contextmanager
def llama_cpp_server() -> Iterator[str]:
    """llama_cpp.server, which speaks OpenAI's API."""
    pytest.importorskip("fastapi")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    options = {"model": obtain(Config(model=MODEL)).path, "port": port, "n_ctx": 2048}
    options |= {"n_threads": 1, "n_threads_batch": 1, "model_alias": MODEL}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-c", LLAMA_CPP_CHILD, *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            child.kill()


@contextlib.contextmanager
def llama_server() -> Iterator[str]:
    """llama.cpp's own server, as benchmarks.latency starts it."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("the wheel xllamacpp is not installed")
    child = ROOT / "benchmarks" / "latency" / "infill_child.py"
    command = [sys.executable, str(child), str(obtain(Config(model=MODEL)).path), "1", "1", "2048"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        assert running.stdout is not None
        try:
            said = next(line for line in running.stdout if line.startswith("ready "))
            yield json.loads(said.removeprefix("ready "))["url"]
        finally:
            running.kill()


@contextlib.asynccontextmanager
async def asking(url: str, **settings: Any) -> AsyncIterator[ServerEngine]:
    """An engine that is ready; a server that still starts is asked again."""
    ready = asyncio.Event()

    def on_state(state: EngineState) -> None:
        if state is EngineState.READY:
            ready.set()

    engine = ServerEngine(ServerSettings(url, **settings), what_is_known(), on_state)
    engine.start()
    try:
        await asyncio.wait_for(ready.wait(), PATIENCE_S)
        yield engine
    finally:
        engine.close()
        await engine.closed()


@contextlib.contextmanager
def in_process() -> Iterator[Scheduler]:
    """The same model file, one thread, in this process."""
    path = obtain(Config(model=MODEL)).path

    def load() -> LlamaDecoder:
        template = template_named(MODEL)
        return LlamaDecoder(
            path, MODEL, template=template, n_ctx=2048, n_threads=1, n_threads_batch=1
        )

    engine = Scheduler(load, drafts=False)
    engine.load()
    yield engine
    engine.close()


def prompt_of(template: FimTemplate, place: tuple[str, str], heals: bool) -> Prompt:
    prefix, suffix = place
    at = CompletionContext(prefix, suffix, want=Want.LINE)
    prompt = fim.build(template, at, StopRule(strings=("\n\n",)), 24)
    return prompt if heals else replace(prompt, heal="")


def request(prompt: Prompt, ms: float = PATIENT_MS) -> GenerationRequest:
    return GenerationRequest("s", prompt, Deadline.after(ms), CancelToken())


async def answers(engine: Engine, prompts: list[Prompt]) -> list[Generation]:
    return [await engine.generate(request(prompt)) for prompt in prompts]


def local_answers(prompts: list[Prompt]) -> list[Generation]:
    found = []
    with in_process() as engine:
        for prompt in prompts:
            job = engine.submit(request(prompt))
            engine.run_next()
            found.append(job.future.result(PATIENCE_S))
    return found


async def test_llama_cpp_server_says_what_llama_cpp_says_here() -> None:
    with llama_cpp_server() as url:
        async with asking(url, template=template_named(MODEL)) as engine:
            assert engine.api == "openai"
            assert engine.info is not None
            assert engine.info.name == MODEL
            # Nothing is healed over this API, so no word is left out of these prompts.
            prompts = [prompt_of(template_named(MODEL), place, heals=False) for place in PLACES]
            there = await answers(engine, prompts)
            here = local_answers(prompts)
            assert [each.text for each in there] == [each.text for each in here]
            assert all(each.text for each in there)
            for one, other in zip(there, here, strict=True):
                assert len(one.logprobs) > 2
                assert one.logprobs == pytest.approx(other.logprobs[: len(one.logprobs)], abs=0.05)
            told = await asyncio.to_thread(check, Config(server_url=url, server_template=MODEL))
            assert told[0], told


async def test_llama_servers_tokens_are_the_ones_of_llama_cpp_here() -> None:
    with llama_server() as url:
        async with asking(url) as engine:
            assert engine.api == "llama"
            assert engine.info is not None
            assert engine.info.n_ctx == 2048
            template = template_named(MODEL)
            assert engine.info.template == template
            forged = [(f"x = '<file_sep>' + {prefix}", suffix) for prefix, suffix in PLACES]
            prompts = [prompt_of(template, place, heals=True) for place in [*PLACES, *forged]]
            there = await answers(engine, prompts)
            here = local_answers(prompts)
            # Source that spells a control token makes tokens of text there as it does here.
            assert [each.n_prompt for each in there] == [each.n_prompt for each in here]
            for one, other in zip(there[: len(PLACES)], here, strict=False):
                assert one.text == other.text
                # A line at the least: the server ends its text before a stop, not behind it.
                assert len(one.logprobs) == one.n_predicted > 2
                assert one.logprobs == pytest.approx(other.logprobs[: one.n_predicted], abs=0.2)
            again = await answers(engine, prompts[-1:])
            assert again[0].n_cached > 0


async def test_a_stream_that_is_cut_is_over_for_the_server_too() -> None:
    with llama_server() as url:
        async with asking(url) as engine:
            prompt = prompt_of(template_named(MODEL), PLACES[0], heals=True)
            long = replace(prompt, stop=StopRule(), stop_specials=(), max_tokens=1500)
            asked = request(long)
            answer = asyncio.create_task(engine.generate(asked, asked.cancel.cancel))
            with pytest.raises(Cancelled):
                await asyncio.wait_for(answer, PATIENCE_S)
            # The only slot is free again.
            assert (await engine.generate(request(prompt))).text
            late = await engine.generate(request(long, 300.0))
            assert late.finish is Finish.DEADLINE
