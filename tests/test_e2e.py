"""The real server with the real model: `python -m slm_lsp`, over its pipes.

Invariant: nothing is asserted of time; what has to come is asked for until it is there. One
thread reads prompts and generates, because llama.cpp's threads wait for each other by
spinning, which a busy machine punishes.
Threads: the event loop; the server is a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from editor import CURSOR, INITIALIZE_DIR, URI, Json
from lsprotocol import types as lsp
from pipe_editor import PipeEditor
from pygls.exceptions import JsonRpcRequestCancelled
from pytest_lsp import LanguageClient, client_capabilities, make_test_lsp_client

from slm_lsp.config import Config
from slm_lsp.registry.cache import CACHE_DIR_VARIABLE, cache_root
from slm_lsp.registry.specs import DEFAULT_MODEL
from slm_lsp.trace import KEYS
from slm_lsp.wiring import obtain

pytestmark = pytest.mark.e2e

ONE_THREAD = ["--threads", "1", "--batch-threads", "1"]
# The daemon has a test of its own below; here each server's engine ends with it.
SERVE = ["-m", "slm_lsp", "serve", "--engine", "inproc", *ONE_THREAD]
# What the model is not sure of is of use here, too.
GENEROUS = {
    "automatic_budget_ms": 60_000,
    "invoked_budget_ms": 120_000,
    "confidence_gate": "off",
}
CLIENTS = sorted(path.stem for path in INITIALIZE_DIR.glob("*.json"))
STATS = "slm-lsp.stats"
N_POLLS = 30

SOURCE = '''\
"""Distances between points."""

import math


class Point:
    def __init__(self, x: float, y: float) -> None:
        self.x = x
        self.y = y

    def distance(self, other: "Point") -> float:
        """The distance to another point."""
'''
TYPED = "        dx = self.x - other.x\n        dy = "
# A block that the model goes on with until it may not: a line of a list would be over, and its
# alternatives begun, before anybody could cancel it.
ENDLESS = "def names():\n    names = []\n" + "".join(
    f"    names.append('name {i}')\n" for i in range(8)
)
ENDLESS += "    "
ALWAYS = {"session", "version", "trigger", "origin", "reject", "n_chars", "stages_ms", "request_ms"}
ANSWERED = {"finish", "n_prompt", "n_cached", "n_predicted", "ttft_ms", "engine_ms", "want"}
FIGURES = {"text", "origin", "finish", "reject", "model", "n_prompt", "n_cached"} | {
    *("n_predicted", "ttft_ms", "total_ms", "alternatives")
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """This process's, without the settings of its user and what was read for earlier tests; the
    model is the user's."""
    folders = {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("CONFIG", "CACHE")}
    return {**os.environ, CACHE_DIR_VARIABLE: str(cache_root()), **folders}


# --- a session, by pytest-lsp ---


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace.jsonl"


def lines(trace: Path) -> list[Json]:
    return [json.loads(line) for line in trace.read_text().splitlines()]


@pytest_asyncio.fixture
async def client(trace: Path, environment: dict[str, str]) -> AsyncIterator[LanguageClient]:
    """A client as VS Code is one; its server has the model ready."""
    client = make_test_lsp_client()
    await client.start_io(sys.executable, *SERVE, "--trace", str(trace), env=environment)
    limits = {"max_block_tokens": 400, "max_block_lines": 200}
    await client.initialize_session(
        lsp.InitializeParams(
            capabilities=client_capabilities("visual_studio_code"),
            initialization_options={**GENEROUS, **limits},
        )
    )
    while (await stats(client))["state"] == "loading":
        pass
    yield client
    await client.shutdown_session()
    untyped: Any = client
    await untyped.stop()
    assert client.error is None
    assert client.messages == []
    assert client._server is not None
    assert client._server.returncode == 0


async def engine_counters(client: Any) -> dict[str, Any]:
    """What the engine has done; processor time goes on while it does nothing."""
    counters = (await stats(client))["engine"]
    return {name: count for name, count in counters.items() if name != "cpu_s"}


async def stats(client: LanguageClient) -> Json:
    answer: Any = await client.workspace_execute_command_async(
        lsp.ExecuteCommandParams(command=STATS)
    )
    return dict(answer)


def open_document(client: LanguageClient, text: str) -> None:
    item = lsp.TextDocumentItem(uri=URI, language_id="python", version=1, text=text)
    client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))


def type_text(client: LanguageClient, at: lsp.Position, text: str) -> lsp.Position:
    """Type at a position, a character a notification; return the position behind."""
    line, character = at.line, at.character
    for version, letter in enumerate(text, start=2):
        here = lsp.Position(line, character)
        change = lsp.TextDocumentContentChangePartial(range=lsp.Range(here, here), text=letter)
        identifier = lsp.VersionedTextDocumentIdentifier(uri=URI, version=version)
        client.text_document_did_change(lsp.DidChangeTextDocumentParams(identifier, [change]))
        line, character = (line + 1, 0) if letter == "\n" else (line, character + 1)
    return lsp.Position(line, character)


def inline_params(position: lsp.Position) -> lsp.InlineCompletionParams:
    return lsp.InlineCompletionParams(
        context=lsp.InlineCompletionContext(lsp.InlineCompletionTriggerKind.Invoked),
        text_document=lsp.TextDocumentIdentifier(URI),
        position=position,
    )


async def inline_text(client: LanguageClient, position: lsp.Position) -> str:
    """The text of the first item, which must stand at `position`."""
    answer = await client.text_document_inline_completion_async(inline_params(position))
    assert isinstance(answer, lsp.InlineCompletionList)
    item, *_ = answer.items
    assert item.range == lsp.Range(position, position)
    assert isinstance(item.insert_text, str)
    return item.insert_text


async def test_typing_is_completed_both_ways(client: LanguageClient, trace: Path) -> None:
    open_document(client, SOURCE)
    end = type_text(client, lsp.Position(SOURCE.count("\n"), 0), TYPED)
    text = await inline_text(client, end)
    assert text.strip()
    popup = await client.text_document_completion_async(
        lsp.CompletionParams(text_document=lsp.TextDocumentIdentifier(URI), position=end)
    )
    assert isinstance(popup, lsp.CompletionList)
    assert popup.is_incomplete
    assert popup.items
    assert popup.items[0].label.strip()
    # The same place again: the same text, remembered, and no work for the engine.
    edit = popup.items[-1].text_edit
    assert isinstance(edit, lsp.TextEdit)
    assert edit.new_text == text

    first, second = lines(trace)
    assert first.keys() >= ANSWERED
    for line, origin in ((first, "model"), (second, "reused")):
        assert KEYS.keys() >= line.keys() >= ALWAYS
        assert (line["session"], line["origin"], line["reject"]) == (URI, origin, None)
        assert line["version"] == 1 + len(TYPED)
        assert SOURCE.split("\n")[0] not in json.dumps(line)
    assert (first["trigger"], second["trigger"]) == ("invoked", "automatic")
    assert not ANSWERED & second.keys()
    assert (await stats(client))["n_requests"] == 2
    for reports in client.progress_reports.values():
        kinds = [type(report).__name__ for report in reports]
        assert not kinds or (kinds[0], kinds[-1]) == (
            "WorkDoneProgressBegin",
            "WorkDoneProgressEnd",
        )


async def test_cancelling_stops_the_engine_within_a_step(
    client: LanguageClient, trace: Path
) -> None:
    open_document(client, ENDLESS)
    position = lsp.Position(ENDLESS.count("\n"), 4)
    # The only way to know a request's id.
    protocol: Any = client.protocol
    asked = protocol.send_request_async(
        "textDocument/inlineCompletion", inline_params(position), msg_id="to be cancelled"
    )
    answer = asyncio.ensure_future(asked)
    while (await stats(client))["engine"]["n_decode_steps"] < 3:
        assert not answer.done(), "the generation ended before it could be cancelled"
    client.cancel_request(lsp.CancelParams(id="to be cancelled"))
    with pytest.raises(JsonRpcRequestCancelled):
        await answer
    while (await stats(client))["engine"]["n_queued"]:
        pass
    counters = await engine_counters(client)
    assert (counters["n_cancelled"], counters["n_finished"]) == (1, 0)
    assert counters["n_cancelled_steps"] <= 1
    for _ in range(N_POLLS):
        assert await engine_counters(client) == counters
    [line] = lines(trace)
    assert line["reject"] == "cancelled"

    await inline_text(client, position)
    # What is read behind the answer may be finished by now, too.
    assert (await stats(client))["engine"]["n_finished"] >= 1


# --- real clients' first messages ---


async def until_loaded(editor: PipeEditor) -> str:
    """The engine's state once it is loading no more."""
    state = "loading"
    while state == "loading":
        answer = await editor.call("workspace/executeCommand", {"command": STATS})
        state = answer["state"]
    return state


@pytest.mark.parametrize("name", CLIENTS)
async def test_real_clients(name: str, environment: dict[str, str]) -> None:
    params: Json = json.loads((INITIALIZE_DIR / f"{name}.json").read_text())
    # Its processes and folders are not this machine's.
    params["processId"] = None
    params["initializationOptions"] = {**GENEROUS, "max_line_tokens": 12}
    async with PipeEditor(SERVE, capabilities=params["capabilities"], env=environment) as editor:
        await editor.start(**params)
        assert await until_loaded(editor) == "ready"
        position = await editor.open(f"import os\n\n# 😀\npath = os.path.join({CURSOR}\n")
        item, *_ = await editor.inline(position)
        assert item["insertText"].strip()
        [item] = await editor.popup(position)
        assert editor.accept(item).startswith(editor.texts[URI].rstrip("\n"))
        kinds = editor.take_progress()
        assert not kinds or (kinds[0], kinds[-1]) == ("begin", "end")
    assert editor.stderr == ""


# --- the daemon ---


async def test_two_servers_share_a_daemon(environment: dict[str, str]) -> None:
    serve = ["-m", "slm_lsp", "serve", "--engine", "daemon", *ONE_THREAD]
    with tempfile.TemporaryDirectory(prefix="slm-") as runtime:
        env = {**environment, "XDG_RUNTIME_DIR": runtime, "XDG_STATE_HOME": runtime}

        def daemon(action: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "slm_lsp", "daemon", action]
            return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

        try:
            async with PipeEditor(serve, env=env) as one, PipeEditor(serve, env=env) as two:
                for editor in (one, two):
                    await editor.start(initializationOptions=GENEROUS)
                    assert await until_loaded(editor) == "ready"
                    position = await editor.open(f"import os\n\npath = os.path.join({CURSOR}\n")
                    item, *_ = await editor.inline(position)
                    assert item["insertText"].strip()
                status = await asyncio.to_thread(daemon, "status")
                assert "ready" in status.stdout
                assert "servers: 2" in status.stdout
                assert status.stdout.count("pid ") == 1
        finally:
            stopped = await asyncio.to_thread(daemon, "stop")
        assert stopped.stdout == "stopped: 1\n"


# A slow machine reads for 4 s at the most; a busy one may take longer.
READ_PATIENCE_S = 120.0


async def until_read(editor: PipeEditor, n_tokens: int) -> None:
    """Until the engine has read so many tokens, and has nothing left to do."""
    async with asyncio.timeout(READ_PATIENCE_S):
        await _until_read(editor, n_tokens)


async def _until_read(editor: PipeEditor, n_tokens: int) -> None:
    engine = {"n_prefill_tokens": 0, "n_queued": 1}
    while engine["n_prefill_tokens"] < n_tokens or engine["n_queued"]:
        answer = await editor.call("workspace/executeCommand", {"command": STATS})
        engine = answer["engine"]


async def test_a_restarted_editor_goes_on_from_what_was_read(
    environment: dict[str, str], trace: Path
) -> None:
    """A new place is answered behind what can be read in time, and more is read then; the next
    editor's first request is answered behind all of it."""
    command = ["-m", "slm_lsp", "serve", "--engine", "daemon", *ONE_THREAD, "--trace", str(trace)]
    functions = (f"def add_{n}(x):\n    return x + {n}\n\n\n" for n in range(200))
    text = "".join(functions) + f"def add_200(x):\n    return {CURSOR}\n"
    with tempfile.TemporaryDirectory(prefix="slm-") as runtime:
        env = {**environment, "XDG_RUNTIME_DIR": runtime, "XDG_STATE_HOME": runtime}
        try:
            for _ in range(2):
                async with PipeEditor(command, env=env) as editor:
                    await editor.start()
                    assert await until_loaded(editor) == "ready"
                    await editor.inline(await editor.open(text))
                    first, *again = lines(trace)
                    # What is left to read is at least as much again.
                    is_enough = 2 * first["n_window"] > Config().prompt_tokens
                    if not again and not is_enough:
                        await until_read(editor, 2 * first["n_prompt"])
        finally:
            stop = [sys.executable, "-m", "slm_lsp", "daemon", "stop"]
            await asyncio.to_thread(subprocess.run, stop, env=env, capture_output=True, check=True)
    [last] = again
    assert first["n_cached"] == 0
    assert is_enough or 2 * first["n_window"] <= last["n_window"]
    assert first["n_prompt"] <= last["n_prompt"] <= last["n_cached"] + 1


# --- models that cannot be loaded ---


@pytest.fixture(scope="session")
def half_a_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "half.gguf"
    whole = obtain(Config(model=DEFAULT_MODEL)).path
    n_bytes = whole.stat().st_size // 2
    with whole.open("rb") as source, path.open("wb") as target:
        while n_bytes > 0:
            n_bytes -= target.write(source.read(min(n_bytes, 1 << 20)))
    return path


async def check_broken_model(path: Path, says: str, environment: dict[str, str]) -> None:
    """The user is told once, by a message that names the file; the server goes on."""
    async with PipeEditor([*SERVE, "--model", str(path)], env=environment) as editor:
        await editor.start()
        shown = await editor.take("window/showMessage")
        assert shown["type"] == lsp.MessageType.Error
        assert str(path) in shown["message"]
        assert says in shown["message"]
        assert await until_loaded(editor) == "failed"
        position = await editor.open(f"x = {CURSOR}\n")
        assert await editor.inline(position) == []
        assert await editor.popup(position) == []
        assert await editor.call("workspace/executeCommand", {"command": STATS})


async def test_half_a_model(half_a_model: Path, environment: dict[str, str]) -> None:
    await check_broken_model(half_a_model, "obtain it again", environment)


async def test_a_file_that_is_no_model(tmp_path: Path, environment: dict[str, str]) -> None:
    for content, says in (
        (b"no model", "not a GGUF"),
        (b"", "not a GGUF"),
        (b"GGUF", "incomplete or damaged"),
        (b"GGUF" + bytes(range(256)) * 8, "which is not known here"),
        (b"GGUF\x03" + bytes(2_000), "llama.cpp cannot load"),
    ):
        path = tmp_path / "no model.gguf"
        path.write_bytes(content)
        await check_broken_model(path, says, environment)


async def test_a_model_that_is_missing(tmp_path: Path, environment: dict[str, str]) -> None:
    await check_broken_model(tmp_path / "missing.gguf", "cannot read", environment)


# --- the command line ---


def complete(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slm_lsp", "complete", *arguments, *ONE_THREAD]
    env = {**environment, "SLM_LSP_PROMPT_TOKENS": "128"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("module", "line"), [("bisect", 20), ("colorsys", 60), ("fnmatch", 40)])
def test_complete_in_the_standard_library(
    module: str, line: int, environment: dict[str, str]
) -> None:
    path = Path(os.__file__).parent / f"{module}.py"
    done = complete(environment, f"{path}:{line}:1", "--json", "--budget-ms", "60000")
    figures = json.loads(done.stdout)
    assert figures.keys() == FIGURES
    assert figures["model"] == DEFAULT_MODEL
    assert figures["n_prompt"] > 0
    assert figures["total_ms"] > 0
    assert done.returncode == (0 if figures["text"] else 1), done.stderr


def test_complete_without_a_model(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "missing.gguf"
    done = complete(environment, f"{__file__}:1:1", "--model", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("slm-lsp: cannot read the model file")
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr
