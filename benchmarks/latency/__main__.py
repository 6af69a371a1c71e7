"""`python -m benchmarks.latency`: typing replayed at our server and at others' policies.

Run it with nothing else running. Prints the summaries, and writes every keystroke with --json
(after every session; the same command goes on where it was stopped) and the pictures with --plot.
`--model random-0.5b` and `random-1.5b` are models of random weights in the shapes of Qwen2.5-Coder,
made on first use (extra `bench`). All that is measured: `python -m benchmarks.latency.matrix`.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.latency import corpus, fleet
from benchmarks.latency.cold_sessions import make_cold_session
from benchmarks.latency.infill import InfillError, InfillServer, InfillSettings
from benchmarks.latency.llama_vim import LlamaVim
from benchmarks.latency.options import (
    SCRIPTED_EVERY,
    add_server_options,
    conditions,
    habits,
    model_file,
    run_to_end,
    server,
)
from benchmarks.latency.ours import Ours
from benchmarks.latency.policy import Policy
from benchmarks.latency.results import ResultFile
from benchmarks.latency.run import Progress, run
from benchmarks.latency.sessions import Session, make_session
from slm_lsp.config import Config


def _ours(options: argparse.Namespace, model: Path) -> Policy:
    return Ours(*server(options, model))


def _llama_vim(options: argparse.Namespace, model: Path, unlimited: bool = False) -> Policy:
    config = Config(threads=options.threads or 0, batch_threads=options.batch_threads or 0)
    settings = InfillSettings(
        model,
        config.n_threads,
        config.n_threads_batch,
        options.peer_context,
        options.peer_python,
    )
    infill = InfillServer(settings, os.environ.get("LLAMA_SERVER_URL", ""))
    return LlamaVim(infill, unlimited=unlimited)


POLICIES: dict[str, Callable[[argparse.Namespace, Path], Policy]] = {
    "ours": _ours,
    "llama.vim": _llama_vim,
    # For `coverage`: run it with --pace fast --accept never.
    "llama.vim-unlimited": functools.partial(_llama_vim, unlimited=True),
}
DEFAULT_POLICIES = ("ours", "llama.vim")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    add_server_options(parser)
    parser.add_argument("--sessions", type=int, default=12)
    parser.add_argument("--keystrokes", type=int, default=250, help="most of a session; 0: all")
    parser.add_argument("--policy", action="append", choices=sorted(POLICIES), help="repeatable")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pace", choices=("real", "fast"), default="real")
    parser.add_argument(
        "--cold", action="store_true", help="sessions that open a new file every few keys"
    )
    parser.add_argument(
        "--accept",
        default="auto",
        help="right (text that is right), never, or a number: every so many-th (default: right; "
        f"{SCRIPTED_EVERY} for random weights)",
    )
    parser.add_argument("--servers", type=int, default=0, help="also measure that many at once")
    parser.add_argument("--peer-python", default=sys.executable, help="has the wheel xllamacpp")
    parser.add_argument("--peer-context", type=int, default=8192, help="tokens")
    parser.add_argument(
        "--may-lack-peer", action="store_true", help="leave out a peer that the model cannot serve"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser


def _sessions(options: argparse.Namespace) -> list[Session]:
    texts = corpus.sources()
    make = make_cold_session if options.cold else make_session
    return [make(texts, options.seed, number) for number in range(options.sessions)]


async def _measure(options: argparse.Namespace, model: Path, file: ResultFile) -> dict[str, Any]:
    """Everything but what says how it was measured."""
    names = options.policy or list(DEFAULT_POLICIES)
    policies = [POLICIES[name](options, model) for name in names]
    done = {name: policy["sessions"] for name, policy in file.earlier().get("policies", {}).items()}
    progress = Progress(done, save=file.save, may_lack_peer=options.may_lack_peer)
    result = await run(_sessions(options), policies, habits(options), options.budget_ms, progress)
    if options.servers:
        result["servers"] = await fleet.measure(*server(options, model), options.servers)
    return result


def _conditions(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """What the figures depend on, but for the number of sessions."""
    typing = habits(options)
    return {
        "benchmark": "latency",
        **conditions(options, model),
        "seed": options.seed,
        "keystrokes": options.keystrokes,
        "pace": options.pace,
        "cold": options.cold,
        "accept_every": typing.every,
        "accepts": typing.accepts,
        "peer_context": options.peer_context,
    }


def main() -> int:
    options = _parser().parse_args()
    try:
        model = model_file(options.model)
        file = ResultFile(options.json, _conditions(options, model))
        result = file.save(run_to_end(_measure(options, model, file)), complete=True)
    except InfillError as error:
        print(f"benchmarks.latency: {error}", file=sys.stderr)
        return 1
    for name, policy in result["policies"].items():
        print(name, json.dumps(policy["summary"]))
    print("paired", json.dumps(result["paired"]), "servers", json.dumps(result.get("servers")))
    if options.plot:
        from benchmarks.latency.plots import plot

        plot(result, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
