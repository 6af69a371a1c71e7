"""One completion from the command line: `slm-lsp complete PATH:LINE:COL`.

Owns: reading the file, finding the place, and printing what was found.

Invariant: the same pipeline as the server's, on an engine of its own; stdout gets the text
(or one JSON object) and nothing else.

Threads: the main thread runs the event loop; the engine has its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from slm_lsp.cli import UsageError
from slm_lsp.completion.completer import Completer
from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.policy import PLAIN
from slm_lsp.completion.reasons import explain
from slm_lsp.config import Config
from slm_lsp.context.languages import language_of_path
from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.engine.base import Engine, ModelLoadError
from slm_lsp.registry.progress_bar import show_progress
from slm_lsp.text.document import Document
from slm_lsp.text.position import Encoding
from slm_lsp.trace import Trace
from slm_lsp.types import CompletionRequest, EngineState, Trigger
from slm_lsp.wiring import obtain, start_inproc, start_server

MAX_FILE_BYTES = 16_000_000
# Between alternatives, where they are read by a human.
SEPARATOR = "----"


def parse_place(place: str) -> tuple[Path, int, int]:
    """Split PATH:LINE:COL, both 1-based. Raises UsageError."""
    path, *numbers = place.rsplit(":", 2)
    try:
        line, column = map(int, numbers)
    except ValueError:
        path = ""
    if not path:
        raise UsageError(f"{place!r} is not PATH:LINE:COL, such as src/app.py:12:5")
    if line < 1 or column < 1:
        raise UsageError(f"{place!r}: lines and columns are counted from 1")
    return Path(path), line, column


def read_source(path: Path) -> str:
    """The text of a source file. Raises UsageError for what is none."""
    try:
        if not path.is_file():
            raise UsageError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{path}: larger than {MAX_FILE_BYTES // 1_000_000} MB")
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    if b"\0" in raw:
        raise UsageError(f"{path}: a binary file, not source code")
    try:
        # Editors neither show a byte order mark nor count it.
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def locate(path: Path, line: int, column: int, text: str) -> tuple[Document, int]:
    """The document and the offset of a 1-based place. Raises UsageError beyond its end."""
    document = Document(
        path.resolve().as_uri(), language_of_path(str(path)), None, text, Encoding.UTF32
    )
    if line > document.n_lines:
        raise UsageError(f"{path} has {document.n_lines} lines, not {line}")
    offset = document.offset_at((line - 1, column - 1))
    n_columns = document.position_at(document.offset_at((line - 1, 1 << 30)))[1]
    if column - 1 > n_columns:
        raise UsageError(f"{path}: line {line} has {n_columns} characters: no column {column}")
    return document, offset


def complete_place(
    config: Config, place: str, budget_ms: float, *, as_json: bool, n_alternatives: int = 0
) -> int:
    """Print the completion at `place`; the exit status is 1 if there is none."""
    path, line, column = parse_place(place)
    document, offset = locate(path, line, column, read_source(path))
    if not config.server_url:
        obtain_with_bar(config)
    asked = _complete(config, document, offset, budget_ms, n_alternatives)
    outcome, model = asyncio.run(asked)
    if as_json:
        print(json.dumps(figures(outcome, model)))
    elif outcome.completion is not None:
        print(f"\n{SEPARATOR}\n".join(each.text for each in outcome.texts))
    else:
        said = explain(str(outcome.reject))
        why = f"{outcome.reject}. {said.sentence} {said.advice}"
        print(f"slm-lsp: no completion: {why}", file=sys.stderr)
    return 0 if outcome.completion is not None else 1


def figures(outcome: Outcome, model: str) -> dict[str, Any]:
    """All that is known of an outcome, as a JSON object."""
    completion, generation = outcome.completion, outcome.generation
    return {
        "text": completion.text if completion else "",
        "alternatives": [each.text for each in outcome.alternatives],
        "origin": completion.origin if completion else None,
        "finish": generation.finish if generation else None,
        "reject": outcome.reject,
        "model": model,
        "n_prompt": generation.n_prompt if generation else 0,
        "n_cached": generation.n_cached if generation else 0,
        "n_predicted": generation.n_predicted if generation else 0,
        "ttft_ms": round(generation.ttft_ms, 1) if generation and generation.ttft_ms else None,
        "total_ms": round(generation.total_ms, 1) if generation else 0.0,
    }


def obtain_with_bar(config: Config) -> None:
    """Have the model on the disk, with progress on stderr. Raises UsageError."""
    try:
        with show_progress() as progress:
            obtain(config, progress)
    except ModelLoadError as error:
        raise UsageError(str(error)) from error


async def ready_engine(config: Config) -> Engine:
    """A loaded engine. Raises UsageError if it cannot be loaded."""
    loop = asyncio.get_running_loop()
    settled = asyncio.Event()

    def on_state(state: EngineState) -> None:
        loop.call_soon_threadsafe(settled.set)

    def on_progress(text: str, done: float | None) -> None:
        pass

    if config.server_url:
        engine: Engine = start_server(config, on_state, on_progress)
    else:
        engine = start_inproc(config, on_state, on_progress)
    await settled.wait()
    if engine.state is not EngineState.READY:
        raise UsageError(engine.failure or "the model could not be loaded")
    return engine


async def _complete(
    config: Config, document: Document, offset: int, budget_ms: float, n_alternatives: int
) -> tuple[Outcome, str]:
    engine = await ready_engine(config)
    trace = Trace(Path(config.trace) if config.trace else None)
    gates = {name: getattr(config, name) == "on" for name in ("confidence_gate", "syntax_gate")}
    policy = replace(PLAIN, **gates)
    completer = Completer(engine, config, trace, policy=policy)
    try:
        outcome = await completer.complete(
            CompletionRequest(
                session=document.uri,
                snapshot=document.snapshot(),
                offset=offset,
                trigger=Trigger.INVOKED,
                deadline=Deadline.after(budget_ms),
                cancel=CancelToken(),
                n_alternatives=n_alternatives,
            )
        )
    finally:
        completer.close()
        engine.close()
        trace.close()
    return outcome, engine.info.name if engine.info else ""
