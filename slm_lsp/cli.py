"""The command line: serve, daemon, complete, models, stats, why, doctor.

Owns: the options, their help, and the exit statuses: 0 done, 1 nothing to show or something
found wrong, 2 wrong use, with one sentence on stderr.

Invariant: stdout carries results (or the protocol) only; imports are made by the command that
needs them, so that `serve` starts fast.

Threads: the main thread.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slm_lsp import __version__
from slm_lsp.config import FIELDS, Config, default_engine, load

CLI_BUDGET_MS = 15_000.0
# What `completion.sessions_file` keeps, which `serve` must not import.
DAYS_KEPT = 30
MAX_DAYS = 36_500
WHY_REQUESTS = 10
MAX_ALTERNATIVES = 2

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


class UsageError(Exception):
    """What the user asked for cannot be done; the message says why."""


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr,
        level=options.log_level.upper(),
        format="slm-lsp %(levelname)s %(name)s: %(message)s",
    )
    try:
        return int(options.command(options))
    except UsageError as error:
        print(f"slm-lsp: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="slm-lsp", description="Code completion on your own CPU, within a latency budget."
    )
    parser.add_argument("--version", action="version", version=f"slm-lsp {__version__}")
    parser.add_argument(
        "--log-level",
        default="warning",
        choices=("debug", "info", "warning", "error"),
        help="how much to say on stderr (default: warning)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_daemon(commands)
    _add_complete(commands)
    _add_models(commands)
    _add_stats(commands)
    _add_why(commands)
    _add_doctor(commands)
    return parser


def _add_serve(commands: Commands) -> None:
    serve = commands.add_parser("serve", help="speak LSP on stdin and stdout")
    serve.set_defaults(command=_serve)
    _add_model_options(serve)
    serve.add_argument("--automatic-budget-ms", type=float, help="time to answer while typing")
    serve.add_argument("--invoked-budget-ms", type=float, help="time to answer when asked for")
    serve.add_argument(
        "--engine",
        choices=("daemon", "inproc"),
        help=f"the model in a shared daemon, or in the server (default: {default_engine()})",
    )
    _add_daemon_idle(serve)
    # Editors add it for every server; stdio is all there is.
    serve.add_argument("--stdio", action="store_true", help=argparse.SUPPRESS)


def _add_daemon_idle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--daemon-idle-minutes",
        type=float,
        help="time without a request after which the daemon ends (default: 30)",
    )


def _add_daemon(commands: Commands) -> None:
    daemon = commands.add_parser("daemon", help="the process that holds the model for all servers")
    daemon.set_defaults(command=_daemon_run)
    _add_model_options(daemon)
    daemon.add_argument("--context-tokens", type=int, help="size of the model's context")
    _add_daemon_idle(daemon)
    daemon.add_argument("--drafts", choices=("on", "off"), help="try what was written before")
    daemon.add_argument("--keep-kv", choices=("on", "off"), help="keep what was read on the disk")
    actions = daemon.add_subparsers(metavar="[ACTION]", help="without one: be the daemon")
    status = actions.add_parser("status", help="show each daemon of yours")
    status.set_defaults(command=_daemon_status)
    stop = actions.add_parser("stop", help="end each daemon of yours")
    stop.set_defaults(command=_daemon_stop)


def _add_complete(commands: Commands) -> None:
    complete = commands.add_parser("complete", help="print a completion for a place in a file")
    complete.set_defaults(command=_complete)
    complete.add_argument("place", metavar="PATH:LINE:COL", help="1-based line and column")
    complete.add_argument("--json", action="store_true", help="print an object with all figures")
    complete.add_argument(
        "--alternatives",
        type=int,
        choices=range(MAX_ALTERNATIVES + 1),
        default=0,
        metavar="N",
        help=f"so many other texts, too, if time is left (at most {MAX_ALTERNATIVES})",
    )
    complete.add_argument(
        "--budget-ms",
        type=float,
        default=CLI_BUDGET_MS,
        help=f"time to answer once the model is loaded (default: {CLI_BUDGET_MS:g})",
    )
    _add_model_options(complete)


def _add_models(commands: Commands) -> None:
    models = commands.add_parser("models", help="obtain and list models")
    actions = models.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="show name, size, licence and state of each model")
    listing.set_defaults(command=_models_list)
    pull = actions.add_parser("pull", help="obtain a model, check it and make it ready")
    pull.set_defaults(command=_models_pull)
    pull.add_argument("name", nargs="?", help="which model (default: the default model)")
    pull.add_argument("--quantization", help="which quantization (default: the model's default)")
    pull.add_argument("--force", action="store_true", help="obtain it even if it is there")


def _add_stats(commands: Commands) -> None:
    stats = commands.add_parser("stats", help="show how fast and how useful it was, over sessions")
    stats.set_defaults(command=_stats)
    stats.add_argument(
        "--days",
        type=_days,
        default=DAYS_KEPT,
        help=f"sessions of the last DAYS days (default: {DAYS_KEPT}, all that are kept)",
    )
    stats.add_argument("--json", action="store_true", help="print an object with all figures")


def _add_why(commands: Commands) -> None:
    why = commands.add_parser("why", help="show why there was no suggestion, and what to do")
    why.set_defaults(command=_why)
    why.add_argument(
        "-n",
        dest="n_requests",
        type=int,
        default=WHY_REQUESTS,
        help=f"so many of the last requests (default: {WHY_REQUESTS})",
    )
    why.add_argument(
        "--all", action="store_true", help="also what was shown, and what the editor took back"
    )
    why.add_argument("--json", action="store_true", help="print a list with all figures")


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days <= MAX_DAYS:
        raise argparse.ArgumentTypeError(f"must be a number of days, not {text!r}")
    return days


def _add_doctor(commands: Commands) -> None:
    doctor = commands.add_parser("doctor", help="check this machine and say what to do")
    doctor.set_defaults(command=_doctor)
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    _add_model_options(doctor)


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="name of a model, or path of a GGUF file")
    parser.add_argument("--quantization", help="which quantization of the model")
    parser.add_argument(
        "--library",
        choices=("llama.cpp", "ctransformers"),
        help="what runs the model (default: llama.cpp)",
    )
    parser.add_argument("--model-type", help="family of an older (GGML) file, for ctransformers")
    parser.add_argument("--gpu-layers", type=int, help="layers on the GPU; -1: all (default: 0)")
    parser.add_argument("--threads", type=int, help="threads for generating")
    parser.add_argument("--batch-threads", type=int, help="threads for reading prompts")
    parser.add_argument("--trace", metavar="FILE", help="append one JSON line a request")


def config_path() -> Path:
    """The user's settings file; it need not exist."""
    from platformdirs import user_config_path

    return user_config_path("slm-lsp") / "config.toml"


def _config(options: argparse.Namespace) -> tuple[Config, list[str]]:
    """The settings from file, environment and command line, and what is wrong with them."""
    given: dict[str, Any] = {}
    for name in FIELDS:
        if getattr(options, name, None) is not None:
            given[name] = getattr(options, name)
    return load(config_path(), os.environ, given)


def _config_or_warn(options: argparse.Namespace) -> Config:
    config, problems = _config(options)
    for problem in problems:
        print(f"slm-lsp: {problem}", file=sys.stderr)
    return config


def _serve(options: argparse.Namespace) -> int:
    from slm_lsp.lsp.stdio import serve

    config, problems = _config(options)
    return serve(config, problems)


def _daemon_run(options: argparse.Namespace) -> int:
    from slm_lsp.engine.rendezvous import RendezvousError
    from slm_lsp.wiring import run_daemon

    try:
        return run_daemon(_config_or_warn(options))
    except (RendezvousError, OSError) as error:
        raise UsageError(str(error)) from error


def _daemon_status(options: argparse.Namespace) -> int:
    from slm_lsp.control import show_daemons

    return show_daemons()


def _daemon_stop(options: argparse.Namespace) -> int:
    from slm_lsp.control import stop_daemons

    return stop_daemons()


def _complete(options: argparse.Namespace) -> int:
    from slm_lsp.oneshot import complete_place

    return complete_place(
        _config_or_warn(options),
        options.place,
        options.budget_ms,
        as_json=options.json,
        n_alternatives=options.alternatives,
    )


def _models_list(options: argparse.Namespace) -> int:
    from slm_lsp.registry.listing import format_list
    from slm_lsp.registry.specs import SpecError, load_specs

    try:
        print(format_list(load_specs()))
    except (SpecError, OSError) as error:
        raise UsageError(str(error)) from error
    return 0


def _models_pull(options: argparse.Namespace) -> int:
    from slm_lsp.registry.progress_bar import show_progress
    from slm_lsp.registry.pull import PullError, pull
    from slm_lsp.registry.specs import DEFAULT_MODEL, SpecError, load_specs

    try:
        specs = load_specs()
        name = options.name or DEFAULT_MODEL
        if name not in specs:
            raise UsageError(f"there is no model {name!r}; known are {', '.join(sorted(specs))}")
        with show_progress() as progress:
            path = pull(
                specs[name],
                quantization=options.quantization,
                progress=progress,
                force=options.force,
            )
    except (PullError, SpecError) as error:
        raise UsageError(str(error)) from error
    print(path)
    return 0


def _stats(options: argparse.Namespace) -> int:
    from slm_lsp.stats import show_stats

    return show_stats(options.days, as_json=options.json)


def _why(options: argparse.Namespace) -> int:
    from slm_lsp.why import show_why

    return show_why(options.n_requests, show_all=options.all, as_json=options.json)


def _doctor(options: argparse.Namespace) -> int:
    from slm_lsp.doctor import examine, render

    findings = examine(_config_or_warn(options))
    print(render(findings, as_json=options.json))
    return 0 if all(finding.ok for finding in findings) else 1
