"""`slm-lsp models`: list, pull, use, remove, verify, add, info.

Owns: what each of these commands does and says.

Invariant: stdout carries results only, what is to be known beside them goes to stderr; whatever
fails raises ModelsError, whose message says what to do. No file that another program keeps is
ever removed.

Threads: the main thread.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from slm_lsp.config import ENV_PREFIX, Config
from slm_lsp.models_named import (
    ModelsError,
    all_entries,
    as_location,
    entry,
    explained,
    file_of,
    location_of,
    name_to_keep,
    say,
)
from slm_lsp.registry import cache, found, listing, naming, user_entry
from slm_lsp.registry.part import parts_of
from slm_lsp.registry.specs import DEFAULT_MODEL, ModelSpec, user_folder
from slm_lsp.registry.steps import PullProgress

Tick = Callable[[int], None]


def run(options: argparse.Namespace, config: Config) -> int:
    """Run one action, as the command line gave it; its exit status."""
    quantization = getattr(options, "quantization", None) or ""
    match options.action:
        case "list":
            return show_list(config, show_all=options.all, as_json=options.json)
        case "pull":
            return pull(options.name or DEFAULT_MODEL, quantization, force=options.force)
        case "use":
            return use(options.name, quantization, config, check_loads)
        case "remove":
            return remove(options.name, quantization, config.model, confirmed=options.yes)
        case "verify":
            return verify(options.name)
        case "add":
            return add(options.name, options.location, options.family or "", quantization)
        case _:
            return info(options.name or config.model or DEFAULT_MODEL)


def show_list(config: Config, *, show_all: bool, as_json: bool) -> int:
    """Print the models, and those that other programs have on this machine."""
    registry, programs = all_entries(), found.find_models()
    in_use = config.model or DEFAULT_MODEL
    rows = listing.rows(registry.specs, programs, in_use)
    if as_json:
        print(json.dumps(listing.as_json(rows, programs), indent=1))
        return 0
    print(listing.format_list(rows, each_quantization=show_all))
    lines = listing.format_located(in_use=in_use)
    if naming.kind_of(in_use) in ("path", "found"):
        lines.append(f"* {in_use}")
    if lines:
        print("\nWithout an entry:", *lines, sep="\n")
    if programs:
        lines = listing.format_found(programs, all_of_them=show_all)
        print("\nOther programs' (`slm-lsp models use NAME` takes them):", *lines, sep="\n")
    return 0


def pull(model: str, quantization: str, *, force: bool) -> int:
    """Obtain a model and print the path of its file."""
    kind = naming.kind_of(model)
    if kind in ("path", "found"):
        print(file_of(model))
        return 0
    with _progress() as progress:
        if kind == "location":
            print(_pull_location(model, quantization, progress, force))
            return 0
        spec = entry(model)
        from slm_lsp.registry.pull import pull as pull_entry

        chosen = spec.quantization(quantization or None).name
        is_new = force or cache.state(spec, chosen) != "ready"
        path = pull_entry(spec, quantization=chosen, progress=progress, force=force)
    known = {source.sha256 for source in spec.sources_of(chosen)}
    if is_new and (record := cache.read_sidecar(path)) and record.source_sha256 not in known:
        _say_of_first_use(record)
    _warn_of_licence(spec)
    print(path)
    return 0


def use(model: str, quantization: str, before: Config, check: Callable[[Config], None]) -> int:
    """Make the model the one that is used, once it was obtained and `check` has loaded it."""
    from slm_lsp.settings_file import write_settings

    name = name_to_keep(model)
    chosen = replace(before, model=name, quantization=quantization)
    if naming.kind_of(name) == "name":
        spec = entry(name)
        _warn_of_licence(spec)
        _warn_of_memory(spec, chosen)
    check(chosen)
    path = write_settings({"model": name, "quantization": quantization})
    print(f"{name} is the model from the next start on ({path})")
    old = before.model or DEFAULT_MODEL
    old_form = f" --quantization {before.quantization}" if before.quantization else ""
    say(f"to undo: slm-lsp models use {old}{old_form}")
    say("restart the language server in your editor; `slm-lsp daemon stop` ends the old model")
    for setting in ("model", "quantization"):
        if os.environ.get(variable := ENV_PREFIX + setting.upper()):
            say(f"{variable} is set and goes before the settings file: unset it")
    return 0


def remove(model: str, quantization: str, in_use: str, *, confirmed: bool) -> int:
    """Take a model's files off the disk, if the user confirms it."""
    from slm_lsp.registry.pull import locked

    kind = naming.kind_of(model)
    if kind in ("path", "found"):
        raise ModelsError(f"{model} is not this program's file: remove it where it is")
    folder, key, files = _removable(model, quantization)
    if not files:
        if kind == "name" and model not in (specs := all_entries().specs):
            raise ModelsError(naming.unknown(model, specs))
        print(f"{model} is not here: nothing to remove")
        return 0
    linked = [file for file in files if file.is_symlink()]
    for file in files:
        say(f"  {file}{' (a link; its target stays)' if file in linked else ''}")
    if model == (in_use or DEFAULT_MODEL):
        say("it is the model in use, which the next start would obtain again")
    if not confirmed and not _confirmed():
        print("nothing was removed")
        return 1
    with locked(folder, key):
        freed_bytes = sum(map(cache.remove, files))
    print(f"{model}: {freed_bytes / 1e6:.0f} MB freed")
    own = user_folder() / f"{model}.toml"
    if kind == "name" and own.exists():
        say(f"its entry stays: {own}")
    return 0


def verify(model: str | None) -> int:
    """Read what is here and compare it with its hash; 1 if something is damaged."""
    worst = 0
    with _progress() as progress:
        for shown, options, file, judge in list(_verifiable(model)):
            total_bytes = file.stat().st_size if file.exists() else 0

            def tick(done: int, total_bytes: int = total_bytes) -> None:
                progress(PullProgress("verify", min(done, total_bytes), total_bytes))

            state = judge(tick)
            again = f"; `slm-lsp models pull --force {options}` obtains it again"
            print(f"{shown}: {state}{again if state == 'damaged' else ''} ({file})")
            worst |= state == "damaged"
    return worst


def add(model: str, location: str, family: str, quantization: str) -> int:
    """Write an entry of the user's for a location."""
    location = as_location(location)
    if model in all_entries().specs and not (user_folder() / f"{model}.toml").exists():
        say(f"the project has an entry {model}, too: yours goes before it")
    if family:
        facts = user_entry.entry_unread(model, location, family, quantization)
        spec = user_entry.write_entry(facts, user_folder())
    else:
        # The facts of an entry stand in the file, so it is obtained first.
        with _progress() as progress:
            file = _pull_location(location, "", progress, force=False)
        facts = user_entry.entry_of_file(model, location, file, quantization)
        if record := cache.read_sidecar(file):
            facts = replace(facts, sha256=record.source_sha256)
        spec = user_entry.write_entry(facts, user_folder())
        _adopt(spec, file, location)
    print(spec.file)
    for fact in spec.unchecked:
        say(f"{fact} is not known: put it into that file")
    say(f"slm-lsp models use {model}")
    return 0


def info(model: str) -> int:
    """Print what is known of a model, or of a model file."""
    from slm_lsp.registry.describe import describe_model

    kind = naming.kind_of(model)
    if kind == "location":
        lines = _info_of_location(model)
    elif kind == "name":
        spec = entry(model)
        lines = [*describe_model(spec), *_recorded(spec)]
    else:
        lines = describe_model(file_of(model))
    print("\n".join(lines))
    return 0


def check_loads(config: Config) -> None:
    """Obtain the model and load it once. Raises ModelLoadError."""
    from slm_lsp.prompt.chat import chat_warning
    from slm_lsp.wiring import load_decoder, obtain

    with _progress() as progress:
        obtain(config, progress)

    def report(text: str, done: float | None) -> None:
        pass

    decoder = load_decoder(replace(config, context_tokens=256), report)
    try:
        if warning := chat_warning(decoder.info):
            say(f"{decoder.info.name}: {warning}")
    finally:
        decoder.close()


def _info_of_location(model: str) -> list[str]:
    from slm_lsp.registry.describe import describe_model

    location = location_of(model)
    spec = naming.spec_at(location, all_entries().specs.values())
    if spec is not None:
        return [f"{location} is {spec.name}:", *describe_model(spec)]
    file = cache.located_path(location)
    if cache.file_state(file) != "ready":
        raise ModelsError(f"{location} is not here: `slm-lsp models pull {location}` obtains it")
    return describe_model(file)


def _pull_location(
    location: str, quantization: str, progress: Callable[[PullProgress], None], force: bool
) -> Path:
    from slm_lsp.registry.pull import pull_location

    if naming.kind_of(location) == "path":
        return file_of(location)
    named = location_of(location)
    is_new = force or cache.file_state(cache.located_path(named, quantization)) != "ready"
    path = pull_location(named, quantization=quantization, progress=progress, force=force)
    if is_new and (record := cache.read_sidecar(path)):
        _say_of_first_use(record)
    return path


def _adopt(spec: ModelSpec, file: Path, location: str) -> None:
    """Make the file that was obtained for its location the entry's own."""
    record = cache.read_sidecar(file)
    if record is None:  # it lies where the user has it
        return
    from slm_lsp.registry.pull import locked

    target = cache.model_path(spec)
    with locked(target.parent, spec.name):
        cache.publish(
            file,
            target,
            record.source_sha256,
            spec.quantization().name,
            origin=location,
            sha256=record.sha256,
        )


def _removable(model: str, quantization: str) -> tuple[Path, str, list[Path]]:
    """The folder, the key of its lock, and the files that are there of a model."""
    if naming.kind_of(model) == "location":
        location = location_of(model)
        own = cache.located_path(location)
        paths = [own] if not quantization else [cache.located_path(location, quantization)]
        if not quantization:
            paths += sorted(own.parent.glob(f"{glob.escape(own.stem)}.*.gguf"))
    else:
        own = cache.cache_root() / "models" / model
        paths = list(cache.files_of(model))
        if quantization:
            paths = [each for each in paths if each.name == f"{model}.{quantization}.gguf"]
    key = own.stem if naming.kind_of(model) == "location" else model
    parts = [] if quantization else parts_of(own.parent, key)
    there = [each for each in paths if each.is_symlink() or each.exists()]
    return own.parent, key, [*there, *parts]


def _verifiable(
    model: str | None,
) -> Iterator[tuple[str, str, Path, Callable[[Tick], str]]]:
    """Name, options that obtain it, file and judgement of all that is here, or of one model."""
    specs = all_entries().specs
    if model is not None and naming.kind_of(model) == "name":
        specs = {model: entry(model)}
    n_found = 0
    for spec in specs.values() if model is None or model in specs else ():
        for known in spec.quantizations:
            if cache.state(spec, known.name) != "absent":
                n_found += 1
                yield (
                    f"{spec.name} {known.name}",
                    f"{spec.name} --quantization {known.name}",
                    cache.model_path(spec, known.name),
                    partial(cache.verify, spec, known.name, None),
                )
    wanted = location_of(model) if model and naming.kind_of(model) == "location" else None
    for file, record in cache.located_files():
        if model is None or record.origin == wanted:
            n_found += 1
            yield (
                record.origin,
                record.origin,
                file,
                partial(cache.file_state, file, True),
            )
    if not n_found:
        what = model or "any model"
        raise ModelsError(f"{what} is not here: `slm-lsp models pull` obtains one")


def _say_of_first_use(record: cache.Sidecar) -> None:
    from slm_lsp.registry.first_use import note_on

    if note := note_on(record):
        say(note)


def _recorded(spec: ModelSpec) -> Iterator[str]:
    """What was recorded of the files that are here of a model whose hashes are not known."""
    for known in spec.quantizations:
        record = cache.read_sidecar(cache.model_path(spec, known.name))
        sources = {source.sha256 for source in spec.sources_of(known.name)}
        if record is not None and record.source_sha256 not in sources:
            yield f"recorded of {known.name}: sha256 {record.source_sha256} of {record.origin}"


def _warn_of_licence(spec: ModelSpec) -> None:
    if spec.licence_note:
        say(f"licence of {spec.name}: {spec.licence}. {spec.licence_note}")


def _warn_of_memory(spec: ModelSpec, config: Config) -> None:
    import psutil

    from slm_lsp.registry.needs import memory_needed

    need = memory_needed(spec, config.quantization or None, config.context_tokens)
    free_bytes = psutil.virtual_memory().available
    if need is not None and need.total_bytes > free_bytes:
        say(
            f"it needs about {need.total_bytes / 1e9:.1f} GB of memory, and "
            f"{free_bytes / 1e9:.1f} GB are free: close programs, or take a smaller model or "
            "quantization"
        )


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise ModelsError("say --yes to remove without being asked")
    say("remove them? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


@contextmanager
def _progress() -> Iterator[Callable[[PullProgress], None]]:
    from slm_lsp.registry.progress_bar import show_progress

    with explained(), show_progress() as progress:
        yield progress
