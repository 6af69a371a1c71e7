"""The command line: serve, daemon, complete, models, tune, stats, why, doctor.

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
from typing import TYPE_CHECKING, Any

from slm_lsp import __version__
from slm_lsp.config import FIELDS, Config, default_engine, load
from slm_lsp.settings_file import config_path

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
    except BrokenPipeError:  # as with `| head`; without this, flushing at exit fails once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


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
    _add_tune(commands)
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
    models = commands.add_parser("models", help="obtain, choose and list models")
    actions = models.add_subparsers(required=True, metavar="ACTION")
    _add_models_list(actions)
    what = "name of a model, or where it is: hf:OWNER/REPO/FILE.gguf, https://…, ollama:NAME:TAG"
    pull = _action(actions, "pull", "obtain a model, check it and make it ready")
    pull.add_argument("name", nargs="?", help=f"{what} (default: the default model)")
    pull.add_argument("--quantization", help="which quantization (default: the model's default)")
    pull.add_argument("--force", action="store_true", help="obtain it even if it is there")
    use = _action(actions, "use", "obtain a model if need be, try it, and use it from now on")
    use.add_argument("name", help=f"{what}, or the path of a GGUF file")
    use.add_argument("--quantization", help="which quantization (default: the model's default)")
    remove = _action(actions, "remove", "take a model off the disk")
    remove.add_argument("name", help=what)
    remove.add_argument("--quantization", help="only this one (default: all)")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    verify = _action(actions, "verify", "read what is here and compare it with its hash")
    verify.add_argument("name", nargs="?", help="which model (default: all that are here)")
    add = _action(actions, "add", "write an entry of your own for a model")
    add.add_argument("name", help="what it is to be called")
    add.add_argument("location", help=what)
    add.add_argument("--family", help="whose prompts it takes; it is then not fetched to look")
    add.add_argument("--quantization", help="what the file is, where its name does not tell")
    info = _action(actions, "info", "show what is known of a model, or of a GGUF file")
    info.add_argument("name", nargs="?", help=f"{what}, or a path (default: the model in use)")


def _add_models_list(actions: Commands) -> None:
    listing = _action(actions, "list", "show name, size, licence and state of each model")
    listing.add_argument("--all", action="store_true", help="each quantization, each file found")
    listing.add_argument("--json", action="store_true", help="print an object with all facts")


def _action(actions: Commands, name: str, text: str) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=text)
    action.set_defaults(command=_models, action=name)
    return action


def _add_tune(commands: Commands) -> None:
    tune = commands.add_parser(
        "tune",
        help="measure this machine and recommend model, quantization and threads",
        description="Measure each model that is here, on this machine, and recommend the best one "
        "that keeps the budget. It takes up to 3 minutes, and one for each further model.",
    )
    tune.set_defaults(command=_tune)
    tune.add_argument(
        "--model",
        dest="models",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME|PATH",
        help="names of models, or paths of GGUF files (default: all that are here)",
    )
    tune.add_argument(
        "--quick",
        action="store_true",
        help="half a minute: fewer rounds, and only quantizations that are here",
    )
    tune.add_argument(
        "--budget-ms", type=float, dest="automatic_budget_ms", help="the time to keep"
    )
    tune.add_argument("--json", metavar="FILE", help="write all figures here")
    tune.add_argument("--plot", metavar="FILE", help="write a plot here (SVG; needs matplotlib)")
    tune.add_argument(
        "--write", "--yes", action="store_true", help="write the settings without asking"
    )


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
    parser.add_argument("--model", help="name of a model, path of a GGUF file, or a location")
    parser.add_argument("--quantization", help="which quantization of the model")
    parser.add_argument("--threads", type=int, help="threads for generating")
    parser.add_argument("--batch-threads", type=int, help="threads for reading prompts")
    parser.add_argument("--trace", metavar="FILE", help="append one JSON line a request")


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


def _models(options: argparse.Namespace) -> int:
    from slm_lsp import models_cli
    from slm_lsp.models_named import ModelsError, explained

    # No option of these commands is a setting.
    config, problems = load(config_path(), os.environ, {})
    for problem in problems:
        print(f"slm-lsp: {problem}", file=sys.stderr)
    try:
        with explained():
            return models_cli.run(options, config)
    except ModelsError as error:
        raise UsageError(str(error)) from error


def _tune(options: argparse.Namespace) -> int:
    from pathlib import Path

    from slm_lsp.tune.command import Options, tune

    asked = Options(
        models=tuple(options.models),
        quick=options.quick,
        json_file=Path(options.json) if options.json else None,
        plot_file=Path(options.plot) if options.plot else None,
        write=options.write,
    )
    return tune(_config_or_warn(options), asked)


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
