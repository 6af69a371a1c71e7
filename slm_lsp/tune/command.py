"""`slm-lsp tune`: measure, say, and write the settings.

Owns: the order of these, what is asked, and the exit status: 0 something was recommended, 1 nothing
keeps the budget or nothing could be measured.

Invariant: stdout carries the result, stderr progress and doubts. Settings are written only after
`--write` or a yes on a terminal, and a file made here is kept only then.

Threads: the main thread.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from slm_lsp import __version__
from slm_lsp.cli import UsageError
from slm_lsp.config import Config, from_environment, load, usable_cores
from slm_lsp.registry.cache import cache_root, state
from slm_lsp.registry.specs import ModelSpec, SpecError, load_specs
from slm_lsp.settings_file import SettingsError, config_path, write_settings
from slm_lsp.tune import find, machine, wording
from slm_lsp.tune.candidate import Candidate
from slm_lsp.tune.children import measure_in_child
from slm_lsp.tune.estimate import estimated
from slm_lsp.tune.find import FindError, Found
from slm_lsp.tune.plot import PlotError, save_plot
from slm_lsp.tune.progress import show_progress
from slm_lsp.tune.recommend import Limits, Verdict, judge, recommended
from slm_lsp.tune.session import Measurer, Scope, Session, working_folder
from slm_lsp.tune.table import print_table
from slm_lsp.wiring import looks_like_path


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line."""

    models: tuple[str, ...] = ()
    quick: bool = False
    json_file: Path | None = None
    plot_file: Path | None = None
    write: bool = False


def tune(config: Config, options: Options, measurer: Measurer = measure_in_child) -> int:
    """Run the command. Raises UsageError."""
    signal.signal(signal.SIGTERM, _end)
    try:
        return _tune(config, options, measurer)
    except (FindError, SpecError, PlotError, SettingsError) as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{error.filename or 'tune'}: {error.strerror or error}") from error


def _end(number: int, frame: FrameType | None) -> None:
    # Unwinds, so that nothing is left behind.
    raise SystemExit(128 + number)


def _tune(config: Config, options: Options, measurer: Measurer) -> int:
    specs = load_specs()
    found = _found(config, options, specs)
    limits = _limits(config)
    load_average = machine.load_average()
    with working_folder(cache_root()) as folder:
        with show_progress(sys.stderr) as report:
            session = Session(folder, _scope(config, options, limits), report, measurer)
            measured = session.run(found)
        candidates = [*measured, *_estimates(specs, measured, config.context_tokens)]
        verdicts = _judged(candidates, limits)
        failed = [each for each in measured if each.trouble]
        best = recommended(verdicts)
        print_table(verdicts, best, limits, sys.stdout)
        print("\n".join(wording.explain(verdicts, failed, limits)))
        doubts = wording.doubts(verdicts, load_average, limits)
        print("".join(f"slm-lsp: {doubt}\n" for doubt in doubts), end="", file=sys.stderr)
        _save(options, verdicts, failed, limits, config, load_average)
        if best is None:
            return 1
        _offer(best, options, specs, session.made)
    return 0


def _found(config: Config, options: Options, specs: Mapping[str, ModelSpec]) -> list[Found]:
    """What to measure: what was named, or all that is here. Raises FindError."""
    names = options.models
    if not names and looks_like_path(config.model):
        names = (config.model,)
    files = [Path(name).expanduser() for name in names if looks_like_path(name)]
    named = [name for name in names if not looks_like_path(name)]
    found = [each for file in files for each in find.find_file(file, not options.quick)]
    if named or not options.models:
        found += find.find_ready(specs, named)
    if options.quick:
        found = [each for each in found if each.path is not None]
    if not found:
        raise FindError("no model is here yet: `slm-lsp models pull` obtains the default model")
    return found


def _limits(config: Config) -> Limits:
    return Limits(
        budget_ms=config.automatic_budget_ms,
        memory_bytes=machine.memory_to_be_had(),
        prompt_tokens=config.prompt_tokens,
        context_tokens=config.context_tokens,
        n_cores=usable_cores(),
    )


def _scope(config: Config, options: Options, limits: Limits) -> Scope:
    counts = machine.thread_counts(limits.n_cores, few=options.quick)
    return Scope(
        n_ctx=config.context_tokens,
        prompt_tokens=config.prompt_tokens,
        # What is set now is measured, too, so that it can be compared.
        decode_threads=tuple(sorted({*counts, config.n_threads})),
        batch_threads=tuple(sorted({*counts, config.n_threads_batch})),
        memory_bytes=limits.memory_bytes,
        quick=options.quick,
    )


def _estimates(
    specs: Mapping[str, ModelSpec], measured: Sequence[Candidate], n_ctx: int
) -> list[Candidate]:
    here = {each.model for each in measured}
    return [
        estimated(candidate, measured, own_bytes)
        for candidate, own_bytes in find.absent(specs, n_ctx)
        if candidate.model not in here
    ]


def _judged(candidates: Sequence[Candidate], limits: Limits) -> list[Verdict]:
    """Verdicts of all that has figures; of a model that is not here the best one alone."""
    verdicts = [each for each in (judge(each, limits) for each in candidates) if each is not None]
    shown: list[Verdict] = [each for each in verdicts if not each.candidate.is_estimate]
    guesses: dict[str, list[Verdict]] = {}
    for each in verdicts:
        if each.candidate.is_estimate:
            guesses.setdefault(each.candidate.model, []).append(each)
    for group in guesses.values():
        kept = [each for each in group if each.keeps]
        shown.append(
            max(kept, key=lambda each: each.candidate.quality)
            if kept
            else min(group, key=lambda each: each.warm_ms)
        )
    return sorted(shown, key=lambda each: (each.candidate.is_estimate, each.candidate.file_bytes))


def _save(
    options: Options,
    verdicts: Sequence[Verdict],
    failed: Sequence[Candidate],
    limits: Limits,
    config: Config,
    load_average: float,
) -> None:
    if options.json_file is not None:
        best = recommended(verdicts)
        document: dict[str, Any] = {
            "slm_lsp": __version__,
            "quick": options.quick,
            "load_average": round(load_average, 2),
            "limits": dataclasses.asdict(limits),
            "verdicts": [dataclasses.asdict(each) for each in verdicts],
            "failed": [dataclasses.asdict(each) for each in failed],
            "recommended": dataclasses.asdict(best) if best is not None else None,
        }
        options.json_file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if options.plot_file is not None:
        save_plot(verdicts, limits, config.invoked_budget_ms, options.plot_file)


def _offer(
    best: Verdict, options: Options, specs: Mapping[str, ModelSpec], made: Mapping[Path, Path]
) -> None:
    """Write the settings, if that is wanted. Raises SettingsError."""
    path = config_path()
    # What the environment or the command line say is not the file's.
    current, _ = load(path)
    spec = specs.get(best.candidate.model)
    default = spec.quantization().name if spec is not None else ""
    changed = wording.settings_for(best, current, default)
    if not changed:
        print("Your settings say so already.")
        return
    lines = [f"  {name} = {json.dumps(value)}" for name, value in changed.items()]
    print("\n".join([f"Settings for it ({path}):", *lines]))
    if not options.write and not _agreed():
        print("Nothing was written; `slm-lsp tune --write` does.")
        return
    kept = Path(best.candidate.model)
    if kept in made:
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        os.replace(made[kept], kept)
    write_settings(changed)
    print(
        "Written. `slm-lsp daemon stop` ends the daemon that has the old ones; restart the editor."
    )
    for name in sorted(changed.keys() & from_environment(os.environ).keys()):
        print(f"slm-lsp: the environment sets {name}, too, and goes before", file=sys.stderr)
    if spec is not None and state(spec, best.candidate.quantization) != "ready":
        print(
            f"`slm-lsp models pull {spec.name} --quantization {best.candidate.quantization}` makes "
            "the file ready; else the first start does."
        )


def _agreed() -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    try:
        return input("Write them? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
