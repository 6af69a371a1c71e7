"""`python -m benchmarks.latency`: typing replayed at our server and at others' policies.

Run it with nothing else running. Prints the summaries, and writes every keystroke with --json
and the pictures with --plot. `--model random-0.5b` and `random-1.5b` are models of random
weights in the shapes of Qwen2.5-Coder, made on first use (extra `bench`).
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.latency import corpus, fleet
from benchmarks.latency.infill import InfillError, InfillServer, InfillSettings
from benchmarks.latency.llama_vim import LlamaVim
from benchmarks.latency.ours import Ours, serve_command
from benchmarks.latency.policy import Policy
from benchmarks.latency.run import run
from benchmarks.latency.sessions import make_session
from benchmarks.latency.typist import Habits
from slm_lsp import __version__
from slm_lsp.config import Config

RANDOM_PREFIX = "random-"
# At a model of random weights, every so many-th suggestion is accepted, whatever it says.
SCRIPTED_EVERY = 6


def _ours(options: argparse.Namespace, model: Path) -> Policy:
    return Ours(*_command(options, model))


def _llama_vim(options: argparse.Namespace, model: Path, unlimited: bool = False) -> Policy:
    config = Config(threads=options.threads or 0, batch_threads=options.batch_threads or 0)
    settings = InfillSettings(
        model,
        config.n_threads,
        config.n_threads_batch,
        options.peer_context,
        options.peer_python,
    )
    server = InfillServer(settings, os.environ.get("LLAMA_SERVER_URL", ""))
    return LlamaVim(server, unlimited=unlimited)


POLICIES: dict[str, Callable[[argparse.Namespace, Path], Policy]] = {
    "ours": _ours,
    "llama.vim": _llama_vim,
    # For `report --unlimited`: run it with --pace fast --accept never.
    "llama.vim-unlimited": functools.partial(_llama_vim, unlimited=True),
}
DEFAULT_POLICIES = ("ours", "llama.vim")


def _command(options: argparse.Namespace, model: Path) -> tuple[list[str], dict[str, Any]]:
    # A model of the registry goes by its name: its template is not in its file.
    random_weights = options.model.startswith(RANDOM_PREFIX)
    name = str(model) if random_weights else options.model
    command, settings = serve_command(name, options.budget_ms)
    for setting in ("threads", "batch_threads"):
        if getattr(options, setting) is not None:
            settings[setting] = getattr(options, setting)
    return command, settings


def _model(name: str) -> Path:
    """The model's file: made, given, or obtained by the server's own command."""
    if name.startswith(RANDOM_PREFIX):
        from benchmarks.latency.weights import cached

        return cached(name)
    if name.endswith(".gguf"):
        return Path(name)
    pull = [sys.executable, "-m", "slm_lsp", "models", "pull", *([name] if name else [])]
    return Path(subprocess.run(pull, check=True, capture_output=True, text=True).stdout.strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--model", default="", help="name or GGUF file (default: the default)")
    parser.add_argument("--budget-ms", type=float, default=250.0)
    parser.add_argument("--sessions", type=int, default=12)
    parser.add_argument("--keystrokes", type=int, default=250, help="most of a session; 0: all")
    parser.add_argument("--policy", action="append", choices=sorted(POLICIES), help="repeatable")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pace", choices=("real", "fast"), default="real")
    parser.add_argument(
        "--accept",
        default="auto",
        help="right (text that is right), never, or a number: every so many-th (default: right; "
        f"{SCRIPTED_EVERY} for random weights)",
    )
    parser.add_argument("--servers", type=int, default=0, help="also measure that many at once")
    parser.add_argument("--threads", type=int, help="of both servers (default: ours)")
    parser.add_argument("--batch-threads", type=int)
    parser.add_argument("--peer-python", default=sys.executable, help="has the wheel xllamacpp")
    parser.add_argument("--peer-context", type=int, default=8192, help="tokens")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser


def _habits(options: argparse.Namespace) -> Habits:
    accept = options.accept
    if accept == "auto":
        random_weights = options.model.startswith(RANDOM_PREFIX)
        accept = str(SCRIPTED_EVERY) if random_weights else "right"
    every = int(accept) if accept.isdecimal() else None
    return Habits(options.keystrokes, options.pace == "real", accept != "never", every)


async def _measure(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """Everything but what says how it was measured."""
    task = asyncio.current_task()
    assert task is not None
    # Servers and daemons are ended then, too.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    texts = corpus.sources()
    sessions = [make_session(texts, options.seed, number) for number in range(options.sessions)]
    names = options.policy or list(DEFAULT_POLICIES)
    policies = [POLICIES[name](options, model) for name in names]
    habits = _habits(options)
    result = await run(sessions, policies, habits, options.budget_ms)
    if options.servers:
        result["servers"] = await fleet.measure(*_command(options, model), options.servers)
    return result


def _conditions(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """What the figures depend on."""
    habits = _habits(options)
    return {
        "benchmark": "latency",
        "slm_lsp": __version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "model": options.model or model.stem,
        "model_bytes": model.stat().st_size,
        "budget_ms": options.budget_ms,
        "seed": options.seed,
        "pace": options.pace,
        "accept_every": habits.every,
        "accepts": habits.accepts,
        "threads": options.threads,
        "batch_threads": options.batch_threads,
        "peer_context": options.peer_context,
    }


def main() -> int:
    options = _parser().parse_args()
    try:
        model = _model(options.model)
        measured = asyncio.run(_measure(options, model))
        result = {**_conditions(options, model), **measured}
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    except InfillError as error:
        print(f"benchmarks.latency: {error}", file=sys.stderr)
        return 1
    for name, policy in result["policies"].items():
        print(name, json.dumps(policy["summary"]))
    print("paired", json.dumps(result["paired"]), "servers", json.dumps(result.get("servers")))
    if options.json:
        options.json.write_text(json.dumps(result) + "\n", encoding="utf-8")
    if options.plot:
        from benchmarks.latency.plots import plot

        plot(result, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
