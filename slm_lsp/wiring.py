"""Which parts make an engine: the one place that knows them all.

Owns: the way from a Config to a Scheduler around a Decoder, with the model obtained
first where it is missing; and to the daemon that runs such a Scheduler in a process of its own.

Invariant: nothing native is imported and nothing is fetched before `load_decoder` runs,
which is on the engine's own thread.

Threads: `start_engine` the event loop, `start_inproc` any; `load_decoder` the engine's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slm_lsp.config import Config
from slm_lsp.engine.base import (
    Decoder,
    Engine,
    EngineStats,
    EngineUnavailable,
    ModelLoadError,
)
from slm_lsp.types import EngineState, FimTemplate, Generation, GenerationRequest

if TYPE_CHECKING:
    from slm_lsp.engine.scheduler import Scheduler
    from slm_lsp.registry.pull import PullProgress

Report = Callable[[str, float | None], None]
OnState = Callable[[EngineState], None]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model that is on the disk; `template` where the registry has one for it."""

    name: str
    path: Path
    template: FimTemplate | None


def looks_like_path(model: str) -> bool:
    """Whether `--model` names a file rather than an entry of the registry or a location."""
    from slm_lsp.registry.naming import kind_of

    return kind_of(model) == "path"


def obtain(config: Config, progress: Callable[[PullProgress], None] | None = None) -> ModelFile:
    """The configured model, fetched if need be. Raises ModelLoadError."""
    # Imported late: the registry's libraries are needed only here.
    from slm_lsp.registry.naming import kind_of
    from slm_lsp.registry.specs import SpecError
    from slm_lsp.registry.steps import PullError

    try:
        match kind_of(config.model):
            case "path":
                return _file(config.model)
            case "found":
                return _found(config.model)
            case "location":
                return _located(config, progress)
        return _entry(config, progress)
    except (PullError, SpecError, ValueError) as error:
        raise ModelLoadError(str(error)) from error


def _file(model: str) -> ModelFile:
    from slm_lsp.registry.naming import path_of

    path = path_of(model)
    return ModelFile(path.name, path, None)


def _found(model: str) -> ModelFile:
    """A file that another program keeps, with the template of the entry that it is a copy of."""
    from slm_lsp.registry.found import find_named
    from slm_lsp.registry.naming import spec_at
    from slm_lsp.registry.specs import load_specs

    named = find_named(model)
    if named is None:
        raise ModelLoadError(
            f"there is no {model}: `slm-lsp models list --all` shows what there is"
        )
    spec = spec_at(named.hub, load_specs().values()) if named.hub else None
    return ModelFile(model, named.path, spec.template if spec is not None else None)


def _located(config: Config, progress: Callable[[PullProgress], None] | None) -> ModelFile:
    from slm_lsp.registry.naming import normal_location, spec_at
    from slm_lsp.registry.pull import pull_location
    from slm_lsp.registry.specs import load_specs

    location = normal_location(config.model)
    path = pull_location(location, quantization=config.quantization, progress=progress)
    spec = spec_at(location, load_specs().values())
    return ModelFile(location, path, spec.template if spec is not None else None)


def _entry(config: Config, progress: Callable[[PullProgress], None] | None) -> ModelFile:
    from slm_lsp.registry.cache import model_path, state
    from slm_lsp.registry.naming import spec_named
    from slm_lsp.registry.specs import DEFAULT_MODEL

    spec = spec_named(config.model or DEFAULT_MODEL)
    quantization = config.quantization or None
    # What fetches is not even imported where nothing is to be fetched, as at nearly every start.
    with contextlib.suppress(OSError):
        if state(spec, quantization) == "ready":
            return ModelFile(spec.name, model_path(spec, quantization), spec.template)
    from slm_lsp.registry.pull import pull

    path = pull(spec, quantization=quantization, progress=progress)
    return ModelFile(spec.name, path, spec.template)


def load_decoder(config: Config, report: Report) -> Decoder:
    """Obtain and load the configured model. Raises ModelLoadError."""

    def progress(step: PullProgress) -> None:
        done = step.done_bytes / step.total_bytes if step.total_bytes else None
        report(f"{step.stage} the model", done)

    if config.library == "ctransformers" and config.gpu_layers:
        raise ModelLoadError(
            "gpu_layers is for llama.cpp; ctransformers runs on the processor here: "
            "set gpu_layers = 0, or library = llama.cpp"
        )
    model = obtain(config, progress)
    report(f"load {model.name}", None)
    if config.library == "ctransformers":
        from slm_lsp.engine.ctransformers import CTransformersDecoder

        return CTransformersDecoder(
            model.path,
            model.name,
            template=model.template,
            n_ctx=config.context_tokens,
            n_threads=config.n_threads,
            n_threads_batch=config.n_threads_batch,
            model_type=config.model_type,
        )
    from slm_lsp.engine.llama import LlamaDecoder

    return LlamaDecoder(
        model.path,
        model.name,
        template=model.template,
        n_ctx=config.context_tokens,
        n_threads=config.n_threads,
        n_threads_batch=config.n_threads_batch,
        n_gpu_layers=config.gpu_layers,
    )


def start_engine(config: Config, on_state: OnState, on_progress: Report) -> Engine:
    """The engine that the settings ask for; its model is loading."""
    if config.server_url:
        return start_server(config, on_state, on_progress)
    return start_local(config, on_state, on_progress)


def start_local(config: Config, on_state: OnState, on_progress: Report) -> Engine:
    """The engine on this machine."""
    if config.engine == "daemon":
        return start_remote(config, on_state, on_progress)
    return start_inproc(config, on_state, on_progress, keeps_kv=True)


def rates_folder(config: Config, folder: Path) -> Path:
    """Where measured rates are kept: what runs a model, and on what, is as good as another one."""
    if config.library != "llama.cpp":
        return folder / config.library
    return folder / f"gpu{config.gpu_layers}" if config.gpu_layers else folder


def start_inproc(
    config: Config, on_state: OnState, on_progress: Report, keeps_kv: bool = False
) -> Scheduler:
    """An engine in this process that loads its model on its own thread. With `keeps_kv`, and
    if the settings allow, it begins with what an earlier one has read."""
    # A server with a daemon has no use for these.
    from slm_lsp.engine import kv_folder, rates_file
    from slm_lsp.engine.scheduler import Scheduler

    folder = kv_folder.default_folder()

    def report(text: str, done: float | None) -> None:
        # Raised within a pull, this ends the program that it runs; nothing else could.
        if scheduler.state is EngineState.CLOSED:
            raise ModelLoadError("closed while the model was loading")
        on_progress(text, done)

    def load() -> Decoder:
        if config.keep_kv == "off":
            kv_folder.clear(folder)
        return load_decoder(config, report)

    scheduler = Scheduler(
        load,
        on_state=on_state,
        rates_folder=rates_folder(config, rates_file.default_folder()),
        # ctransformers has a step's last logits only: a draft would cost what it is to save.
        drafts=config.drafts == "on" and config.library == "llama.cpp",
        kv_folder=folder if keeps_kv and config.keep_kv == "on" else None,
    )
    scheduler.start()
    return scheduler


# --- a server of the user's own ---


def start_server(config: Config, on_state: OnState, on_progress: Report) -> Engine:
    """An engine on the server that the settings name, with the local one behind it if wanted."""
    from slm_lsp.engine.server import ServerEngine
    from slm_lsp.engine.server_fallback import FallbackEngine
    from slm_lsp.servers import settings_of, translate, what_is_known

    try:
        settings, known = settings_of(config), what_is_known()
    except ModelLoadError as error:
        return Unreachable(str(error), on_state)
    if config.server_fallback == "off":
        alone = ServerEngine(settings, known, on_state, on_progress)
        alone.start()
        return alone
    engine = FallbackEngine(
        ServerEngine(settings, known, on_progress=on_progress),
        lambda told: start_local(config, told, on_progress),
        translate(config),
        config.server_head_start_ms,
        on_state,
    )
    engine.start()
    return engine


# --- the daemon ---

# The settings that a daemon's engine depends on; whoever has others needs another daemon.
SHAPING = (
    *("library", "model_type", "gpu_layers"),
    *("context_tokens", "threads", "batch_threads", "drafts", "keep_kv"),
)
PASSED_ON = ("model", "quantization", *SHAPING, "daemon_idle_minutes")


def identity(config: Config) -> tuple[str, ...]:
    """Which model it is: what has the same identity has the same daemon."""
    if looks_like_path(config.model):
        from slm_lsp.registry.naming import path_of

        # Raises nothing: what cannot be resolved cannot be loaded, which the daemon will say.
        with contextlib.suppress(ValueError):
            return "file", os.path.realpath(path_of(config.model))
        return "file", os.path.realpath(config.model)
    from slm_lsp.registry.cache import cache_root
    from slm_lsp.registry.specs import DEFAULT_MODEL

    return "model", config.model or DEFAULT_MODEL, config.quantization, str(cache_root())


def key(config: Config) -> str:
    """Model, model file and settings: servers with the same key can share a daemon."""
    kind, *names = identity(config)
    content: list[object] = [kind, *names, *(getattr(config, name) for name in SHAPING)]
    if kind == "file":
        with contextlib.suppress(OSError):
            status = os.stat(names[0])
            content += [status.st_size, status.st_mtime_ns]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def daemon_arguments(config: Config) -> list[str]:
    """The command line of the daemon that serves these settings."""
    given = {name: getattr(config, name) for name in PASSED_ON}
    if looks_like_path(config.model):
        given["model"] = identity(config)[1]
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    return ["--log-level=info", "daemon", *options]


def start_remote(config: Config, on_state: OnState, on_progress: Report) -> Engine:
    """An engine in the daemon's process, which is started if need be."""
    from slm_lsp.engine.launch import Launcher, command
    from slm_lsp.engine.remote import DaemonEngine
    from slm_lsp.engine.rendezvous import Place, RendezvousError, log_path, runtime_directory

    try:
        place = Place.of(runtime_directory(), *identity(config))
        launcher = Launcher(place, command(daemon_arguments(config)), log_path())
    except RendezvousError as error:
        return Unreachable(str(error), on_state)
    engine = DaemonEngine(launcher, lambda: key(config), on_state, on_progress)
    engine.start()
    return engine


class Unreachable:
    """An Engine that has failed before it began."""

    info = None
    state = EngineState.FAILED

    def __init__(self, failure: str, on_state: OnState) -> None:
        self.failure: str | None = failure
        on_state(EngineState.FAILED)

    async def generate(self, request: GenerationRequest) -> Generation:
        raise EngineUnavailable(self.failure)

    def wanted(self) -> None:
        pass

    def abandon(self, owner: str) -> None:
        pass

    def stats(self) -> EngineStats:
        return EngineStats()

    def close(self) -> None:
        pass


def run_daemon(config: Config) -> int:
    """Be the daemon for these settings. Raises RendezvousError."""
    from slm_lsp.engine.host import run
    from slm_lsp.engine.rendezvous import Place, runtime_directory

    # Whatever is written, by whichever part, is this user's alone.
    os.umask(0o077)
    place = Place.of(runtime_directory(), *identity(config))
    return run(
        place,
        key(config),
        lambda on_state, on_progress: start_inproc(config, on_state, on_progress, keeps_kv=True),
        config.daemon_idle_minutes * 60.0,
    )
