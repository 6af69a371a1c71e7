"""What the programs of this benchmark share: which model, which server, which habits.

Owns: the options for them, how a model's name becomes a file, and what SIGTERM does.

Invariant: a model of random weights is told by its name, also where it is given as a file.

Threads: the main thread.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.latency.ours import serve_command
from benchmarks.latency.typist import Habits
from slm_lsp import __version__

RANDOM_PREFIX = "random-"
DEFAULT = "default"
# At a model of random weights, every so many-th suggestion is accepted, whatever it says.
SCRIPTED_EVERY = 6

T = TypeVar("T")


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """The model, and what the server is started with."""
    parser.add_argument("--model", default="", help="name or GGUF file (default: the default)")
    parser.add_argument("--budget-ms", type=float, default=250.0)
    parser.add_argument("--threads", type=int, help="of both servers (default: ours)")
    parser.add_argument("--batch-threads", type=int)


def is_random(model: str) -> bool:
    """Whether a model's weights are random, so that what it says is never right."""
    return Path(model).name.startswith(RANDOM_PREFIX)


def label(model: str) -> str:
    """A model's name in results and file names."""
    return Path(model).name.removesuffix(".gguf") or DEFAULT


def model_file(name: str) -> Path:
    """The model's file: made, given, or obtained by the server's own command."""
    if name.endswith(".gguf"):
        return Path(name).resolve(strict=True)
    if is_random(name):
        from benchmarks.latency.weights import cached

        return cached(name)
    pull = [sys.executable, "-m", "slm_lsp", "models", "pull", *([name] if name else [])]
    return Path(subprocess.run(pull, check=True, capture_output=True, text=True).stdout.strip())


def server(options: argparse.Namespace, model: Path) -> tuple[list[str], dict[str, Any]]:
    """The command line of our server, and its settings."""
    # A model of the registry goes by its name: its template is not in its file.
    is_file = is_random(options.model) or options.model.endswith(".gguf")
    command, settings = serve_command(str(model) if is_file else options.model, options.budget_ms)
    for setting in ("threads", "batch_threads"):
        if getattr(options, setting) is not None:
            settings[setting] = getattr(options, setting)
    if is_random(options.model):
        # It is as unsure as can be of what it writes, and none of that is code; the peer shows it.
        settings["confidence_gate"] = settings["syntax_gate"] = "off"
    return command, settings


def habits(options: argparse.Namespace) -> Habits:
    """How the typist types."""
    accept = options.accept
    if accept == "auto":
        accept = str(SCRIPTED_EVERY) if is_random(options.model) else "right"
    every = int(accept) if accept.isdecimal() else None
    return Habits(options.keystrokes, options.pace == "real", accept != "never", every)


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run it; SIGTERM cancels it, so that it ends its servers and daemons."""

    async def watched() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)


def conditions(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """What the figures of every program depend on."""
    return {
        "slm_lsp": __version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "model": label(options.model),
        "model_bytes": model.stat().st_size,
        "budget_ms": options.budget_ms,
        "threads": options.threads,
        "batch_threads": options.batch_threads,
    }
